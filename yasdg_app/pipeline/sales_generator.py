"""The sales generator: it produces the sales of each of our partitions as they become due, and appends them.

Production of a partition starts only when the agent has processed its log to the end, and continues after the last sale
in the table. What is in the log is never produced again; what is not in it will be. Lost sales are appended before the
sales of the same period: the worker that continues after the last sale serves the customers lost since then again, and
does not publish them again. If not all could be appended, the state of the partition is discarded. When the cluster is
slow, production waits for it with at most one block of sales per partition, and catches up afterwards.
"""

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.aggregates.windows import Windows
from yasdg_app.cluster_state.clock_jumps import Jumps, jumps
from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.lifetime import last_moment
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import NO_TIME, ChunkedTable
from yasdg_app.kafka.auth.diagnostics import LoginRefusedError
from yasdg_app.kafka.client import administration
from yasdg_app.kafka.producer import ProducerRecord, SequenceConflictError, UnknownOutcomeError
from yasdg_app.messages.bulk_encoder import BulkEncoder
from yasdg_app.messages.encoders import LostSaleEncoder, PurchaseEncoder
from yasdg_app.messages.reference import purchase, receipt
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.fault_injector import FaultInjector
from yasdg_app.pipeline.incident_announcer import IncidentAnnouncer
from yasdg_app.pipeline.inventory_agent import TableShelves
from yasdg_app.pipeline.inventory_sink import InventorySink
from yasdg_app.pipeline.restore import SequenceConflictTracker, shorter
from yasdg_app.pipeline.shelf_snapshots import ShelfSnapshots
from yasdg_app.process.exits import abort_process
from yasdg_app.shop.customer_behaviour import line_of
from yasdg_app.shop.sale_limit import SaleLimit
from yasdg_app.shop.sales import NO_PRODUCT, STREAM_START, EventCursor, LostSale, Sales, SalesBatch
from yasdg_app.shop.shelf import END_OF_TIME
from yasdg_app.shop.till import ResumePoint, Till

logger = logging.getLogger(__name__)

MIN_ROUND_SECONDS = 0.006
"""From one round to the next: what becomes due meanwhile is appended together."""
MAX_ROUND_SECONDS = 0.1
"""From one round to the next, even if nothing is due."""
ROUND_FACTOR = 3.0
"""Minimum length of a round, in multiples of the usual duration of an append: the table needs its share of the time."""
USUAL_WEIGHT = 0.05
"""Weight of the last round in the moving average of the usual duration."""
MAX_SALES_AHEAD_OF_TABLE = 40_000
"""Per partition; production waits while the table lags further behind the log."""
BULK_FROM_SALES = 64
"""Minimum size of a block for bulk encoding; smaller blocks are encoded faster one by one."""
RESEEK_AFTER_SECONDS = 2.0
"""Time without progress of the agent, although the log has more, after which a partition is fetched again."""
PREPARE_SECONDS = 0.5
"""How long before they are due sales are computed."""
MAX_CLUSTER_WAIT_SECONDS = 1.0
"""Maximum time for which a round waits for the cluster."""
FINISHED_CHECK_SECONDS = 0.5
"""Between two checks whether all workers have finished."""
CONFLICT_RETRY_SECONDS = 0.5
"""Time until a partition is read again after a sequence conflict."""
REPORT_SECONDS = 10.0
"""Between two log lines about the number of sales."""
MAX_AHEAD_SECONDS = 5.0
"""By which a log may be ahead of the shop's clock without a warning."""
SHOW_FROM_MEAN_SECONDS = 0.5
"""Mean time between sales from which each of them is logged."""
MAX_SHOWN_SALES = 3
"""Maximum number in a block; the sales of a larger block are not logged one by one."""


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


