"""A Faust transport that delivers purchases and lost sales in chunks, from positions stored in the table.

Faust handles one event per topic and fetch, which carries a chunk for each partition; for Faust it is an event of the
first of them. After a rebalance a partition is read from the position in the recovered table, not from the group's
committed offset. The lease commits that offset (see partition_assignment.py), for tools that monitor the group.
Everything else is Faust's own aiokafka transport.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import faust
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.errors import RebalanceInProgressError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from yasdg_app.errors import RENAMED
from yasdg_app.faust_runtime.fetched_batches import FetchedBatch, group_chunks, split_chunk
from yasdg_app.kafka.batch_reader import bound_consumers
from yasdg_app.kafka.reader import Chunk, DamagedLogError, add_batch

if TYPE_CHECKING:
    from yasdg_app.faust_runtime.shop_app import ShopApp

bound_consumers()

FETCH_WAIT_MILLISECONDS = 100  # that a fetch waits for new records; Faust's value is 1500
CREATE_TIME = 0  # the protocol's value for a timestamp that the cluster did not set
CONFIRM_SECONDS = 2.0  # max time for the group to confirm a lease; after it the lease is not confirmed


class ChunkRecords(PartitionRecords):
    """The records fetched from a partition as one chunk; only aiokafka's parser is used.

    aiokafka creates an object with eleven fields for every message, which takes longer than all processing here. It
    also does not say who wrote a message, and does not report a range of the log without messages.
    """

    next_fetch_offset: int
    producer_id: int

    @classmethod
    def of(cls, records: PartitionRecords, producer_id: int) -> "ChunkRecords":
        """Wrap fetched records that were not parsed yet; `producer_id`: the shop's."""
        isolation = records._isolation_level
        chunked = cls(records._tp, records._records, [], records.next_fetch_offset, None, None, True, isolation)
        chunked.producer_id = producer_id
        return chunked

    def _unpack_records(self) -> Iterator[Chunk | DamagedLogError]:
        """Yield a chunk, and then the error if the log is damaged after it."""
        chunk = Chunk(self._tp, self.next_fetch_offset, self.next_fetch_offset, [], [])
        damage = None
        while damage is None and self._records.has_next():
            try:
                add_batch(chunk, self._records.next_batch(), self.producer_id)
            except DamagedLogError as error:
                damage = error
        self.next_fetch_offset = chunk.end
        if chunk.end > chunk.begin:
            yield chunk
        if damage is not None:
            yield damage


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread around aiokafka's consumer; it fetches more often and delivers whole batches."""

    app: "ShopApp"

    async def on_start(self) -> None:
        """Connect, then change two behaviours of aiokafka."""
        await super().on_start()
        self._fetch_chunks()
        self._commit_as_member()

    def _fetch_chunks(self) -> None:
        """Make the fetcher deliver chunks for the chunked topics."""
        fetcher = self._ensure_consumer()._fetcher
        process = fetcher._proc_fetch_request

        async def process_as_chunks(*request: Any) -> bool:
            is_new: bool = await process(*request)
            try:
                for tp, fetched in fetcher._records.items():
                    records = fetched._partition_records if isinstance(fetched, FetchResult) else None
                    if type(records) is PartitionRecords and tp.topic in self.app.assignment.topics:
                        fetched._partition_records = ChunkRecords.of(records, self.app.shop.manifest.producer_id)
            except RENAMED as error:  # aiokafka would stop fetching without an error
                await self.crash(error)
                raise
            return is_new

        fetcher._proc_fetch_request = process_as_chunks

    def _commit_as_member(self) -> None:
        """Prevent commits from the moment when the member has to rejoin the group until it has rejoined.

        The cluster answers such a commit only after the rejoin, with an error about the previous generation. aiokafka
        applies it to the new generation, gives up its membership and rejoins, and so on without end.
        """
        consumer = self._ensure_consumer()
        coordinator, subscription = consumer._coordinator, consumer._subscription
        commit = coordinator._do_commit_offsets

        async def commit_as_member(*commit_of: Any) -> None:
            if subscription.reassignment_in_progress or coordinator._rejoin_needed_fut.done():
                raise RebalanceInProgressError(coordinator.group_id)
            await commit(*commit_of)

        coordinator._do_commit_offsets = commit_as_member

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # The cluster answers a connection's requests in order: each request waits for the fetch before it.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MILLISECONDS
        return consumer


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Leaves the changelogs to the table, which reads them itself. Called in the consumer's thread."""

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Pause the changelogs before anything is fetched from them; then do Faust's part."""
        changelogs = self._thread.app.tables.changelog_topics
        self._thread._ensure_consumer().pause(*(tp for tp in assigned if tp.topic in changelogs))
        await super().on_partitions_assigned(assigned)


