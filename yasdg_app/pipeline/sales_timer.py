"""The timer that rings up sales: it opens a till for each partition that is ours, and appends what is due.

A till opens only when the agent has read its partition to the end, and goes on after the last sale in the table. What
is in the log is never produced again, and what is not, will be. Lost sales are appended before the sales of the same
stretch of time: a till that goes on after the last sale serves whoever was lost behind it again, and does not tell of
them. A till that could not append all is thrown away. When the cluster is slow tills wait for it, with a block of sales
each at most, and catch up afterwards.
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
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.application import app, end_at_once
from yasdg_app.cluster_state.clock_jumps import jumps
from yasdg_app.cluster_state.lifetime import last_moment
from yasdg_app.errors import YasdgError
from yasdg_app.faust_runtime.table import NO_TIME
from yasdg_app.kafka.auth.diagnostics import LoginRefusedError
from yasdg_app.kafka.client import administration
from yasdg_app.kafka.producer import ProducerRecord, SequenceConflictError, UnknownOutcomeError
from yasdg_app.messages.bulk_encoder import BulkEncoder
from yasdg_app.messages.encoders import LostSaleEncoder, PurchaseEncoder
from yasdg_app.messages.reference import purchase, receipt
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.control_follower import watch
from yasdg_app.pipeline.fault_injector import dirt
from yasdg_app.pipeline.incident_announcer import Announcer
from yasdg_app.pipeline.inventory_agent import Shelves, column_of, inventory, products_of, windows
from yasdg_app.pipeline.partition_assignment import LEASE
from yasdg_app.pipeline.restore import Disputes, shorter
from yasdg_app.pipeline.shelf_snapshots import ShelvesTopic
from yasdg_app.shop.customer_behaviour import line_of
from yasdg_app.shop.shelf import END_OF_TIME
from yasdg_app.shop.till import (
    NO_PRODUCT,
    STREAM_START,
    EventCursor,
    LostSale,
    ResumePoint,
    SaleLimit,
    Sales,
    SalesBatch,
    Till,
)

logger = logging.getLogger(__name__)

TICK = 0.01  # seconds between two ticks of the timer
TURN = 10.0  # seconds for which a tick goes on, with a round whenever somebody is due
SHORTEST_ROUND = 0.006  # seconds from one round to the next: what is due meanwhile is appended together
BREATH = 3.0  # times what it usually takes to append what is due is a round, at least: the table has to follow
USUAL = 0.05  # weight of the last round in what is usual
LONGEST_ROUND = 0.1  # seconds; there is more to look at than whether somebody is due
MOST_AHEAD = 40_000  # sales of a partition that the table has not seen: then its till waits for it
FEW = 64  # sales; to encode fewer one by one is faster than all at once
LONGEST_WAIT = 2.0  # seconds
AHEAD = 0.5  # seconds for which sales are computed before they are due
MOST_A_ROUND = 1.0  # seconds that a round waits for the cluster
LOOK = 0.5  # seconds between two looks whether all workers are done
DISPUTE = 0.5  # seconds before a look whether it still does
REPORT = 10.0  # seconds between two lines about what was sold
MAX_AHEAD_SECONDS = 5.0  # that a log may be ahead of the shop's clock without a word
SLOW_ENOUGH_TO_SHOW = 0.5  # mean seconds between sales from which each of them is shown

shop = app.shop
kafka = shop.kafka
ANNOUNCES = min(partition for partition, products in products_of.items() if products)
"""The partition whose owner tells of incidents."""


@dataclass(slots=True)
class OpenTill:
    """A till, and how many sales and lost sales its partition holds."""

    till: Till
    told: int  # event time up to which everybody who is told of stands in the logs
    sales: int
    lost: int
    encoder: PurchaseEncoder
    bulk_encoder: BulkEncoder
    lost_encoder: LostSaleEncoder


class Tills:
    """The tills of this worker, by partition; all of one generation of the group."""

    def __init__(self) -> None:
        self._generation = -1
        self._open: dict[int, OpenTill] = {}
        self._last_sale: SaleLimit | None = None  # of a run of so many sales
        self._waits: dict[TP, tuple[int, float]] = {}  # where the agent stands, and since when
        self._serving: dict[TP, asyncio.Task[None]] = {}
        self._ends: dict[TP, int] = {}  # the offset behind what we have appended
        self._disputes = Disputes()
        self._reported = (0, time.monotonic())
        self._due = 0  # when the last round was or will be, microseconds since 1970
        self._usual = 0.0  # seconds from then until all is appended
        self._try_at: dict[int, float] = {}  # when to try again to open a till, time.monotonic(), by partition
        self._look_at = float("-inf")  # when to see again whether a run with an end is over, time.monotonic()
        self._waits_for_others = False
        self._shelves = ShelvesTopic()
        self._announcer = Announcer()
        self._said_ahead = False
        self.jumps = jumps

    async def tick(self) -> None:
        """Ring up sales as they become due, for a while."""
        ends = time.monotonic() + TURN
        while not app.closing and time.monotonic() < ends:
            self._due = self._next_round()
            await self.ring_up(self._due)
            took = max(0, _now() - self._due) / 1e6
            self._usual += (min(took, LONGEST_ROUND) - self._usual) * USUAL
            self._prepare()
            await asyncio.sleep(_seconds_to(self._due))

    async def ring_up(self, due: int) -> None:
        """Append all sales of the partitions that are ours that are due at some moment, no sooner than that.

        `due`: microseconds since 1970. Who is due soon is rung up before, and has only the way to the cluster left.
        """
        ownership = app.ownership
        if not self.jumps.is_steady(_now()):
            if self.jumps.needs_end:
                end_at_once(YasdgError(self.jumps.reason))
            return
        if not ownership.settled:
            return
        if self._generation != ownership.generation:
            self._generation, self._open, self._waits = ownership.generation, {}, {}
        if not ownership.lease_left:
            await ownership.renew()
        await self._serve_all([TP(kafka.topic_purchases, partition) for partition in ownership.partitions], due)
        self._report()
        if await self._finished():
            logger.info("All sales are rung up and in the books: the shop closes.")
            os.kill(os.getpid(), signal.SIGTERM)

    def _next_round(self) -> int:
        """Return when the next round is, microseconds since 1970: not before somebody is due, as far as is known."""
        at = _now()
        earliest = min(self._due, at) + int(max(SHORTEST_ROUND, self._usual * BREATH) * 1e6)
        return max(at, earliest, at + math.ceil(self._quiet() * 1e6))

    def _prepare(self) -> None:
        """Compute ahead for one of the tills, so that it does not have to when somebody is due."""
        if self._serving or shop.sales.substitution_freq:  # shelves are kept when nobody is computed who is not told of
            return
        at, clock = _now(), app.opening.clock
        until = min(clock.at(at) + int(AHEAD * clock.pace(at) * 1e6), watch.horizon)
        till = min((opened.till for opened in self._open.values()), key=attrgetter("prepared_watermark"), default=None)
        if till is not None:
            follow(till)  # the horizon is that of the newest plan
            till.prepare(until)

    def _quiet(self) -> float:
        """Return for how many seconds nobody is due, as far as that is worth to be known."""
        if self._serving:
            return 0.0
        at, clock = _now(), app.opening.clock
        next_at = min((opened.till.next_at for opened in self._open.values()), default=END_OF_TIME)
        return min(LONGEST_ROUND, (next_at - clock.at(at)) / clock.pace(at) / 1e6)

    async def _serve_all(self, tps: Sequence[TP], due: int) -> None:
        """Serve partitions all at once; one whose leader is slow or away does not hold up the others."""
        until = self._until(due)
        for tp in tps:
            if products_of[tp.partition] and tp not in self._serving:
                self._serving[tp] = asyncio.create_task(self._serve(tp, until, due))
        if self._serving:
            await asyncio.wait(self._serving.values(), timeout=_seconds_to(due) + MOST_A_ROUND)
        for tp, task in list(self._serving.items()):
            if task.done():
                del self._serving[tp]
                task.result()  # raises what went wrong

    def delay(self, partition: int) -> int:
        """Return how far a partition's sales are behind the shop's clock, in microseconds that this takes to pass."""
        at, clock = _now(), app.opening.clock
        opened = self._open.get(partition) if app.ownership.generation == self._generation else None
        through = self._sold_through(partition) if opened is None else opened.told
        return int(max(0, min(clock.at(at), self._last_moment) - through) / clock.pace(at))

    def sold_ahead(self) -> int | None:
        """Return the event time up to which a log of ours holds sales of the future; None if there is none.

        The clock of this or another machine was ahead before; nothing is sold until it has come there.
        """
        at, clock = _now(), app.opening.clock
        through = max(map(self._sold_through, app.ownership.partitions), default=0)
        return through if (through - clock.at(at)) / clock.pace(at) > MAX_AHEAD_SECONDS * 1e6 else None

    def _until(self, due: int) -> int:
        """Return the event time up to which sales are rung up: as far as is known what happens, and to the end."""
        until = min(app.opening.clock.at(due), watch.horizon, self._last_moment)
        if not shop.sales.number_of_sales:
            return until
        if self._last_sale is None:
            self._last_sale = SaleLimit(watch.plan, shop.sales.number_of_sales)
        follow(self._last_sale)
        return min(until, self._last_sale.look(until))

    @cached_property
    def _last_moment(self) -> int:
        """Event time behind which nobody is served."""
        closes_at = last_moment(shop, app.opening.opened_at)
        return END_OF_TIME if closes_at is None else closes_at - 1

    @staticmethod
    def _after(partition: int) -> EventCursor:
        """Return the last customer whose sale is in the table; before the first: the shop's first moment."""
        # Within a partition the log is in order of event time, so everything up to its last sale is in it.
        last = inventory.rows_of(partition).last("last_sale")
        return EventCursor(app.opening.opened_at, "") if last is None else EventCursor(*last)

    @staticmethod
    def _sold_through(partition: int) -> int:
        """Return the event time of `_after`: without its customer, for whom all products are looked through."""
        last = int(inventory.rows_of(partition).column("last_sale").max(initial=NO_TIME))
        return app.opening.opened_at if last == NO_TIME else last

    async def _opened(self, tp: TP) -> bool:
        """Open the till of a partition, if the agent has read it to its end."""
        if tp.partition in self._open:
            return True
        now = time.monotonic()
        if now < self._try_at.get(tp.partition, now):
            return False
        self._try_at[tp.partition] = now + LONGEST_ROUND
        ownership, both = app.ownership, [tp, TP(kafka.topic_lost_sales, tp.partition)]
        try:
            ends = await app.reader.ends(both)
        except KafkaError:
            return False  # the cluster is away
        if not self._still_ours():
            return False
        for each in both:
            if each not in ownership.applied:
                return False  # a rebalance has taken it
            if ends[each] < ownership.applied[each]:
                raise shorter(each, ends[each], ownership.applied[each])
        behind = [each for each in both if ends[each] > ownership.applied[each]]
        for each in behind:
            await self._hurry(each)
        if behind:
            return False
        await watch.up_to_date()  # shelves that were kept do not hold where a gap has been left since
        opened = await self._open_till(tp.partition)
        if opened is None or not self._still_ours():
            return False
        self._open[tp.partition] = opened
        return True

    async def _hurry(self, tp: TP) -> None:
        """Have a partition fetched again if its agent waits in vain, for what was lost in the middle of a rebalance."""
        position, now = app.ownership.applied.get(tp), time.monotonic()
        if position is None or app.ownership.is_busy(tp.partition):
            return
        stood_at, since = self._waits.setdefault(tp, (position, now))
        if stood_at != position:
            self._waits[tp] = position, now
        elif now - since > LONGEST_WAIT:
            self._waits[tp] = position, now
            await app.ownership.go_back_to({tp: position})

    async def _open_till(self, partition: int) -> OpenTill | None:
        """Open a till where the table stands; None if it cannot be now."""
        if shop.sales.substitution_freq:
            kept = await self._shelves.read(partition)
            if kept is None:
                return None
            after, shelves = kept
        else:
            after, shelves = self._after(partition), Shelves(partition)
        last_lost = inventory.rows_of(partition).last("last_lost")
        start = ResumePoint(
            after=after,
            shelves=shelves,
            sold=column_of(partition, "sales"),
            lost=column_of(partition, "lost_sales"),
            lost_after=STREAM_START if last_lost is None else EventCursor(*last_lost),
        )
        till = Till(watch.plan, products_of[partition], start)
        return OpenTill(
            till=till,
            told=after.at - 1,  # at the microsecond of the last sale there may be another one
            sales=sum(start.sold.values()),
            lost=sum(start.lost.values()),
            encoder=PurchaseEncoder(till.products, shop.sales, app.format.writer("purchases")),
            bulk_encoder=BulkEncoder(till.products, shop.sales, app.format),
            lost_encoder=LostSaleEncoder(till.products, shop.sales, app.format.writer("lost_sales")),
        )

    async def _serve(self, tp: TP, until: int, due: int) -> None:
        """Ring up a partition's sales up to an event time, which is when it is `due`, while it is ours."""
        if not self._may_append() or not await self._opened(tp):
            return
        opened, generation = self._open[tp.partition], self._generation

        def allowed() -> bool:
            return self._generation == generation and self._may_append()

        till = opened.till
        follow(till)
        while opened.told < until and allowed() and self._is_followed(tp):
            served = till.generate_until(until)
            if self._last_sale is not None:
                served = self._last_sale.without_later(till, served)
            if not await self._tell(tp.partition, opened, served, due, allowed):
                self._open.pop(tp.partition, None)
                return
            opened.told = till.watermark
            windows.all_told(tp.partition, opened.told, self._ends.get(tp, 0))
            if dirt is not None:
                dirt.note(tp.partition, opened.told, self._ends.get(tp, 0))
            self._show(till, served.sales)
            if shop.sales.substitution_freq:
                await self._shelves.keep(tp.partition, till, allowed)
        if tp.partition == ANNOUNCES:
            await self._announcer.announce(till.watermark, allowed)

    def _is_followed(self, tp: TP) -> bool:
        """Tell whether the table is not too far behind: a past is not made up for faster than it can be applied."""
        applied = app.ownership.applied
        both = tp, TP(kafka.topic_lost_sales, tp.partition)
        return all(self._ends.get(each, 0) - applied.get(each, 0) < MOST_AHEAD for each in both)

    async def _tell(
        self, partition: int, opened: OpenTill, served: SalesBatch, due: int, allowed: Callable[[], bool]
    ) -> bool:
        """Append lost sales and sales; False if not all could be: then the logs have to be read first."""
        lost, sales = _batches_of_lost(opened, served.lost), _batches_of_sales(opened, served.sales)
        if app.opening.clock.at(_now()) < opened.till.watermark:
            lost, sales = list(lost), list(sales)  # so that nothing is left to do when they are due
            if not await self._wait(opened.till.watermark, due, allowed):
                return False
        lost_tp, tp = TP(kafka.topic_lost_sales, partition), TP(kafka.topic_purchases, partition)
        if not await self._append(lost_tp, opened.lost, len(served.lost), lost, allowed):
            return False
        opened.lost += len(served.lost)
        app.counts["lost_sales"] += len(served.lost)
        if not await self._append(tp, opened.sales, len(served.sales), sales, allowed):
            return False
        opened.sales += len(served.sales)
        app.counts["sales"] += len(served.sales)
        return True

    async def _wait(self, through: int, due: int, allowed: Callable[[], bool]) -> bool:
        """Wait for an event time, which comes when it is `due` at the latest; False if that is not allowed any more."""
        while app.opening.clock.at(_now()) < through:
            if not allowed():
                return False
            await asyncio.sleep(min(_seconds_to(due), LONGEST_ROUND))
        return True

    async def _append(
        self, tp: TP, number: int, count: int, batches: Iterable[bytes], allowed: Callable[[], bool]
    ) -> bool:
        """Append behind the first `number`; False if not all is, or another worker has: then the log is to be read."""
        if not count:
            return True
        try:
            appended = await app.shop_producer.append_batches(*tp, batches, allowed)
        except UnknownOutcomeError as error:
            logger.debug("%s. Reading on.", error)
            return False
        except SequenceConflictError as error:
            logger.debug("%s. Reading on.", error)
            app.counts["overtaken"] += 1
            self._disputes.note(tp, number, str(error))
            await asyncio.sleep(DISPUTE)
            return False
        if appended.complete:
            self._ends[tp] = max(self._ends.get(tp, 0), appended.offset + count)
        return appended.complete

    def _still_ours(self) -> bool:
        same = app.ownership.settled and app.ownership.generation == self._generation
        return bool(same and not app.closing)

    def _may_append(self) -> bool:
        return self._still_ours() and bool(app.ownership.lease_left)

    async def _finished(self) -> bool:
        """Tell whether a run that has an end is over: all is rung up and in the books, here and at the other workers.

        A datastore has to have the inventory as well, unless it does not take it. A worker whose part is done notes
        that beside its positions, and waits until all partitions have such a note: one that died may have left its part
        to us.
        """
        ends_at = self._last_moment
        if self._last_sale is not None:
            ends_at = min(ends_at, self._last_sale.cursor.at if self._last_sale.cursor else END_OF_TIME)
        if ends_at == END_OF_TIME or time.monotonic() < self._look_at or not await self._is_done(ends_at):
            return False
        self._look_at = time.monotonic() + LOOK
        note = f"closed {ends_at}"
        app.ownership.notes = {TP(kafka.topic_purchases, partition): note for partition in app.ownership.partitions}
        await app.ownership.renew(at_once=True)
        if await self._noted_by_all(note):
            return True
        if not self._waits_for_others:
            self._waits_for_others = True
            logger.info("Our part of the sales is rung up and in the books. Waiting for the other workers.")
        return False

    async def _is_done(self, ends_at: int) -> bool:
        """Tell whether the partitions that are ours are rung up to the end, and applied to the table."""
        if self._serving:
            return False  # a till is ahead of what it has told
        applied = app.ownership.applied
        for partition in app.ownership.partitions:
            if partition == ANNOUNCES and self._announcer.through < ends_at:
                return False
            opened = self._open.get(partition)
            if products_of[partition] and (opened is None or opened.till.watermark < ends_at):
                return False
            if products_of[partition] and dirt is not None and dirt.through(partition) < ends_at:
                return False
        try:
            ends = await app.reader.ends(applied)
        except KafkaError:
            return False
        behind = [tp for tp in ends if ends[tp] > applied.get(tp, 0)]
        for tp in behind:
            await self._hurry(tp)
        if app.mirror is not None and app.mirror.is_behind:
            return False
        return not behind and self._still_ours()

    async def _noted_by_all(self, note: str) -> bool:
        try:
            async with administration(app.connection) as admin:
                committed = await admin.list_consumer_group_offsets(kafka.application_id)
        except (KafkaError, OSError, LoginRefusedError):
            return False
        noted = {
            tp.partition for tp, (_, told) in committed.items() if tp.topic == kafka.topic_purchases and told == note
        }
        return len(noted) == kafka.partitions

    def _show(self, till: Till, sales: Sales) -> None:
        """Show each sale where they are few enough to be read, and of now."""
        at, clock = _now(), app.opening.clock
        if shop.sales.mean_seconds_between_sales / clock.pace(at) < SLOW_ENOUGH_TO_SHOW or len(sales) > 3:
            return
        if clock.at(at) - till.watermark > REPORT * 1_000_000:
            return
        columns = (sales.product, sales.number, sales.at, sales.option, sales.promotion, sales.requested_product)
        for product, number, at, way, promotion, asked in zip(*(column.tolist() for column in columns), strict=True):
            line = line_of(till.products[product], way, promotion, shop.sales)
            instead_of = None if asked == NO_PRODUCT else till.products[asked].product_id
            logger.info("%s", receipt(purchase(at, number, line, instead_of).asdict(), line.product.item))

    def _report(self) -> None:
        """Say every now and then how much was sold, and how far behind we are."""
        count, at = self._reported
        passed = time.monotonic() - at
        if passed < REPORT:
            return
        self._reported = (app.counts["sales"], time.monotonic())
        self._report_sold_ahead()
        behind = max((self.delay(partition) for partition in self._open), default=0) / 1e6
        lost = app.counts["lost_sales"]
        logger.info(
            "%d sales so far%s, %.1f a second; %d of %d partitions are ours%s",
            app.counts["sales"],
            f", and {lost} lost" if lost else "",
            (app.counts["sales"] - count) / passed,
            len(app.ownership.partitions),
            kafka.partitions,
            f"; {time_text(self._through())[:16]} (UTC) by the shop's clock, catching up" if behind > REPORT else "",
        )

    def _report_sold_ahead(self) -> None:
        """Log once that the log holds sales of the future."""
        through = self.sold_ahead()
        if through is not None and not self._said_ahead:
            logger.warning(
                "The log holds sales up to %s (UTC), but it is %s by the shop's clock: a clock was ahead. Nothing is "
                "sold until then.", time_text(through)[:19], time_text(app.opening.clock.at(_now()))[:19],
            )  # fmt: skip
        self._said_ahead = through is not None

    def _through(self) -> int:
        """Return the event time up to which all our partitions are rung up."""
        return min(opened.told for opened in self._open.values())


