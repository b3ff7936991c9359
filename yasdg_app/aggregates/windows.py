"""Sales over event time in this worker's partitions: the last minute, hour and day, and the series of minutes.

They come from what the inventory's agent applies to the table. After a takeover, the log of the partition is read again
in the background, from the position of the table back to the day before, piece by piece, in steps that give way to the
tills. Sums from before a rebalance are kept if the table is still at the position after the last chunk.

Memory: 32 bytes for each pair of a product and a minute in which it was sold, and at most `MAX_CELLS` pairs in a
worker that holds all partitions: 48 MB, or a day and three hours of 900 products that are sold in every minute. Beyond
that, the oldest pairs are kept by category only; `products_from` returns from when on sums by product are complete.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.aggregates.backfill import BackfillReader, own_lost_sales
from yasdg_app.aggregates.minute_history import Contribution, MinuteHistory
from yasdg_app.aggregates.minute_sums import KEPT_MINUTES, MINUTE_MICROSECONDS, NO_MINUTE, MinuteStore
from yasdg_app.aggregates.partition_aggregates import MAX_LATEST, Backfill, PartitionAggregates
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.errors import RENAMED, YasdgError
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import PartitionStore
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import AppliedChunk
from yasdg_app.kafka.batch_reader import Message
from yasdg_app.messages.formats.errors import RegistryError
from yasdg_app.messages.reference import stocking
from yasdg_app.messages.times import event_time
from yasdg_app.shop.demand import Ints

logger = logging.getLogger(__name__)

WINDOW_MINUTES = {"minute": 1, "hour": 60, "day": 24 * 60}
"""Length of each window, in whole minutes."""
MAX_CELLS = 1_500_000
"""Of all partitions together."""
RETRY_SECONDS = 0.5
"""Before the cluster is asked again."""

Choice = Callable[[int, Ints, Ints], Ints]
Sums = tuple[int, int, int]
"""Sales, units, revenue in cents."""


class Windows:
    """Sales over time in the partitions of this worker.

    Parameters
    ----------
    shop
        The shop whose logs are read.
    life
        The worker's life cycle.
    assignment
        The partitions of this worker.
    catalog
        The shop's products.
    store_of
        Returns the table's rows of a partition.
    """

    def __init__(
        self,
        shop: RunningShop,
        life: Lifecycle,
        assignment: PartitionAssignment,
        catalog: PartitionedCatalog,
        store_of: Callable[[int], PartitionStore],
    ) -> None:
        self._shop = shop
        self._life = life
        self._assignment = assignment
        self._catalog = catalog
        self._store_of = store_of
        self._kafka = shop.settings.kafka
        self._partitions: dict[int, PartitionAggregates] = {}
        self._generation: int | None = None
        self._all_produced: dict[int, tuple[int, int]] = {}  # see `note_all_produced`
        self._backfill_reader = BackfillReader(shop, catalog)
        self._is_reading = False
        numbers: dict[str, int] = {}
        self._category_numbers: dict[int, Ints] = {}  # by partition: of each product's category, by its local index
        for partition in range(self._kafka.partitions):
            products = catalog.products_in(partition)
            own = (numbers.setdefault(product.category, len(numbers)) for product in products)
            self._category_numbers[partition] = np.fromiter(own, np.int32, len(products))
        self._names = list(numbers)

    # --- Queries --------------------------------------------------------------------------------------------------

    def sums(self, window: str, through: int, choose: Choice | None = None) -> dict[str, Sums]:
        """Return sales, units and revenue in cents of each product with any sales, in this worker's partitions.

        Parameters
        ----------
        window
            `minute`, `hour` or `day`: length of the window in whole minutes.
        through
            Event time at which it ends, exclusive: a whole minute, in microseconds since 1970.
        choose
            Selects products where a million have sums. It receives a partition, their local indexes in ascending order,
            and their sums in three rows, and returns some indexes into them.
        """
        end = through // MINUTE_MICROSECONDS
        found = {}
        for partition, aggregates in self._owned().items():
            sums = aggregates.history.by_product(end - WINDOW_MINUTES[window], end)
            (local_indexes,) = np.nonzero(sums[0])
            if choose is not None:
                local_indexes = local_indexes[choose(partition, local_indexes, sums[:, local_indexes])]
            products = self._catalog.products_in(partition)
            for local_index, own in zip(local_indexes.tolist(), sums[:, local_indexes].T.tolist(), strict=True):
                found[products[local_index].product_id] = _sums(own)
        return found

    def by_category(self, window: str, through: int) -> dict[str, Sums]:
        """Return sales, units and revenue in cents of each category with any sales; see `sums`."""
        end, count = through // MINUTE_MICROSECONDS, len(self._names)
        sums = np.zeros((3, count), np.int64)
        for aggregates in self._owned().values():
            sums += aggregates.history.by_category(end - WINDOW_MINUTES[window], end, count).sum(axis=1)
        return {name: _sums(own) for name, own in zip(self._names, sums.T.tolist(), strict=True) if own[0]}

    def series(self, first: int, through: int) -> dict[str, list[Sums]]:
        """Return sales, units and revenue in cents in this worker's partitions, by category, minute by minute.

        From `first` to before `through`, both event times in microseconds since 1970.
        """
        begin, end, count = first // MINUTE_MICROSECONDS, through // MINUTE_MICROSECONDS, len(self._names)
        sums = np.zeros((3, max(end - begin, 0), count), np.int64)
        for aggregates in self._owned().values() if begin < end else ():
            sums += aggregates.history.by_category(begin, end, count)
        lines = sums.transpose(2, 1, 0).tolist()
        return {name: list(map(_sums, own)) for name, own in zip(self._names, lines, strict=True)}

    def complete_from(self) -> dict[int, int]:
        """Return the event time from which on the sums by category of each of this worker's partitions are complete."""
        return {
            partition: _moment(aggregates.history.categories_from) for partition, aggregates in self._owned().items()
        }

    def products_from(self) -> dict[int, int]:
        """Return the event time from which on the sums by product of each of this worker's partitions are complete."""
        return {partition: _moment(aggregates.history.products_from) for partition, aggregates in self._owned().items()}

    def complete_through(self) -> dict[int, int]:
        """Return the event time before which the sums of each of this worker's partitions include all sales."""
        return {
            partition: self._complete_through(partition, aggregates) for partition, aggregates in self._owned().items()
        }

    @property
    def latest_restocks(self) -> list[dict[str, Any]]:
        """The last restocks of each of this worker's partitions, as in their messages, newest first."""
        messages = []
        for aggregates in self._owned().values():
            own = aggregates.restocks_before + [stocking(*restock).asdict() for restock in aggregates.restocks]
            messages += _latest(own, "stocking_id")
        return _newest_first(messages)

    @property
    def latest_lost_sales(self) -> list[dict[str, Any]]:
        """The last lost sales of each of this worker's partitions, as in their messages, newest first."""
        messages = []
        for partition, aggregates in self._owned().items():
            own = aggregates.lost_sales_before + own_lost_sales(
                partition, aggregates.lost_sales, self._catalog, self._shop.settings.sales.largest_quantity
            )
            messages += _latest(own, "lost_sale_id")
        return _newest_first(messages)

    # --- Updates by the agents and tills --------------------------------------------------------------------------

    def prepare(self, partition: int, applied: AppliedChunk) -> Contribution | None:
        """Return the contribution of a chunk of purchases, before it is written to the table."""
        aggregates = self._partitions.get(partition)
        if aggregates is None:
            return None
        return aggregates.history.prepare(applied, self._horizon, self._catalog.local_index_of)

    def add(self, partition: int, applied: AppliedChunk, contribution: Contribution | None) -> None:
        """Add a chunk of purchases that has been written to the table."""
        aggregates = self._partitions.get(partition)
        if aggregates is None or not applied.levels:
            return
        aggregates.history.add(contribution)
        aggregates.restocks.extend(applied.restocks)
        last = applied.levels[-1]
        aggregates.position, aggregates.last_sale = last.offset + 1, last.last_sale

    def add_lost(self, partition: int, chunk: Sequence[Message]) -> None:
        """Add a chunk of lost sales that has been written to the table."""
        aggregates = self._partitions.get(partition)
        if aggregates is not None:
            aggregates.add_lost(chunk)

    def note_all_produced(self, partition: int, through: int, end: int) -> None:
        """Note that all sales of a partition up to an event time, inclusive, are in its log before an offset."""
        self._all_produced[partition] = through, end

    def activate(self, generation: int, positions: Mapping[TP, int]) -> None:
        """Start a generation of the consumer group, with the positions of its partitions."""
        purchases, lost_sales = self._assignment.topics
        kept, self._partitions = self._partitions, {}
        for tp, position in positions.items():
            if tp.topic != purchases or not self._catalog.products_in(tp.partition):
                continue
            aggregates = kept.get(tp.partition)
            # Otherwise the table was changed without our knowledge, or its newest sales are gone.
            if aggregates is None or aggregates.position != position:
                aggregates = self._new_aggregates(tp.partition, position, positions[TP(lost_sales, tp.partition)])
            self._partitions[tp.partition] = aggregates
        self._generation = generation
        if not self._is_reading and self._unfinished():
            self._is_reading = True
            self._life.run_in_background(self._backfill())

    # --- Reading the log of earlier sales -------------------------------------------------------------------------

    async def _backfill(self) -> None:
        """Read everything that has to be read again, until nothing is left."""
        try:
            while not self._life.should_stop and (unfinished := self._unfinished()):
                try:
                    for partition, aggregates in unfinished.items():
                        await self._backfill_reader.read_latest(partition, aggregates)
                    for partition, aggregates in unfinished.items():
                        await self._backfill_sales(partition, aggregates)
                except (KafkaError, RegistryError) as error:
                    logger.debug("The sales of the last day are read again later: %r", error)
                    await asyncio.sleep(RETRY_SECONDS)
        except YasdgError as error:
            logger.warning("The views lack the sales of the last day: %s", error)
        except RENAMED:  # not an unreadable log: it ends the worker
            if not self._life.is_closing:
                raise
            logger.exception("The sales of the last day were not read again before the shutdown.")
        except Exception:  # the shop continues without
            logger.exception("The sales of the last day cannot be read again.")
        finally:
            self._is_reading = False

    async def _backfill_sales(self, partition: int, aggregates: PartitionAggregates) -> None:
        def is_current() -> bool:
            return self._partitions.get(partition) is aggregates

        purchases = TP(self._assignment.topics[0], partition)
        await self._backfill_reader.read_sales(purchases, aggregates, is_current, self._horizon)

    def _unfinished(self) -> dict[int, PartitionAggregates]:
        """Return the partitions of which something has to be read again."""
        return {partition: each for partition, each in self._partitions.items() if each.backfill is not None}

    # --- Partitions -----------------------------------------------------------------------------------------------

    def _owned(self) -> dict[int, PartitionAggregates]:
        """Return the partitions owned now: none during a rebalance, in which another worker may show them."""
        return self._partitions if self._assignment.is_current(self._generation) else {}

    def _new_aggregates(self, partition: int, position: int, lost_position: int) -> PartitionAggregates:
        store = self._store_of(partition)
        last = store.latest("last_sale")
        minutes = MinuteStore(self._category_numbers[partition], MAX_CELLS // self._kafka.partitions)
        minute = NO_MINUTE if last is None else last[0] // MINUTE_MICROSECONDS
        complete_from = minute if last is None else minute + 1
        history = MinuteHistory(minutes, lambda: self._store_of(partition).totals(), complete_from)
        backfill = Backfill(position, lost_position, minute - KEPT_MINUTES, store.totals()[0].copy())
        return PartitionAggregates(history, backfill, 0 if last is None else last[0])

    def _horizon(self) -> int:
        """Return the minute before which no sales are needed: a day and three hours before now, by the shop's clock."""
        return self._shop.clock.at(time.time_ns() // 1000) // MINUTE_MICROSECONDS - KEPT_MINUTES

    def _complete_through(self, partition: int, aggregates: PartitionAggregates) -> int:
        last_sale = aggregates.last_sale
        # The log is in order of event time.
        through = max(self._shop.manifest.opened_at, event_time(last_sale) if isinstance(last_sale, str) else last_sale)
        produced_through, end = self._all_produced.get(partition, (0, 0))
        return max(through, produced_through + 1) if aggregates.position >= end else through


def _sums(column: list[int]) -> Sums:
    sales, units, revenue_cents = column
    return sales, units, revenue_cents


def _moment(minute: int) -> int:
    """Return the first moment of a minute, in microseconds since 1970; 0 if it is before all others."""
    return max(minute, 0) * MINUTE_MICROSECONDS


def _latest(messages: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the last messages, each once; `name`: the field that identifies a message."""
    return list({message[name]: message for message in messages}.values())[-MAX_LATEST:]


def _newest_first(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(messages, key=lambda message: str(message["event_time"]), reverse=True)
