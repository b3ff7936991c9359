"""The one idempotent producer that all workers of a shop share: the broker fences any worker that is out of date.

An idempotent producer's batches carry its id and a base sequence, the number of its first record in the partition; the
broker rejects a batch whose base sequence is not the next one. Usually that guards against a producer's own retries.
Here all workers write under one id, kept in the manifest, so it guards against every other worker as well: a worker
that was paused, lost its partitions and resumes is rejected by the broker, without transactions and at no cost. See
docs/decisions/one-producer.md. Must not know what is appended, nor why.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.batch_writer import NO_COMPRESSION, SEQUENCES, ZSTD, Records, batch
from yasdg_app.kafka.client import REQUEST_TIMEOUT_SECONDS, RETRY_SECONDS, Cluster, check, retry
from yasdg_app.kafka.topic_policies import rejection

BATCH_BYTES = 1_000_000  # before compression; by default a topic accepts batches of 1 MB
COALESCE_MAX_BYTES = 65_536  # batches up to this size that go to the same broker share a request
COMPRESS_MIN_RECORDS = 32  # compressing fewer costs more than it saves
ALL_REPLICAS = -1
NO_APPEND_TIME = -1  # in a response: the batch is new; a timestamp means that its sequence numbers were there before
PRODUCER_EPOCH = 0  # always

Responses = Mapping[TopicPartition, tuple[int, int, int]]
"""By partition: error code, offset of the first record, and the timestamp of an existing batch or NO_APPEND_TIME."""


class StaleStateError(YasdgError):
    """The worker's state of the partition is out of date: it has to read the log before it continues."""


class SequenceConflictError(StaleStateError):
    """Another worker has appended to the partition: the base sequence is not the one that the broker expects."""


class UnknownOutcomeError(StaleStateError):
    """The broker did not respond: the records may or may not be in the log.

    Sending them again would be safe as long as the broker remembers the producer. It forgets a producer whose last
    record has an old timestamp (by default a day), and records of a gap or a backfill have such timestamps.
    """


class RecordsRejectedError(YasdgError):
    """The broker rejects the records, and would reject them again."""


class ProducerRecord(NamedTuple):
    """A record to append."""

    key: bytes | None
    value: bytes | None
    timestamp: int  # milliseconds since 1970
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class AppendResult:
    """What was appended: all records, or if `complete` is False only the first batches of them."""

    complete: bool
    offset: int  # of the first record; -1 if none was appended


def always() -> bool:
    """Return True: every batch may be sent."""
    return True