def _now() -> int:
    """Return the time: microseconds since 1970."""
    return time.time_ns() // 1000


def _seconds_to(at: int) -> float:
    """Return how long to wait for a round: never longer than one can take, wherever the clock was set meanwhile."""
    return min(max(0, at - _now()) / 1e6, max(SHORTEST_ROUND, BREATH * LONGEST_ROUND))


def _batches_of_sales(opened: OpenTill, sales: Sales) -> Iterable[bytes]:
    producer = app.shop_producer
    if len(sales) < FEW:
        return producer.batches_of(opened.sales, (ProducerRecord(*row) for row in opened.encoder.encode(sales)))
    return producer.batches_of_records(opened.sales, opened.bulk_encoder.records(sales))


def _batches_of_lost(opened: OpenTill, lost: Sequence[LostSale]) -> Iterable[bytes]:
    return app.shop_producer.batches_of(opened.lost, (ProducerRecord(*row) for row in opened.lost_encoder.encode(lost)))


def follow(till: Till | SaleLimit) -> None:
    """Have a till go by the newest plan."""
    if till.plan is not watch.plan:
        till.replan(watch.plan)


tills = Tills()


@app.timer(LEASE / 6)
async def renew_lease() -> None:
    """Keep the lease while the tills wait for a slow cluster."""
    await app.ownership.renew()


@app.timer(TICK)
async def ring_up() -> Any:
    """Ring up what is due."""
    try:
        await tills.tick()
    except Exception:
        if not app.closing:  # what the end cut short is made up for at the next start
            raise
