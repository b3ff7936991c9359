"""The producer that all workers of a shop are together: it appends each record once, whoever else tries.

An idempotent producer's batches carry its id and the number of its first record in the partition, and the cluster
refuses a batch whose number is not the next one. Ordinarily that guards against a producer's own retries. Here all
workers write under one id, kept in the opening, so it guards against every other worker as well: one that was stopped,
lost its partitions and goes on is refused by the cluster, at no cost, with no transaction, whatever it believes. See
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
from yasdg_app.kafka.client import REQUEST_SECONDS, RETRY, Cluster, check, patiently
from yasdg_app.kafka.topic_policies import refusal

BATCH_BYTES = 1_000_000  # before they are compressed; a topic takes 1 MB at most by default
SMALL = 65_536  # bytes; smaller batches for one broker go together
FEW = 32  # rows; to compress fewer takes more than it is worth
ALL_REPLICAS = -1
TAKEN_NOW = -1  # in an answer in place of the time of a batch that was there already
EPOCH = 0  # of the producer id, for ever

Answers = Mapping[TopicPartition, tuple[int, int, int]]
"""Of each partition the error code, the offset of the first record, and a time or TAKEN_NOW."""


class OutOfDateError(YasdgError):
    """What this worker knows of the partition is out of date: the log has to be read before it goes on."""


class OvertakenError(OutOfDateError):
    """Another worker has appended to the partition meanwhile."""


class UnansweredError(OutOfDateError):
    """The cluster did not answer: the records may be in the log or not.

    To send them again would be right as long as the cluster knows the producer; it forgets one whose last record is of
    yesterday, which records of a gap or a backfill are.
    """


class RefusedError(YasdgError):
    """The cluster does not take our records, and trying again will not change that."""


class Row(NamedTuple):
    """A record to append."""

    key: bytes | None
    value: bytes | None
    timestamp: int  # milliseconds since 1970
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the rows: all of them are in the log, or the first ones at least."""

    complete: bool
    offset: int  # of the first row; -1 if there is none


