"""Reading partitions: a chunk at a time, in no group, changing nothing. Must not know what the messages say.

aiokafka's consumer makes an object of eleven fields of every message, which is half the time of an audit; here messages
are what its parser in C returns: `offset`, `timestamp`, `key`, `value`, `headers`.

Offsets are not message numbers: markers of transactions take offsets, compaction and deletion leave gaps, and the log
may end with either. So a position is the offset to fetch next, as the batches say it, and how many records a producer
has appended is what its batches say, too.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
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
    "END",
    "READ_UNCOMMITTED",
    "Chunk",
    "DamagedLogError",
    "Message",
    "Reader",
    "Unparsed",
    "add_batch",
    "read_all",
]

FETCH_BYTES = 2 * 2**20
PROBE_BYTES = 4096  # of a fetch of which only the first batch counts: the cluster sends that one whole
FETCH_WAIT = 500  # milliseconds that the cluster may wait where nothing is new
FIRST, END = -2, -1  # what the protocol calls the first offset and the one behind the last
READ_UNCOMMITTED = 0
CANNOT_ASK = (NotImplementedError, UnsupportedVersionError, IncompatibleBrokerVersion, TopicAuthorizationFailedError)
"""A cluster before Apache Kafka 2.8, or one that does not let us ask for producers."""


class DamagedLogError(YasdgError):
    """A batch does not match its checksum: it was damaged on the broker's disk or on its way.

    `offset`: where it was read from; `next_offset`: the first one after the batch, as far as its header is right.
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
        The offsets: nothing is missing between them, whether there are messages or not. `end` is to be fetched next.
    messages
        Those of the producer that is read, in order; of everyone where no producer is named.
    foreign
        Those that other producers wrote, in order.
    count
        How many records the producer had appended to the partition by the end of its last batch here, modulo SEQUENCES;
        None: there is no batch of it here.
    is_damaged
        True: it was passed over, because it does not match its checksum.
    """

    tp: TopicPartition
    begin: int
    end: int
    messages: list[Message]
    foreign: list[Message]
    count: int | None = None
    is_damaged: bool = False


def add_batch(chunk: Chunk, batch: Batch, producer_id: int | None, *, with_foreign: bool = True) -> None:
    """Append to a chunk what a batch holds from the end of the chunk on.

    `producer_id`: see `Reader`; `with_foreign`: False leaves out what other producers wrote. Raises DamagedLogError.
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


