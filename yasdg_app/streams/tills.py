"""The timer that rings up sales: it opens a till for each partition that is ours, and appends what is due.

A till opens only when the agent has read its partition to the end, and goes on after the last sale in the table. What
is in the log is never produced again, and what is not, will be. A till that could not append all is thrown away.
"""

import logging
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from faust.types import TP

from yasdg_app.application import app
from yasdg_app.messages import PurchaseEncoder, event_time, purchase, receipt
from yasdg_app.shop.customer import ways_to_buy
from yasdg_app.shop.till import LastSale, Place, Rates, Sales, Till
from yasdg_app.streams.books import BooksError
from yasdg_app.streams.inventory import levels_of, products_of
from yasdg_app.streams.log import append

logger = logging.getLogger(__name__)

TICK = 0.1  # seconds
REPORT = 10.0  # seconds between two lines about what was sold
SLOW_ENOUGH_TO_SHOW = 0.5  # mean seconds between sales from which each of them is shown

shop = app.shop
rates = Rates.of(app.products, shop.sales)
product_by_id = {product.product_id: product for product in app.products}


@dataclass(slots=True)
class OpenTill:
    """A till and the encoder of its sales."""

    till: Till
    encoder: PurchaseEncoder


class Tills:
    """The tills of this worker, by partition; all of one generation of the group."""

    def __init__(self) -> None:
        self._generation = -1
        self._open: dict[int, OpenTill] = {}
        self._last_sale: LastSale | None = None  # of a run of so many sales
        self._rung_up = 0
        self._reported = (0, time.monotonic())

    async def ring_up(self) -> None:
        """Append all sales that are due by now in the partitions that are ours."""
        ownership = app.ownership
        if not ownership.settled or app.should_stop:
            return
        if self._generation != ownership.generation:
            self._generation, self._open = ownership.generation, {}
        now = time.time_ns() // 1000
        until = self._until(now)
        for tp in sorted(ownership.applied):
            if not await ownership.lease_held():
                return
            if products_of[tp.partition] and await self._opened(tp):
                await self._serve(tp, until)
        self._report(now)
        if await self._finished():
            logger.info("All %d sales are rung up and in the books: the shop closes.", shop.sales.number_of_sales)
            os.kill(os.getpid(), signal.SIGTERM)

    def _until(self, now: int) -> int:
        """Return the event time up to which sales may be rung up: now, or the end of a run of so many sales."""
        if not shop.sales.number_of_sales:
            return now
        if self._last_sale is None:
            self._last_sale = LastSale(app.products, shop.sales, rates, app.opened_at, shop.sales.number_of_sales)
        return min(now, self._last_sale.look(now))

    async def _opened(self, tp: TP) -> bool:
        """Open the till of a partition, if the agent has read it to its end."""
        if tp.partition in self._open:
            return True
        ownership = app.ownership
        end = (await app.consumer.highwaters(tp))[tp]
        if not self._still_ours():
            return False
        if end < ownership.applied[tp]:
            raise BooksError(
                f"{tp.topic}, partition {tp.partition} ends at offset {end}, but the inventory stands at "
                f"{ownership.applied[tp]}: the topic was deleted, and its changelog was not. "
                "Begin anew: yasdg topics delete"
            )
        if end > ownership.applied[tp]:
            return False
        self._open[tp.partition] = self._open_till(tp.partition)
        return True

    def _open_till(self, partition: int) -> OpenTill:
        product_ids = products_of[partition]
        levels = levels_of(partition)
        till = Till(
            products=[product_by_id[product_id] for product_id in product_ids],
            sales=shop.sales,
            rates=rates,
            opened_at=app.opened_at,
            # Within a partition the log is in order of event time, so everything up to its last sale is in it.
            after=max((Place(event_time(level.last_sale), level.product_id) for level in levels), default=None),
            numbers={level.product_id: level.sales for level in levels},
        )
        return OpenTill(till, PurchaseEncoder(till.products, shop.sales))

    async def _serve(self, tp: TP, until: int) -> None:
        """Ring up a partition's sales until it is up to date, while it is ours."""
        till, encoder = self._open[tp.partition].till, self._open[tp.partition].encoder
        while till.through < until and await app.ownership.lease_held() and self._still_ours():
            sales = till.ring_up(until)
            if self._last_sale is not None:
                sales = self._last_sale.without_later(till, sales)
            if not await append(app, tp.topic, tp.partition, encoder.encode(sales), self._may_append):
                self._open.pop(tp.partition, None)
                return
            self._rung_up += len(sales)
            self._show(till, sales)

    def _still_ours(self) -> bool:
        same = app.ownership.settled and app.ownership.generation == self._generation
        return bool(same and not app.should_stop)

    def _may_append(self) -> bool:
        return self._still_ours() and bool(app.ownership.lease_left)

    async def _finished(self) -> bool:
        """Tell whether a run of so many sales is over for this worker: rung up, and applied to the table."""
        last = self._last_sale.place if self._last_sale else None
        if last is None:
            return False
        ownership = app.ownership
        for tp in sorted(ownership.applied):
            if not products_of[tp.partition]:
                continue
            if tp.partition not in self._open or self._open[tp.partition].till.through < last.at:
                return False
            if (await app.consumer.highwaters(tp))[tp] > ownership.applied.get(tp, 0):
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
        self._reported = (self._rung_up, time.monotonic())
        behind = max((now - opened.till.through for opened in self._open.values()), default=0) / 1e6
        logger.info(
            "%d sales so far, %.1f a second; %d of %d partitions are ours%s",
            self._rung_up,
            (self._rung_up - count) / passed,
            len(app.ownership.applied),
            shop.kafka.partitions,
            f"; {behind:.0f} s behind, catching up" if behind > REPORT else "",
        )


tills = Tills()


@app.timer(TICK)
async def ring_up() -> Any:
    """Ring up what is due."""
    try:
        await tills.ring_up()
    except Exception:
        if not app.should_stop:  # what the end cut short is made up for at the next start
            raise
