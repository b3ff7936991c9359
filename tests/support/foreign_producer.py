"""Foreign producers on a real Kafka, and the raw logs: the producer of each batch, without the package's own reader.

The code under test must not be used to check itself, so batches are distinguished by their headers alone, and only
those of one producer are decoded.
"""

import asyncio
import struct
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import Random
from typing import Any, NamedTuple, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
    UnknownProducerId,
)
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest
from aiokafka.record.memory_records import MemoryRecords

from support.hostile_records import Attack, Record, record_batch
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.client import Cluster, check

T = TypeVar("T")

ALL_REPLICAS = -1
REQUEST_MS = 15_000
TRANSACTION_MS = 10_000  # after which the cluster aborts an open transaction
RETRY_SECONDS = 0.2
ATTEMPTS = 150
TRANSACTION_COORDINATOR = 1
NOT_YET = (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)
FETCH_BYTES = 4 * 2**20
FIRST, END = -2, -1
_BATCH = struct.Struct(">qiibIhiqqqhii")
_CONTROL = 0x20


class Batch(NamedTuple):
    """The header of a batch in a log."""

    first: int  # offset
    next: int  # offset after its last record
    count: int
    producer_id: int
    is_control: bool
    data: bytes


class ForeignProducer:
    """Appends hostile batches: plain, as an idempotent producer, or in transactions. Connects on first use.

    Parameters
    ----------
    name
        Its transactional id.
    topics
        Names by kind.

    Attributes
    ----------
    appended, refused, unanswered
        Number of records by kind of topic: accepted by the cluster, rejected, and without a known result.
    reasons
        Why records were rejected.
    """

    def __init__(self, connection: Connection, name: str, topics: Mapping[str, str]) -> None:
        self._cluster = Cluster(connection)
        self._name = name
        self._topics = topics
        self._id: tuple[int, int] | None = None  # as an idempotent producer, with the epoch
        self._sequences: Counter[TopicPartition] = Counter()
        self._transaction: tuple[int, int] | None = None
        self._transaction_sequences: Counter[TopicPartition] = Counter()
        self.appended: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    async def stop(self) -> None:
        await self._cluster.close()

    async def append(self, attack: Attack) -> None:
        """Append the records of an attack; count those that the cluster rejects."""
        batches = [(TopicPartition(self._topics[kind], partition), kind, records)
                   for kind, partition, records in attack.batches()]  # fmt: skip
        try:
            if attack.way == "plain":
                for tp, kind, records in batches:
                    await self._produce(tp, kind, records, record_batch(records, attack.compression))
            elif attack.way == "idempotent":
                for tp, kind, records in batches:
                    await self._idempotent(tp, kind, records, attack.compression)
            else:
                await self._in_transaction(batches, attack)
        except KafkaError as error:
            # The broker is unavailable, or has forgotten the id: the next attempt uses a new id.
            self.reasons[f"{attack.way}: {error!r}"[:200]] += 1
            self._id = self._transaction = None
            self._cluster.forget_leaders()
            await asyncio.sleep(RETRY_SECONDS)

    async def _idempotent(self, tp: TopicPartition, kind: str, records: list[Record], compression: str) -> None:
        if self._id is None:
            answer = await patient(lambda: self._cluster.send_to_any(InitProducerIdRequest(None, 0)))
            check(answer.error_code)
            self._id, self._sequences = (answer.producer_id, answer.producer_epoch), Counter()
        batch = record_batch(records, compression, *self._id, self._sequences[tp])
        if await self._produce(tp, kind, records, batch):
            self._sequences[tp] += len(records)

    async def _in_transaction(self, batches: list[tuple[TopicPartition, str, list[Record]]], attack: Attack) -> None:
        if self._transaction is None:
            self._transaction = await self._begin()
        who = self._transaction
        topics: dict[str, list[int]] = {}
        for tp, _, _ in batches:
            if tp.partition not in topics.setdefault(tp.topic, []):
                topics[tp.topic].append(tp.partition)
        answer = await patient(
            lambda: self._ask_coordinator(AddPartitionsToTxnRequest(self._name, *who, list(topics.items()))),
            lambda answer: [code for _, codes in answer.errors for _, code in codes],
        )
        for _, codes in answer.errors:
            for _, code in codes:
                check(code)
        for tp, kind, records in batches:
            batch = record_batch(records, attack.compression, *who, self._transaction_sequences[tp], True)
            if await self._produce(tp, kind, records, batch, self._name):
                self._transaction_sequences[tp] += len(records)
        if attack.way == "abandoned":
            self._transaction = None
        else:
            await patient(
                lambda: self._ask_coordinator(EndTxnRequest(self._name, *who, attack.way == "committed")),
                lambda answer: [answer.error_code],
            )

    async def _begin(self) -> tuple[int, int]:
        answer = await patient(
            lambda: self._ask_coordinator(InitProducerIdRequest(self._name, TRANSACTION_MS)),
            lambda answer: [answer.error_code],
        )
        check(answer.error_code)
        self._transaction_sequences = Counter()
        return answer.producer_id, answer.producer_epoch

    async def _ask_coordinator(self, request: Any) -> Any:
        found = await self._cluster.send_to_any(FindCoordinatorRequest(self._name, TRANSACTION_COORDINATOR))
        check(found.error_code)
        await self._cluster._client.ready(found.coordinator_id)
        return await self._cluster.send(found.coordinator_id, request)

    async def _produce(
        self, tp: TopicPartition, kind: str, records: list[Record], batch: bytes, transaction: str | None = None
    ) -> bool:
        request = ProduceRequest(transaction, ALL_REPLICAS, REQUEST_MS, [(tp.topic, [(tp.partition, batch)])])
        try:
            response = await self._cluster.send_to_leader(tp, request)
        except KafkaError:
            self.unanswered[kind] += len(records)
            raise
        ((_, ((_, code, *_),)),) = response.topics
        try:
            check(code)
        except UnknownProducerId:
            self.refused[kind] += len(records)
            raise
        except KafkaError as error:
            self.refused[kind] += len(records)
            self.reasons[f"{type(error).__name__} on {kind}"] += len(records)
            if transaction is not None or error.retriable:
                raise
            return False
        self.appended[kind] += len(records)
        return True


