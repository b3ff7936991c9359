"""Delivers the sales as a flawed network would, on a topic of their own, and tells of each fault on another.

The sales' own topic is the shop's books and stays clean. What the dirty one holds, in which order, is a function of it:
the owner of a partition reads its sales behind the table, and appends what has arrived by the shop's clock. A fault is
told of before its message is delivered. Where the two logs end says what is left to do, so whoever takes over a
partition reads their last messages, and from the sales those of the longest delay before. Nothing else is kept.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.application import app
from yasdg_app.kafka.client import is_retriable
from yasdg_app.kafka.producer import ProducerRecord, SequenceConflictError, StaleStateError
from yasdg_app.kafka.reader import Message
from yasdg_app.pipeline.faulty_channel import BEFORE_ALL, Network, place_of_delivered, place_of_told
from yasdg_app.pipeline.inventory_agent import products_of
from yasdg_app.pipeline.restore import Disputes
from yasdg_app.shop.faults import Faults

logger = logging.getLogger(__name__)

EVERY = 0.2  # seconds between two looks at what has arrived
PIECE = 2_000  # sales between which others have their turn: a hundredth of a second
MOST_A_ROUND = 1.0  # seconds that a round waits for the cluster
RETRY = 0.5  # seconds before a look whether the log shows what the cluster counts

shop = app.shop
kafka = shop.kafka


@dataclass(slots=True)
class _Line:
    """A partition's network, and where it stands."""

    network: Network
    position: int  # of the next sale that goes in
    told: int  # number of faults in their log
    delivered: int  # number of messages in theirs
    through: int = -1  # event time up to which all that arrives has arrived


class Dirt:
    """The networks of this worker, by partition; all of one generation of the group."""

    def __init__(self) -> None:
        self._faults = Faults.of(shop.faults, shop.sales.seed)
        self._generation: int | None = None
        self._lines: dict[int, _Line] = {}
        self._delivering: dict[int, asyncio.Task[None]] = {}
        self._sold: dict[int, tuple[int, int]] = {}  # see `note`
        self._disputes = Disputes()

    def note(self, partition: int, through: int, end: int) -> None:
        """Note that all sales of a partition up to an event time stand in its log, before the offset `end`."""
        self._sold[partition] = through, end

    def through(self, partition: int) -> int:
        """Return the event time up to which all that arrives in a partition has arrived; -1 if that is not known."""
        line = self._lines.get(partition) if self._generation == app.ownership.generation else None
        return -1 if line is None else line.through

    async def tick(self) -> None:
        """Deliver what has arrived."""
        try:
            await self.deliver()
        except Exception:
            if not app.closing:  # what the end cut short is made up for at the next start
                raise

    async def deliver(self) -> None:
        """Deliver what has arrived by now in the partitions that are ours."""
        ownership = app.ownership
        if self._generation != ownership.generation:
            self._generation, self._lines = ownership.generation, {}
        if self._may_append():
            for partition in ownership.partitions:
                if products_of[partition] and partition not in self._delivering:
                    self._delivering[partition] = asyncio.create_task(self._deliver(partition))
        if self._delivering:
            await asyncio.wait(self._delivering.values(), timeout=MOST_A_ROUND)
        for partition, task in list(self._delivering.items()):
            if task.done():
                del self._delivering[partition]
                task.result()  # raises what went wrong

    def _may_append(self) -> bool:
        ownership = app.ownership
        ours = ownership.settled and ownership.generation == self._generation and ownership.lease_left
        return bool(ours and not app.closing)

    async def _deliver(self, partition: int) -> None:
        generation = self._generation
        try:
            line = self._lines.get(partition) or await self._open(partition)
            complete = await self._catch_up(partition, line)
        except StaleStateError as error:
            complete = False
            logger.debug("%s. Reading on.", error)
            app.counts["overtaken"] += isinstance(error, SequenceConflictError)
            await asyncio.sleep(RETRY)
        except KafkaError as error:
            if not is_retriable(error):
                raise  # waiting does not help, and a network that stands still for ever should not go unnoticed
            complete = False
            logger.debug("What has arrived is delivered later: %r", error)
        if generation == self._generation:
            if complete:
                self._lines[partition] = line
            else:
                self._lines.pop(partition, None)

    async def _open(self, partition: int) -> _Line:
        """Find out where a partition's network stands."""
        reader, sales = app.own_reader, TP(kafka.topic_purchases, partition)
        last_told, told_count = await reader.last(TP(kafka.topic_faults, partition))
        last, delivered_count = await reader.last(TP(kafka.topic_dirty, partition))
        told = BEFORE_ALL if last_told is None else place_of_told(await _plain("faults", last_told))
        position, delivered = (await reader.firsts([sales]))[sales], BEFORE_ALL
        if last is not None:
            delivered = place_of_delivered(await _plain("purchases", last), self._faults)
            since = await reader.since(sales, max(0, delivered.released_at - self._faults.longest) // 1000)
            position = max(position, (await reader.ends([sales]))[sales] if since is None else since)
        return _Line(
            network=Network(self._faults, delivered, told, app.format.writer("faults")),
            position=position,
            told=told_count,
            delivered=delivered_count,
        )

    async def _catch_up(self, partition: int, line: _Line) -> bool:
        """Deliver what has arrived by now; False if not all could be: then the logs have to be read first."""
        through, end = self._sold.get(partition, (-1, 0))
        sales = TP(kafka.topic_purchases, partition)
        applied = app.ownership.applied.get(sales, 0)
        if line.position < applied:
            async for chunk in app.own_reader.chunks(sales, line.position, applied):
                plain = await app.format.plain("purchases", chunk)
                for start in range(0, len(chunk), PIECE):
                    line.network.take(chunk[start : start + PIECE], plain[start : start + PIECE])
                    if not await self._append(partition, line, line.network.seen):
                        return False
                    await asyncio.sleep(0)
            line.position = applied
        if line.position >= end and through >= line.network.seen:
            return await self._append(partition, line, through + 1)
        return True

    async def _append(self, partition: int, line: _Line, before: int) -> bool:
        """Append what arrives before an event time; False if not all could be."""
        told, delivered = line.network.arrived(before)
        if not await self._append_rows(TP(kafka.topic_faults, partition), line.told, told):
            return False
        line.told += len(told)
        if not await self._append_rows(TP(kafka.topic_dirty, partition), line.delivered, delivered):
            return False
        line.delivered += len(delivered)
        line.through = max(line.through, before - 1)
        return True

    async def _append_rows(self, tp: TP, number: int, rows: Sequence[ProducerRecord]) -> bool:
        try:
            appended = await app.shop_producer.append(*tp, number, rows, self._may_append)
        except SequenceConflictError as error:
            self._disputes.note(tp, number, str(error))
            raise
        if appended.complete and rows:
            self._disputes.settle(tp)
        return appended.complete


async def _plain(what: str, message: Message) -> Message:
    return (await app.format.plain(what, [message]))[0]


dirt = Dirt() if shop.faults.any else None
"""None: the network has no flaws."""

if dirt is not None:
    app.timer(EVERY)(dirt.tick)
