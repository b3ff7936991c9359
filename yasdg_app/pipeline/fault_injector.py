"""Delivers the sales as a faulty network would, on a separate topic, and labels each fault on another topic.

The purchases topic stays clean. Content and order of the dirty topic are a function of it: the owner of a partition
reads the partition's sales after the table has processed them, and appends those that have arrived by the shop's clock.
A fault is labelled before its message is delivered. The ends of the two logs show what is left to do, so a worker that
takes over a partition reads their last messages, and the sales back to the longest delay before. No other state is
kept.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.errors import RENAMED
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.kafka.batch_reader import Message
from yasdg_app.kafka.client import is_retriable
from yasdg_app.kafka.producer import ProducerRecord, SequenceConflictError, StaleStateError
from yasdg_app.pipeline.faulty_channel import START, FaultyChannel, cursor_of_delivered, cursor_of_fault
from yasdg_app.pipeline.sequence_conflicts import SequenceConflictTracker
from yasdg_app.shop.faults import Faults

logger = logging.getLogger(__name__)

DELIVER_SECONDS = 0.2
"""Between two deliveries of the messages that have arrived."""
BLOCK_SALES = 2_000
"""Sales after which other tasks may run: a hundredth of a second."""
MAX_CLUSTER_WAIT_SECONDS = 1.0
"""Maximum time for which a delivery waits for the cluster."""
RETRY_SECONDS = 0.5
"""Before the logs are read again, to see whether they contain what the cluster counts."""


@dataclass(slots=True)
class _Line:
    """The channel of a partition, and its state."""

    channel: FaultyChannel
    position: int  # of the next sale that enters the channel
    faults: int  # number of faults in the log of faults
    delivered: int  # number of messages in the dirty log
    through: int = -1  # event time up to which all that arrives has been delivered


class FaultInjector:
    """The faulty channels of this worker, by partition; all of one generation of the group."""

    def __init__(
        self, shop: RunningShop, life: Lifecycle, assignment: PartitionAssignment, catalog: PartitionedCatalog
    ) -> None:
        self._shop = shop
        self._kafka = shop.settings.kafka
        self._life = life
        self._assignment = assignment
        self._catalog = catalog
        self._faults = Faults.of(shop.settings.faults, shop.settings.sales.seed)
        self._generation: int | None = None
        self._lines: dict[int, _Line] = {}
        self._delivering: dict[int, asyncio.Task[None]] = {}
        self._published: dict[int, tuple[int, int]] = {}  # see `note`
        self._conflicts = SequenceConflictTracker()

    def note(self, partition: int, through: int, end: int) -> None:
        """Note that all sales of a partition up to an event time are in its log, before the offset `end`."""
        self._published[partition] = through, end

    def delivered_through(self, partition: int) -> int:
        """Return the event time up to which all that arrives in a partition is delivered; -1 if it is unknown."""
        line = self._lines.get(partition) if self._generation == self._assignment.generation else None
        return -1 if line is None else line.through

    async def run_round(self) -> None:
        """Deliver the messages that have arrived."""
        try:
            await self.deliver()
        except Exception as error:
            if not self._life.is_closing:  # what a shutdown interrupts is delivered after the next start
                raise
            if isinstance(error, RENAMED):  # a bug that the next start has as well
                logger.exception("Not all sales were delivered before the shutdown.")

    async def deliver(self) -> None:
        """Deliver the messages that have arrived by now in our partitions."""
        assignment = self._assignment
        if self._generation != assignment.generation:
            self._generation, self._lines = assignment.generation, {}
        if self._is_owner():
            for partition in assignment.partitions:
                if self._catalog.products_in(partition) and partition not in self._delivering:
                    self._delivering[partition] = asyncio.create_task(self._deliver(partition))
        if self._delivering:
            await asyncio.wait(self._delivering.values(), timeout=MAX_CLUSTER_WAIT_SECONDS)
        for partition, task in list(self._delivering.items()):
            if task.done():
                del self._delivering[partition]
                task.result()  # raises the task's exception

    def _is_owner(self) -> bool:
        assignment = self._assignment
        is_ours = assignment.is_active_in(self._generation) and assignment.has_lease
        return is_ours and not self._life.is_closing

    async def _deliver(self, partition: int) -> None:
        generation = self._generation
        try:
            line = self._lines.get(partition) or await self._open(partition)
            is_complete = await self._catch_up(partition, line)
        except StaleStateError as error:
            is_complete = False
            logger.debug("%s. Reading the log.", error)
            self._shop.counts["overtaken"] += isinstance(error, SequenceConflictError)
            await asyncio.sleep(RETRY_SECONDS)
        except KafkaError as error:
            if not is_retriable(error):
                raise  # waiting does not help, and a channel that has stopped must not go unnoticed
            is_complete = False
            logger.debug("What has arrived is delivered later: %r", error)
        if generation == self._generation:
            if is_complete:
                self._lines[partition] = line
            else:
                self._lines.pop(partition, None)

    async def _open(self, partition: int) -> _Line:
        """Find out which messages of a partition are already delivered."""
        reader, sales = self._shop.own_reader, TP(self._kafka.topic_purchases, partition)
        last_fault, fault_count = await reader.last(TP(self._kafka.topic_faults, partition))
        last, delivered_count = await reader.last(TP(self._kafka.topic_dirty, partition))
        labelled = START if last_fault is None else cursor_of_fault(await self._plain("faults", last_fault))
        position, delivered = (await reader.firsts([sales]))[sales], START
        if last is not None:
            delivered = cursor_of_delivered(await self._plain("purchases", last), self._faults)
            since = await reader.since(sales, max(0, delivered.released_at - self._faults.longest) // 1000)
            position = max(position, (await reader.ends([sales]))[sales] if since is None else since)
        return _Line(
            channel=FaultyChannel(self._faults, delivered, labelled, self._shop.format.writer("faults")),
            position=position,
            faults=fault_count,
            delivered=delivered_count,
        )

    async def _catch_up(self, partition: int, line: _Line) -> bool:
        """Deliver what has arrived by now; return False if not all was appended: then the logs must be read first."""
        through, end = self._published.get(partition, (-1, 0))
        sales = TP(self._kafka.topic_purchases, partition)
        processed = self._assignment.positions.get(sales, 0)
        if line.position < processed:
            async for chunk in self._shop.own_reader.chunks(sales, line.position, processed):
                plain = await self._shop.format.plain("purchases", chunk)
                for start in range(0, len(chunk), BLOCK_SALES):
                    line.channel.take(chunk[start : start + BLOCK_SALES], plain[start : start + BLOCK_SALES])
                    if not await self._append(partition, line, line.channel.seen):
                        return False
                    await asyncio.sleep(0)
            line.position = processed
        if line.position >= end and through >= line.channel.seen:
            return await self._append(partition, line, through + 1)
        return True

    async def _append(self, partition: int, line: _Line, before: int) -> bool:
        """Append what arrives before an event time; return False if not all was appended."""
        faults, delivered = line.channel.arrived(before)
        if not await self._append_rows(TP(self._kafka.topic_faults, partition), line.faults, faults):
            return False
        line.faults += len(faults)
        if not await self._append_rows(TP(self._kafka.topic_dirty, partition), line.delivered, delivered):
            return False
        line.delivered += len(delivered)
        line.through = max(line.through, before - 1)
        return True

    async def _append_rows(self, tp: TP, base: int, rows: Sequence[ProducerRecord]) -> bool:
        try:
            appended = await self._shop.producer.append(*tp, base, rows, self._is_owner)
        except SequenceConflictError as error:
            self._conflicts.note(tp, base, str(error))
            raise
        if appended.complete and rows:
            self._conflicts.resolve(tp)
        return appended.complete

    async def _plain(self, what: str, message: Message) -> Message:
        return (await self._shop.format.plain(what, [message]))[0]
