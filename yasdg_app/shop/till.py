"""A till: demand over a stretch of event time, turned into numbered sales, in order.

A till stands where the last sale before it left off, and goes on from there. It keeps no other state, so any till over
the same products that starts at the same place makes the same sales.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yasdg_app.catalog import Product
from yasdg_app.settings import SalesSettings
from yasdg_app.shop.customer import choices
from yasdg_app.shop.demand import Cells, Ints, arrivals

BLOCK = 20_000  # sales that are computed at a time: the bound of a till's memory
MOST_CELLS = 4_096  # and cells, where hardly anybody comes


class Place(NamedTuple):
    """A place in the stream's order: sales are ordered by time, those of one microsecond by product."""

    at: int  # microseconds since 1970
    product_id: str


@dataclass(frozen=True, slots=True)
class Sales:
    """Sales in the stream's order: arrays of one length."""

    product: Ints  # place of the product in the till's own tuple of products
    number: Ints  # of this sale among those of its product, from 1
    at: Ints  # event time, microseconds since 1970
    way: Ints  # way to buy: place of the line in `ways_to_buy`

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: slice | Ints | NDArray[np.bool_]) -> "Sales":
        return Sales(self.product[rows], self.number[rows], self.at[rows], self.way[rows])


NONE = Sales(*(np.empty(0, dtype=np.int64) for _ in range(4)))


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each product of the whole shop is asked for, and the cells of time that this makes."""

    per_second: Mapping[str, float]  # by product_id
    cells: Cells

    @classmethod
    def of(cls, products: Sequence[Product], sales: SalesSettings) -> "Rates":
        """Share the shop's mean rate among its products by weight (superposition of Poisson processes)."""
        total = sum(product.weight for product in products)
        share = 1.0 / sales.mean_seconds_between_sales / total
        per_second = {product.product_id: product.weight * share for product in products}
        return cls(per_second, Cells.for_rate(max(per_second.values())))


class Till:
    """Rings up the sales of some products, from a place in the stream onwards.

    Parameters
    ----------
    products
        Products that this till sells; any part of the shop's.
    sales, rates
        The shop's configuration, and `Rates.of` all of its products.
    opened_at
        Event time of the shop's first moment, microseconds since 1970.
    after
        The last sale that was rung up for any of these products; None if there is none.
    numbers
        Sales so far by product_id; a product that is not named has none.
    """

    def __init__(
        self,
        products: Sequence[Product],
        sales: SalesSettings,
        rates: Rates,
        opened_at: int,
        after: Place | None,
        numbers: Mapping[str, int],
    ) -> None:
        # In order of id, so that the order within a microsecond is that of `Place`.
        self.products = tuple(sorted(products, key=lambda product: product.product_id))
        self._sales = sales
        self._rates = rates
        self._after = after or Place(opened_at, "")
        self._next_cell = rates.cells.of(self._after.at)
        self._numbers = [numbers.get(product.product_id, 0) for product in self.products]
        self._waiting = NONE  # customers of computed cells whose time has not come
        expected = sum(rates.per_second[product.product_id] for product in self.products) * rates.cells.seconds
        self._cells_at_a_time = int(max(1, min(MOST_CELLS, BLOCK / max(expected, 1e-9))))
        self.through = self._after.at  # event time up to which everything was rung up

    def ring_up(self, until: int) -> Sales:
        """Return the next sales up to the event time `until` (inclusive), a block at most.

        Call it again while `through` is before `until`.
        """
        cells = self._rates.cells
        if not len(self._waiting) and self._next_cell <= cells.of(until):
            count = min(self._cells_at_a_time, cells.of(until) - self._next_cell + 1)
            self._waiting = self._compute(self._next_cell, count)
            self._next_cell += count
        due = int(np.searchsorted(self._waiting.at, until, side="right"))
        sales, self._waiting = self._waiting[:due], self._waiting[due:]
        computed = cells.start(self._next_cell) - 1
        self.through = max(self.through, min(until, computed))
        return sales

    def _compute(self, first: int, count: int) -> Sales:
        parts = [self._sales_of(i, first, count) for i in range(len(self.products))]
        joined = Sales(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        return joined[np.lexsort((joined.product, joined.at))]

    def _sales_of(self, i: int, first: int, count: int) -> tuple[Ints, Ints, Ints, Ints]:
        product = self.products[i]
        rate = self._rates.per_second[product.product_id]
        came = arrivals(self._sales.seed, product.product_id, rate, self._rates.cells, first, count)
        way = choices(product, came, self._sales).way
        # At the microsecond of the last sale, products behind it in order may still have a customer.
        earliest = self._after.at + (product.product_id <= self._after.product_id)
        start = int(np.searchsorted(came.at, earliest))
        number = self._numbers[i] + np.arange(1, len(came.at) - start + 1, dtype=np.int64)
        self._numbers[i] += len(number)
        return np.full(len(number), i, dtype=np.int64), number, came.at[start:], way[start:]


class LastSale:
    """Finds the sale that ends a run of so many sales in all, as far as event time has come.

    Every worker can say it on its own: it counts the whole shop's demand, whoever rings it up.
    """

    def __init__(
        self, products: Sequence[Product], sales: SalesSettings, rates: Rates, opened_at: int, number_of_sales: int
    ) -> None:
        self._till = Till(products, sales, rates, opened_at, None, {})
        self._left = number_of_sales
        self.place: Place | None = None  # of the last sale, once it is known

    def look(self, until: int) -> int:
        """Count on towards `until`, a block at most; return the event time up to which sales may be rung up."""
        if self.place is not None:
            return self.place.at
        sales = self._till.ring_up(until)
        if self._left > len(sales):
            self._left -= len(sales)
            return self._till.through
        row = self._left - 1
        product = self._till.products[int(sales.product[row])]
        self.place = Place(int(sales.at[row]), product.product_id)
        return self.place.at

    def without_later(self, till: Till, sales: Sales) -> Sales:
        """Leave out the customers who come in the very microsecond of the last sale, but behind it in order."""
        if self.place is None:
            return sales
        last, product_id = self.place
        behind = bisect_right([product.product_id for product in till.products], product_id)
        return sales[(sales.at < last) | ((sales.at == last) & (sales.product < behind))]
