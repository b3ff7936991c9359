"""Keeps the datastore equal to the table: the current state of each row, not the states in between.

The table flags each row that may differ in the datastore: all rows of a partition that was taken over, and each row
that a sale has changed since. Flagged rows are written in batches, with their current values. So nothing piles up
while the datastore is unavailable, nothing is lost if a worker dies, and sales never wait for the datastore.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

import numpy as np

from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.catalog import Product
from yasdg_app.errors import RENAMED
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import NO_TIME, ChunkedTable, PartitionStore
from yasdg_app.messages.times import time_text
from yasdg_app.shop.demand import Ints
from yasdg_app.sinks.base import Datastore, DatastoreError, StoredLevel, compare, reason

logger = logging.getLogger(__name__)

ROUND_SECONDS = 0.5
"""Between two rounds: a product that sells all the time is written once per round."""
REST_FACTOR = 4.0
"""Pause after a batch, in multiples of the processor time used during the batch: sales have priority."""
FLUSH_RETRY_SECONDS = 0.01
"""Between two attempts at a shutdown, so that the caller can give up."""
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.5, 8.0
"""Between two attempts, if the last one failed."""
REPORT_SECONDS = 5.0
"""Between two log lines of a round that takes long."""

Batch = list[tuple[PartitionStore, Ints]]
"""Rows of some partitions: the store of each, and their local indexes."""


class InventorySink:
    """Writes the rows of this worker's partitions to the datastore.

    Parameters
    ----------
    shop, life, assignment, table
        The shop, the worker's life, its partitions, and the inventory.
    store
        The datastore.

    Attributes
    ----------
    name
        The datastore's name, for people.
    failing
        Whether the last attempt failed.
    written, failures
        Rows that were sent, and attempts that failed, since the start.
    """

    def __init__(
        self,
        shop: RunningShop,
        life: Lifecycle,
        assignment: PartitionAssignment,
        table: ChunkedTable,
        store: Datastore,
    ) -> None:
        self._shop = shop
        self._life = life
        self._assignment = assignment
        self._table = table
        self.name = store.name
        self.failing = False
        self.written = 0
        self.failures = 0
        self._store = store
        self._turn = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._must_compare_all = False  # the datastore may have lost rows
        self._saved_until = time.monotonic()  # all earlier changes are in the datastore
        self._told_of_others = False

    @property
    def waiting(self) -> int:
        """Number of rows that may be missing or outdated in the datastore."""
        return sum(self._table.store_of(partition).changed_count for partition in self._assignment.partitions)

    @property
    def lag(self) -> float:
        """Age of the oldest change that the datastore may lack, in seconds; 0 if it has all."""
        return time.monotonic() - self._saved_until if self.waiting else 0.0

    @property
    def is_behind(self) -> bool:
        """Whether it is worth waiting for: rows are pending, they are ours to write, and the datastore accepts them."""
        return not self.failing and self._assignment.is_active and self.waiting > 0

    async def run(self) -> None:
        """Write as long as the app runs."""
        retry = MIN_RETRY_SECONDS
        while not self._life.should_stop:
            await self._try()
            await self._life.sleep(retry if self.failing else ROUND_SECONDS)
            retry = min(2 * retry, MAX_RETRY_SECONDS) if self.failing else MIN_RETRY_SECONDS

    async def flush(self) -> None:
        """Write the remaining rows, unless the datastore does not accept them or a rebalance interrupts."""
        self._hurry.set()
        while self.is_behind:
            await self._try()
            await asyncio.sleep(FLUSH_RETRY_SECONDS)

    async def _try(self) -> None:
        """Write all pending rows, if the partitions are ours and the datastore accepts them."""
        async with self._turn:
            try:
                await self._write_all()
            except RENAMED:  # not an absent datastore: waiting does not help
                if not self._life.is_closing:
                    raise
                logger.exception("The datastore may lack the last changes.")
                self.failing = True
            except Exception as error:  # sales continue after any error
                self.failures += 1
                if not self.failing:
                    logger.warning(
                        "%s does not take the inventory: %s. Sales go on, and it is brought up to date when it does.",
                        *(self.name, reason(error)),
                        exc_info=not isinstance(error, DatastoreError),
                    )
                self.failing = True

    async def _write_all(self) -> None:
        """Write all pending rows. Raises DatastoreError."""
        self._must_compare_all |= await self._store.open()
        if not self._assignment.is_active:
            return  # the table may be recovering
        stores = {partition: self._table.store_of(partition) for partition in self._assignment.partitions}
        if self._must_compare_all:
            for store in stores.values():
                store.mark_all_changed()
            self._must_compare_all = False
        generation, began = self._assignment.generation, time.monotonic()
        reported, before = began, self.written
        changed = {partition: store.changed_since_save() for partition, store in stores.items()}
        total, done, looked = sum(map(len, changed.values())), 0, began
        for batch in self._batches(stores, changed):
            if not self._assignment.is_active_in(generation):
                return
            now = time.monotonic()
            if now - reported > REPORT_SECONDS:
                reported = now
                logger.info("%s: %d of %d rows of the inventory are compared", self.name, done, total)
            if now - looked > ROUND_SECONDS:  # rows sold in the meantime do not wait for the rest
                looked = now
                sold = {partition: store.take_newly_sold() for partition, store in stores.items()}
                for sold_batch in self._batches(stores, sold):
                    await self._write_and_rest(sold_batch)
            await self._write_and_rest(batch)
            done += sum(len(local_indexes) for _, local_indexes in batch)
        self._works()
        self._saved_until = began
        if reported > began:
            logger.info(
                "%s is up to date: %d rows were compared and %d written, in %.0f s",
                *(self.name, total, self.written - before, time.monotonic() - began),
            )

    def _batches(self, stores: Mapping[int, PartitionStore], rows: Mapping[int, Ints]) -> Iterator[Batch]:
        """Yield rows by partition, given by their local indexes, as batches of the datastore."""
        partitions = np.repeat(list(rows), list(map(len, rows.values())))
        local_indexes = np.concatenate([np.empty(0, np.int64), *rows.values()])
        for start in range(0, len(local_indexes), self._store.batch):
            batch = slice(start, start + self._store.batch)
            yield [
                (stores[partition], local_indexes[batch][partitions[batch] == partition])
                for partition in np.unique(partitions[batch]).tolist()
            ]

    async def _write_and_rest(self, batch: Batch) -> None:
        """Write some rows, then pause, so that writing takes at most a fifth of the worker's processor time.

        The processor time of the write alone cannot be separated from that of sales meanwhile, so the pause covers
        both.
        """
        began = time.process_time()
        await self._write(batch)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), REST_FACTOR * (time.process_time() - began))

    async def _write(self, batch: Batch) -> None:
        """Write the current values of some rows if the datastore's differ. Raises DatastoreError."""
        opened = time_text(self._shop.clock.started)
        states = (state for store, local_indexes in batch for state in store.states(local_indexes))
        levels = [_stored_level(opened, *state) for state in states]
        for store, local_indexes in batch:
            store.mark_saved(local_indexes)  # later changes are written again
        try:
            compared = compare(levels, await self._store.read([level.product_id for level in levels]))
            if compared.to_write:
                await self._store.write(compared.to_write)
        except BaseException:
            for store, local_indexes in batch:
                store.mark_changed(local_indexes)
            raise
        self.written += len(compared.to_write)
        self._works()
        if compared.others and not self._told_of_others:
            self._told_of_others = True
            logger.warning(
                "%s holds the inventory of a shop that was opened later, %s (UTC), which stays. Give this one another.",
                *(self.name, max(compared.others)[:19]),
            )

    def _works(self) -> None:
        if self.failing:
            self.failing = False
            logger.info("%s takes the inventory again; %d rows wait", self.name, self.waiting)


def _stored_level(opened: str, product: Product, level: int, sales: int, last_sale: int) -> StoredLevel:
    last = "" if last_sale == NO_TIME else time_text(last_sale)
    return StoredLevel(
        product.product_id, product.item, product.category, product.price_cents, level, sales, last, opened
    )
