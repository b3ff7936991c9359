"""The agent that keeps the inventory: it reads purchases and lost sales, updates the table, and publishes restocks.

The order for each chunk: compute its effect; append the restocks, then the dead letters, then the table's changelog,
each after the cluster has confirmed the one before; change the table. If the worker dies before the changelog is
appended, the chunk is processed again, and what was published for it is not published again; if it dies after that, the
chunk is skipped.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OffsetOutOfRangeError
from faust.types import TP

from yasdg_app.aggregates.windows import Windows
from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.errors import YasdgError
from yasdg_app.faust_runtime.fetched_batches import FetchedBatch
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment, PublishedState
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.inventory.projection import AppliedChunk, InventoryProjection
from yasdg_app.inventory.row_updates import shelf_of
from yasdg_app.kafka.batch_reader import Message
from yasdg_app.kafka.client import is_retriable
from yasdg_app.kafka.producer import ProducerRecord, RecordsRejectedError, SequenceConflictError, StaleStateError
from yasdg_app.kafka.reader import Chunk
from yasdg_app.kafka.topic_policies import MAX_DEAD_LETTER_BYTES
from yasdg_app.messages.encoders import encode_restock
from yasdg_app.messages.formats import original_of
from yasdg_app.pipeline.foreign_log import ForeignLog, foreign_reason
from yasdg_app.pipeline.restore import (
    CUT_LETTER_BYTES,
    SequenceConflictTracker,
    check_table,
    cut_log,
    dead_letter,
    is_cut,
    read_published_state,
    shorter,
)
from yasdg_app.shop.shelf import Shelf

logger = logging.getLogger(__name__)

MAX_CHUNKS_IN_FLIGHT = 16
"""Chunks that wait or are processed; with those fetched before them they bound a worker's memory."""
CHECK_SECONDS = 3.0
"""Between two checks of where the logs begin and end."""
RETRY_SECONDS = 0.2
"""Between two attempts to restore partitions."""

