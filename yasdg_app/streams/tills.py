"""The timer that rings up sales: it opens a till for each partition that is ours, and appends what is due.

A till opens only when the agent has read its partition to the end, and goes on after the last sale in the table. What
is in the log is never produced again, and what is not, will be. A till that could not append all is thrown away. When
the cluster is slow tills wait for it, with a block of sales each at most, and catch up afterwards.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.application import app
from yasdg_app.messages import PurchaseEncoder, event_time, purchase, receipt
from yasdg_app.producer import OvertakenError, Row, UnansweredError
from yasdg_app.shop.customer import ways_to_buy
from yasdg_app.shop.till import LastSale, Place, Rates, Sales, Till
from yasdg_app.streams.inventory import levels_of, products_of
from yasdg_app.streams.ownership import LEASE
from yasdg_app.streams.takeover import LONGEST_DISPUTE, disputed, shorter

logger = logging.getLogger(__name__)

TICK = 0.1  # seconds
LONGEST_WAIT = 2.0  # seconds
MOST_A_TICK = 1.0  # seconds that a tick waits for the cluster
DISPUTE = 0.5  # seconds before a look whether it still does
REPORT = 10.0  # seconds between two lines about what was sold
SLOW_ENOUGH_TO_SHOW = 0.5  # mean seconds between sales from which each of them is shown

shop = app.shop
rates = Rates.of(app.products, shop.sales)
product_by_id = {product.product_id: product for product in app.products}


@dataclass(slots=True)
class OpenTill:
    """A till, the encoder of its sales, and how many sales its partition holds."""

    till: Till
    encoder: PurchaseEncoder
    number: int


class Tills:
    """The tills of this worker, by partition; all of one generation of the group."""

    def __init__(self) -> None:
        self._generation = -1
        self._open: dict[int, OpenTill] = {}
        self._last_sale: LastSale | None = None  # of a run of so many sales
        self._waits: dict[int, tuple[int, float]] = {}  # by partition: where its agent stands, and since when
        self._serving: dict[TP, asyncio.Task[None]] = {}
        self._disputes: dict[int, tuple[int, float]] = {}  # by partition: number of sales, since when
        self._reported = (0, time.monotonic())

    async def ring_up(self) -> None:
        """Append all sales that are due by now in the partitions that are ours."""
        ownership = app.ownership
        if not ownership.settled or app.closing:
            return
        if self._generation != ownership.generation:
            self._generation, self._open, self._waits = ownership.generation, {}, {}
        if not ownership.lease_left:
            await ownership.renew()
        now = time.time_ns() // 1000
        until = self._until(now)
        await self._serve_all(sorted(ownership.applied), until)
        self._report(now)
        if await self._finished():
            logger.info("All %d sales are rung up and in the books: the shop closes.", shop.sales.number_of_sales)
            os.kill(os.getpid(), signal.SIGTERM)

    async def _serve_all(self, tps: Sequence[TP], until: int) -> None:
        """Serve partitions all at once; one whose leader is slow or away does not hold up the others."""
        for tp in tps:
            if products_of[tp.partition] and tp not in self._serving:
                self._serving[tp] = asyncio.create_task(self._serve(tp, until))
        if self._serving:
            await asyncio.wait(self._serving.values(), timeout=MOST_A_TICK)
        for tp, task in list(self._serving.items()):
            if task.done():
                del self._serving[tp]
                task.result()  # raises what went wrong

    def delay(self, partition: int, now: int) -> int:
        """Return how far a partition's sales are behind the event time `now`, in microseconds."""
        opened = self._open.get(partition) if app.ownership.generation == self._generation else None
        if opened is not None:
            return max(0, now - opened.till.through)
        last_sales = [event_time(level.last_sale) for level in levels_of(partition)]
        return max(0, now - max(last_sales, default=app.opening.opened_at))

    def _until(self, now: int) -> int:
        """Return the event time up to which sales may be rung up: now, or the end of a run of so many sales."""
        if not shop.sales.number_of_sales:
            return now
        if self._last_sale is None:
            self._last_sale = LastSale(
                app.products, shop.sales, rates, app.opening.opened_at, shop.sales.number_of_sales
            )
        return min(now, self._last_sale.look(now))

    async def _opened(self, tp: TP) -> bool:
        """Open the till of a partition, if the agent has read it to its end."""
        if tp.partition in self._open:
            return True
        ownership = app.ownership
        try:
            end = (await app.reader.ends([tp]))[tp]
        except KafkaError:
            return False  # the cluster is away
        if not self._still_ours():
            return False
        if end < ownership.applied[tp]:
            raise shorter(tp, end, ownership.applied[tp])
        if end > ownership.applied[tp]:
            await self._hurry(tp)
            return False
        self._open[tp.partition] = self._open_till(tp.partition)
        return True

    async def _hurry(self, tp: TP) -> None:
        """Have a partition fetched again if its agent waits in vain, for what was lost in the middle of a rebalance."""
        position, now = app.ownership.applied.get(tp), time.monotonic()
        if position is None or app.ownership.busy:
            return
        stood_at, since = self._waits.setdefault(tp.partition, (position, now))
        if stood_at != position:
            self._waits[tp.partition] = position, now
        elif now - since > LONGEST_WAIT:
            self._waits[tp.partition] = position, now
            await app.ownership.go_back_to({tp: position})

    def _open_till(self, partition: int) -> OpenTill:
        product_ids = products_of[partition]
        levels = levels_of(partition)
        till = Till(
            products=[product_by_id[product_id] for product_id in product_ids],
            sales=shop.sales,
            rates=rates,
            opened_at=app.opening.opened_at,
            # Within a partition the log is in order of event time, so everything up to its last sale is in it.
            after=max((Place(event_time(level.last_sale), level.product_id) for level in levels), default=None),
            numbers={level.product_id: level.sales for level in levels},
        )
        return OpenTill(till, PurchaseEncoder(till.products, shop.sales), sum(level.sales for level in levels))

    async def _serve(self, tp: TP, until: int) -> None:
        """Ring up a partition's sales until it is up to date, while it is ours."""
        if not self._may_append() or not await self._opened(tp):
            return
        opened = self._open[tp.partition]
        till = opened.till
        while till.through < until and self._may_append():
            sales = till.ring_up(until)
            if self._last_sale is not None:
                sales = self._last_sale.without_later(till, sales)
            if not await self._append(tp, opened, sales):
                self._open.pop(tp.partition, None)
                return
            self._show(till, sales)

    async def _append(self, tp: TP, opened: OpenTill, sales: Sales) -> bool:
        """Append sales; False if not all could be, or if another worker has: then the log has to be read first."""
        rows = (Row(*row) for row in opened.encoder.encode(sales))
        try:
            appended = await app.shop_producer.append(tp.topic, tp.partition, opened.number, rows, self._may_append)
        except UnansweredError as error:
            logger.debug("%s. Reading on.", error)
            return False
        except OvertakenError as error:
            logger.debug("%s. Reading on.", error)
            app.counts["overtaken"] += 1
            await self._dispute(tp, opened.number, str(error))
            return False
        if appended.complete:
            opened.number += len(sales)
            app.counts["sales"] += len(sales)
        return appended.complete

    async def _dispute(self, tp: TP, number: int, what: str) -> None:
        """Wait until the log shows what the cluster counts; not for ever."""
        disputed_number, since = self._disputes.setdefault(tp.partition, (number, time.monotonic()))
        if disputed_number != number:
            self._disputes[tp.partition] = number, time.monotonic()
        elif time.monotonic() - since > LONGEST_DISPUTE:
            raise disputed(what)
        await asyncio.sleep(DISPUTE)

    def _still_ours(self) -> bool:
        same = app.ownership.settled and app.ownership.generation == self._generation
        return bool(same and not app.closing)

    def _may_append(self) -> bool:
        return self._still_ours() and bool(app.ownership.lease_left)

    async def _finished(self) -> bool:
        """Tell whether a run of so many sales is over for this worker: rung up, and applied to the table."""
        last = self._last_sale.place if self._last_sale else None
        if last is None:
            return False
        applied = app.ownership.applied
        for tp in applied:
            opened = self._open.get(tp.partition)
            if products_of[tp.partition] and (opened is None or opened.till.through < last.at):
                return False
        try:
            ends = await app.reader.ends(applied)
        except KafkaError:
            return False
        behind = [tp for tp in ends if ends[tp] > applied.get(tp, 0)]
        for tp in behind:
            await self._hurry(tp)
        if behind:
            return False
        return self._still_ours()

    def _show(self, till: Till, sales: Sales) -> None:
        """Show each sale where they are few enough to be read."""
        if shop.sales.mean_seconds_between_sales < SLOW_ENOUGH_TO_SHOW or len(sales) > 3:
            return
        columns = (sales.product.tolist(), sales.number.tolist(), sales.at.tolist(), sales.way.tolist())
        for product, number, at, way in zip(*columns, strict=True):
            line = ways_to_buy(till.products[product], shop.sales)[way]
            logger.info("%s", receipt(purchase(at, number, line).asdict(), line.product.item))

    def _report(self, now: int) -> None:
        """Say every now and then how much was sold, and how far behind we are."""
        count, at = self._reported
        passed = time.monotonic() - at
        if passed < REPORT:
            return
        self._reported = (app.counts["sales"], time.monotonic())
        behind = max((now - opened.till.through for opened in self._open.values()), default=0) / 1e6
        logger.info(
            "%d sales so far, %.1f a second; %d of %d partitions are ours%s",
            app.counts["sales"],
            (app.counts["sales"] - count) / passed,
            len(app.ownership.applied),
            shop.kafka.partitions,
            f"; {behind:.0f} s behind, catching up" if behind > REPORT else "",
        )


tills = Tills()


@app.timer(LEASE / 6)
async def renew_lease() -> None:
    """Keep the lease while the tills wait for a slow cluster."""
    await app.ownership.renew()


@app.timer(TICK)
async def ring_up() -> Any:
    """Ring up what is due."""
    try:
        await tills.ring_up()
    except Exception:
        if not app.closing:  # what the end cut short is made up for at the next start
            raise
