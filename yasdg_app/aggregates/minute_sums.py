"""Sums of one partition's sales by minute of event time, as columns of numbers: pure arithmetic."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from yasdg_app.messages.decoders import SaleEvent
from yasdg_app.messages.times import EPOCH
from yasdg_app.shop.demand import Ints

MINUTE_MICROSECONDS = 60_000_000
ONE_MINUTE = timedelta(minutes=1)
KEPT_MINUTES = 27 * 60
"""A day, and three hours so that a query for a time in the recent past has the whole day before it."""
MERGE_AFTER_CELLS = 20_000  # even without a query
LOCAL_INDEX_BITS = 32  # of a key
LOCAL_INDEX_MASK = (1 << LOCAL_INDEX_BITS) - 1
NO_MINUTE = -(2**30)  # before all others


class SalesByMinute(NamedTuple):
    """Sums of sales in cells, one for each minute and product; a cell may occur several times."""

    keys: Ints  # the minute since 1970, and in the lower half the local index of the product
    sums: Ints  # sales, units, revenue in cents: three rows

    @property
    def minutes(self) -> Ints:
        """The minute of each cell."""
        minutes: Ints = self.keys >> LOCAL_INDEX_BITS
        return minutes

    @property
    def local_indexes(self) -> Ints:
        """The local index of the product of each cell."""
        local_indexes: Ints = self.keys & LOCAL_INDEX_MASK
        return local_indexes

    def where(self, mask: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> "SalesByMinute":
        """Return the cells selected by a mask."""
        return SalesByMinute(self.keys[mask], self.sums[:, mask])

    def merged(self) -> "SalesByMinute":
        """Return the same sums, sorted, with each pair of minute and product once."""
        order = np.argsort(self.keys, kind="stable")
        return SalesByMinute(self.keys[order], self.sums[:, order]).merged_adjacent()

    def merged_adjacent(self) -> "SalesByMinute":
        """Return the same sums, with adjacent cells of the same minute and product merged."""
        if not len(self.keys):
            return self
        starts = np.flatnonzero(np.diff(self.keys, prepend=~self.keys[0]))
        return SalesByMinute(self.keys[starts], np.add.reduceat(self.sums, starts, axis=1))

    def summed_by(self, positions: Ints, count: int) -> Ints:
        """Return the sums at each of `count` positions; `positions`: the position of each cell."""
        sums = np.zeros((3, count), np.int64)
        for line, own in zip(sums, self.sums, strict=True):
            np.add.at(line, positions, own)
        return sums


NO_CELLS = SalesByMinute(np.zeros(0, np.int64), np.zeros((3, 0), np.int64))


def cells_of_sales(minutes: Ints, local_indexes: Ints, quantity: Ints, cents: Ints) -> SalesByMinute:
    """Return one cell per sale."""
    return SalesByMinute(
        minutes << LOCAL_INDEX_BITS | local_indexes, np.stack([np.ones_like(quantity), quantity, cents])
    )


def concatenated(blocks: Sequence[SalesByMinute]) -> SalesByMinute:
    """Return the cells of all blocks."""
    return SalesByMinute(np.concatenate([block.keys for block in blocks]), np.hstack([block.sums for block in blocks]))


def minute_of(sale: SaleEvent) -> int:
    """Return the minute of a sale, since 1970."""
    return (sale.transaction_time - EPOCH) // ONE_MINUTE


Cell = tuple[int, int, int, int]
"""A single cell: key, sales, units, revenue in cents."""


class MinuteStore:
    """Cells in the order in which they become known, kept as long as they are needed.

    Parameters
    ----------
    category_numbers
        Number of the category of each product, by its local index.
    max_cells
        Highest number of cells kept by product. Beyond it, the oldest ones are kept only by category.

    Attributes
    ----------
    category_numbers
        See above.
    products_from
        The minute from which sums are kept by product.
    oldest
        The minute from which any sums are kept.
    """

    def __init__(self, category_numbers: Ints, max_cells: int) -> None:
        self.products_from = self.oldest = NO_MINUTE
        self.category_numbers = category_numbers
        self._max_cells = max_cells
        self._merged = NO_CELLS
        self._new_blocks: list[SalesByMinute] = []  # added since the last merge, in two forms
        self._new_cells: list[Cell] = []
        self._new_count = 0  # of both
        self._by_category = NO_CELLS

    def add(self, more: SalesByMinute) -> None:
        """Add sales."""
        if len(more.keys):
            self._new_blocks.append(more)
            self._count_new(len(more.keys))

    def add_cells(self, cells: Sequence[Cell]) -> None:
        """Add a few sales."""
        self._new_cells += cells
        self._count_new(len(cells))

    def _count_new(self, count: int) -> None:
        self._new_count += count
        if self._new_count > MERGE_AFTER_CELLS:
            self._merge()

    def by_product(self, first: int, end: int) -> Ints:
        """Return the sums of each product over the minutes from `first` to before `end`."""
        own = _between(self._all(), first, end)
        return own.summed_by(own.local_indexes, len(self.category_numbers))

    def by_category(self, first: int, end: int, categories: int) -> Ints:
        """Return the sums by minute, from `first` to before `end`, and category: 3 × minutes × categories."""
        count, shape = (end - first) * categories, (3, end - first, categories)
        own, old = _between(self._all(), first, end), _between(self._by_category, first, end)
        sums = own.summed_by((own.minutes - first) * categories + self.category_numbers[own.local_indexes], count)
        # The cells of the old sums have the number of a category in place of a local index.
        old_sums = old.summed_by((old.minutes - first) * categories + old.local_indexes, count)
        return (sums + old_sums).reshape(shape)

    def _all(self) -> SalesByMinute:
        if self._new_blocks or self._new_cells:
            self._merge()
        return self._merged

    def _merge(self) -> None:
        """Merge all added cells; drop those that are too old, and keep those above the limit by category only."""
        keys, *sums = np.array(self._new_cells, np.int64).reshape(-1, 4).T
        merged = concatenated([self._merged, *self._new_blocks, SalesByMinute(keys, np.array(sums))]).merged()
        self._new_blocks, self._new_cells, self._new_count = [], [], 0
        minutes = merged.minutes
        self.oldest = max(self.oldest, int(minutes[-1]) - KEPT_MINUTES)
        kept = int(np.searchsorted(minutes, self.oldest))
        if len(minutes) - kept > self._max_cells:
            # A quarter below the limit, so that this happens only occasionally.
            self.products_from = max(self.products_from, int(minutes[len(minutes) - self._max_cells * 3 // 4]) + 1)
        old = max(kept, int(np.searchsorted(minutes, self.products_from)))
        self._reduce_to_categories(SalesByMinute(merged.keys[kept:old], merged.sums[:, kept:old]))
        self._merged = SalesByMinute(merged.keys[old:].copy(), merged.sums[:, old:].copy())

    def _reduce_to_categories(self, old: SalesByMinute) -> None:
        """Keep cells by category only."""
        categories = self.category_numbers[old.local_indexes]
        by_category = SalesByMinute(old.minutes << LOCAL_INDEX_BITS | categories, old.sums)
        merged = concatenated([self._by_category, by_category]).merged()
        self._by_category = merged.where(merged.minutes >= self.oldest)


def _between(sales: SalesByMinute, first: int, end: int) -> SalesByMinute:
    """Return the cells of the minutes from `first` to before `end`; `sales` is sorted."""
    begins, ends = np.searchsorted(sales.keys, [first << LOCAL_INDEX_BITS, end << LOCAL_INDEX_BITS]).tolist()
    return SalesByMinute(sales.keys[begins:ends], sales.sums[:, begins:ends])
