"""Proofs by which workers show each other that they have the shop's token, without ever sending it. Pure.

A request is bound to the address that it is meant for, so it is useless at any other; a response is bound to its
request, so it cannot be forged without the token. See docs/decisions/workers-ask-each-other.md.
"""

import hashlib
import hmac
import re
from typing import NamedTuple

from yarl import URL

SCHEME = "YASDG-HMAC-SHA256"
"""The scheme in the Authorization header of a request."""
PROOF_HEADER = "X-YASDG-Proof"
"""The header with the proof of a response."""
MAX_SKEW_SECONDS = 60
"""By which the clocks of two workers may differ, and for which a request is valid."""
NONCE_BYTES = 16

_AUTHORIZATION = re.compile(
    rf"{SCHEME} time=([0-9]{{1,12}}), nonce=([0-9a-f]{{{2 * NONCE_BYTES}}}), mac=([0-9a-f]{{64}})"
)


class PeerRequest(NamedTuple):
    """A request from one worker to another."""

    method: str
    target: str  # path and query, as they are sent
    address: str  # of the worker that is queried; see `address_of`
    time: int  # seconds since 1970
    nonce: str  # hexadecimal digits, never used before


def address_of(url: URL) -> str:
    """Return host and port of a worker in canonical form. Raises ValueError if the URL has none."""
    if url.scheme not in ("http", "https") or not url.raw_host or not url.port:
        raise ValueError("not the address of a worker: expected http://HOST:PORT")
    return f"{url.raw_host.lower()} {url.port}"


def authorization_of(token: str, request: PeerRequest) -> str:
    """Return the Authorization header of a request."""
    return f"{SCHEME} time={request.time}, nonce={request.nonce}, mac={_request_mac(token, request)}"


def verify_request(token: str, header: str, method: str, target: str, address: str, now: float) -> PeerRequest | None:
    """Return the request that an Authorization header proves; None if it does not prove that the sender has the token.

    Parameters
    ----------
    header
        The Authorization header.
    address
        The address of this worker, as the others know it.
    now
        Seconds since 1970.
    """
    found = _AUTHORIZATION.fullmatch(header)
    if found is None or abs(now - int(found[1])) > MAX_SKEW_SECONDS:
        return None
    request = PeerRequest(method, target, address, int(found[1]), found[2])
    return request if hmac.compare_digest(_request_mac(token, request), found[3]) else None


def response_proof(token: str, request: PeerRequest, status: int, body: bytes) -> str:
    """Return the proof that a response to a request comes from a worker that has the token."""
    return _mac(token, "answer", request.address, request.nonce, str(status), hashlib.sha256(body).hexdigest())


def is_response_proof(token: str, request: PeerRequest, status: int, body: bytes, given: str) -> bool:
    """Return whether `given` is that proof."""
    return hmac.compare_digest(response_proof(token, request, status, body).encode(), given.encode(errors="replace"))


def _request_mac(token: str, request: PeerRequest) -> str:
    return _mac(token, "question", *map(str, request))


def _mac(token: str, *parts: str) -> str:
    """Return a MAC of several strings, each prefixed with its length, so that their boundaries are unambiguous."""
    message = "".join(f"{len(part)}:{part}" for part in ("yasdg share 1", *parts))
    return hmac.new(token.encode(), message.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()