class ShopProducer:
    """Appends to partitions as the one producer of a shop. Connects when it is first used.

    Parameters
    ----------
    connection
        To the cluster.
    producer_id
        The shop's; see `new_producer_id`.

    Attributes
    ----------
    seconds, batches
        Total time spent waiting for brokers to append batches, and the number of batches.
    """

    def __init__(self, connection: Connection, producer_id: int) -> None:
        self._cluster = Cluster(connection)
        self._servers = connection.servers
        self._producer_id = producer_id
        self._waiting: dict[object, float] = {}
        self._pending: dict[int, _PendingRequest] = {}  # by broker
        # A broker processes the requests of a connection one at a time: batches that arrive meanwhile share the next.
        self._broker_locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.seconds = 0.0
        self.batches = 0

    @property
    def waiting_since(self) -> float | None:
        """When the oldest append without a response began, by time.monotonic(); None if there is none."""
        return min(self._waiting.values(), default=None)

    async def stop(self) -> None:
        """Disconnect."""
        await self._cluster.close()

    async def append(
        self,
        topic: str,
        partition: int,
        base_sequence: int,
        records: Iterable[ProducerRecord],
        is_owner: Callable[[], bool] = always,
        atomic: bool = False,
    ) -> AppendResult:
        """Append records in order; return when all in-sync replicas have them.

        Parameters
        ----------
        base_sequence
            How many records this shop has appended to the partition so far. The records are appended only if this is
            what the broker counts as well.
        records
            Consumed as they are sent, so there may be many.
        is_owner
            Called before each batch, as late as possible: whether this worker may still write. After False nothing
            more is sent.
        atomic
            True: the records are appended all or none, and a batch of another worker with the same sequence numbers is
            a conflict. (The broker takes such a batch for a retry. That is right where the number determines the
            record, as for sales, and wrong where workers may divide records differently.)

        Raises
        ------
        SequenceConflictError
            If another worker has appended meanwhile, so that `base_sequence` is not what the broker counts.
        UnknownOutcomeError
            If a batch was sent, and no response arrived.
        RecordsRejectedError
            If the broker rejects the records for good, or atomic ones exceed BATCH_BYTES.
        """
        batches = self.batches_of(base_sequence, records)
        if atomic:
            batches = list(batches)
            if len(batches) > 1:
                raise RecordsRejectedError(
                    f"{topic}, partition {partition}: an atomic append exceeds {BATCH_BYTES} bytes"
                )
        return await self.append_batches(topic, partition, batches, is_owner, atomic)

    async def append_batches(
        self,
        topic: str,
        partition: int,
        batches: Iterable[bytes],
        is_owner: Callable[[], bool] = always,
        atomic: bool = False,
    ) -> AppendResult:
        """Append what `batches_of` or `batches_of_records` returned, at the base sequence given there.

        Parameters, result and exceptions are those of `append`.
        """
        tp, offset = TopicPartition(topic, partition), -1
        for finished in batches:
            appended_at = await self._send(tp, finished, is_owner, atomic)
            if appended_at is None:
                return AppendResult(False, offset)
            offset = appended_at if offset < 0 else offset
        return AppendResult(True, offset)

    def batches_of(self, base_sequence: int, records: Iterable[ProducerRecord]) -> Iterable[bytes]:
        """Yield record batches of records; `base_sequence`: how many records of the shop precede them."""
        records = iter(records)
        head = list(islice(records, COMPRESS_MIN_RECORDS))
        compression = ZSTD if len(head) == COMPRESS_MIN_RECORDS else NO_COMPRESSION
        builder, count = self._new_batch(base_sequence, compression), 0
        for key, value, timestamp, headers in chain(head, records):
            if builder.append(count, timestamp, key, value, list(headers)) is None:
                yield bytes(builder.build())
                builder, count = self._new_batch(base_sequence := base_sequence + count, compression), 0
                builder.append(count, timestamp, key, value, list(headers))
            count += 1
        if count:
            yield bytes(builder.build())

    def batches_of_records(self, base_sequence: int, encoded: Iterable[Records]) -> Iterable[bytes]:
        """Yield a record batch for each group of encoded records; `base_sequence`: as for `batches_of`."""
        for records in encoded:
            yield batch(records, base_sequence % SEQUENCES, self._producer_id, PRODUCER_EPOCH)
            base_sequence += records.count

    def _new_batch(self, base_sequence: int, compression: int) -> Any:
        return DefaultRecordBatchBuilder(
            magic=2, compression_type=compression, is_transactional=0, producer_id=self._producer_id,
            producer_epoch=PRODUCER_EPOCH, base_sequence=base_sequence % SEQUENCES, batch_size=BATCH_BYTES,
        )  # fmt: skip

    async def _send(
        self, tp: TopicPartition, finished: bytes, is_owner: Callable[[], bool], atomic: bool
    ) -> int | None:
        """Append a batch, waiting for an unavailable broker. Return its offset; None if `is_owner` returned False."""
        this = object()
        began = self._waiting[this] = time.monotonic()
        try:
            leader = await self._leader(tp, is_owner)
            return None if leader is None else await self._send_to(tp, leader, finished, is_owner, atomic)
        finally:
            del self._waiting[this]
            self.seconds += time.monotonic() - began
            self.batches += 1

    async def _leader(self, tp: TopicPartition, is_owner: Callable[[], bool]) -> int | None:
        while is_owner():
            try:
                return await self._cluster.leader(tp)
            except KafkaError as error:
                if not error.retriable:
                    raise self._rejection(tp, error) from error
                self._cluster.forget_leaders()
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _send_to(
        self, tp: TopicPartition, leader: int, finished: bytes, is_owner: Callable[[], bool], atomic: bool
    ) -> int | None:
        try:
            responses = await self._request(tp, leader, finished, is_owner)
            if tp not in responses:
                return None
            code, offset, timestamp = responses[tp]
            check(code)
        except OutOfOrderSequenceNumber as error:
            raise _conflict(tp) from error
        except KafkaError as error:
            if not error.retriable:
                raise self._rejection(tp, error) from error
            self._cluster.forget_leaders()
            raise UnknownOutcomeError(f"{tp.topic}, partition {tp.partition}: no response ({error})") from error
        if atomic and timestamp != NO_APPEND_TIME:
            raise _conflict(tp)
        return offset

    async def _request(
        self, tp: TopicPartition, leader: int, finished: bytes, is_owner: Callable[[], bool]
    ) -> Responses:
        """Send a batch to its broker, a small one in a shared request; no response if `is_owner` returned False."""
        if len(finished) > COALESCE_MAX_BYTES:
            return await self._produce(leader, {tp: finished}) if is_owner() else {}
        pending = self._pending.get(leader)
        if pending is None or tp in pending.batches:
            pending = self._pending[leader] = _PendingRequest({})
            pending.responses = asyncio.ensure_future(self._produce_pending(leader, pending))
        pending.batches[tp] = finished, is_owner
        # A caller that is cancelled does not cancel the request of the others.
        return await asyncio.shield(pending.responses)

    async def _produce_pending(self, leader: int, pending: "_PendingRequest") -> Responses:
        await asyncio.sleep(0)  # let all tasks that are ready to append add their batches
        async with self._broker_locks[leader]:
            if self._pending.get(leader) is pending:
                del self._pending[leader]
            batches = {tp: finished for tp, (finished, is_owner) in pending.batches.items() if is_owner()}
            return await self._produce(leader, batches) if batches else {}

    async def _produce(self, leader: int, batches: Mapping[TopicPartition, bytes]) -> Responses:
        topics: dict[str, list[tuple[int, bytes]]] = {}
        for tp, finished in batches.items():
            topics.setdefault(tp.topic, []).append((tp.partition, finished))
        request = ProduceRequest(
            transactional_id=None,
            required_acks=ALL_REPLICAS,
            timeout=int(REQUEST_TIMEOUT_SECONDS * 1000),
            topics=list(topics.items()),
        )
        response = await self._cluster.send(leader, request)
        return {
            TopicPartition(topic, partition): (code, int(offset), timestamp)
            for topic, partitions in response.topics
            for partition, code, offset, timestamp, *_ in partitions
        }

    def _rejection(self, tp: TopicPartition, error: KafkaError) -> RecordsRejectedError:
        return RecordsRejectedError(rejection(tp.topic, tp.partition, error.errno, str(error), self._servers))


def _conflict(tp: TopicPartition) -> SequenceConflictError:
    return SequenceConflictError(f"{tp.topic}, partition {tp.partition}: another worker has appended records")


@dataclass(slots=True)
class _PendingRequest:
    """Small batches for one broker that share a produce request."""

    batches: dict[TopicPartition, tuple[bytes, Callable[[], bool]]]  # each with its `is_owner`
    responses: "asyncio.Future[Responses]" = field(init=False)


async def new_producer_id(connection: Connection) -> int:
    """Return a producer id that the cluster assigns to no other producer. Raises KafkaError."""
    cluster = Cluster(connection)

    async def request() -> int:
        response = await cluster.send_to_any(InitProducerIdRequest(None, 0))
        check(response.error_code)
        return int(response.producer_id)

    try:
        return await retry(request)
    finally:
        await cluster.close()