class SalesGenerator:
    """Produces the sales of this worker's partitions, all of one generation of the consumer group.

    Parameters
    ----------
    shop, life, assignment
        The shop, the worker's life, and the partitions of this worker.
    follower
        Keeps the plan up to date.
    table
        The inventory, which says where to continue.
    windows
        Is notified of what is published.
    faults
        Is notified of what is published; None if no faults are configured.
    """

    def __init__(
        self,
        shop: RunningShop,
        life: Lifecycle,
        assignment: PartitionAssignment,
        follower: ControlFollower,
        table: ChunkedTable,
        windows: Windows,
        faults: FaultInjector | None = None,
    ) -> None:
        self._shop = shop
        self._settings = shop.settings
        self._kafka = shop.settings.kafka
        self._life = life
        self._assignment = assignment
        self._follower = follower
        self._table = table
        self._products_in = table.catalog.products_in
        self._windows = windows
        self._faults = faults
        self._snapshots = ShelfSnapshots(shop, follower, table)
        self._announcer = IncidentAnnouncer(shop, follower)
        # The partition whose owner announces incidents.
        self._announcing_partition = min(filter(self._products_in, range(self._kafka.partitions)), default=0)
        self._generation: int | None = -1
        self._open: dict[int, PartitionSales] = {}
        self._last_sale: SaleLimit | None = None  # of a run with a limited number of sales
        self._waits: dict[TP, tuple[int, float]] = {}  # the agent's position, and since when it has not advanced
        self._serving: dict[TP, asyncio.Task[None]] = {}
        self._ends: dict[TP, int] = {}  # the offset after what we have appended
        self._conflicts = SequenceConflictTracker()
        self._reported = (0, time.monotonic())
        self._due = 0  # when the last round was or will be, microseconds since 1970
        self._usual_seconds = 0.0  # from then until all is appended
        self._open_at: dict[int, float] = {}  # when to try again to open a partition, time.monotonic()
        self._check_finished_at = float("-inf")  # when to check again whether the run is finished, time.monotonic()
        self._waits_for_others = False
        self._has_warned_ahead = False
        self.jumps: Jumps = jumps
        self.sink: InventorySink | None = None  # must have the inventory before a run with an end is over

    # --- Rounds --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Produce sales as they become due, until the worker is stopped."""
        try:
            while not self._life.is_closing:
                self._due = self._next_round()
                await self.run_round(self._due)
                took = max(0, now() - self._due) / 1e6
                self._usual_seconds += (min(took, MAX_ROUND_SECONDS) - self._usual_seconds) * USUAL_WEIGHT
                self._prepare()
                await asyncio.sleep(_seconds_until(self._due))
        except Exception:
            if not self._life.is_closing:  # what a shutdown interrupts is produced after the next start
                raise

    async def run_round(self, due: int) -> None:
        """Append all sales of our partitions that are due at a given time, and not before that time.

        `due`: microseconds since 1970. Sales that will be due soon are produced in advance, and only have to be sent.
        """
        assignment = self._assignment
        if not self.jumps.is_steady(now()):
            if self.jumps.needs_end:
                abort_process(self.jumps.reason)
            return
        if not assignment.is_active:
            return
        if self._generation != assignment.generation:
            self._generation, self._open, self._waits = assignment.generation, {}, {}
        if not assignment.has_lease:
            await assignment.renew_lease()
        await self._serve_all([self._purchases(partition) for partition in assignment.partitions], due)
        self._report()
        if await self._is_finished():
            logger.info("All sales produced and processed; shutting down.")
            os.kill(os.getpid(), signal.SIGTERM)

    def _next_round(self) -> int:
        """Return when the next round is, microseconds since 1970: when a sale is due, as far as that is known."""
        at = now()
        earliest = min(self._due, at) + int(max(MIN_ROUND_SECONDS, self._usual_seconds * ROUND_FACTOR) * 1e6)
        return max(at, earliest, at + math.ceil(self._idle_seconds() * 1e6))

    def _prepare(self) -> None:
        """Compute sales ahead for one partition, so that less work is left when they are due."""
        if self._serving or self._settings.sales.substitution_freq:  # snapshots must not contain unpublished sales
            return
        at, clock = now(), self._shop.clock
        until = min(clock.at(at) + int(PREPARE_SECONDS * clock.pace(at) * 1e6), self._follower.horizon)
        till = min((sales.till for sales in self._open.values()), key=attrgetter("prepared_watermark"), default=None)
        if till is not None:
            self._update_plan(till)  # the horizon is that of the latest plan
            till.prepare(until)

    def _idle_seconds(self) -> float:
        """Return for how many seconds no sale is due, up to the length of the longest round."""
        if self._serving:
            return 0.0
        at, clock = now(), self._shop.clock
        next_at = min((sales.till.next_at for sales in self._open.values()), default=END_OF_TIME)
        return min(MAX_ROUND_SECONDS, (next_at - clock.at(at)) / clock.pace(at) / 1e6)

    async def _serve_all(self, tps: Sequence[TP], due: int) -> None:
        """Serve partitions at the same time; one whose leader is slow or unavailable does not delay the others."""
        until = self._until(due)
        for tp in tps:
            if self._products_in(tp.partition) and tp not in self._serving:
                self._serving[tp] = asyncio.create_task(self._serve(tp, until, due))
        if self._serving:
            await asyncio.wait(self._serving.values(), timeout=_seconds_until(due) + MAX_CLUSTER_WAIT_SECONDS)
        for tp, task in list(self._serving.items()):
            if task.done():
                del self._serving[tp]
                task.result()  # raises the task's exception

    def _until(self, due: int) -> int:
        """Return the event time up to which sales are produced: as far as incidents are known, at most to the end."""
        until = min(self._shop.clock.at(due), self._follower.horizon, self._last_moment)
        if not self._settings.sales.number_of_sales:
            return until
        if self._last_sale is None:
            self._last_sale = SaleLimit(self._follower.plan, self._settings.sales.number_of_sales)
        self._update_plan(self._last_sale)
        return min(until, self._last_sale.look(until))

    @cached_property
    def _last_moment(self) -> int:
        """Event time after which no customer is served."""
        closes_at = last_moment(self._settings, self._shop.manifest.opened_at)
        return END_OF_TIME if closes_at is None else closes_at - 1

    def _update_plan(self, till: Till | SaleLimit) -> None:
        """Make a till use the latest plan."""
        if till.plan is not self._follower.plan:
            till.replan(self._follower.plan)

    # --- State for health and metrics --------------------------------------------------------------------------------

    def delay(self, partition: int) -> int:
        """Return how late a partition's sales are, in microseconds of real time."""
        at, clock = now(), self._shop.clock
        is_current = self._assignment.generation == self._generation
        sales = self._open.get(partition) if is_current else None
        through = self._sold_through(partition) if sales is None else sales.published_through
        return int(max(0, min(clock.at(at), self._last_moment) - through) / clock.pace(at))

    def sold_ahead(self) -> int | None:
        """Return the event time up to which a log of ours contains sales of the future; None if there are none.

        The clock of this or another machine was ahead before; nothing is sold until the shop's clock reaches that time.
        """
        at, clock = now(), self._shop.clock
        through = max(map(self._sold_through, self._assignment.partitions), default=0)
        return through if (through - clock.at(at)) / clock.pace(at) > MAX_AHEAD_SECONDS * 1e6 else None

    # --- Opening a partition ------------------------------------------------------------------------------------------

    def _purchases(self, partition: int) -> TP:
        return TP(self._kafka.topic_purchases, partition)

    def _lost_sales(self, partition: int) -> TP:
        return TP(self._kafka.topic_lost_sales, partition)

    def _last_customer(self, partition: int) -> EventCursor:
        """Return the last customer whose sale is in the table; before the first: the moment when the shop opened."""
        # The log of a partition is in order of event time, so everything up to its last sale is in it.
        last = self._table.store_of(partition).latest("last_sale")
        return EventCursor(self._shop.manifest.opened_at, "") if last is None else EventCursor(*last)

    def _sold_through(self, partition: int) -> int:
        """Return the event time of `_last_customer`, without looking through all products for that customer."""
        last = int(self._table.store_of(partition).column("last_sale").max(initial=NO_TIME))
        return self._shop.manifest.opened_at if last == NO_TIME else last

    async def _open_if_caught_up(self, tp: TP) -> bool:
        """Open a partition if the agent has processed its log to the end; return whether it is open."""
        if tp.partition in self._open:
            return True
        at = time.monotonic()
        if at < self._open_at.get(tp.partition, at):
            return False
        self._open_at[tp.partition] = at + MAX_ROUND_SECONDS
        both = [tp, self._lost_sales(tp.partition)]
        try:
            ends = await self._shop.reader.ends(both)
        except KafkaError:
            return False  # the cluster is unavailable
        if not self._is_current():
            return False
        positions = self._assignment.positions
        for each in both:
            if each not in positions:
                return False  # a rebalance has revoked it
            if ends[each] < positions[each]:
                raise shorter(each, ends[each], positions[each])
        lagging = [each for each in both if ends[each] > positions[each]]
        for each in lagging:
            await self._reseek_if_stalled(each)
        if lagging:
            return False
        await self._follower.wait_up_to_date()  # a snapshot is void if a gap was recorded since
        sales = await self._open_partition(tp.partition)
        if sales is None or not self._is_current():
            return False
        self._open[tp.partition] = sales
        return True

    async def _reseek_if_stalled(self, tp: TP) -> None:
        """Fetch a partition again if its agent waits in vain for records that were lost during a rebalance."""
        position, at = self._assignment.positions.get(tp), time.monotonic()
        if position is None or self._assignment.is_busy(tp.partition):
            return
        stalled_at, since = self._waits.setdefault(tp, (position, at))
        if stalled_at != position:
            self._waits[tp] = position, at
        elif at - since > RESEEK_AFTER_SECONDS:
            self._waits[tp] = position, at
            await self._assignment.seek({tp: position})

    async def _open_partition(self, partition: int) -> PartitionSales | None:
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
        till, form = Till(self._follower.plan, self._products_in(partition), start), self._shop.format
        return PartitionSales(
            till=till,
            published_through=after.at - 1,  # at the microsecond of the last sale there may be another one
            sales=sum(start.sold.values()),
            lost=sum(start.lost.values()),
            encoder=PurchaseEncoder(till.products, settings.sales, form.writer("purchases")),
            bulk_encoder=BulkEncoder(till.products, settings.sales, form),
            lost_encoder=LostSaleEncoder(till.products, settings.sales, form.writer("lost_sales")),
        )

    # --- Producing -----------------------------------------------------------------------------------------------

    async def _serve(self, tp: TP, until: int, due: int) -> None:
        """Produce a partition's sales up to an event time, reached at the time `due`, while the partition is ours."""
        if not self._is_owner() or not await self._open_if_caught_up(tp):
            return
        partition, generation = tp.partition, self._generation
        opened = self._open[partition]

        def is_owner() -> bool:
            return self._generation == generation and self._is_owner()

        till = opened.till
        self._update_plan(till)
        while opened.published_through < until and is_owner() and self._has_table_caught_up(tp):
            served = till.generate_until(until)
            if self._last_sale is not None:
                served = self._last_sale.without_later(till, served)
            if not await self._publish(partition, opened, served, due, is_owner):
                self._open.pop(partition, None)
                return
            opened.published_through = till.watermark
            end = self._ends.get(tp, 0)
            self._windows.all_told(partition, opened.published_through, end)
            if self._faults is not None:
                self._faults.note(partition, opened.published_through, end)
            self._show(till, served.sales)
            if self._settings.sales.substitution_freq:
                await self._snapshots.write_if_due(partition, till, is_owner)
        if partition == self._announcing_partition:
            await self._announcer.announce(till.watermark, is_owner)

    def _has_table_caught_up(self, tp: TP) -> bool:
        """Return whether the table's lag is within bounds: a backfill is not produced faster than it is processed."""
        positions = self._assignment.positions
        both = tp, self._lost_sales(tp.partition)
        return all(self._ends.get(each, 0) - positions.get(each, 0) < MAX_SALES_AHEAD_OF_TABLE for each in both)

    async def _publish(
        self, partition: int, opened: PartitionSales, served: SalesBatch, due: int, is_owner: Callable[[], bool]
    ) -> bool:
        """Append lost sales and sales; return False if not all were appended: then the logs must be read first."""
        lost, sales = self._batches_of_lost(opened, served.lost), self._batches_of_sales(opened, served.sales)
        if self._shop.clock.at(now()) < opened.till.watermark:
            lost, sales = list(lost), list(sales)  # so that nothing is left to do when they are due
            if not await self._wait(opened.till.watermark, due, is_owner):
                return False
        counts = self._shop.counts
        if not await self._append(self._lost_sales(partition), opened.lost, len(served.lost), lost, is_owner):
            return False
        opened.lost += len(served.lost)
        counts["lost_sales"] += len(served.lost)
        if not await self._append(self._purchases(partition), opened.sales, len(served.sales), sales, is_owner):
            return False
        opened.sales += len(served.sales)
        counts["sales"] += len(served.sales)
        return True

    def _batches_of_sales(self, opened: PartitionSales, sales: Sales) -> Iterable[bytes]:
        producer = self._shop.producer
        if len(sales) < BULK_FROM_SALES:
            return producer.batches_of(opened.sales, (ProducerRecord(*row) for row in opened.encoder.encode(sales)))
        return producer.batches_of_records(opened.sales, opened.bulk_encoder.records(sales))

    def _batches_of_lost(self, opened: PartitionSales, lost: Sequence[LostSale]) -> Iterable[bytes]:
        return self._shop.producer.batches_of(
            opened.lost, (ProducerRecord(*row) for row in opened.lost_encoder.encode(lost))
        )

    async def _wait(self, through: int, due: int, is_owner: Callable[[], bool]) -> bool:
        """Wait for an event time, which is reached by `due` at the latest; return False if the partition is lost."""
        while self._shop.clock.at(now()) < through:
            if not is_owner():
                return False
            await asyncio.sleep(min(_seconds_until(due), MAX_ROUND_SECONDS))
        return True

    async def _append(
        self, tp: TP, base: int, count: int, batches: Iterable[bytes], is_owner: Callable[[], bool]
    ) -> bool:
        """Append after the first `base` records; return False if not all were appended, or the log has to be read."""
        if not count:
            return True
        try:
            appended = await self._shop.producer.append_batches(*tp, batches, is_owner)
        except UnknownOutcomeError as error:
            logger.debug("%s. Reading the log.", error)
            return False
        except SequenceConflictError as error:
            logger.debug("%s. Reading the log.", error)
            self._shop.counts["overtaken"] += 1
            self._conflicts.note(tp, base, str(error))
            await asyncio.sleep(CONFLICT_RETRY_SECONDS)
            return False
        if appended.complete:
            self._ends[tp] = max(self._ends.get(tp, 0), appended.offset + count)
        return appended.complete

    def _is_current(self) -> bool:
        return self._assignment.is_active_in(self._generation) and not self._life.is_closing

    def _is_owner(self) -> bool:
        return self._is_current() and self._assignment.has_lease

    # --- The end of a run ----------------------------------------------------------------------------------------

    async def _is_finished(self) -> bool:
        """Return whether a run that has an end is over: all is produced and processed, here and by other workers.

        A datastore must have the inventory as well, unless it is unavailable. A worker that has finished its part
        commits that as metadata with its positions, and waits until all partitions have it: it may have to take over
        the part of a worker that died.
        """
        ends_at = self._last_moment
        if self._last_sale is not None:
            ends_at = min(ends_at, self._last_sale.cursor.at if self._last_sale.cursor else END_OF_TIME)
        if ends_at == END_OF_TIME or time.monotonic() < self._check_finished_at or not await self._is_done(ends_at):
            return False
        self._check_finished_at = time.monotonic() + FINISHED_CHECK_SECONDS
        metadata, assignment = f"closed {ends_at}", self._assignment
        assignment.commit_metadata = {self._purchases(partition): metadata for partition in assignment.partitions}
        await assignment.renew_lease(at_once=True)
        if await self._is_committed_by_all(metadata):
            return True
        if not self._waits_for_others:
            self._waits_for_others = True
            logger.info("Our part of the sales is produced and processed. Waiting for the other workers.")
        return False

    async def _is_done(self, ends_at: int) -> bool:
        """Return whether our partitions are produced to the end, and processed by the table."""
        if self._serving:
            return False  # a till is ahead of what it has published
        positions = self._assignment.positions
        for partition in self._assignment.partitions:
            if partition == self._announcing_partition and self._announcer.published_through < ends_at:
                return False
            if not self._products_in(partition):
                continue
            opened = self._open.get(partition)
            if opened is None or opened.till.watermark < ends_at:
                return False
            if self._faults is not None and self._faults.delivered_through(partition) < ends_at:
                return False
        try:
            ends = await self._shop.reader.ends(positions)
        except KafkaError:
            return False
        lagging = [tp for tp in map(TP._make, ends) if ends[tp] > positions.get(tp, 0)]
        for tp in lagging:
            await self._reseek_if_stalled(tp)
        if self.sink is not None and self.sink.is_behind:
            return False
        return not lagging and self._is_current()

    async def _is_committed_by_all(self, metadata: str) -> bool:
        try:
            async with administration(self._shop.connection) as admin:
                committed = await admin.list_consumer_group_offsets(self._kafka.application_id)
        except (KafkaError, OSError, LoginRefusedError):
            return False
        topic = self._kafka.topic_purchases
        finished = {tp.partition for tp, (_, its) in committed.items() if tp.topic == topic and its == metadata}
        return len(finished) == self._kafka.partitions

    # --- The log -------------------------------------------------------------------------------------------------

    def _show(self, till: Till, sales: Sales) -> None:
        """Log each sale if the sales are current and few enough to read."""
        at, clock, settings = now(), self._shop.clock, self._settings.sales
        if settings.mean_seconds_between_sales / clock.pace(at) < SHOW_FROM_MEAN_SECONDS:
            return
        if len(sales) > MAX_SHOWN_SALES or clock.at(at) - till.watermark > REPORT_SECONDS * 1_000_000:
            return
        columns = (sales.product, sales.number, sales.at, sales.option, sales.promotion, sales.requested_product)
        for product, number, at, way, promotion, asked in zip(*(column.tolist() for column in columns), strict=True):
            line = line_of(till.products[product], way, promotion, settings)
            instead_of = None if asked == NO_PRODUCT else till.products[asked].product_id
            logger.info("%s", receipt(purchase(at, number, line, instead_of).asdict(), line.product.item))

    def _report(self) -> None:
        """Log from time to time how much was sold, and the shop's time."""
        count, at = self._reported
        passed = time.monotonic() - at
        if passed < REPORT_SECONDS:
            return
        counts = self._shop.counts
        self._reported = (counts["sales"], time.monotonic())
        self._warn_if_sold_ahead()
        delay_seconds = max((self.delay(partition) for partition in self._open), default=0) / 1e6
        lost = counts["lost_sales"]
        logger.info(
            "%d sales so far%s, %.1f per second; %d of %d partitions assigned%s",
            counts["sales"],
            f", and {lost} lost" if lost else "",
            (counts["sales"] - count) / passed,
            len(self._assignment.partitions),
            self._kafka.partitions,
            f"; catching up, {time_text(self._published_through())[:16]} (UTC) by the shop's clock"
            if delay_seconds > REPORT_SECONDS
            else "",
        )

    def _warn_if_sold_ahead(self) -> None:
        """Log once that the log contains sales of the future."""
        through = self.sold_ahead()
        if through is not None and not self._has_warned_ahead:
            logger.warning(
                "The log contains sales up to %s (UTC), but it is %s by the shop's clock: a clock was ahead. "
                "Nothing is sold until then.", time_text(through)[:19], time_text(self._shop.clock.at(now()))[:19],
            )  # fmt: skip
        self._has_warned_ahead = through is not None

    def _published_through(self) -> int:
        """Return the event time up to which all our partitions are produced."""
        return min(sales.published_through for sales in self._open.values())


def now() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


def _seconds_until(at: int) -> float:
    """Return how long to wait for a round: at most the longest round, even if the clock was set in the meantime."""
    return min(max(0, at - now()) / 1e6, max(MIN_ROUND_SECONDS, ROUND_FACTOR * MAX_ROUND_SECONDS))
