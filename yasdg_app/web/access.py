"""Who may ask the web server: what a request has to have, and what is said to one that has not. Pure.

Without a token only this machine reaches the server, and what threatens it are pages of others in a browser on it. They
cannot set the headers that are looked at here; a page whose name was made to mean this machine has a name that it is
not known by.
"""

import hmac
from collections.abc import Mapping
from typing import NamedTuple

from yasdg_app.config.rules import is_loopback

COOKIE = "yasdg_token"
OPEN = ("/health/", "/ready/")  # for those who watch workers, and send no token; they tell no more than how it is
SAFE = ("GET", "HEAD", "OPTIONS")
JSON = "application/json"


class Refusal(NamedTuple):
    """That a request is not answered: with which status, and why."""

    status: int
    error: str


def refusal(
    token: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    cookies: Mapping[str, str],
    is_worker: bool = False,
) -> Refusal | None:
    """Return why a request is refused; None if it is not.

    `token`: the server's, empty if it has none; `is_worker`: whether it has proven to come from a worker that has it.
    """
    if not token and not is_loopback(host_of(headers.get("Host", ""))):
        return Refusal(403, "Ask localhost or 127.0.0.1, or set [WEB] token: without one, other names are refused.")
    if token and not is_worker and path not in OPEN and not knows(token, headers, cookies):
        return Refusal(401, "Send the token as `Authorization: Bearer …`; a browser gets it at /?token=…")
    if headers.get("Sec-Fetch-Site") == "cross-site" and headers.get("Sec-Fetch-Mode") != "navigate":
        return Refusal(403, "Pages of others may not ask here.")
    if method in SAFE:
        return None
    origin = headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != headers.get("Host"):
        return Refusal(403, "Pages of others may not change anything here.")
    if method == "POST" and headers.get("Content-Type", "").partition(";")[0].strip().lower() != JSON:
        return Refusal(415, f"Send JSON, with the header Content-Type: {JSON}")
    return None


def knows(token: str, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
    """Tell whether a request has the token: in its header if it has one, else in its cookie."""
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        given = cookies.get(COOKIE, "")
    return is_token(token, given.strip())


def is_token(token: str, given: str) -> bool:
    """Tell whether somebody gave the token, in a time that does not tell how much of it was right."""
    return hmac.compare_digest(token.encode(), given.encode(errors="surrogateescape"))


def host_of(header: str) -> str:
    """Return the host of a header `Host`: without its port, and without the brackets of an IPv6 address."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
