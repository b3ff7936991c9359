"""The agent that keeps the inventory: it reads purchases and lost sales, updates the table, and publishes restocks.

The order for each chunk: compute its effect; append the restocks, then the dead letters, then the table's changelog,
each after the cluster has confirmed the one before; change the table. If the worker dies before the changelog is
appended, the chunk is processed again, and what was published for it is not published again; if it dies after that, the
chunk is skipped.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, Callable
from typing import Protocol

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.aggregates.windows import Windows
from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.faust_runtime.fetched_batches import FetchedBatch
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment, PublishedState
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.inventory.projection import AppliedChunk, InventoryProjection
from yasdg_app.kafka.producer import ProducerRecord, SequenceConflictError, StaleStateError
from yasdg_app.kafka.reader import Chunk
from yasdg_app.messages.encoders import encode_restock
from yasdg_app.pipeline.dead_letters import DeadLetterPublisher, dead_letters_of
from yasdg_app.pipeline.log_checks import LogChecker
from yasdg_app.pipeline.restore import StateRestorer
from yasdg_app.pipeline.sequence_conflicts import SequenceConflictTracker

logger = logging.getLogger(__name__)

MAX_CHUNKS_IN_FLIGHT = 16
"""Chunks that wait or are processed; with those fetched before them they bound a worker's memory."""
RELOAD_AFTER_SECONDS = 0.2
"""Time until the state is reloaded after a conflict."""

IsOwner = Callable[[], bool]


class BatchEvent(Protocol):
    """An event of Faust whose value is a batch."""

    @property
    def value(self) -> FetchedBatch: ...


class BatchStream(Protocol):
    """A stream of Faust whose events are batches."""

    def events(self) -> AsyncIterable[BatchEvent]:
        """Yield the events, in the order in which they were fetched."""
        ...


