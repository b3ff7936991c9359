"""When customers ask for a product: a Poisson process in event time, drawn cell by cell.

Within a time cell, arrivals are cumulative sums of unit exponentials until they exceed the expected count. A Poisson
process has no memory, so drawing each cell separately is exact. A cell depends only on (seed, product, cell). Event
time is counted in microseconds since 1970, UTC.

Many products and cells are drawn together. This changes no number; a loop over a million products would take longer
than all of their draws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from yasdg_app.shop.randomness import Floats, UInts, exponentials, keys_of_cells, uniforms

Ints = NDArray[np.int64]

MINUTE = 60_000_000  # microseconds
MAX_PRODUCT_CUSTOMERS_PER_CELL = 1_000  # highest expected number of customers of one product in a cell
MAX_SHOP_CUSTOMERS_PER_CELL = 100_000  # and of all products
DRAWS_PER_CHUNK = 16_384  # numbers processed at a time, so that they stay in the processor's cache


def microseconds(time: timedelta) -> int:
    """Return a duration in microseconds, the unit of event time."""
    return time // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class TimeGrid:
    """Event time divided into cells of one minute, halved `halvings` times."""

    halvings: int

    @classmethod
    def for_rates(cls, busiest: float, in_all: float) -> "TimeGrid":
        """Return the longest cells with at most about 1,000 customers of one product, and at most 100,000 in all.

        A till computes whole cells and holds at least its part of one cell in memory. The work for a cell is a few
        nanoseconds per product and about fifty per customer. With a million products and 100,000 customers per cell
        both parts are equal; with 10,000 customers the part of the products would be ten times that of the customers.
        With up to a hundred products the second bound never applies.

        Parameters
        ----------
        busiest
            Customers per second of the most popular product.
        in_all
            Customers per second of all products.
        """
        halvings = 0
        while (
            busiest * 60.0 / 2**halvings > MAX_PRODUCT_CUSTOMERS_PER_CELL
            or in_all * 60.0 / 2**halvings > MAX_SHOP_CUSTOMERS_PER_CELL
        ):
            halvings += 1
        return cls(halvings)

    @property
    def seconds(self) -> float:
        """Length of a cell in seconds."""
        return 60.0 / 2.0**self.halvings

    def start(self, cell: int) -> int:
        """Return the first microsecond of a cell."""
        return (cell * MINUTE) >> self.halvings

    def starts(self, first: int, count: int) -> Ints:
        """Return the first microsecond of each of `count` cells from `first`, and of the cell after them."""
        whole = first * MINUTE
        rest = whole & ((1 << self.halvings) - 1)
        offsets: Ints = (np.arange(count + 1, dtype=np.int64) * MINUTE + rest) >> self.halvings
        return offsets + (whole >> self.halvings)

    def cell_at(self, at: int) -> int:
        """Return the cell that contains the microsecond `at`."""
        return (((at + 1) << self.halvings) - 1) // MINUTE


@dataclass(frozen=True, slots=True)
class CandidateCells:
    """Cells of products that may have customers, sorted by product and time: arrays of equal length."""

    product: Ints  # index among the products
    cell: Ints
    key: UInts  # of its draws
    expected: Floats  # expected number of customers


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Customers sorted by product and time: three arrays of equal length, and the rows that they refer to."""

    at: Ints  # microseconds since 1970, strictly increasing within a product
    index: Ints  # position in the cell, from 0
    row: Ints  # index in `rows` of its cell and product
    rows: CandidateCells

    def __getitem__(self, which: NDArray[np.bool_]) -> "Arrivals":
        return Arrivals(self.at[which], self.index[which], self.row[which], self.rows)