def always() -> bool:
    """Allow every batch."""
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
        Time spent waiting for the cluster to take batches, and their number.
    """

    def __init__(self, connection: Connection, producer_id: int) -> None:
        self._cluster = Cluster(connection)
        self._servers = connection.servers
        self._producer_id = producer_id
        self._waiting: dict[object, float] = {}
        self._together: dict[int, _Together] = {}  # by broker: what is about to be sent
        # A broker takes the requests of a connection one after the other: what comes meanwhile goes in the next.
        self._turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.seconds = 0.0
        self.batches = 0

    @property
    def waiting_since(self) -> float | None:
        """When the oldest append began that the cluster has not answered, time.monotonic(); None if there is none."""
        return min(self._waiting.values(), default=None)

    async def stop(self) -> None:
        """Disconnect."""
        await self._cluster.close()

    async def append(
        self,
        topic: str,
        partition: int,
        number: int,
        rows: Iterable[Row],
        allowed: Callable[[], bool] = always,
        as_one: bool = False,
    ) -> Appended:
        """Append rows in order; return when the cluster has them.

        Parameters
        ----------
        number
            How many records this shop has appended to the partition so far. The rows are appended only if this is so.
        rows
            Taken as they are needed, so there may be many.
        allowed
            Asked before every batch, as late as possible. After a no nothing more is sent.
        as_one
            True where the rows belong together and another worker may have written others in their place: they stand
            in the log all or none, and a batch of another worker that has their numbers is not taken for them. (The
            cluster does: it knows a batch by its numbers. That is right where a number makes the record, as of a sale.)

        Raises
        ------
        OvertakenError
            If somebody has appended meanwhile: `number` is not what the cluster counts.
        UnansweredError
            If the cluster took a batch, and was lost before it said so, or it did not.
        RefusedError
            If the cluster does not take the records at all.
        """
        batches = self.batches_of(number, rows)
        if as_one:
            batches = list(batches)
            if len(batches) > 1:
                raise RefusedError(f"{topic}, partition {partition}: more than {BATCH_BYTES} bytes in one piece")
        return await self.append_batches(topic, partition, batches, allowed, as_one)

    async def append_batches(
        self,
        topic: str,
        partition: int,
        batches: Iterable[bytes],
        allowed: Callable[[], bool] = always,
        as_one: bool = False,
    ) -> Appended:
        """Append what `batches_of` or `batches_of_records` made, behind the number that it was made for.

        Otherwise as `append`.
        """
        tp, offset = TopicPartition(topic, partition), -1
        for finished in batches:
            answer = await self._send(tp, finished, allowed, as_one)
            if answer is None:
                return Appended(False, offset)
            offset = answer if offset < 0 else offset
        return Appended(True, offset)

    def batches_of(self, number: int, rows: Iterable[Row]) -> Iterable[bytes]:
        """Yield the batches in which rows are appended as those behind the first `number`."""
        rows = iter(rows)
        head = list(islice(rows, FEW))
        compression = ZSTD if len(head) == FEW else NO_COMPRESSION
        builder, count = self._new_batch(number, compression), 0
        for key, value, timestamp, headers in chain(head, rows):
            if builder.append(count, timestamp, key, value, list(headers)) is None:
                yield bytes(builder.build())
                builder, count = self._new_batch(number := number + count, compression), 0
                builder.append(count, timestamp, key, value, list(headers))
            count += 1
        if count:
            yield bytes(builder.build())

    def batches_of_records(self, number: int, records: Iterable[Records]) -> Iterable[bytes]:
        """Yield a batch for each of many records as they stand in batches; as `batches_of` otherwise."""
        for some in records:
            yield batch(some, number % SEQUENCES, self._producer_id, EPOCH)
            number += some.count

    def _new_batch(self, number: int, compression: int) -> Any:
        return DefaultRecordBatchBuilder(
            magic=2, compression_type=compression, is_transactional=0, producer_id=self._producer_id,
            producer_epoch=EPOCH, base_sequence=number % SEQUENCES, batch_size=BATCH_BYTES,
        )  # fmt: skip

    async def _send(self, tp: TopicPartition, finished: bytes, allowed: Callable[[], bool], as_one: bool) -> int | None:
        """Have the cluster take a batch, waiting for one that is away; its offset, or None if `allowed` said no."""
        this = object()
        began = self._waiting[this] = time.monotonic()
        try:
            leader = await self._leader(tp, allowed)
            return None if leader is None else await self._hand_over(tp, leader, finished, allowed, as_one)
        finally:
            del self._waiting[this]
            self.seconds += time.monotonic() - began
            self.batches += 1

    async def _leader(self, tp: TopicPartition, allowed: Callable[[], bool]) -> int | None:
        while allowed():
            try:
                return await self._cluster.leader(tp)
            except KafkaError as error:
                if not error.retriable:
                    raise RefusedError(
                        refusal(tp.topic, tp.partition, error.errno, str(error), self._servers)
                    ) from error
                self._cluster.forget_leaders()
            await asyncio.sleep(RETRY)
        return None

    async def _hand_over(
        self, tp: TopicPartition, leader: int, finished: bytes, allowed: Callable[[], bool], as_one: bool
    ) -> int | None:
        try:
            answers = await self._ask(tp, leader, finished, allowed)
            if tp not in answers:
                return None
            code, offset, timestamp = answers[tp]
            check(code)
        except OutOfOrderSequenceNumber as error:
            raise OvertakenError(f"{tp.topic}, partition {tp.partition}: another worker has appended") from error
        except KafkaError as error:
            if not error.retriable:
                raise RefusedError(refusal(tp.topic, tp.partition, error.errno, str(error), self._servers)) from error
            self._cluster.forget_leaders()
            raise UnansweredError(f"{tp.topic}, partition {tp.partition}: no answer ({error})") from error
        if as_one and timestamp != TAKEN_NOW:
            raise OvertakenError(f"{tp.topic}, partition {tp.partition}: another worker has appended")
        return offset

    async def _ask(self, tp: TopicPartition, leader: int, finished: bytes, allowed: Callable[[], bool]) -> Answers:
        """Hand a batch to its broker, a small one together with others; no answer if it is not allowed any more."""
        if len(finished) > SMALL:
            return await self._produce(leader, {tp: finished}) if allowed() else {}
        together = self._together.get(leader)
        if together is None or tp in together.batches:
            together = self._together[leader] = _Together({})
            together.answers = asyncio.ensure_future(self._produce_together(leader, together))
        together.batches[tp] = finished, allowed
        # Whoever gives up waiting leaves the others' request alone.
        return await asyncio.shield(together.answers)

    async def _produce_together(self, leader: int, together: "_Together") -> Answers:
        await asyncio.sleep(0)  # all that are ready to append at this moment
        async with self._turns[leader]:
            if self._together.get(leader) is together:
                del self._together[leader]
            batches = {tp: finished for tp, (finished, allowed) in together.batches.items() if allowed()}
            return await self._produce(leader, batches) if batches else {}

    async def _produce(self, leader: int, batches: Mapping[TopicPartition, bytes]) -> Answers:
        topics: dict[str, list[tuple[int, bytes]]] = {}
        for tp, finished in batches.items():
            topics.setdefault(tp.topic, []).append((tp.partition, finished))
        request = ProduceRequest(
            transactional_id=None,
            required_acks=ALL_REPLICAS,
            timeout=int(REQUEST_SECONDS * 1000),
            topics=list(topics.items()),
        )
        response = await self._cluster.ask(leader, request)
        return {
            TopicPartition(topic, partition): (code, int(offset), timestamp)
            for topic, partitions in response.topics
            for partition, code, offset, timestamp, *_ in partitions
        }


@dataclass(slots=True)
class _Together:
    """Small batches for one broker, which go in one request."""

    batches: dict[TopicPartition, tuple[bytes, Callable[[], bool]]]  # each with whether it may still be sent
    answers: "asyncio.Future[Answers]" = field(init=False)


async def new_producer_id(connection: Connection) -> int:
    """Return an id that the cluster gives to no other producer. Raises KafkaError if it cannot be had now."""
    cluster = Cluster(connection)

    async def ask() -> int:
        answer = await cluster.ask_any(InitProducerIdRequest(None, 0))
        check(answer.error_code)
        return int(answer.producer_id)

    try:
        return await patiently(ask)
    finally:
        await cluster.close()