IsOwner = Callable[[], bool]


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
    """

    def __init__(
        self,
        shop: RunningShop,
        life: Lifecycle,
        assignment: PartitionAssignment,
        follower: ControlFollower,
        table: ChunkedTable,
        windows: Windows,
    ) -> None:
        self._shop = shop
        self._life = life
        self._assignment = assignment
        self._follower = follower
        self._table = table
        self._windows = windows
        self._kafka = shop.settings.kafka
        self._projection = InventoryProjection(table.catalog)
        # One chunk at a time writes to a partition's table, of purchases or of lost sales, in order of arrival.
        self._partition_locks = {partition: asyncio.Lock() for partition in range(self._kafka.partitions)}
        self._in_flight_limit = asyncio.Semaphore(MAX_CHUNKS_IN_FLIGHT)
        self._restore_lock = asyncio.Lock()
        self._reload_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._conflicts = SequenceConflictTracker()
        self._foreign_log = ForeignLog()
        self._last_check: dict[TP, int] = {}  # positions at the last check of the logs
        self._max_letter_bytes = MAX_DEAD_LETTER_BYTES  # of a copy; less, once the cluster has refused one

    # --- After a rebalance ----------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Read, after a rebalance, the table and what else is known of our partitions; from then on they are active."""
        assignment, life = self._assignment, self._life
        async with self._restore_lock:  # another rebalance may happen meanwhile
            generation = assignment.assigned
            partitions = self._table.assigned_partitions()
            began = time.monotonic()
            while not life.should_stop and generation == assignment.group_generation:
                try:
                    positions, published = await self._read_state(partitions)
                except KafkaError as error:
                    # Where a log begins may have changed since it was asked for, by retention.
                    if not is_retriable(error) and not isinstance(error, OffsetOutOfRangeError):
                        await life.crash(error)
                        return
                    logger.warning("Partitions cannot be restored: %s. Retrying.", error)
                    await asyncio.sleep(RETRY_SECONDS)
                except Exception as error:  # Faust would continue as if nothing had happened
                    await life.crash(error)
                    return
                else:
                    assignment.activate(generation, positions, published)
                    self._windows.activate(generation, positions)
                    logger.info(
                        "Assigned %d partitions; restored %d table rows in %.1f s",
                        *(len(partitions), len(self._table.data), time.monotonic() - began),
                    )
                    return

    async def _read_state(self, partitions: list[int]) -> tuple[dict[TP, int], dict[int, PublishedState]]:
        """Recover the table; return the next offsets to process, and what the output topics contain."""
        shop, table = self._shop, self._table
        await table.recover(partitions)
        positions = await check_table(shop.own_reader, self._kafka, table, partitions)
        published = await read_published_state(shop.own_reader, self._kafka, table, partitions, shop.format)
        if shop.settings.clock.on_restart == "skip":
            await shop.control.announce_presence()
        await self._follower.refresh()
        return positions, published

    async def _reload_state(self) -> None:
        """Restore our partitions as if they were new: another producer has written, or a response was lost."""
        self._assignment.invalidate()  # chunks in flight are abandoned
        async with AsyncExitStack() as all_locks:
            for lock in self._partition_locks.values():
                await all_locks.enter_async_context(lock)
            await self.restore()
        await self._assignment.seek(self._assignment.positions)

    # --- Chunks ---------------------------------------------------------------------------------------------------

    async def run(self, stream: Any) -> None:
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
            async with self._partition_locks[tp.partition]:
                published = assignment.published
                is_outdated = await self._is_outdated_after_applying(tp, chunk, batch.generation)
            if is_outdated:
                await asyncio.sleep(RETRY_SECONDS)
                async with self._reload_lock:
                    if published is assignment.published:  # else it was reloaded meanwhile
                        await self._reload_state()
        except Exception as error:  # the rest stays unprocessed: a crashing app processes nothing more
            if not self._life.should_stop:
                await self._life.crash(error)
        finally:
            assignment.in_flight[tp.partition] -= 1
            batch.ack()
            self._in_flight_limit.release()

    async def _is_outdated_after_applying(self, tp: TP, chunk: Chunk, generation: int) -> bool:
        """Apply a chunk if possible; return whether the known state of the logs turned out to be out of date."""
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
            return True
        return False

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
                await self._skip_deleted(tp)
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
        counted = self._windows.count(tp.partition, applied) if are_sales and plain else None
        applied.sales, applied.sales_by_product = [], None  # the next steps may have to wait for the cluster
        published = assignment.published[tp.partition]
        letters = dead_letters_of(chunk, applied)
        if not (
            await self._publish_restocks(tp.partition, applied, published, is_owner)
            and await self._publish_dead_letters(tp, letters, published, is_owner)
        ):
            return False
        if not await self._table.write(tp.partition, applied.levels, is_owner):
            return False
        positions[tp] = max(positions[tp], chunk.end)
        if are_sales:
            self._windows.add(tp.partition, applied, counted)
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

    async def _publish_dead_letters(
        self, tp: TP, letters: list[tuple[Message, str]], published: PublishedState, is_owner: IsOwner
    ) -> bool:
        """Copy foreign messages to the dead-letter topic, except those that a worker before us has copied."""
        done = published.dead_lettered.get(tp.topic, -1)
        letters = [letter for letter in letters if letter[0].offset > done]
        for message, reason in letters:
            self._foreign_log.note(tp, message.offset, reason)
        max_bytes, topic = self._max_letter_bytes, self._kafka.topic_dead_letters
        rows = (dead_letter(tp, message, reason, published.dead_lettered, max_bytes) for message, reason in letters)
        try:
            appended = await self._shop.producer.append(
                topic, tp.partition, published.dead_letters, rows, is_owner
            )  # fmt: skip
        except RecordsRejectedError as error:
            if not isinstance(error.__cause__, MessageSizeTooLargeError) or max_bytes == CUT_LETTER_BYTES:
                raise
            logger.warning("%s Copies of more than %d bytes are cut.", error, CUT_LETTER_BYTES)
            self._max_letter_bytes = CUT_LETTER_BYTES
            raise StaleStateError(str(error)) from error  # those before it may have been appended
        if letters and appended.complete:
            published.dead_letters += len(letters)
            published.dead_lettered[tp.topic] = letters[-1][0].offset
            self._shop.counts["dead_letters"] += len(letters)
        return appended.complete

    # --- The logs -------------------------------------------------------------------------------------------------

    async def _skip_deleted(self, tp: TP) -> None:
        """Continue at the first remaining message, if the messages before it were deleted after they were processed.

        Nothing else may be applied to the partition in the meantime. Raises InconsistentLogError if messages were
        deleted that the table does not contain.
        """
        assignment, reader = self._assignment, self._shop.own_reader
        generation, position = assignment.generation, assignment.positions[tp]
        first = (await reader.firsts([tp]))[tp]
        if first <= position:
            return
        count = await reader.count_before(tp, first)
        if not assignment.is_active_in(generation):
            return  # the table has been replaced in the meantime
        if is_cut(count, self._table, self._kafka, tp):
            raise cut_log(tp, position, first)
        assignment.positions[tp] = first

    async def check_logs(self) -> None:
        """Check that the logs still contain what is to be processed, and report the number of foreign messages."""
        self._foreign_log.report()
        assignment, life = self._assignment, self._life
        generation = assignment.generation
        if not assignment.is_active or life.is_closing:
            return
        positions = dict(assignment.positions)
        try:
            await self._check_logs(positions, generation)
        except KafkaError as error:
            is_permanent = not is_retriable(error) and not isinstance(error, OffsetOutOfRangeError)
            if is_permanent and generation == assignment.generation and not life.should_stop:
                await life.crash(error)
            logger.debug("The logs cannot be checked: %r", error)
        except YasdgError as error:
            if generation == assignment.generation and not life.should_stop:
                await life.crash(error)
        self._last_check = positions

    async def _check_logs(self, positions: Mapping[TP, int], generation: int | None) -> None:
        assignment, reader = self._assignment, self._shop.own_reader
        firsts, ends = await reader.firsts(positions), await reader.ends(positions)
        for tp, position in positions.items():
            if generation != assignment.generation:
                return
            # What was fetched before the deletion is processed first; a lagging broker may not have all of it yet.
            if self._last_check.get(tp) != position:
                continue
            if firsts[tp] <= position <= ends[tp]:
                if position < ends[tp] and not assignment.is_busy(tp.partition):
                    await reader.fetch_chunk(tp, position, with_foreign=False)  # raises if that is impossible
                continue
            async with self._partition_locks[tp.partition]:
                if generation != assignment.generation or assignment.positions[tp] != position:
                    continue
                if ends[tp] < position:
                    raise shorter(tp, ends[tp], position)
                await self._skip_deleted(tp)


def dead_letters_of(chunk: Chunk, applied: AppliedChunk) -> list[tuple[Message, str]]:
    """Return the foreign messages of a chunk, each with the reason, in the order of the log."""
    foreign = [(message, foreign_reason(message)) for message in chunk.foreign]
    return sorted(
        (*foreign, *itertools.starmap(original_of, applied.dead_letters)), key=lambda letter: letter[0].offset
    )


class TableShelves(Mapping[str, Shelf]):
    """The shelves of a partition according to the table, by product_id; each is created on access."""

    def __init__(self, table: ChunkedTable, partition: int) -> None:
        self._table = table
        self._rows = table.store_of(partition)

    def __getitem__(self, product_id: str) -> Shelf:
        level = self._table.level_of(product_id)
        if level is None:
            raise KeyError(product_id)
        return shelf_of(self._table.catalog[product_id], level)

    def __iter__(self) -> Iterator[str]:
        return (product.product_id for product in self._rows.products())

    def __len__(self) -> int:
        return len(self._rows)
