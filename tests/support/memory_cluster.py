"""A cluster of Apache Kafka in memory: logs of record batches, for the shop's own producer and reader.

It keeps the rules that the pipeline relies on: a batch whose base sequence is not the next one of its producer is
refused, and one that is in the log already is taken for a retry.
"""

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.batch_reader import Batch
from yasdg_app.kafka.batch_writer import SEQUENCES
from yasdg_app.kafka.producer import NO_APPEND_TIME, Responses, ShopProducer
from yasdg_app.kafka.reader import EARLIEST, LATEST, Message, Reader

SHOP = 7  # its producer id
FOREIGN = -1


class MemoryCluster:
    """The logs of a cluster.

    `appended`: the topic of each batch that was appended, in order; `before_append`: called for each batch with its
    partition, and may raise KafkaError as if the broker had answered with it; `starts`: offsets before which
    messages were deleted, which does not make a broker forget their producer.
    """

    def __init__(self) -> None:
        self.appended: list[str] = []
        self.before_append: Callable[[TopicPartition], None] = lambda tp: None
        self.starts: dict[TopicPartition, int] = {}
        self._logs: dict[TopicPartition, list[bytes]] = defaultdict(list)

    def append(self, tp: TopicPartition, data: bytes) -> tuple[int, int, int]:
        """Append a batch; return error code, offset and timestamp as a broker does."""
        try:
            self.before_append(tp)
        except KafkaError as error:
            return error.errno, -1, NO_APPEND_TIME
        end, batch = self.end(tp), Batch(data)
        own = self.batches_of(tp, batch.producer_id)
        if batch.producer_id != FOREIGN:
            for each in own:
                if (each.base_sequence, each.last_offset_delta) == (batch.base_sequence, batch.last_offset_delta):
                    return 0, each.base_offset, 1
            if batch.base_sequence != (own[-1].base_sequence + own[-1].last_offset_delta + 1 if own else 0):
                return OutOfOrderSequenceNumber.errno, -1, NO_APPEND_TIME
        self._logs[tp].append(struct.pack(">q", end) + data[8:])
        self.appended.append(tp.topic)
        return 0, end, NO_APPEND_TIME

    def truncate(self, topic: str, partition: int = 0) -> None:
        """Lose the last batch of a log."""
        self._logs[TopicPartition(topic, partition)].pop()

    def append_foreign(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Append messages of another program."""
        builder = DefaultRecordBatchBuilder(
            magic=2, compression_type=0, is_transactional=0, producer_id=FOREIGN, producer_epoch=-1, base_sequence=-1,
            batch_size=2**20,
        )  # fmt: skip
        for place, value in enumerate(values):
            builder.append(place, 0, b"key", value, [])
        self.append(TopicPartition(topic, partition), bytes(builder.build()))

    def end(self, tp: TopicPartition) -> int:
        """The offset after the last message."""
        log = self._logs.get(TopicPartition(*tp))
        return Batch(log[-1]).next_offset if log else 0

    def batches_of(self, tp: TopicPartition, producer_id: int) -> list[Batch]:
        """All batches of a producer, with those that were deleted: what a broker knows of it."""
        batches = map(Batch, self._logs.get(TopicPartition(*tp), ()))
        return [batch for batch in batches if batch.producer_id == producer_id]

    def batches(self, tp: TopicPartition, position: int = 0) -> list[Batch]:
        """The batches from an offset on, each as it was just fetched: a batch can be checked only before it is read."""
        start = max(position, self.starts.get(TopicPartition(*tp), 0))
        return [batch for batch in map(Batch, self._logs.get(TopicPartition(*tp), ())) if batch.next_offset > start]

    def messages(self, topic: str, partition: int = 0) -> list[Message]:
        """All messages of a partition."""
        return [message for batch in self.batches(TopicPartition(topic, partition)) for message in batch.records()]


class MemoryProducer(ShopProducer):
    """The shop's producer, connected to a cluster in memory."""

    def __init__(self, connection: Connection, cluster: MemoryCluster) -> None:
        super().__init__(connection, SHOP)
        self._memory = cluster

    async def _leader(self, tp: TopicPartition, is_owner: Callable[[], bool]) -> int | None:
        return 0 if is_owner() else None

    async def _produce(self, leader: int, batches: Mapping[TopicPartition, bytes]) -> Responses:
        return {tp: self._memory.append(tp, data) for tp, data in batches.items()}


class MemoryReader(Reader):
    """The shop's reader, connected to a cluster in memory; `producer_id`: see `Reader`."""

    def __init__(self, connection: Connection, cluster: MemoryCluster, producer_id: int | None = SHOP) -> None:
        super().__init__(connection, producer_id)
        self._memory = cluster

    async def _offsets(self, tps: Iterable[TopicPartition], timestamp: int) -> dict[TopicPartition, int]:
        if timestamp in (EARLIEST, LATEST):
            return {tp: self._memory.starts.get(tp, 0) if timestamp == EARLIEST else self._memory.end(tp) for tp in tps}
        return {tp: self._since(tp, timestamp) for tp in tps}

    def _since(self, tp: TopicPartition, timestamp: int) -> int:
        messages = self._memory.messages(*tp)
        return next((message.offset for message in messages if message.timestamp >= timestamp), -1)

    async def _batches(self, tp: TopicPartition, position: int, size: int = 0) -> list[Batch]:
        return self._memory.batches(tp, position)

    async def _remembered(self, tp: TopicPartition) -> int | None:
        own = self._memory.batches_of(tp, SHOP)
        return (own[-1].base_sequence + own[-1].last_offset_delta + 1) % SEQUENCES if own else None
