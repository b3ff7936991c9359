"""Queries one other worker at `/share/`, in bounded time.

Anyone who can reach the cluster can advertise any URL, so the token is never sent: both sides prove that they have it
(token_proof.py), and a response without a proof is rejected.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from secrets import token_hex

import aiohttp
import msgspec
from yarl import URL

from yasdg_app.config.rules import is_loopback
from yasdg_app.web.driver import PARTIAL_RESULTS_PATH
from yasdg_app.web.results import P
from yasdg_app.web.token_proof import (
    NONCE_BYTES,
    PROOF_HEADER,
    PeerRequest,
    address_of,
    authorization_of,
    is_response_proof,
)

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 1.0  # for a response
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
NO_ANSWER = "does not answer"
TIMED_OUT = f"does not answer within {TIMEOUT_SECONDS:.0f} s"
UNAUTHORIZED = ": its token differs, its clock is more than a minute off, or it runs an earlier version"
NO_PROOF = "does not prove that it has the token"
NEEDS_TOKEN = "is on another machine, and workers on several machines need a token"


class PeerClient:
    """Queries other workers over connections that are kept open.

    Parameters
    ----------
    token
        The shop's token; empty if it has none.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def query(self, url: str, kind: type[P], query: Mapping[str, str]) -> P | str:
        """Return the partial result of the worker at a URL; if there is none, why, as the end of a sentence."""
        try:
            return await asyncio.wait_for(self._query(url, kind, query), TIMEOUT_SECONDS)
        except TimeoutError:
            return TIMED_OUT
        except (aiohttp.ClientError, OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            logger.debug("%s does not answer: %r", url, error)
            return NO_ANSWER

    async def _query(self, url: str, kind: type[P], query: Mapping[str, str]) -> P | str:
        token, peer = self._token, URL(url)
        address = address_of(peer)
        if not token and not is_loopback(str(peer.raw_host)):
            return NEEDS_TOKEN  # it would reject the request, and anyone could have advertised it
        target = URL.build(
            scheme=peer.scheme, host=str(peer.raw_host), port=peer.port, path=PARTIAL_RESULTS_PATH, query=query
        )
        request = PeerRequest("GET", target.raw_path_qs, address, int(time.time()), token_hex(NONCE_BYTES))
        headers = {"Authorization": authorization_of(token, request)} if token else {}
        async with self._open_session().get(target, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                return f"answers with status {response.status}{UNAUTHORIZED if response.status == 401 else ''}"
            body = await response.content.read(MAX_RESPONSE_BYTES)
            while chunk := await response.content.read(MAX_RESPONSE_BYTES - len(body)):
                body += chunk
            if token and not is_response_proof(token, request, 200, body, response.headers.get(PROOF_HEADER, "")):
                return NO_PROOF
            return msgspec.json.decode(body, type=kind)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            jar = aiohttp.DummyCookieJar()  # no response may set a cookie for another request
            self._session = aiohttp.ClientSession(trust_env=False, raise_for_status=False, cookie_jar=jar)
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
