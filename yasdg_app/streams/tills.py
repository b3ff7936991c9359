"""The timer that rings up sales: it opens a till for each partition that is ours, and appends what is due.

A till opens only when the agent has read its partition to the end, and goes on after the last sale in the table. What is in
the log is never produced again, and what is not, will be. A till that could not append all is thrown away.
"""

import logging
import os
import signal
import time
from typing import Any

from yasdg_app.application import app
from yasdg_app.messages import PurchaseEncoder, event_time, time_text
from yasdg_app.shop.customer import ways_to_buy
from yasdg_app.shop.till import LastSale, Place, Rates, Sales, Till
from yasdg_app.streams.books import BooksError
from yasdg_app.streams.inventory import inventory, partition_of, products_of
from yasdg_app.streams.log import append

logger = logging.getLogger(__name__)

TICK = 0.1  # seconds
REPORT = 10.0  # seconds between two lines about what was sold
SLOW_ENOUGH_TO_SHOW = 0.5  # mean seconds between sales from which each of them is shown

sales_settings = app.shop.sales
rates = Rates.of(app.products, sales_settings)
by_id = {product.product_id: product for product in app.products}


class Tills:
    """The open tills of one generation."""

    def __init__(self) -> None:
        self.generation = -1
        self.open: dict[int, tuple[Till, PurchaseEncoder]] = {}
        self.last_sale: LastSale | None = None
        self.rung_up = 0
        self._reported = (0, time.monotonic())

    async def ring_up(self) -> None:
        """Append all sales that are due by now in the partitions that are ours."""
        ownership = app.ownership
        if not ownership.settled:
            return
        if self.generation != ownership.generation:
            self.generation, self.open = ownership.generation, {}
        now = time.time_ns() // 1000
        until = self._allowed(now)
        for tp in sorted(ownership.applied):
            if not await ownership.lease_held():
                return
            if await self._opened(tp):
                await self._serve(tp, until)
        self._report(now)
        if await self._finished():
            logger.info("All %d sales are rung up and in the books.", sales_settings.number_of_sales)
            os.kill(os.getpid(), signal.SIGTERM)

    def _allowed(self, now: int) -> int:
        """Return the event time up to which sales may be rung up: now, or the end of a run of so many sales."""
        if not sales_settings.number_of_sales:
            return now
        if self.last_sale is None:
            self.last_sale = LastSale(
                app.products, sales_settings, rates, app.opened_at, sales_settings.number_of_sales
            )
        return min(now, self.last_sale.look(now))

    async def _opened(self, tp: Any) -> bool:
        """Open the till of a partition, if the agent has read it to its end."""
        if tp.partition in self.open:
            return True
        ownership, generation = app.ownership, self.generation
        end = (await app.consumer.highwaters(tp))[tp]
        if not ownership.settled or ownership.generation != generation:
            return False
        if end < ownership.applied[tp]:
            raise BooksError(
                f"{tp.topic}, partition {tp.partition} ends at {end}, but the inventory stands at {ownership.applied[tp]}: "
                "the topic was deleted, its changelog was not. Begin anew: yasdg topics delete"
            )
        if end > ownership.applied[tp]:
            return False
        levels = [inventory[product_id] for product_id in products_of[tp.partition] if product_id in inventory]
        after = max((Place(event_time(level.last_sale), level.product_id) for level in levels), default=None)
        numbers = {level.product_id: level.sales for level in levels}
        products = [by_id[product_id] for product_id in products_of[tp.partition]]
        if products:
            till = Till(products, sales_settings, rates, app.opened_at, after, numbers)
            self.open[tp.partition] = (till, PurchaseEncoder(till.products, sales_settings))
        return bool(products)

    async def _serve(self, tp: Any, until: int) -> None:
        """Ring up a partition's sales until it is up to date, while it is ours."""
        ownership, generation = app.ownership, self.generation
        till, encoder = self.open[tp.partition]

        def allowed() -> bool:
            return bool(ownership.lease_left and ownership.generation == generation)

        while till.through < until and await ownership.lease_held():
            sales = self._without_later(till, till.ring_up(until))
            if not len(sales):
                continue
            if not await append(app, tp.topic, tp.partition, encoder.encode(sales), allowed):
                self.open.pop(tp.partition, None)
                return
            self.rung_up += len(sales)
            self._show(till, sales)

    def _without_later(self, till: Till, sales: Sales) -> Sales:
        """Leave out what lies behind the last sale of a run: customers of its very microsecond."""
        last = self.last_sale.place if self.last_sale else None
        if last is None:
            return sales
        rows = [
            i for i in range(len(sales)) if (sales.at[i], till.products[sales.product[i]].product_id) <= last
        ] if len(sales) and sales.at[-1] >= last.at else slice(None)
        return sales[rows] if isinstance(rows, slice) else sales[: len(rows)]

    async def _finished(self) -> bool:
        """Tell whether a run of so many sales is over for this worker: rung up, and applied to the table."""
        last = self.last_sale.place if self.last_sale else None
        if last is None:
            return False
        ownership = app.ownership
        for tp in sorted(ownership.applied):
            if not products_of[tp.partition]:
                continue
            if tp.partition not in self.open or self.open[tp.partition][0].through < last.at:
                return False
            if (await app.consumer.highwaters(tp))[tp] > ownership.applied.get(tp, 0):
                return False
        return bool(ownership.settled)

    def _show(self, till: Till, sales: Sales) -> None:
        if sales_settings.mean_seconds_between_sales < SLOW_ENOUGH_TO_SHOW or len(sales) > 3:
            return
        for row in range(len(sales)):
            product = till.products[int(sales.product[row])]
            line = ways_to_buy(product, sales_settings)[int(sales.way[row])]
            logger.info(
                "%s  %s  %d × %s%s%s  %.2f",
                time_text(int(sales.at[row]))[:19], product.product_id, line.quantity, product.item,
                " with supplements" if line.add_supplements else "", ", member" if line.is_member else "",
                line.total_cents / 100,
            )  # fmt: skip

    def _report(self, now: int) -> None:
        """Say every now and then how much was sold, and how far behind we are."""
        count, at = self._reported
        passed = time.monotonic() - at
        if passed < REPORT:
            return
        self._reported = (self.rung_up, time.monotonic())
        behind = max((now - till.through for till, _ in self.open.values()), default=0) / 1e6
        logger.info(
            "%d sales so far, %.1f a second; %d of %d partitions open%s",
            self.rung_up, (self.rung_up - count) / passed, len(self.open), kafka_partitions,
            f"; {behind:.0f} s behind, catching up" if behind > REPORT else "",
        )  # fmt: skip


kafka_partitions = app.shop.kafka.partitions
tills = Tills()


@app.timer(TICK)
async def ring_up() -> None:
    """Ring up what is due."""
    await tills.ring_up()


__all__ = ["partition_of", "ring_up", "tills"]
