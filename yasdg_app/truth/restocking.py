"""The restocks that sales cause, in columns: the fold of `shelf`, looping over orders and deliveries, not over sales.

As on the topic, a restock is published with the sale that finds it on the shelf: a restock after a product's last sale
is never published.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.shop.customer_behaviour import quantity_of
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.sales import Sales
from yasdg_app.shop.shelf import END_OF_TIME, Restock, Shelf, instant_restocks
from yasdg_app.shop.supply import Supply


class RestockColumns(NamedTuple):
    """Restocks: arrays of one length, in no particular order."""

    product: Ints  # index of the product, as in `Sales`
    number: Ints  # among those of its product, from 1
    at: Ints  # event time, microseconds since 1970
    units: Ints


class BulkRestocking:
    """Applies sales to the shelves of some products, and returns the restocks that they cause.

    Parameters
    ----------
    products
        Those of the till.
    supply
        The suppliers, with everything that is known of the shop.
    """

    def __init__(self, products: Sequence[Product], supply: Supply) -> None:
        self._products, self._supply = products, supply
        one_of_each = {product.category: product for product in products}
        at_once = {category: supply.is_instant(product) for category, product in one_of_each.items()}
        self._at_once = np.array([at_once[product.category] for product in products], dtype=np.bool_)
        # Of the shelves that are kept in columns, not as objects.
        self._level = np.array([product.inventory for product in products], dtype=np.int64)
        self._restocks = np.zeros(len(products), dtype=np.int64)
        self._steady = self._at_once & (self._level > supply.min_inventory)
        self._shelves: dict[int, Shelf] = {}
        self._due = np.full(len(products), END_OF_TIME, dtype=np.int64)

    @property
    def first_due(self) -> int:
        """Event time of the earliest delivery that is not published."""
        return int(self._due.min())

    def sell(self, sales: Sales) -> RestockColumns:
        """Apply the next sales, in the stream's order; return the restocks that are published with them."""
        order = np.argsort(sales.product, kind="stable")
        product, at, units = sales.product[order], sales.at[order], quantity_of(sales.option[order])
        begin = np.flatnonzero(np.diff(product, prepend=-1))  # the first sale of each product
        count = np.diff(begin, append=len(product))
        through = np.cumsum(units)
        before = through[begin] - units[begin]
        steady = self._steady[product[begin]]
        rows = np.repeat(steady, count)
        sold = (through - np.repeat(before, count))[rows]
        at_once = self._sell_in_bulk(product[rows], at[rows], sold)
        if steady.all():
            return at_once
        by_hand: list[tuple[int, Restock]] = []
        times, sums = at.tolist(), through.tolist()
        for place, first, end in zip(
            product[begin[~steady]].tolist(), begin[~steady].tolist(), (begin + count)[~steady].tolist(), strict=True
        ):
            by_hand += [(place, each) for each in self._sell_one_by_one(place, times, sums, first, end)]
        columns = [(place, each.number, each.at, each.stock_quantity) for place, each in by_hand]
        one_by_one = RestockColumns(*np.array(columns, dtype=np.int64).reshape(-1, 4).T)
        return RestockColumns(*(np.concatenate(pair) for pair in zip(at_once, one_by_one, strict=True)))

    def _sell_in_bulk(self, product: Ints, at: Ints, sold: Ints) -> RestockColumns:
        """Apply sales to steady shelves; `sold`: units of the product, cumulative for each sale."""
        restocks = instant_restocks(self._level[product], sold, self._supply)
        begins = np.diff(product, prepend=-1) != 0
        before = np.where(begins, 0, np.roll(restocks, 1))
        rows = restocks > before  # at most one per sale: each adds at least as much as a sale takes
        number = self._restocks[product[rows]] + restocks[rows]
        last = np.flatnonzero(np.diff(product, append=-1))
        amount = self._supply.restock_amount
        self._level[product[last]] += restocks[last] * amount - sold[last]
        self._restocks[product[last]] += restocks[last]
        return RestockColumns(product[rows], number, at[rows], np.full(len(number), amount, dtype=np.int64))

    def _sell_one_by_one(
        self, place: int, times: Sequence[int], sums: Sequence[int], first: int, end: int
    ) -> list[Restock]:
        """Apply the sales of a product, rows `first` to `end`; `sums`: units up to each row."""
        supply = self._supply
        restocks: list[Restock] = []
        shelf = self._shelves.get(place) or self._shelf(place)
        row, before = first, sums[first - 1] if first else 0
        while row < end:
            # Before the next delivery, and the sale that causes an order, each sale only reduces the level.
            there = bisect_left(times, shelf.due, row, end)
            if not shelf.on_order:
                there = min(there, bisect_left(sums, before + shelf.level - supply.min_inventory, row, end))
            if there > row:
                self._take(shelf, there - row, sums[there - 1] - before)
                before = sums[there - 1]
            if there < end:
                restocks += shelf.receive_and_sell(sums[there] - before, times[there], supply)
                before = sums[there]
            row = there + 1
        self._due[place] = shelf.due
        self._put_away(place, shelf)
        return restocks

    @staticmethod
    def _take(shelf: Shelf, sales: int, units: int) -> None:
        shelf.sales += sales
        shelf.sold += units
        shelf.level -= units

    def _shelf(self, place: int) -> Shelf:
        shelf = self._shelves[place] = Shelf.of(self._products[place])
        return shelf

    def _put_away(self, place: int, shelf: Shelf) -> None:
        """Store a shelf that has become steady in the columns; it stays steady."""
        if self._at_once[place] and not shelf.on_order and shelf.level > self._supply.min_inventory:
            self._level[place], self._restocks[place] = shelf.level, shelf.restocks
            self._steady[place] = True
            del self._shelves[place]
