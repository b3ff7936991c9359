"""The only rule for a shop that closes after a number of sales, for workers and for offline generation.

The shop closes after the customer of the last sale: customers after it in stream order are not served.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sales import NO_PRODUCT, EventCursor, SalesBatch
from yasdg_app.shop.till import Till


class SaleCounter:
    """Counts the sales of the whole shop, batch by batch, until the last one is found.

    Attributes
    ----------
    cursor
        The customer of the last sale; None until it is known.
    """

    def __init__(self, number_of_sales: int) -> None:
        self._left = number_of_sales
        self.cursor: EventCursor | None = None

    def count(self, batch: SalesBatch, products: Sequence[Product]) -> bool:
        """Count the next batch of all products, sorted by id; return whether the last sale is known now."""
        sales = batch.sales
        if self.cursor is not None:
            return True
        if self._left > len(sales):
            self._left -= len(sales)
            return False
        row = self._left - 1
        requested = int(sales.requested_product[row])
        asked = int(sales.product[row]) if requested == NO_PRODUCT else requested
        self.cursor = EventCursor(int(sales.at[row]), products[asked].product_id)
        return True

    def without_later(self, batch: SalesBatch, products: Sequence[Product]) -> SalesBatch:
        """Drop the customers after the last sale; `products`: those that the batch refers to, sorted by id.

        Customers of the same microsecond who precede it in stream order are kept.
        """
        if self.cursor is None:
            return batch
        last, product_id = self.cursor
        end = bisect_right([product.product_id for product in products], product_id)
        sales = batch.sales
        asked = np.where(sales.requested_product == NO_PRODUCT, sales.product, sales.requested_product)
        return SalesBatch(
            sales[(sales.at < last) | ((sales.at == last) & (asked < end))],
            [lost for lost in batch.lost if lost.at < last or (lost.at == last and lost.product < end)],
        )


class SaleLimit:
    """Finds the last sale of a shop, as far as event time has advanced.

    Every worker finds it independently: it simulates the whole shop, whichever partitions it sells for.
    """

    def __init__(self, plan: Plan, number_of_sales: int) -> None:
        self._till = Till(plan, plan.products)
        self._counter = SaleCounter(number_of_sales)

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._till.plan

    @property
    def cursor(self) -> EventCursor | None:
        """The customer of the last sale; None until it is known."""
        return self._counter.cursor

    def replan(self, plan: Plan) -> None:
        """Continue with another plan; see `Till.replan`."""
        self._till.replan(plan)

    def look(self, until: int) -> int:
        """Count on towards `until`, at most one block; return the event time up to which sales may be generated."""
        if self.cursor is None:
            self._counter.count(self._till.generate_until(until), self._till.products)
        return self._till.watermark if self.cursor is None else self.cursor.at

    def without_later(self, till: Till, batch: SalesBatch) -> SalesBatch:
        """Drop the customers of a till's batch who come after the last sale."""
        return self._counter.without_later(batch, till.products)


def generate_all(till: Till, until: int, number_of_sales: int = 0) -> Iterator[tuple[SalesBatch, int]]:
    """Yield the sales and lost sales of the whole shop, block by block, each with its watermark.

    `number_of_sales`: sales after which the shop closes; 0: no limit.
    """
    counter = SaleCounter(number_of_sales)
    while till.watermark < until:
        batch = till.generate_until(until)
        if number_of_sales and counter.count(batch, till.products):
            assert counter.cursor is not None
            yield counter.without_later(batch, till.products), counter.cursor.at
            return
        yield batch, till.watermark