async def patient(ask: Callable[[], Awaitable[T]], codes: Callable[[T], Iterable[int]] = lambda answer: ()) -> T:
    """Repeat a request while the response is that it is too early. Raises KafkaError."""
    for _ in range(ATTEMPTS):
        try:
            answer = await ask()
            for code in codes(answer):
                check(code)
        except NOT_YET as error:
            last = error
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return answer
    raise last


class Logs:
    """Partitions of a cluster, batch by batch. Connects on first use."""

    def __init__(self, connection: Connection) -> None:
        self._cluster = Cluster(connection)

    async def stop(self) -> None:
        await self._cluster.close()

    async def first(self, tp: TopicPartition) -> int:
        return await self._offset(tp, FIRST)

    async def end(self, tp: TopicPartition) -> int:
        return await self._offset(tp, END)

    async def _offset(self, tp: TopicPartition, which: int) -> int:
        async def ask() -> int:
            request = OffsetRequest(-1, 0, [(tp.topic, [(tp.partition, which)])])
            ((_, ((_, code, *_, offset),)),) = (await self._cluster.send_to_leader(tp, request)).topics
            check(code)
            return int(offset)

        return await self._again(ask)

    async def batches(self, tp: TopicPartition, start: int) -> list[Batch]:
        """Return some batches from an offset on; an empty list at the end."""

        async def ask() -> list[Batch]:
            topics = [(tp.topic, [(tp.partition, start, FETCH_BYTES)])]
            response = await self._cluster.send_to_leader(tp, FetchRequest(100, 1, FETCH_BYTES, 0, topics))
            ((_, ((_, code, _, *_, data),)),) = response.topics
            check(code)
            return list(split(data or b""))

        return await self._again(ask)

    async def all(self, tp: TopicPartition, start: int | None = None) -> list[Batch]:
        """Return all batches up to the current end, or from an offset on."""
        position, end = await self.first(tp) if start is None else start, await self.end(tp)
        found: list[Batch] = []
        while position < end and (some := await self.batches(tp, position)):
            found += some
            position = some[-1].next
        return found

    async def own(self, tp: TopicPartition, producer_id: int, start: int | None = None) -> list[Any]:
        """Return the messages of one producer."""
        batches = await self.all(tp, start)
        return [m for batch in batches if is_of(batch, producer_id) for m in messages(batch)]

    async def _again(self, ask: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return await ask()
            except KafkaError:
                if attempt == ATTEMPTS - 1:
                    raise
                self._cluster.forget_leaders()
                await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError


def split(data: bytes) -> Iterable[Batch]:
    """Yield the complete batches of fetched data."""
    at = 0
    while at + _BATCH.size <= len(data):
        first, length, _, _, _, attributes, last, _, _, producer_id, _, _, count = _BATCH.unpack_from(data, at)
        behind = at + 12 + length
        if behind > len(data):
            return
        yield Batch(first, first + last + 1, count, producer_id, bool(attributes & _CONTROL), data[at:behind])
        at = behind


def is_of(batch: Batch, producer_id: int) -> bool:
    """Return whether a batch was written by a producer."""
    return batch.producer_id == producer_id and not batch.is_control


def messages(batch: Batch) -> list[Any]:
    """Decode the messages of a batch."""
    read = MemoryRecords(batch.data).next_batch()
    return [] if read is None else list(read)


def dice_of(seed: int, name: str) -> Random:
    """Return the random generator of one of several that share a seed."""
    return Random(seed * 2**32 + zlib.crc32(name.encode()))
