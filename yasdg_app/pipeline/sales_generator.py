"""The sales generator: it produces the sales of each of our partitions as they become due, and appends them.

It works in rounds over all partitions. Production of a partition starts after the last sale in the table
(partition_sales.py); each block is appended (sales_publisher.py) before the next one is produced. If not all of it
could be appended, the state of the partition is discarded. When the cluster is slow, production waits for it with at
most one block of sales per partition, and catches up afterwards.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import attrgetter

from faust.types import TP

from yasdg_app.aggregates.windows import Windows
from yasdg_app.cluster_state.clock_jumps import Jumps, jumps
from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.lifetime import last_moment
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.errors import RENAMED
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.pipeline.end_of_run import EndOfRun
from yasdg_app.pipeline.fault_injector import FaultInjector
from yasdg_app.pipeline.incident_announcer import IncidentAnnouncer
from yasdg_app.pipeline.partition_sales import PartitionOpener, PartitionSales
from yasdg_app.pipeline.sales_publisher import SalesPublisher
from yasdg_app.pipeline.sales_report import REPORT_SECONDS, SalesReport
from yasdg_app.pipeline.shelf_snapshots import ShelfSnapshots
from yasdg_app.pipeline.stalled_partitions import StalledPartitions
from yasdg_app.process.exits import abort_process
from yasdg_app.shop.sale_limit import SaleLimit
from yasdg_app.shop.shelf import END_OF_TIME
from yasdg_app.shop.till import Till

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
PREPARE_SECONDS = 0.5
"""How long before they are due sales are computed."""
MAX_CLUSTER_WAIT_SECONDS = 1.0
"""Maximum time for which a round waits for the cluster."""
MAX_AHEAD_SECONDS = 5.0
"""By which a log may be ahead of the shop's clock without a warning."""


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
    now
        Returns the time in microseconds since 1970; None: the clock of this machine.

    Attributes
    ----------
    jumps
        Whether the clock can be trusted.
    end_of_run
        Whether the run is over.
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
        now: Callable[[], int] | None = None,
    ) -> None:
        self._shop = shop
        self._settings = shop.settings
        self._kafka = shop.settings.kafka
        self._life = life
        self._assignment = assignment
        self._follower = follower
        self._products_in = table.catalog.products_in
        self._windows = windows
        self._faults = faults
        self._now = now or real_time
        self._stalled = StalledPartitions(assignment)
        self._snapshots = ShelfSnapshots(shop, follower, table)
        self._opener = PartitionOpener(
            shop, assignment, follower, table, self._snapshots, self._stalled, self._is_current
        )  # fmt: skip
        self._publisher = SalesPublisher(shop, self._now)
        self._announcer = IncidentAnnouncer(shop, follower)
        self._report = SalesReport(shop, self._now)
        # The partition whose owner announces incidents.
        self._announcing_partition = min(filter(self._products_in, range(self._kafka.partitions)), default=0)
        self._generation: int | None = -1
        self._open: dict[int, PartitionSales] = {}
        self._last_sale: SaleLimit | None = None  # of a run with a limited number of sales
        self._serving: dict[TP, asyncio.Task[None]] = {}
        self._due = 0  # when the last round was or will be, microseconds since 1970
        self._usual_seconds = 0.0  # from then until all is appended
        self.jumps: Jumps = jumps
        self.end_of_run = EndOfRun(shop, assignment, self._is_produced, self._stalled, self._is_current)

    # --- Rounds --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Produce sales as they become due, until the worker is stopped."""
        try:
            while not self._life.is_closing:
                self._due = self._next_round()
                await self.run_round(self._due)
                took = max(0, self._now() - self._due) / 1e6
                self._usual_seconds += (min(took, MAX_ROUND_SECONDS) - self._usual_seconds) * USUAL_WEIGHT
                self._prepare()
                await asyncio.sleep(self._seconds_until(self._due))
        except Exception as error:
            if not self._life.is_closing:  # what a shutdown interrupts is produced after the next start
                raise
            if isinstance(error, RENAMED):  # a bug that the next start has as well
                logger.exception("Not all sales were produced before the shutdown.")

    async def run_round(self, due: int) -> None:
        """Append all sales of our partitions that are due at a given time, and not before that time.

        `due`: microseconds since 1970. Sales that will be due soon are produced in advance, and only have to be sent.
        """
        assignment = self._assignment
        if not self.jumps.is_steady(self._now()):
            if self.jumps.needs_end:
                abort_process(self.jumps.reason)
            return
        if not assignment.is_active:
            return
        if self._generation != assignment.generation:
            self._generation, self._open = assignment.generation, {}
            self._stalled.forget()
        if not assignment.has_lease:
            await assignment.renew_lease()
        await self._serve_all([TP(self._kafka.topic_purchases, partition) for partition in assignment.partitions], due)
        if self._report.is_due:
            self._log_report()
        if (ends_at := self._ends_at()) != END_OF_TIME and await self.end_of_run.finish(ends_at):
            logger.info("All sales produced and processed; shutting down.")
            self._life.request_stop()

    def _next_round(self) -> int:
        """Return when the next round is, microseconds since 1970: when a sale is due, as far as that is known."""
        at = self._now()
        earliest = min(self._due, at) + int(max(MIN_ROUND_SECONDS, self._usual_seconds * ROUND_FACTOR) * 1e6)
        return max(at, earliest, at + math.ceil(self._idle_seconds() * 1e6))

    def _prepare(self) -> None:
        """Compute sales ahead for one partition, so that less work is left when they are due."""
        if self._serving or self._settings.sales.substitution_freq:  # snapshots must not contain unpublished sales
            return
        at, clock = self._now(), self._shop.clock
        until = min(clock.at(at) + int(PREPARE_SECONDS * clock.pace(at) * 1e6), self._follower.horizon)
        till = min((sales.till for sales in self._open.values()), key=attrgetter("prepared_watermark"), default=None)
        if till is not None:
            self._update_plan(till)  # the horizon is that of the latest plan
            till.prepare(until)

    def _idle_seconds(self) -> float:
        """Return for how many seconds no sale is due, up to the length of the longest round."""
        if self._serving:
            return 0.0
        at, clock = self._now(), self._shop.clock
        next_at = min((sales.till.next_at for sales in self._open.values()), default=END_OF_TIME)
        return min(MAX_ROUND_SECONDS, (next_at - clock.at(at)) / clock.pace(at) / 1e6)

    async def _serve_all(self, tps: Sequence[TP], due: int) -> None:
        """Serve partitions at the same time; one whose leader is slow or unavailable does not delay the others."""
        until = self._until(due)
        for tp in tps:
            if self._products_in(tp.partition) and tp not in self._serving:
                self._serving[tp] = asyncio.create_task(self._serve(tp, until, due))
        if self._serving:
            await asyncio.wait(self._serving.values(), timeout=self._seconds_until(due) + MAX_CLUSTER_WAIT_SECONDS)
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
        at, clock = self._now(), self._shop.clock
        is_current = self._assignment.generation == self._generation
        sales = self._open.get(partition) if is_current else None
        through = self._opener.sold_through(partition) if sales is None else sales.published_through
        return int(max(0, min(clock.at(at), self._last_moment) - through) / clock.pace(at))

    def sold_ahead(self) -> int | None:
        """Return the event time up to which a log of ours contains sales of the future; None if there are none.

        The clock of this or another machine was ahead before; nothing is sold until the shop's clock reaches that time.
        """
        at, clock = self._now(), self._shop.clock
        through = max(map(self._opener.sold_through, self._assignment.partitions), default=0)
        return through if (through - clock.at(at)) / clock.pace(at) > MAX_AHEAD_SECONDS * 1e6 else None

    # --- Producing -----------------------------------------------------------------------------------------------

    async def _serve(self, tp: TP, until: int, due: int) -> None:
        """Produce a partition's sales up to an event time, reached at the time `due`, while the partition is ours."""
        if not self._is_owner():
            return
        opened = self._open.get(tp.partition) or await self._opener.open_if_caught_up(tp)
        if opened is None:
            return
        partition, generation = tp.partition, self._generation
        self._open[partition] = opened

        def is_owner() -> bool:
            return self._generation == generation and self._is_owner()

        till = opened.till
        self._update_plan(till)
        while opened.published_through < until and is_owner() and self._has_table_caught_up(tp):
            served = till.generate_until(until)
            if self._last_sale is not None:
                served = self._last_sale.without_later(till, served)
            if not await self._publisher.publish(partition, opened, served, due, is_owner):
                self._open.pop(partition, None)
                return
            opened.published_through = till.watermark
            end = self._publisher.end(tp)
            self._windows.note_all_produced(partition, opened.published_through, end)
            if self._faults is not None:
                self._faults.note(partition, opened.published_through, end)
            self._report.show(till, served.sales)
            if self._settings.sales.substitution_freq:
                await self._snapshots.write_if_due(partition, till, is_owner)
        if partition == self._announcing_partition:
            await self._announcer.announce(till.watermark, is_owner)

    def _has_table_caught_up(self, tp: TP) -> bool:
        """Return whether the table's lag is within bounds: a backfill is not produced faster than it is processed."""
        positions, end = self._assignment.positions, self._publisher.end
        both = tp, TP(self._kafka.topic_lost_sales, tp.partition)
        return all(end(each) - positions.get(each, 0) < MAX_SALES_AHEAD_OF_TABLE for each in both)

    def _is_current(self) -> bool:
        return self._assignment.is_active_in(self._generation) and not self._life.is_closing

    def _is_owner(self) -> bool:
        return self._is_current() and self._assignment.has_lease

    # --- The end of a run ----------------------------------------------------------------------------------------

    def _ends_at(self) -> int:
        """Return the event time after which nothing is sold; END_OF_TIME if the run has no end, or none yet."""
        ends_at = self._last_moment
        if self._last_sale is not None:
            ends_at = min(ends_at, self._last_sale.cursor.at if self._last_sale.cursor else END_OF_TIME)
        return ends_at

    def _is_produced(self, through: int) -> bool:
        """Return whether our partitions are produced, and delivered with faults, up to an event time."""
        if self._serving:
            return False  # a till is ahead of what it has published
        for partition in self._assignment.partitions:
            if partition == self._announcing_partition and self._announcer.published_through < through:
                return False
            if not self._products_in(partition):
                continue
            opened = self._open.get(partition)
            if opened is None or opened.till.watermark < through:
                return False
            if self._faults is not None and self._faults.delivered_through(partition) < through:
                return False
        return True

    # --- The log -------------------------------------------------------------------------------------------------

    def _log_report(self) -> None:
        """Log how much was sold, and the shop's time."""
        delay_seconds = max((self.delay(partition) for partition in self._open), default=0) / 1e6
        is_late = delay_seconds > REPORT_SECONDS
        through = min(sales.published_through for sales in self._open.values()) if is_late else None
        self._report.log(len(self._assignment.partitions), through, self.sold_ahead())

    def _seconds_until(self, at: int) -> float:
        """Return how long to wait for a round: at most the longest round, even if the clock was set in the meantime."""
        return min(max(0, at - self._now()) / 1e6, max(MIN_ROUND_SECONDS, ROUND_FACTOR * MAX_ROUND_SECONDS))


def real_time() -> int:
    """Return the time of this machine's clock, in microseconds since 1970."""
    return time.time_ns() // 1000
