"""The production of one partition's sales: it starts where the table ends, once the agent has processed the whole log.

What is in the log is never produced again; what is not in it will be.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import NO_TIME, ChunkedTable
from yasdg_app.inventory.row_updates import shelf_of
from yasdg_app.messages.bulk_encoder import BulkEncoder
from yasdg_app.messages.encoders import LostSaleEncoder, PurchaseEncoder
from yasdg_app.pipeline.shelf_snapshots import ShelfSnapshots
from yasdg_app.pipeline.stalled_partitions import StalledPartitions
from yasdg_app.pipeline.table_check import short_log_error
from yasdg_app.shop.sales import STREAM_START, EventCursor
from yasdg_app.shop.shelf import Shelf
from yasdg_app.shop.till import ResumePoint, Till

OPEN_RETRY_SECONDS = 0.1
"""Between two attempts to open a partition."""


@dataclass(slots=True)
class PartitionSales:
    """The production of one partition's sales, and how many sales and lost sales its logs contain."""

    till: Till
    published_through: int  # event time up to which all sales that are published are in the logs
    sales: int
    lost: int
    encoder: PurchaseEncoder
    bulk_encoder: BulkEncoder
    lost_encoder: LostSaleEncoder


class PartitionOpener:
    """Opens the production of this worker's partitions.

    Parameters
    ----------
    shop, assignment
        The shop, and the partitions of this worker.
    follower
        Keeps the plan up to date.
    table
        The inventory, which says where to continue.
    snapshots
        Of the shelves, for shops whose customers buy substitutes.
    stalled
        Partitions whose agent does not advance.
    is_current
        Returns whether the generation for which partitions are opened is still the group's.
    """

    def __init__(
        self,
        shop: RunningShop,
        assignment: PartitionAssignment,
        follower: ControlFollower,
        table: ChunkedTable,
        snapshots: ShelfSnapshots,
        stalled: StalledPartitions,
        is_current: Callable[[], bool],
    ) -> None:
        self._shop = shop
        self._settings = shop.settings
        self._assignment = assignment
        self._follower = follower
        self._table = table
        self._snapshots = snapshots
        self._stalled = stalled
        self._is_current = is_current
        self._open_at: dict[int, float] = {}  # when to try again to open a partition, time.monotonic()

    async def open_if_caught_up(self, tp: TP) -> PartitionSales | None:
        """Return the production of a partition of purchases; None until the agent has processed its log to the end."""
        at = time.monotonic()
        if at < self._open_at.get(tp.partition, at):
            return None
        self._open_at[tp.partition] = at + OPEN_RETRY_SECONDS
        both = [tp, TP(self._settings.kafka.topic_lost_sales, tp.partition)]
        try:
            ends = await self._shop.reader.ends(both)
        except KafkaError:
            return None  # the cluster is unavailable
        if not self._is_current():
            return None
        positions = self._assignment.positions
        for each in both:
            if each not in positions:
                return None  # a rebalance has revoked it
            if ends[each] < positions[each]:
                raise short_log_error(each, ends[each], positions[each])
        lagging = [each for each in both if ends[each] > positions[each]]
        for each in lagging:
            await self._stalled.reseek_if_stalled(each)
        if lagging:
            return None
        await self._follower.wait_up_to_date()  # a snapshot is void if a gap was recorded since
        sales = await self._open(tp.partition)
        return sales if self._is_current() else None

    async def _open(self, partition: int) -> PartitionSales | None:
        """Return the production of a partition, starting after the table; None if that is impossible now."""
        settings, table = self._settings, self._table
        if settings.sales.substitution_freq:
            snapshot = await self._snapshots.read(partition)
            if snapshot is None:
                return None
            after, shelves = snapshot
        else:
            after, shelves = self._last_customer(partition), TableShelves(table, partition)
        last_lost = table.store_of(partition).latest("last_lost")
        start = ResumePoint(
            after=after,
            shelves=shelves,
            sold=table.column_by_product(partition, "sales"),
            lost=table.column_by_product(partition, "lost_sales"),
            lost_after=STREAM_START if last_lost is None else EventCursor(*last_lost),
        )
        till, form = Till(self._follower.plan, table.catalog.products_in(partition), start), self._shop.format
        return PartitionSales(
            till=till,
            published_through=after.at - 1,  # at the microsecond of the last sale there may be another one
            sales=sum(start.sold.values()),
            lost=sum(start.lost.values()),
            encoder=PurchaseEncoder(till.products, settings.sales, form.writer("purchases")),
            bulk_encoder=BulkEncoder(till.products, settings.sales, form),
            lost_encoder=LostSaleEncoder(till.products, settings.sales, form.writer("lost_sales")),
        )

    def _last_customer(self, partition: int) -> EventCursor:
        """Return the last customer whose sale is in the table; before the first: the moment when the shop opened."""
        # The log of a partition is in order of event time, so everything up to its last sale is in it.
        last = self._table.store_of(partition).latest("last_sale")
        return EventCursor(self._shop.manifest.opened_at, "") if last is None else EventCursor(*last)

    def sold_through(self, partition: int) -> int:
        """Return the event time of `_last_customer`, without looking through all products for that customer."""
        last = int(self._table.store_of(partition).column("last_sale").max(initial=NO_TIME))
        return self._shop.manifest.opened_at if last == NO_TIME else last


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