class Reader:
    """Reads partitions of a cluster. Connects when it is first used; to be stopped, or used with `async with`.

    `producer_id`: the producer whose messages are read, as their batches say it; None: everyone's.
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
        return await self._offsets(tps, FIRST)

    async def ends(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets behind the last messages."""
        return await self._offsets(tps, END)

    async def since(self, tp: TopicPartition, timestamp: int) -> int | None:
        """Return the offset of the first message of a time (milliseconds) or later; None if there is none."""
        offset = (await self._offsets([tp], timestamp))[tp]
        return None if offset < 0 else offset

    async def last(self, tp: TopicPartition) -> tuple[Message | None, int]:
        """Return the last message of the producer, and how many records it has appended to the partition.

        The message is None if there is none; the number is then what an empty batch says that compaction left, or what
        the broker remembers. It is modulo SEQUENCES.
        """
        first, end = (await self.firsts([tp]))[tp], (await self.ends([tp]))[tp]
        count: int | None = None
        stop, stretch = end, 1
        while stop > first:
            start = max(first, stop - stretch)
            message: Message | None = None
            found: int | None = None
            async for chunk in self.all_chunks(tp, start, stop, with_foreign=False):
                message = chunk.messages[-1] if chunk.messages else message
                found = found if chunk.count is None else chunk.count
            count = found if count is None else count
            if message is not None:
                return message, count or 0
            stop, stretch = start, min(stretch * 16, 100_000)
        return None, (await self._remembered(tp) or 0) if count is None else count

    async def count(self, tp: TopicPartition) -> int:
        """Return how many records the producer has appended to the partition, modulo SEQUENCES, as its last batch says.

        Where none is left, what the broker remembers counts. The checksum is not looked at: the cluster compares the
        number with its own at the next append.
        """
        first, end = (await self.firsts([tp]))[tp], (await self.ends([tp]))[tp]
        stop, stretch = end, 1
        while stop > first:
            position = start = max(first, stop - stretch)
            found = None
            while position < stop:
                batches = await self._batches(tp, position)
                found = next((count_at_end(batch) for batch in reversed(batches) if self._is_own(batch)), found)
                position = max((batch.next_offset for batch in batches), default=stop)
            if found is not None:
                return found
            stop, stretch = start, min(stretch * 16, 100_000)
        return await self._remembered(tp) or 0

    async def _remembered(self, tp: TopicPartition) -> int | None:
        """Return how many records the producer has appended, as the leader remembers it; None: it does not.

        Raises KafkaError.
        """
        if self._producer_id is None:
            return None

        async def ask() -> int | None:
            response = await self._cluster.send_to_leader(tp, DescribeProducersRequest(*tp))
            return last_sequence(response, producer_id)

        producer_id = self._producer_id
        try:
            sequence = await retry(ask, self._cluster.forget_leaders)
        except CANNOT_ASK:
            return None
        return None if sequence is None else (sequence + 1) % SEQUENCES

    async def count_before(self, tp: TopicPartition, offset: int) -> int | None:
        """Return how many records the producer had appended to the partition before an offset, modulo SEQUENCES.

        The reader has to be one of a single producer. None if nothing says it: the producer has appended nothing, or
        what it had appended was deleted, and the broker has forgotten it.
        """
        first, end = (await self.firsts([tp]))[tp], (await self.ends([tp]))[tp]
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
        """Yield the producer's messages from one offset up to another; none of the lists is empty."""
        async for chunk in self.all_chunks(tp, start, end, with_foreign=False):
            if chunk.messages:
                yield chunk.messages

    async def all_chunks(
        self, tp: TopicPartition, start: int, end: int, *, with_foreign: bool = True, skip_damaged: bool = False
    ) -> AsyncIterator[Chunk]:
        """Yield what a partition holds from one offset up to another; the next chunk is fetched meanwhile.

        `with_foreign`: False leaves out what other producers wrote; `skip_damaged`: True passes over damaged batches,
        each a chunk that says so. Otherwise raises DamagedLogError.
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
                    logger.warning("%s It is passed over.", error)
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
                # One that has failed by now would be told of by asyncio, with a traceback.
                fetching.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def fetch(self, tp: TopicPartition, position: int) -> tuple[list[Message], int]:
        """Return the next messages from an offset on, and the offset to fetch next; waits a little if there is none."""
        chunk = await self.fetch_chunk(tp, position, with_foreign=False)
        return chunk.messages, chunk.end

    async def fetch_chunk(
        self, tp: TopicPartition, position: int, end: int | None = None, *, with_foreign: bool = True
    ) -> Chunk:
        """Return what comes next from an offset on, in whole batches; waits a little if there is nothing.

        `end`: batches from this offset on are left out; `with_foreign`: False leaves out what other producers wrote.
        Raises DamagedLogError.
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
                break  # what comes before it is whole
        return chunk

    async def read(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, list[Message]]:
        """Return all messages from the given offsets to the present ends; deleted ones are left out."""
        firsts, ends = await self.firsts(starts), await self.ends(starts)
        messages: dict[TopicPartition, list[Message]] = {}
        for tp, start in starts.items():
            messages[tp] = [m async for chunk in self.chunks(tp, max(start, firsts[tp]), ends[tp]) for m in chunk]
        return messages

    async def _offsets(self, tps: Iterable[TopicPartition], which: int) -> dict[TopicPartition, int]:
        listed = list(tps)

        async def ask() -> dict[TopicPartition, int]:
            by_leader: defaultdict[int, defaultdict[str, list[tuple[int, int]]]] = defaultdict(
                lambda: defaultdict(list)
            )
            for tp in listed:
                by_leader[await self._cluster.leader(tp)][tp.topic].append((tp.partition, which))
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

        found = await retry(ask, self._cluster.forget_leaders)
        return {tp: found[tp] for tp in listed}

    async def _batches(self, tp: TopicPartition, position: int, size: int = FETCH_BYTES) -> list[Batch]:
        """Return the next batches, that of an offset first. Raises KafkaError."""

        async def ask() -> list[Batch]:
            topics = [(tp.topic, [(tp.partition, position, size)])]
            request = FetchRequest(FETCH_WAIT, 1, size, READ_UNCOMMITTED, topics)
            ((_, ((_, code, _, *_, data),)),) = (await self._cluster.send_to_leader(tp, request)).topics
            check(code)
            batches, found = Batches(data), []
            while (batch := batches.next_batch()) is not None:
                found.append(batch)
            if data and not found:
                raise DamagedLogError(tp, position, position + 1)
            return found

        return await retry(ask, self._cluster.forget_leaders)

    def _is_own(self, batch: Batch) -> bool:
        return not batch.is_control_batch and batch.producer_id == self._producer_id


async def read_all(connection: Connection, topic: str, producer_id: int | None = None) -> list[Message]:
    """Return all messages of a topic of one partition; `producer_id`: see `Reader`."""
    tp = TopicPartition(topic, 0)
    async with Reader(connection, producer_id) as reader:
        return (await reader.read({tp: 0}))[tp]
