"""Queries all workers in parallel for their partial results, so that any worker can answer for the whole stream."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from yasdg_app.web.peer_client import PeerClient
from yasdg_app.web.reconcile import reconcile
from yasdg_app.web.results import Gathered, P


class WorkerDirectory(Protocol):
    """Knows all workers."""

    @property
    def own_url(self) -> str:
        """The URL of this worker."""
        ...

    def workers(self) -> dict[str, list[int]]:
        """Return the URL of each worker, this one included, and its partitions, as of the last rebalance."""
        ...


class ScatterGather:
    """Queries all workers.

    Parameters
    ----------
    directory
        Knows their URLs.
    peers
        Queries another worker.
    partitions
        The number of partitions.

    Attributes
    ----------
    gathers
        How many times all workers were queried.
    incomplete
        How many times partitions were missing.
    """

    def __init__(self, directory: WorkerDirectory, peers: PeerClient, partitions: int) -> None:
        self._directory = directory
        self._peers = peers
        self._partitions = partitions
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
            The query to the other workers; see `SharePage.partial_result`.
        """
        own_url, assigned = self._directory.own_url, self._directory.workers()
        urls = list(assigned)
        answers = await asyncio.gather(
            *(own() if url == own_url else self._peers.query(url, kind, query) for url in urls)
        )
        gathered = reconcile(dict(zip(urls, answers, strict=True)), assigned, self._partitions)
        self.gathers += 1
        self.incomplete += bool(gathered.missing)
        return gathered
