"""The shelves of a till: in columns if every customer finds enough, as objects if some may not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from yasdg_app.config.catalog import Product
from yasdg_app.shop.customer_behaviour import quantity_of
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.shelf import Shelf, instant_restocks
from yasdg_app.shop.supply import Supply

NOT_SOLD = 0  # in place of a sale's number


class Shelves:
    """The shelves of some products, by their index.

    If all orders arrive instantly, a shelf above its minimum is steady: it never has too little for a customer, and
    many sales reduce to a few sums. Customers of all other shelves are served one by one.

    Parameters
    ----------
    products
        The products of the shelves.
    known
        Known shelves by product_id; all others are as when the shop opens.
    supply, instant
        See `replan`.
    """

    def __init__(
        self, products: Sequence[Product], known: Mapping[str, Shelf], supply: Supply, instant: NDArray[np.bool_]
    ) -> None:
        self._products = products
        # Of shelves without an object; they have nothing on order.
        self._level = np.array([product.inventory for product in products], dtype=np.int64)
        self._sales, self._sold, self._restocks, self._restocked = np.zeros((4, len(products)), dtype=np.int64)
        self._objects: dict[int, Shelf] = {}
        for index, product in enumerate(products):
            shelf = known.get(product.product_id)
            if shelf is None:
                continue
            if shelf.on_order:
                self._objects[index] = replace(shelf)
            else:
                self._put_away(index, shelf)
        self.replan(supply, instant)

    def replan(self, supply: Supply, instant: NDArray[np.bool_]) -> None:
        """Continue with changed supply.

        `instant`: whether all orders of a product arrive instantly. If customers may look at several shelves, pass
        False for all products.
        """
        self._supply, self._instant = supply, instant
        self._steady = instant & (self._level > supply.min_inventory)
        for shelf in self._objects.values():
            shelf.update_eta(supply)
        self._steady[list(self._objects)] = False
        self.close(list(self._objects))

    def sell_in_bulk(self, product: Ints, option: Ints) -> Ints:
        """Serve all customers of the steady shelves; return the number of each sale, NOT_SOLD for all other customers.

        Parameters
        ----------
        product
            Index of the product of each customer, in increasing order; customers of the same product sorted by time.
        option
            Purchase option of each customer.
        """
        begin = np.flatnonzero(np.diff(product, prepend=-1))  # the first customer of each product
        if not len(begin):
            return np.empty(0, dtype=np.int64)
        indexes, count = product[begin], np.diff(begin, append=len(product))
        steady = self._steady[indexes]
        before = np.where(steady, self._sales[indexes], 0)
        number = np.arange(1, len(product) + 1) + np.repeat(before - begin, count)
        if not steady.all():
            number[np.repeat(~steady, count)] = NOT_SOLD
        units = np.add.reduceat(quantity_of(option), begin)[steady]
        indexes, count = indexes[steady], count[steady]
        restocks = instant_restocks(self._level[indexes], units, self._supply)
        restocked = restocks * self._supply.restock_amount
        self._sales[indexes] += count
        self._sold[indexes] += units
        self._restocks[indexes] += restocks
        self._restocked[indexes] += restocked
        self._level[indexes] += restocked - units
        return number

    def __getitem__(self, index: int) -> Shelf:
        """Return a shelf from which customers are served one by one. Pass it to `close` afterwards."""
        shelf = self._objects.get(index)
        if shelf is None:
            shelf = self._objects[index] = self.copy(index)
            self._steady[index] = False
        return shelf

    def close(self, indexes: Iterable[int]) -> None:
        """Move shelves that have become steady back to columns."""
        for index in indexes:
            shelf = self._objects[index]
            if self._instant[index] and not shelf.on_order and shelf.level > self._supply.min_inventory:
                self._put_away(index, shelf)
                self._steady[index] = True
                del self._objects[index]

    def copy(self, index: int) -> Shelf:
        """Return a copy of a shelf; changes to the copy have no effect."""
        if index in self._objects:
            return replace(self._objects[index])
        level, sold, restocked = int(self._level[index]), int(self._sold[index]), int(self._restocked[index])
        return Shelf(
            self._products[index],
            initial=level + sold - restocked,
            level=level,
            sales=int(self._sales[index]),
            sold=sold,
            restocks=int(self._restocks[index]),
            restocked=restocked,
        )

    def _put_away(self, index: int, shelf: Shelf) -> None:
        self._level[index], self._sales[index], self._sold[index] = shelf.level, shelf.sales, shelf.sold
        self._restocks[index], self._restocked[index] = shelf.restocks, shelf.restocked
