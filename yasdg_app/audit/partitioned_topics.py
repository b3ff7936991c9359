"""Reads what an audit compares: the shop's topics, in the default format, as they were at one moment."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from aiokafka import TopicPartition

from yasdg_app.audit.account import Deleted, Topics
from yasdg_app.audit.event_times import BEGINNING_OF_TIME
from yasdg_app.audit.lost_sales import last_lost_sale
from yasdg_app.audit.partition import last_sale
from yasdg_app.audit.report import AuditFinding, AuditReport
from yasdg_app.audit.substitutions import Substitutions
from yasdg_app.config.catalog import Product
from yasdg_app.errors import YasdgError
from yasdg_app.kafka.reader import Chunk, DamagedLogError, Message, Reader, stretches_back
from yasdg_app.messages.formats import Format
from yasdg_app.messages.ids import default_partition
from yasdg_app.shop.plan import Plan

LAST_OFFSETS = 100  # of a partition, searched first for its latest event time

TimeOf = Callable[[Sequence[Message]], datetime]
"""Returns the latest event time among messages; BEGINNING_OF_TIME if there is none."""


class DamagedTopicError(YasdgError):
    """A topic cannot be read further; `finding` says where and why."""

    def __init__(self, tp: TopicPartition, offset: int) -> None:
        text = (
            "the checksum of the batch does not match, so it was damaged on the broker's disk, and the rest of the "
            "partition is not audited. Check the disk, restore the partition from a replica or a backup, audit again"
        )
        self.finding = AuditFinding("damaged", tp.topic, tp.partition, offset, text)
        super().__init__(str(self.finding))


@dataclass(frozen=True, slots=True)
class LogReader:
    """Reads the shop's messages in the default format, whatever the format on the topics.

    Attributes
    ----------
    reader
        Reads the messages; its producer id is the shop's.
    topics
        Names of the topics.
    message_format
        The format on the topics.
    by_content
        Whether `reader` reads the messages of every producer.
    """

    reader: Reader
    topics: Topics
    message_format: Format
    by_content: bool = False

    async def chunks(self, tp: TopicPartition, start: int, end: int) -> AsyncGenerator[Chunk, None]:
        """Yield the messages of a partition between two offsets. Raises DamagedTopicError."""
        position = start
        async with aclosing(self.reader.all_chunks(tp, start, end)) as chunks:  # type: ignore[type-var]
            while True:
                try:
                    chunk = await anext(chunks, None)
                except DamagedLogError as error:
                    raise DamagedTopicError(tp, position) from error
                if chunk is None:
                    return
                position = chunk.end
                yield replace(chunk, messages=await self._plain(tp.topic, chunk.messages))

    async def fetch(self, tp: TopicPartition, position: int) -> tuple[list[Message], int]:
        """Return the next messages from a position, and the position after them. Raises DamagedTopicError."""
        try:
            messages, position = await self.reader.fetch(tp, position)
        except DamagedLogError as error:
            raise DamagedTopicError(tp, position) from error
        return await self._plain(tp.topic, messages), position

    async def whole(self, topic: str, report: AuditReport) -> tuple[list[Message], int]:
        """Return the shop's remaining messages on a topic with one partition, and how many others were deleted.

        Reports deleted messages, and counts those of other producers. Raises DamagedTopicError.
        """
        tp = TopicPartition(topic, 0)
        first, end = await self.reader.bounds(tp)
        deleted = await self.deleted_before(tp, first)
        if deleted is not None and deleted.number != 0:
            report.add(AuditFinding("deleted", topic, 0, first, deleted.text))
        messages: list[Message] = []
        async with aclosing(self.chunks(tp, first, end)) as chunks:
            async for chunk in chunks:
                messages += chunk.messages
                report.foreign_in(topic).note(0, chunk.foreign)
        return messages, 0 if deleted is None else deleted.number or 0

    async def deleted_before(self, tp: TopicPartition, first: int) -> Deleted | None:
        """Return what was deleted at the start of a partition whose first offset is `first`; None: nothing."""
        if not first:
            return None
        return Deleted(first, first if self.by_content else await self.reader.count_before(tp, first))

    async def _plain(self, topic: str, messages: list[Message]) -> list[Message]:
        """Return messages in the default format; messages in no valid format unchanged."""
        what = next((name for name in self.topics._fields if getattr(self.topics, name) == topic), "")
        return messages if what in ("", "dead_letters") else list(await self.message_format.plain(what, messages))


@dataclass(frozen=True, slots=True)
class PartitionedTopics:
    """The topics with several partitions, as they were at one moment.

    Attributes
    ----------
    firsts, ends
        The first offset of each partition, and the offset after its last message.
    """

    log: LogReader
    partitions: int
    firsts: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]

    @classmethod
    async def now(cls, log: LogReader, partitions: int) -> "PartitionedTopics":
        """Read the first and end offsets of the topics from the cluster."""
        topics = log.topics
        ends: dict[TopicPartition, int] = {}
        # In this order: the sales include that of each restock and dead letter, the lost sales those before the sales.
        for group in ((topics.stockings, topics.dead_letters), (topics.purchases,), (topics.lost_sales,)):
            ends |= await log.reader.ends(TopicPartition(topic, n) for topic in group for n in range(partitions))
        return cls(log, partitions, await log.reader.firsts(ends), ends)

    @property
    def purchases(self) -> int:
        """Number of purchases, an upper bound."""
        own = (TopicPartition(self.log.topics.purchases, partition) for partition in range(self.partitions))
        return sum(self.ends[tp] - self.firsts[tp] for tp in own)

    def end(self, topic: str, partition: int) -> tuple[TopicPartition, int]:
        """Return a partition, and its end offset."""
        tp = TopicPartition(topic, partition)
        return tp, self.ends[tp]

    async def are_copies(self) -> bool:
        """Return whether there are messages, and none of their batches has the shop's own producer id."""
        has_messages = False
        for tp, end in self.ends.items():
            try:
                chunks = self.log.reader.all_chunks(tp, self.firsts[tp], end)
                async with aclosing(chunks) as all_chunks:  # type: ignore[type-var]
                    async for chunk in all_chunks:
                        if chunk.count is not None:
                            return False
                        has_messages = has_messages or bool(chunk.foreign)
            except DamagedLogError:
                continue  # it is reported when the partition is audited
        return has_messages

    async def deleted_in(self, partition: int) -> dict[str, Deleted]:
        """Return what was deleted at the start of a partition, by topic."""
        deleted = {}
        for topic in self.log.topics.partitioned:
            tp = TopicPartition(topic, partition)
            what = await self.log.deleted_before(tp, self.firsts[tp])
            if what is not None:
                deleted[topic] = what
        return deleted

    def chunks(self, topic: str, partition: int) -> AsyncGenerator[Chunk, None]:
        """Yield the messages of a partition. Raises DamagedTopicError."""
        tp, end = self.end(topic, partition)
        return self.log.chunks(tp, self.firsts[tp], end)

    async def counted_chunks(self, topic: str, partition: int, report: AuditReport) -> AsyncGenerator[Chunk, None]:
        """Yield the messages of a partition, and count those of other producers. Raises DamagedTopicError."""
        foreign = report.foreign_in(topic)
        async with aclosing(self.chunks(topic, partition)) as chunks:
            async for chunk in chunks:
                if chunk.foreign:
                    foreign.note(partition, chunk.foreign)
                yield chunk

    async def counted_messages(
        self, topic: str, partition: int, report: AuditReport
    ) -> AsyncGenerator[list[Message], None]:
        """Yield only the shop's messages, as `counted_chunks`; none of the lists is empty."""
        async with aclosing(self.counted_chunks(topic, partition, report)) as chunks:
            async for chunk in chunks:
                if chunk.messages:
                    yield chunk.messages

    async def substitutions(self, plan: Plan, products: Sequence[Product], report: AuditReport) -> Substitutions:
        """Return the comparison of the substitutions of all partitions, as far as both of its topics are complete."""
        topics = self.log.topics
        return Substitutions(
            topics,
            plan,
            {product.product_id: default_partition(product.product_id, self.partitions) for product in products},
            report,
            sold_until=await self._latest(topics.purchases, last_sale),
            lost_until=await self._latest(topics.lost_sales, last_lost_sale),
            sold_since=await self._earliest(topics.purchases, last_sale),
            lost_since=await self._earliest(topics.lost_sales, last_lost_sale),
        )

    async def _latest(self, topic: str, time_of: TimeOf) -> dict[int, datetime]:
        """Return the event time of the shop's last messages in each partition of a topic."""
        return {partition: await self._last_time(topic, partition, time_of) for partition in range(self.partitions)}

    async def _last_time(self, topic: str, partition: int, time_of: TimeOf) -> datetime:
        # The last offsets may be transaction markers, or messages of other producers.
        tp, end = self.end(topic, partition)
        for start, stop in stretches_back(self.firsts[tp], end, LAST_OFFSETS):
            try:
                async with aclosing(self.log.chunks(tp, start, stop)) as chunks:
                    latest = max([time_of(chunk.messages) async for chunk in chunks], default=BEGINNING_OF_TIME)
            except DamagedTopicError:
                return BEGINNING_OF_TIME
            if latest != BEGINNING_OF_TIME:
                return latest
        return BEGINNING_OF_TIME

    async def _earliest(self, topic: str, time_of: TimeOf) -> dict[int, datetime]:
        """Return the event time of the shop's first message in each partition whose start was deleted."""
        earliest = {}
        for partition in range(self.partitions):
            if not self.firsts[TopicPartition(topic, partition)]:
                continue
            try:
                async with aclosing(self.chunks(topic, partition)) as chunks:
                    async for chunk in chunks:
                        times = [time_of([message]) for message in chunk.messages]
                        readable = [at for at in times if at != BEGINNING_OF_TIME]
                        if readable:
                            earliest[partition] = readable[0]
                            break
            except DamagedTopicError:
                continue
        return earliest