class InventoryAgent:
    """Applies purchases and lost sales to the table.

    Parameters
    ----------
    shop, life, assignment
        The shop, the worker's life, and the partitions of this worker.
    follower
        Keeps the plan up to date.
    table
        The inventory.
    windows
        Sales over event time, for views.
    dead_letters
        Copies foreign messages.
    restorer
        Reloads the state when it turned out to be out of date.
    log_checker
        Finds out what became of messages that are missing from the log.
    """

    def __init__(
        self,
        shop: RunningShop,
        life: Lifecycle,
        assignment: PartitionAssignment,
        follower: ControlFollower,
        table: ChunkedTable,
        windows: Windows,
        dead_letters: DeadLetterPublisher,
        restorer: StateRestorer,
        log_checker: LogChecker,
    ) -> None:
        self._shop = shop
        self._life = life
        self._assignment = assignment
        self._follower = follower
        self._table = table
        self._windows = windows
        self._dead_letters = dead_letters
        self._restorer = restorer
        self._log_checker = log_checker
        self._kafka = shop.settings.kafka
        self._projection = InventoryProjection(table.catalog)
        self._in_flight_limit = asyncio.Semaphore(MAX_CHUNKS_IN_FLIGHT)
        self._reload_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._conflicts = SequenceConflictTracker()

    async def run(self, stream: BatchStream) -> None:
        """Process the chunks of a stream: those of a partition one after the other, different partitions at once."""
        async for event in stream.events():
            for chunk in event.value.chunks:
                await self._in_flight_limit.acquire()
                self._assignment.in_flight[chunk.tp.partition] += 1
                task = asyncio.create_task(self._process(event.value, chunk))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _process(self, batch: FetchedBatch, chunk: Chunk) -> None:
        tp, assignment = TP(*chunk.tp), self._assignment
        try:
            async with assignment.locks[tp.partition]:  # of purchases and of lost sales, in order of arrival
                published = assignment.published
                is_up_to_date = await self._apply_or_invalidate(tp, chunk, batch.generation)
            if not is_up_to_date:
                await asyncio.sleep(RELOAD_AFTER_SECONDS)
                async with self._reload_lock:
                    if published is assignment.published:  # else it was reloaded meanwhile
                        await self._restorer.reload()
        except Exception as error:  # the rest stays unprocessed: a crashing app processes nothing more
            if not self._life.should_stop:
                await self._life.crash(error)
        finally:
            assignment.in_flight[tp.partition] -= 1
            batch.ack()
            self._in_flight_limit.release()

    async def _apply_or_invalidate(self, tp: TP, chunk: Chunk, generation: int) -> bool:
        """Apply a chunk if possible; invalidate the known state of the logs and return False if it is out of date."""
        assignment = self._assignment
        published = assignment.published
        try:
            if await self._apply(tp, chunk, generation):
                self._conflicts.resolve(tp)
        except StaleStateError as error:
            logger.debug("%s. Reloading the table.", error)
            if published is assignment.published:  # else a rebalance has restored it meanwhile
                assignment.invalidate()  # while we hold the lock: the next chunk must not rely on outdated state
            if isinstance(error, SequenceConflictError):  # a cluster that does not respond contradicts nothing
                self._shop.counts["overtaken"] += 1
                self._conflicts.note(tp, chunk.begin, str(error))
            return False
        return True

    async def _apply(self, tp: TP, chunk: Chunk, generation: int) -> bool:
        """Apply a chunk of purchases or of lost sales to the table if it is ours and the next; return whether it was.

        `generation`: of the group when it was fetched. Raises StaleStateError if the table has to be reloaded first,
        InconsistentLogError if log and table contradict each other.
        """
        assignment = self._assignment
        if not assignment.is_active_in(generation):
            return False  # it will be fetched again: the next generation starts at the table's position

        def is_owner() -> bool:
            return assignment.is_active_in(generation)

        positions = assignment.positions
        are_sales = tp.topic == self._kafka.topic_purchases
        if chunk.begin > positions[tp]:  # fetched from another position before a rebalance, or the log was cut
            try:
                await self._log_checker.skip_deleted(tp)
            except KafkaError as error:
                logger.debug("Where %s begins cannot be read: %r", tp, error)
            if not is_owner():
                return False
            if chunk.begin > positions[tp]:
                await assignment.seek({tp: positions[tp]})
                return False
        plain = await self._shop.format.plain("purchases" if are_sales else "lost_sales", chunk.messages)
        await self._follower.wait_up_to_date()  # the chunk's producer may know of incidents that we do not know yet
        if self._life.should_stop or not is_owner():
            return False
        apply_chunk = self._projection.apply_sales if are_sales else self._projection.apply_lost_sales
        plan = self._follower.plan
        applied = apply_chunk(tp, plain, self._table.level_of, plan.supply) if plain else AppliedChunk()
        contribution = self._windows.prepare(tp.partition, applied) if are_sales and plain else None
        applied.sales, applied.sales_by_product = [], None  # the next steps may have to wait for the cluster
        published = assignment.published[tp.partition]
        letters = dead_letters_of(chunk, applied)
        if not (
            await self._publish_restocks(tp.partition, applied, published, is_owner)
            and await self._dead_letters.publish(tp, letters, published, is_owner)
        ):
            return False
        if not await self._table.write(tp.partition, applied.levels, is_owner):
            return False
        positions[tp] = max(positions[tp], chunk.end)
        if are_sales:
            self._windows.add(tp.partition, applied, contribution)
        elif plain:
            self._windows.add_lost(tp.partition, plain)
        return True

    async def _publish_restocks(
        self, partition: int, applied: AppliedChunk, published: PublishedState, is_owner: IsOwner
    ) -> bool:
        """Append the restocks that no worker before us has published; return False if we may not."""
        restocks = [each for each in applied.restocks if each.restock.number > published.ahead.get(each.product_id, 0)]
        write = self._shop.format.write
        rows = (
            ProducerRecord(
                product_id.encode(), write("stockings", encode_restock(product_id, restock)), restock.at // 1000
            )
            for product_id, restock in restocks
        )
        topic = self._kafka.topic_stockings
        appended = await self._shop.producer.append(topic, partition, published.restocks, rows, is_owner)
        if not appended.complete:
            return False
        published.restocks += len(restocks)
        restocked = {each.product_id for each in restocks}
        for level in applied.levels:
            if level.product_id in restocked:
                level.stocking_offset = appended.offset
        self._shop.counts["restocks"] += len(restocks)
        return True
