"""What happens on a rebalance: a worker reads where to continue, and which restocks and dead letters are published.

A worker that died may have published restocks for sales that the table does not contain yet. The worker that processes
these sales again must not publish those restocks a second time.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack

import msgspec
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from faust.types import TP

from yasdg_app.aggregates.windows import Windows
from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment, PublishedState
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.kafka.client import is_retriable
from yasdg_app.kafka.decoding import decoded_or_none
from yasdg_app.kafka.reader import DamagedLogError, Reader
from yasdg_app.messages.decoders import read_restock_key
from yasdg_app.messages.formats import Format
from yasdg_app.messages.ids import restock_number
from yasdg_app.pipeline.table_check import check_table, short_log_error

RETRY_SECONDS = 0.2
"""Between two attempts to restore partitions."""

logger = logging.getLogger(__name__)

_read_buried = msgspec.json.Decoder(dict[str, int]).decode


class StateRestorer:
    """Restores the state of this worker's partitions after a rebalance, or when it turned out to be out of date.

    Parameters
    ----------
    shop, life, assignment
        The shop, the worker's life, and the partitions of this worker.
    follower, table, windows
        The plan, the inventory, and the sales over event time: all are brought up to date.
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
        self._restore_lock = asyncio.Lock()

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

    async def reload(self) -> None:
        """Restore our partitions as if they were new: another producer has written, or a response was lost."""
        self._assignment.invalidate()  # chunks in flight are abandoned
        async with AsyncExitStack() as all_locks:
            for lock in self._assignment.locks.values():
                await all_locks.enter_async_context(lock)
            await self.restore()
        await self._assignment.seek(self._assignment.positions)


async def read_published_state(
    reader: Reader, kafka: KafkaSettings, table: ChunkedTable, partitions: Collection[int], form: Format
) -> dict[int, PublishedState]:
    """Return what the output topics already contain, by partition.

    Reads only what was written after the table. `reader`: reads only the shop's own records; `table`: already
    recovered. Raises InconsistentLogError if a log is shorter than the table says, and KafkaError.
    """
    states = await asyncio.gather(
        *(_published_state(reader, kafka, table, partition, form) for partition in partitions)
    )
    return dict(zip(partitions, states, strict=True))


async def _published_state(
    reader: Reader, kafka: KafkaSettings, table: ChunkedTable, partition: int, form: Format
) -> PublishedState:
    stockings, letters = TP(kafka.topic_stockings, partition), TP(kafka.topic_dead_letters, partition)
    published = PublishedState(restocks=await reader.count(stockings))
    # The last restock that the table contains is at this offset or a later one.
    start = int(table.store_of(partition).column("stocking_offset").max(initial=-1))
    first, end = (await reader.firsts([stockings]))[stockings], (await reader.ends([stockings]))[stockings]
    if start >= end:
        raise short_log_error(stockings, end, start)
    begin = max(start, first)
    async for chunk in reader.all_chunks(stockings, begin, end, with_foreign=False, skip_damaged=True):
        for record in await form.plain("stockings", chunk.messages):
            stocking = _restock_of(record.value)
            if stocking is not None and table.catalog.partition_of(stocking[0]) == partition:
                _note(published, table, *stocking)
    try:
        last, published.dead_letters = await reader.last(letters)  # its header lists what was copied before
    except DamagedLogError as error:
        logger.warning("%s Foreign messages may be copied a second time.", error)
        last, published.dead_letters = None, await reader.count(letters)
    if last is not None:
        published.dead_lettered |= _dead_lettered_in(last.headers)
    return published


def _note(published: PublishedState, table: ChunkedTable, product_id: str, number: int) -> None:
    """Record a restock of the log, if it is new."""
    level = table.level_of(product_id)
    known = published.ahead.get(product_id, 0 if level is None else level.stockings)
    if number > known:
        published.ahead[product_id] = number


def _restock_of(value: bytes | None) -> tuple[str, int] | None:
    """Return product and number of a restock; None if it is another producer's message."""
    stocking = decoded_or_none(read_restock_key, value)
    if stocking is None:
        return None
    number = restock_number(stocking.product_id, stocking.stocking_id)
    return None if number is None else (stocking.product_id, number)


def _dead_lettered_in(headers: Sequence[tuple[str, bytes]]) -> dict[str, int]:
    """Return the offsets that a dead letter records as copied; empty if it has none."""
    return decoded_or_none(_read_buried, dict(headers).get("buried")) or {}