def candidate_cells(first_product: int, families: UInts, numbers: Ints, expected: Floats) -> CandidateCells:
    """Return all cells that have customers, and possibly a few that have none.

    Parameters
    ----------
    first_product
        Index of the first of these products.
    families
        Arrival key of each product.
    numbers
        Numbers of the cells.
    expected
        Expected number of customers, by product and cell.
    """
    keys = keys_of_cells(families[:, None], numbers)
    first = uniforms(keys, np.zeros(1, dtype=np.int64))
    # The first customer arrives at -ln(1 - u), which is never less than u. So where customers are rare, one draw
    # decides, without computing its logarithm. The error of the logarithm is far below a billionth.
    there = np.flatnonzero((first <= expected * (1.0 + 1e-9)) & (expected > 0.0))
    product, cell = np.divmod(there, len(numbers))
    return CandidateCells(first_product + product, numbers[cell], keys.ravel()[there], expected.ravel()[there])


def concatenate_cells(parts: Sequence[CandidateCells]) -> CandidateCells:
    """Concatenate the rows of several groups of products."""
    columns = zip(*((part.product, part.cell, part.key, part.expected) for part in parts), strict=True)
    return CandidateCells(*(np.concatenate(column) for column in columns))


def arrivals(rows: CandidateCells, grid: TimeGrid) -> Arrivals:
    """Return all customers who arrive in these cells."""
    count = np.zeros(len(rows.key), dtype=np.int64)
    drawn = list(_draws(rows, count))
    row = np.repeat(np.arange(len(count)), count)
    start = np.cumsum(count) - count
    index = np.arange(len(row)) - start[row]
    position = np.empty(len(row))
    for drawn_rows, before, came, positions in drawn:
        first = start[drawn_rows] + before - (np.cumsum(came) - came)
        position[np.repeat(first, came) + np.arange(len(positions))] = positions
    position /= rows.expected[row]
    return Arrivals(_in_order(position, row, index, count, rows.cell, grid), index, row, rows)


def _draws(rows: CandidateCells, count: Ints) -> Iterator[tuple[Ints, Ints, Ints, Floats]]:
    """Draw the customers of all rows, and add their numbers to `count`.

    Yield some rows, the number of customers drawn before and now for each, and the positions of those drawn now: the
    cumulative sums of their exponentials.
    """
    last = np.zeros(len(count))  # position of the last draw
    going_on = np.arange(len(count))
    while len(going_on):
        left = rows.expected[going_on] - last[going_on]
        width = (left + np.sqrt(left)).astype(np.int64) + 1  # enough for most rows; the others continue
        order = np.argsort(-width, kind="stable")
        going_on, width = going_on[order], width[order]
        narrow, start, unfinished = -width, 0, []
        while start < len(going_on):
            widest = int(width[start])
            alike = int(np.searchsorted(narrow, -(widest * 3 // 4)))  # so that few draws are wasted
            drawn = going_on[start : max(start + 1, min(start + DRAWS_PER_CHUNK // widest, alike))]
            before = count[drawn]
            position = exponentials(rows.key[drawn, None], before[:, None] + np.arange(widest))
            position[:, 0] += last[drawn]
            np.cumsum(position, axis=1, out=position)
            there = position <= rows.expected[drawn, None]
            came = np.count_nonzero(there, axis=1)
            yield drawn, before, came, position[there]
            count[drawn] += came
            last[drawn] = position[:, -1]
            unfinished.append(drawn[came == widest])
            start += len(drawn)
        going_on = np.concatenate(unfinished)


def _in_order(fraction: Floats, row: Ints, index: Ints, count: Ints, cell: Ints, grid: TimeGrid) -> Ints:
    """Convert positions in a cell (0 to 1) to strictly increasing microseconds within the cell.

    Two customers of a product never share a microsecond, so (time, product) is an order without ties.
    """
    if not len(row):
        return np.empty(0, dtype=np.int64)
    first = int(cell.min())
    edges = grid.starts(first, int(cell.max()) - first + 1)
    start, length = edges[cell - first], np.diff(edges)[cell - first]
    at = (fraction * length[row]).astype(np.int64)
    # The running maximum must not cross rows, so each row is shifted beyond the highest value of the row before.
    ahead = np.arange(len(count)) * (int(length.max()) + int(count.max()) + 1)
    shift = ahead[row] - index
    at += shift
    np.maximum.accumulate(at, out=at)
    at -= shift
    latest = length - count
    np.minimum(at, latest[row] + index, out=at)
    at += start[row]
    return at
