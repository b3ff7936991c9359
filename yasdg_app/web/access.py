"""Access control for the web server: decides whether a request may be answered. Pure.

Without a token only this machine can reach the server. The remaining threat is a page of another site, opened in a
browser on this machine. Such a page cannot set the headers that are checked here, and a host name that was rebound to
this machine (DNS rebinding) does not match this machine's own names.
"""

import hmac
from collections.abc import Mapping
from typing import NamedTuple

from yasdg_app.config.rules import is_loopback

TOKEN_COOKIE = "yasdg_token"
PUBLIC_PATHS = ("/health/", "/ready/")
"""Paths that need no token, because most monitoring probes cannot send one."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
JSON = "application/json"


class AccessDenied(NamedTuple):
    """The response to a request that is rejected: its status, and the reason."""

    status: int
    error: str


def check_access(
    token: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    cookies: Mapping[str, str],
    is_worker: bool = False,
) -> AccessDenied | None:
    """Return why a request is rejected; None if it is accepted.

    Parameters
    ----------
    token
        The server's token; empty if it has none.
    is_worker
        Whether the sender has proven to be another worker with the same token.
    """
    if not token and not is_loopback(host_of(headers.get("Host", ""))):
        return AccessDenied(403, "Use localhost or 127.0.0.1, or set [WEB] token: other host names require a token.")
    if token and not is_worker and path not in PUBLIC_PATHS and not has_token(token, headers, cookies):
        return AccessDenied(401, "Send the token as `Authorization: Bearer …`; in a browser, open /?token=… once.")
    if headers.get("Sec-Fetch-Site") == "cross-site" and headers.get("Sec-Fetch-Mode") != "navigate":
        return AccessDenied(403, "Cross-site requests are not allowed.")
    if method in SAFE_METHODS:
        return None
    origin = headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != headers.get("Host"):
        return AccessDenied(403, "Cross-site requests are not allowed: the Origin header names another site.")
    if method == "POST" and headers.get("Content-Type", "").partition(";")[0].strip().lower() != JSON:
        return AccessDenied(415, f"Send JSON, with the header Content-Type: {JSON}")
    return None


def has_token(token: str, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
    """Return whether a request has the token: in its Authorization header if it has a bearer, else in its cookie."""
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        given = cookies.get(TOKEN_COOKIE, "")
    return is_token(token, given.strip())


def is_token(token: str, given: str) -> bool:
    """Compare a given token with the server's, in constant time."""
    return hmac.compare_digest(token.encode(), given.encode(errors="surrogateescape"))


def host_of(header: str) -> str:
    """Return the host of a `Host` header, without its port and without the brackets of an IPv6 address."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
