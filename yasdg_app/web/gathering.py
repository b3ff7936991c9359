"""Asks all workers for their shares, in parallel and in bounded time: any of them answers for the whole stream.

Where they are is what the group's leader told all members at the last rebalance: the address that each advertises, and
its partitions.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import msgspec

from yasdg_app.application import app
from yasdg_app.streams.inventory import PARTITIONS, inventory
from yasdg_app.web.merging import Gathered, Share, stand_together

logger = logging.getLogger(__name__)

BOUND = 1.0  # seconds in which the others have to answer
LARGEST = 64 * 1024 * 1024  # bytes of a share
SILENT = f"does not answer within {BOUND:.0f} s"

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
        except (aiohttp.ClientError, OSError, ValueError, msgspec.MsgspecError) as error:
            logger.debug("%s does not answer: %r", url, error)
            return "does not answer"

    async def _asked(self, url: str, kind: type[S], query: dict[str, str]) -> S | str:
        address, headers = f"{url.rstrip('/')}/share/", _headers()
        # A redirect could lead the token elsewhere.
        async with self._connected().get(address, params=query, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                return f"answers with status {response.status}"
            body = await response.content.read(LARGEST)
            while chunk := await response.content.read(LARGEST - len(body)):
                body += chunk
            return msgspec.json.decode(body, type=kind)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(trust_env=False, raise_for_status=False)
        return self._session

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()


asker = Asker()


def _headers() -> dict[str, str]:
    token = app.shop.web.token
    return {"Authorization": f"Bearer {token}"} if token else {}


async def close(_: Any) -> None:
    """Let the connections go when the web server ends."""
    await asker.close()


server: Any = app.web
server.web_app.on_cleanup.append(close)
