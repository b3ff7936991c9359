"""Asks all workers for their shares, in parallel and in bounded time: any of them answers for the whole stream.

Where they are is what the group's leader told all members at the last rebalance: the address that each advertises, and
its partitions. Anybody who reaches the cluster may advertise any address, so the token is never sent to one: both sides
prove that they have it (token_proof.py), and an answer without a proof is none.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from yasdg_app.application import app
from yasdg_app.config.rules import is_loopback
from yasdg_app.pipeline.inventory_agent import PARTITIONS, inventory
from yasdg_app.web.driver import SHARE
from yasdg_app.web.reconcile import Gathered, Share, stand_together
from yasdg_app.web.token_proof import ANSWER_HEADER, NONCE_BYTES, Question, address_of, authorization, is_answer

logger = logging.getLogger(__name__)

BOUND = 1.0  # seconds in which the others have to answer
LARGEST = 64 * 1024 * 1024  # bytes of a share
SILENT = f"does not answer within {BOUND:.0f} s"
REFUSES = ": its token is another, its clock is more than a minute off, or it is of an earlier version"
IMPOSTOR = "does not prove that it has the token"
NEEDS_TOKEN = "is on another machine, and workers on several machines need a token"

S = TypeVar("S", bound=Share)


def workers() -> dict[str, list[int]]:
    """Return the address of each worker, and its partitions, as of the last rebalance that we know of."""
    topic = inventory.changelog_topic.get_topic_name()
    assigned = {str(url): sorted(tps.get(topic, ())) for url, tps in app.router.tables_metadata().items()}
    return {here(): [], **assigned}


def here() -> str:
    """Return the address of this worker."""
    return str(app.conf.canonical_url)


class Asker:
    """Asks them, over connections that are kept."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self.gathers = 0  # how often they were asked
        self.incomplete = 0  # how often something was missing

    async def gather(self, kind: type[S], own: Callable[[], Awaitable[S]], **query: str) -> Gathered[S]:
        """Ask all workers.

        Parameters
        ----------
        kind
            What a share is.
        own
            Makes our own.
        query
            What is asked for; see `shares.share_of`.
        """
        assigned = workers()
        urls = list(assigned)
        answers = await asyncio.gather(*(own() if url == here() else self._ask(url, kind, query) for url in urls))
        gathered = stand_together(dict(zip(urls, answers, strict=True)), assigned, PARTITIONS)
        self.gathers += 1
        self.incomplete += bool(gathered.missing)
        return gathered

    async def _ask(self, url: str, kind: type[S], query: dict[str, str]) -> S | str:
        try:
            return await asyncio.wait_for(self._asked(url, kind, query), BOUND)
        except TimeoutError:
            return SILENT
        except (aiohttp.ClientError, OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            logger.debug("%s does not answer: %r", url, error)
            return "does not answer"

    async def _asked(self, url: str, kind: type[S], query: dict[str, str]) -> S | str:
        token, member = app.shop.web.token, URL(url)
        address = address_of(member)
        if not token and not is_loopback(str(member.raw_host)):
            return NEEDS_TOKEN  # it would refuse us, and anybody may have advertised it
        target = URL.build(scheme=member.scheme, host=str(member.raw_host), port=member.port, path=SHARE, query=query)
        question = Question("GET", target.raw_path_qs, address, int(time.time()), token_hex(NONCE_BYTES))
        headers = {"Authorization": authorization(token, question)} if token else {}
        async with self._connected().get(target, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                return f"answers with status {response.status}{REFUSES if response.status == 401 else ''}"
            body = await response.content.read(LARGEST)
            while chunk := await response.content.read(LARGEST - len(body)):
                body += chunk
            if token and not is_answer(token, question, 200, body, response.headers.get(ANSWER_HEADER, "")):
                return IMPOSTOR
            return msgspec.json.decode(body, type=kind)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            jar = aiohttp.DummyCookieJar()  # no answer may set one for another question
            self._session = aiohttp.ClientSession(trust_env=False, raise_for_status=False, cookie_jar=jar)
        return self._session

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()


asker = Asker()


async def close(_: Any) -> None:
    """Let the connections go when the web server ends."""
    await asker.close()


server: Any = app.web
server.web_app.on_cleanup.append(close)
