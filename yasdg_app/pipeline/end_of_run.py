"""The end of a run that has one: all is produced and processed, here and by all other workers."""

import logging
import time
from collections.abc import Callable

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.kafka.auth.diagnostics import LoginRefusedError
from yasdg_app.kafka.client import administration
from yasdg_app.pipeline.inventory_sink import InventorySink
from yasdg_app.pipeline.stalled_partitions import StalledPartitions

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.5
"""Between two checks whether all workers have finished."""


class EndOfRun:
    """Finds out whether a run is over.

    Parameters
    ----------
    shop, assignment
        The shop, and the partitions of this worker.
    is_produced
        Returns whether our partitions are produced, and delivered with faults, up to an event time.
    stalled
        Partitions whose agent does not advance.
    is_current
        Returns whether the partitions are still ours.

    Attributes
    ----------
    sink
        Must have the inventory; None without a datastore.
    """

    def __init__(
        self,
        shop: RunningShop,
        assignment: PartitionAssignment,
        is_produced: Callable[[int], bool],
        stalled: StalledPartitions,
        is_current: Callable[[], bool],
    ) -> None:
        self._shop = shop
        self._kafka = shop.settings.kafka
        self._assignment = assignment
        self._is_produced = is_produced
        self._stalled = stalled
        self._is_current = is_current
        self._check_at = float("-inf")  # when to check again, time.monotonic()
        self._waits_for_others = False
        self.sink: InventorySink | None = None

    async def finish(self, ends_at: int) -> bool:
        """Commit that our part is done, once it is; return whether the parts of all workers are done.

        A datastore must have the inventory as well, unless it is unavailable. What is committed is metadata of the
        positions. A worker waits until all partitions have it: it may have to take over the part of a worker that died.

        `ends_at`: event time after which nothing is sold.
        """
        if time.monotonic() < self._check_at or not await self._is_done(ends_at):
            return False
        self._check_at = time.monotonic() + CHECK_SECONDS
        metadata, assignment, topic = f"closed {ends_at}", self._assignment, self._kafka.topic_purchases
        assignment.commit_metadata = {TP(topic, partition): metadata for partition in assignment.partitions}
        await assignment.renew_lease(at_once=True)
        if await self._is_committed_by_all(metadata):
            return True
        if not self._waits_for_others:
            self._waits_for_others = True
            logger.info("Our part of the sales is produced and processed. Waiting for the other workers.")
        return False

    async def _is_done(self, ends_at: int) -> bool:
        """Return whether our partitions are produced to the end, and processed by the table."""
        if not self._is_produced(ends_at):
            return False
        positions = self._assignment.positions
        try:
            ends = await self._shop.reader.ends(positions)
        except KafkaError:
            return False
        lagging = [tp for tp in map(TP._make, ends) if ends[tp] > positions.get(tp, 0)]
        for tp in lagging:
            await self._stalled.reseek_if_stalled(tp)
        if self.sink is not None and self.sink.is_behind:
            return False
        return not lagging and self._is_current()

    async def _is_committed_by_all(self, metadata: str) -> bool:
        try:
            async with administration(self._shop.connection) as admin:
                committed = await admin.list_consumer_group_offsets(self._kafka.application_id)
        except (KafkaError, OSError, LoginRefusedError):
            return False
        topic = self._kafka.topic_purchases
        finished = {tp.partition for tp, (_, its) in committed.items() if tp.topic == topic and its == metadata}
        return len(finished) == self._kafka.partitions