class Consumer(driver.Consumer):
    """Delivers purchases and lost sales in chunks: one message per topic, whose value is a `FetchedBatch`."""

    RebalanceListener = RebalanceListener
    app: "ShopApp"

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._confirming: asyncio.Task[bool] | None = None
        self._unacked: list[FetchedBatch] = []  # of the last fetch

    def _chunked(self, tp: TP) -> bool:
        return tp.topic in self.app.assignment.topics

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Yield the fetched chunks of the chunked topics, and the messages of others one by one."""
        while self._unacked:
            await self._unacked.pop().wait_acked()
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if not records or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return

        def is_stale() -> bool:
            return not self.flow_active or self.app.consumer_generation_id != generation

        others = {}
        chunks: defaultdict[str, list[Chunk]] = defaultdict(list)
        for tp, fetched in records.items():
            if not self._chunked(tp):
                others[tp] = fetched
            elif active is None or tp in active or tp in self._buffered_partitions:
                for chunk in fetched:
                    if isinstance(chunk, DamagedLogError):
                        await self.app.crash(chunk)
                        return
                    chunks[tp.topic] += split_chunk(chunk, self.app.assignment.max_batch[tp.partition])
        for topic_chunks in chunks.values():
            for grouped in group_chunks(topic_chunks):
                if is_stale():
                    return
                batch = FetchedBatch(grouped, generation)
                self._unacked.append(batch)
                self._read_offset[TP(*batch.tp)] = None  # otherwise Faust drops what is fetched a second time
                yield TP(*batch.tp), self._message_of(batch)
        for tp, record in self.scheduler.iterate(others):
            if is_stale():
                return
            if active is None or tp in active or tp in self._buffered_partitions:
                yield tp, self._to_message(tp, record)

    def _message_of(self, batch: FetchedBatch) -> ConsumerMessage:
        first = batch.chunks[0]
        tp = TP(*first.tp)
        at = first.messages[-1].timestamp / 1000.0 if first.messages else time.time()
        value = cast(Any, batch)  # Faust's type says bytes
        return ConsumerMessage(
            tp.topic, tp.partition, first.end - 1, at, CREATE_TIME, [], None, value, None, 0, 0, tp,
            generation_id=batch.generation,
        )  # fmt: skip

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust would warn from the fifth minute on that changelogs are idle and nothing is committed.

        Both is intended. /health reports what matters: whether sales and the table keep up.
        """

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._chunked(tp):  # the offsets inside a chunk are no gaps
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset for Faust to commit; None for the topics whose offsets the lease commits."""
        if not self._chunked(tp):
            offset: int | None = super()._new_offset(tp)
            return offset
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return None

    async def confirm(self, positions: Mapping[TP, tuple[int, str]]) -> bool:
        """Commit positions with metadata; return whether the group accepted them, so the partitions are still ours.

        Raises AttributeError and the like if the private names of aiokafka that we rely on have changed.
        """
        consumer = self._thread._ensure_consumer()

        async def commit() -> bool:
            offsets = {TopicPartition(tp.topic, tp.partition): noted for tp, noted in positions.items()}
            try:
                await consumer.commit(offsets)
            except RENAMED:  # not an absent broker: we would never be confirmed, and sell nothing without an error
                raise
            except Exception:  # after any error, the group has not confirmed us
                return False
            return True

        async def confirm() -> bool:
            if self._confirming is None or self._confirming.done():
                if self._confirming is not None and not self._confirming.cancelled():
                    self._confirming.result()  # raises the exception of a commit that timed out, see below
                self._confirming = asyncio.ensure_future(commit())
                # aiokafka continues a commit whose caller has timed out: let it finish, and start no second one.
                await asyncio.wait({self._confirming}, timeout=CONFIRM_SECONDS)
                return self._confirming.done() and self._confirming.result()
            return False

        return bool(await self._thread.call_thread(confirm))

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Store the generation before its recovery begins."""
        self.app.assignment.assigned = generation_id
        await super().on_partitions_assigned(assigned, generation_id)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek purchases and lost sales to the table's positions, once after each recovery."""
        assignment = self.app.assignment
        if assignment.generation != self.app.consumer_generation_id:
            return {}  # the recovery is not over; Faust calls this again at its end
        positions = dict(assignment.positions)
        await self.go_to(positions)
        return positions

    async def go_to(self, positions: Mapping[TP, int]) -> None:
        """Fetch from these positions on, as far as the partitions are still assigned."""
        consumer = self._thread._ensure_consumer()

        async def seek() -> None:  # in the consumer's thread: Faust seeks from ours, which breaks aiokafka
            for tp in consumer.assignment():
                if tp in positions:
                    consumer.seek(tp, positions[tp])
                    self._read_offset[tp] = positions[tp]

        await self._thread.call_thread(seek)


class Transport(driver.Transport):
    """Faust's aiokafka transport with our consumer."""

    Consumer = Consumer

    async def _create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: all topics were created when the shop was opened, and the cluster may be unavailable now."""


class Chunks(faust.Schema[Any, Any]):
    """Leaves chunks undecoded: the agents decode them."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:
        """Return None: a chunk has many keys."""

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> FetchedBatch:
        """Return the batch in the message."""
        batch: FetchedBatch = message.value
        return batch
