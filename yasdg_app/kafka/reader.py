"""Reads partitions chunk by chunk, without a consumer group and without side effects.

aiokafka's consumer makes an object of eleven fields for every message, which takes half the time of an audit. Here
messages are what its C parser returns: `offset`, `timestamp`, `key`, `value`, `headers`. Must not know their content.

Offsets are not message numbers: transaction markers take offsets, compaction and deletion leave gaps, and the log may
end with either. So positions (the offset to fetch next) and the number of records that a producer has appended are both
taken from batch headers.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import IncompatibleBrokerVersion, TopicAuthorizationFailedError, UnsupportedVersionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.batch_reader import Batch, Batches, Message, Unparsed
from yasdg_app.kafka.batch_writer import SEQUENCES
from yasdg_app.kafka.client import Cluster, check, retry
from yasdg_app.kafka.describe_producers import DescribeProducersRequest, last_sequence

logger = logging.getLogger(__name__)

__all__ = [
    "LATEST",
    "READ_UNCOMMITTED",
    "Chunk",
    "DamagedLogError",
    "Message",
    "Reader",
    "Unparsed",
    "add_batch",
    "read_all",
    "stretches_back",
]

FETCH_BYTES = 2 * 2**20
PROBE_BYTES = 4096  # of a fetch for one batch: the broker sends the first batch whole, however large it is
FETCH_WAIT_MS = 500  # for which the broker may wait for new messages
MAX_STRETCH = 100_000  # offsets that are searched at a time
EARLIEST, LATEST = -2, -1  # in an OffsetRequest: the first offset, and the one after the last
READ_UNCOMMITTED = 0
NO_PRODUCER_STATE = (
    NotImplementedError, UnsupportedVersionError, IncompatibleBrokerVersion, TopicAuthorizationFailedError,
)  # fmt: skip
"""What DescribeProducers raises on a cluster before Apache Kafka 2.8, or without the permission for it."""


class DamagedLogError(YasdgError):
    """A batch does not match its checksum: it was damaged on the broker's disk or in transit.

    `offset`: where reading began; `next_offset`: the first offset after the batch, if its header is intact.
    """

    def __init__(self, tp: TopicPartition, offset: int, next_offset: int) -> None:
        self.offset = offset
        self.next_offset = next_offset
        super().__init__(
            f"{tp.topic}, partition {tp.partition}, offset {offset}: the checksum of the batch does not match, so it "
            "was damaged on the broker's disk. Check the disk, restore the partition from a replica or a backup, and "
            "start again."
        )


@dataclass(slots=True)
class Chunk:
    """What a partition holds from one offset to another.

    Attributes
    ----------
    tp
        The partition.
    begin, end
        The offsets, without a gap between them, whether there are messages or not. `end` is the offset to fetch next.
    messages
        Messages of the reader's producer, in order; of all producers if the reader has none.
    foreign
        Messages of other producers, in order.
    count
        How many records the reader's producer had appended to the partition by the end of its last batch here, modulo
        SEQUENCES; None if the chunk has no batch of it.
    is_damaged
        True for a batch that was skipped because it does not match its checksum.
    """

    tp: TopicPartition
    begin: int
    end: int
    messages: list[Message]
    foreign: list[Message]
    count: int | None = None
    is_damaged: bool = False


def add_batch(chunk: Chunk, batch: Batch, producer_id: int | None, *, with_foreign: bool = True) -> None:
    """Append to a chunk the messages of a batch from the chunk's end on.

    `producer_id`: see `Reader`; `with_foreign`: False omits messages of other producers. Raises DamagedLogError.
    """
    if not batch.validate_crc():
        raise DamagedLogError(chunk.tp, chunk.end, max(chunk.end + 1, batch.next_offset))
    is_own = batch.producer_id == producer_id
    if is_own:
        chunk.count = count_at_end(batch)
    if not batch.is_control_batch and (with_foreign or is_own or producer_id is None):
        messages = batch.records(is_own=is_own)
        if messages and messages[0].offset < chunk.end:  # a batch is sent whole, even from the middle of it
            messages = [message for message in messages if message.offset >= chunk.end]
        (chunk.messages if is_own or producer_id is None else chunk.foreign).extend(messages)
    chunk.end = max(chunk.end, batch.next_offset)


def count_at_end(batch: Batch) -> int:
    """Return how many records the producer of a batch had appended to the partition with it, modulo SEQUENCES."""
    return int(batch.base_sequence + batch.last_offset_delta + 1) % SEQUENCES


def stretches_back(first: int, end: int, length: int = 1) -> Iterator[tuple[int, int]]:
    """Yield the offsets of stretches of a log from its end back to its beginning, each (start, stop).

    `length`: of the first stretch, in offsets. Each is 16 times as long as the previous one, up to MAX_STRETCH. Usually
    the first one contains what is searched for.
    """
    stop = end
    while stop > first:
        start = max(first, stop - length)
        yield start, stop
        stop, length = start, min(length * 16, MAX_STRETCH)


class Reader:
    """Reads partitions of a cluster. Connects when it is first used. Stop it, or use it with `async with`.

    All methods raise KafkaError if the cluster does not respond; those that return messages also raise DamagedLogError.

    `producer_id`: the producer whose messages are read, by the ids in their batches; None: those of all producers.
    """

    def __init__(self, connection: Connection, producer_id: int | None = None) -> None:
        self._cluster = Cluster(connection)
        self._producer_id = producer_id

    async def __aenter__(self) -> "Reader":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Disconnect."""
        await self._cluster.close()

    async def firsts(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets of the first messages."""
        return await self._offsets(tps, EARLIEST)

    async def ends(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets after the last messages."""
        return await self._offsets(tps, LATEST)

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """Return the offset of a partition's first message, and the one after its last."""
        return (await self.firsts([tp]))[tp], (await self.ends([tp]))[tp]

    async def since(self, tp: TopicPartition, timestamp: int) -> int | None:
        """Return the offset of the first message at or after a timestamp (milliseconds since 1970); None if absent."""
        offset = (await self._offsets([tp], timestamp))[tp]
        return None if offset < 0 else offset

    async def last(self, tp: TopicPartition) -> tuple[Message | None, int]:
        """Return the producer's last message, and how many records it has appended to the partition, modulo SEQUENCES.

        If no message is left, it is None. The number then comes from an empty batch that compaction has left, or else
        from the broker's memory.
        """
        count: int | None = None
        for start, stop in stretches_back(*await self.bounds(tp)):
            message: Message | None = None
            found: int | None = None
            async for chunk in self.all_chunks(tp, start, stop, with_foreign=False):
                message = chunk.messages[-1] if chunk.messages else message
                found = found if chunk.count is None else chunk.count
            count = found if count is None else count
            if message is not None:
                return message, count or 0
        return None, (await self._remembered(tp) or 0) if count is None else count

    async def count(self, tp: TopicPartition) -> int:
        """Return how many records the producer has appended to the partition, modulo SEQUENCES, by its last batch.

        If no batch is left, the number is the one that the broker remembers. Checksums are not verified: at the next
        append the broker compares the number with its own.
        """
        for start, stop in stretches_back(*await self.bounds(tp)):
            position, found = start, None
            while position < stop:
                batches = await self._batches(tp, position)
                found = next((count_at_end(batch) for batch in reversed(batches) if self._is_own(batch)), found)
                position = max((batch.next_offset for batch in batches), default=stop)
            if found is not None:
                return found
        return await self._remembered(tp) or 0

    async def _remembered(self, tp: TopicPartition) -> int | None:
        """Return how many records the producer has appended, as the leader remembers it; None if it does not."""
        if self._producer_id is None:
            return None

        async def request() -> int | None:
            response = await self._cluster.send_to_leader(tp, DescribeProducersRequest(*tp))
            return last_sequence(response, producer_id)

        producer_id = self._producer_id
        try:
            sequence = await retry(request, self._cluster.forget_leaders)
        except NO_PRODUCER_STATE:
            return None
        return None if sequence is None else (sequence + 1) % SEQUENCES

    async def count_before(self, tp: TopicPartition, offset: int) -> int | None:
        """Return how many records the producer had appended to the partition before an offset, modulo SEQUENCES.

        The reader needs a producer id. None if it cannot be known: the producer has appended nothing, or its records
        were deleted and the broker has forgotten it.
        """
        first, end = await self.bounds(tp)
        if first < offset <= end:
            batches = await self._batches(tp, offset - 1, PROBE_BYTES)
            if batches and self._is_own(batches[0]) and batches[0].base_offset < offset:
                return int(batches[0].base_sequence + offset - batches[0].base_offset) % SEQUENCES
        position = begin = max(first, offset)  # a log may begin in the middle of a batch
        while position < end:
            for batch in await self._batches(tp, position):
                if self._is_own(batch):
                    return int(batch.base_sequence + max(0, begin - batch.base_offset)) % SEQUENCES
                position = max(position, batch.next_offset)
        return await self._remembered(tp)

    async def chunks(self, tp: TopicPartition, start: int, end: int) -> AsyncIterator[list[Message]]:
        """Yield the producer's messages from offset `start` up to `end`, in lists that are not empty."""
        async for chunk in self.all_chunks(tp, start, end, with_foreign=False):
            if chunk.messages:
                yield chunk.messages

    async def all_chunks(
        self, tp: TopicPartition, start: int, end: int, *, with_foreign: bool = True, skip_damaged: bool = False
    ) -> AsyncIterator[Chunk]:
        """Yield what a partition holds from offset `start` up to `end`; the next chunk is prefetched.

        `with_foreign`: False omits messages of other producers; `skip_damaged`: for each damaged batch, True yields a
        chunk that is marked as damaged, instead of raising DamagedLogError.
        """

        def fetch(position: int) -> "asyncio.Future[Chunk]":
            return asyncio.ensure_future(self.fetch_chunk(tp, position, end, with_foreign=with_foreign))

        fetching = fetch(start) if start < end else None
        try:
            while fetching is not None:
                try:
                    chunk = await fetching
                except DamagedLogError as error:
                    if not skip_damaged:
                        raise
                    logger.warning("%s The batch is skipped.", error)
                    chunk = Chunk(tp, error.offset, error.next_offset, [], [], is_damaged=True)
                fetching = fetch(chunk.end) if chunk.end < end else None
                if chunk.end > end:
                    chunk.messages = [message for message in chunk.messages if message.offset < end]
                    chunk.foreign = [message for message in chunk.foreign if message.offset < end]
                    chunk.end = end
                yield chunk
        finally:
            if fetching is not None:
                fetching.cancel()
                # Otherwise asyncio would log the failure of a fetch that is never awaited, with a traceback.
                fetching.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def fetch(self, tp: TopicPartition, position: int) -> tuple[list[Message], int]:
        """Return the next messages from an offset on, and the offset to fetch next.

        Waits up to FETCH_WAIT_MS if there are none yet.
        """
        chunk = await self.fetch_chunk(tp, position, with_foreign=False)
        return chunk.messages, chunk.end

    async def fetch_chunk(
        self, tp: TopicPartition, position: int, end: int | None = None, *, with_foreign: bool = True
    ) -> Chunk:
        """Return what comes next from an offset on, in whole batches; waits up to FETCH_WAIT_MS if there is nothing.

        `end`: batches from this offset on are omitted; `with_foreign`: False omits messages of other producers.
        """
        chunk = Chunk(tp, position, position, [], [])
        for batch in await self._batches(tp, position):
            if end is not None and batch.base_offset >= end:
                chunk.end = max(chunk.end, end)  # compaction left nothing before it
                break
            try:
                add_batch(chunk, batch, self._producer_id, with_foreign=with_foreign)
            except DamagedLogError:
                if chunk.end == position:
                    raise
                break  # the batches before it are intact
        return chunk

    async def read(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, list[Message]]:
        """Return all messages from the given offsets to the current ends; deleted ones are omitted."""
        firsts, ends = await self.firsts(starts), await self.ends(starts)
        messages: dict[TopicPartition, list[Message]] = {}
        for tp, start in starts.items():
            messages[tp] = [m async for chunk in self.chunks(tp, max(start, firsts[tp]), ends[tp]) for m in chunk]
        return messages

    async def _offsets(self, tps: Iterable[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        """Return the offsets at a timestamp: milliseconds since 1970, EARLIEST or LATEST; -1 where there is none."""
        listed = list(tps)

        async def request() -> dict[TopicPartition, int]:
            by_leader: defaultdict[int, defaultdict[str, list[tuple[int, int]]]] = defaultdict(
                lambda: defaultdict(list)
            )
            for tp in listed:
                by_leader[await self._cluster.leader(tp)][tp.topic].append((tp.partition, timestamp))
            requests = [
                self._cluster.send(leader, OffsetRequest(-1, READ_UNCOMMITTED, list(topics.items())))
                for leader, topics in by_leader.items()
            ]
            offsets: dict[TopicPartition, int] = {}
            for response in await asyncio.gather(*requests):
                for topic, partitions in response.topics:
                    for partition, code, *_, offset in partitions:
                        check(code)
                        offsets[TopicPartition(topic, partition)] = int(offset)
            return offsets

        found = await retry(request, self._cluster.forget_leaders)
        return {tp: found[tp] for tp in listed}

    async def _batches(self, tp: TopicPartition, position: int, size: int = FETCH_BYTES) -> list[Batch]:
        """Return the next batches, the one that holds the offset `position` first."""

        async def request() -> list[Batch]:
            topics = [(tp.topic, [(tp.partition, position, size)])]
            fetch = FetchRequest(FETCH_WAIT_MS, 1, size, READ_UNCOMMITTED, topics)
            ((_, ((_, code, _, *_, data),)),) = (await self._cluster.send_to_leader(tp, fetch)).topics
            check(code)
            batches, found = Batches(data), []
            while (batch := batches.next_batch()) is not None:
                found.append(batch)
            if data and not found:
                raise DamagedLogError(tp, position, position + 1)
            return found

        return await retry(request, self._cluster.forget_leaders)

    def _is_own(self, batch: Batch) -> bool:
        return not batch.is_control_batch and batch.producer_id == self._producer_id


async def read_all(connection: Connection, topic: str, producer_id: int | None = None) -> list[Message]:
    """Return all messages of a topic that has one partition; `producer_id`: see `Reader`.

    Raises KafkaError and DamagedLogError.
    """
    tp = TopicPartition(topic, 0)
    async with Reader(connection, producer_id) as reader:
        return (await reader.read({tp: 0}))[tp]
