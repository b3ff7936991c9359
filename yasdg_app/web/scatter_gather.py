"""Queries all workers in parallel for their partial results, so that any worker can answer for the whole stream.

The group's leader distributes the URL that each worker advertises, and its partitions, at every rebalance.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from yasdg_app.application import PARTITIONS, app, inventory
from yasdg_app.web.peer_client import PeerClient
from yasdg_app.web.reconcile import reconcile
from yasdg_app.web.results import Gathered, P


def known_workers() -> dict[str, list[int]]:
    """Return the URL of each worker, and its partitions, as of the last rebalance."""
    topic = inventory.changelog_topic.get_topic_name()
    assigned = {str(url): sorted(tps.get(topic, ())) for url, tps in app.router.tables_metadata().items()}
    return {own_url(): [], **assigned}


def own_url() -> str:
    """Return the URL of this worker."""
    return str(app.conf.canonical_url)


class ScatterGather:
    """Queries all workers.

    Attributes
    ----------
    gathers
        How many times all workers were queried.
    incomplete
        How many times partitions were missing.
    """

    def __init__(self, peers: PeerClient) -> None:
        self._peers = peers
        self.gathers = 0
        self.incomplete = 0

    async def gather(self, kind: type[P], own: Callable[[], Awaitable[P]], **query: str) -> Gathered[P]:
        """Query all workers.

        Parameters
        ----------
        kind
            The type of a partial result.
        own
            Returns this worker's partial result.
        query
            The query to the other workers; see `share.partial_result`.
        """
        assigned = known_workers()
        urls = list(assigned)
        answers = await asyncio.gather(
            *(own() if url == own_url() else self._peers.query(url, kind, query) for url in urls)
        )
        gathered = reconcile(dict(zip(urls, answers, strict=True)), assigned, PARTITIONS)
        self.gathers += 1
        self.incomplete += bool(gathered.missing)
        return gathered

    async def close(self) -> None:
        """Close the connections to other workers."""
        await self._peers.close()


scatter_gather = ScatterGather(PeerClient(app.shop.web.token))


async def close(_: Any) -> None:
    """Close the connections when the web server stops."""
    await scatter_gather.close()


server: Any = app.web
server.web_app.on_cleanup.append(close)
