"""When customers walk up and ask for a product: a Poisson process in event time, drawn cell by cell.

Within a cell of time arrivals are cumulative sums of unit exponentials until they pass the expected count; a Poisson
process has no memory, so drawing each cell anew is exact. A cell depends on nothing but (seed, product, cell). Event
time is counted in microseconds since 1970, UTC.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from yasdg_app.shop.randomness import Floats, exponentials, key, keys_of_cells

Ints = NDArray[np.int64]

MINUTE = 60_000_000  # microseconds
MOST_PER_CELL = 1000  # customers of a product expected in a cell, at most


def microseconds(time: timedelta) -> int:
    """Return a length of time as event time is counted."""
    return time // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Cells:
    """Event time divided into cells of one minute, halved `halvings` times."""

    halvings: int

    @classmethod
    def for_rate(cls, per_second: float) -> "Cells":
        """Return the longest cells that hold about a thousand customers at most; `per_second`: the busiest product."""
        halvings = 0
        while per_second * 60.0 / 2**halvings > MOST_PER_CELL:
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
        """Return the first microseconds of `count` cells from `first`, and that of the one behind them."""
        whole = first * MINUTE
        rest = whole & ((1 << self.halvings) - 1)
        offsets: Ints = (np.arange(count + 1, dtype=np.int64) * MINUTE + rest) >> self.halvings
        return offsets + (whole >> self.halvings)

    def of(self, at: int) -> int:
        """Return the cell in which the microsecond `at` lies."""
        return (((at + 1) << self.halvings) - 1) // MINUTE


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Customers of one product in order of time: three arrays of the same length."""

    at: Ints  # microseconds since 1970, strictly increasing
    cell: Ints  # the cell of time that it lies in
    index: Ints  # its place in that cell, from 0


NOBODY = Arrivals(*(np.empty(0, dtype=np.int64) for _ in range(3)))


def arrivals(seed: int, product_id: str, cells: Cells, first: int, expected: Floats) -> Arrivals:
    """Return the customers who ask for a product from cell `first` on; `expected`: how many, cell by cell."""
    rows = np.flatnonzero(expected > 0.0)
    if not len(rows):
        return NOBODY
    expected = expected[rows, None]
    most = float(expected.max())
    numbers = first + rows
    keys = keys_of_cells(key(seed, product_id, "arrival"), numbers)[:, None]
    width = int(most + 6.0 * most**0.5) + 8
    while True:
        position = np.cumsum(exponentials(keys, np.arange(width, dtype=np.int64)), axis=1)
        if bool((position[:, -1:] > expected).all()):
            break
        width *= 2  # a cell with far more customers than expected: the same draws, and more of them
    came = position <= expected
    row, index = np.nonzero(came)
    starts = cells.starts(first, int(rows[-1]) + 1)
    at = _in_order(position / expected, came, starts[rows, None], starts[rows + 1, None])
    return Arrivals(at[row, index], numbers[row], index.astype(np.int64))


def _in_order(fraction: Floats, came: NDArray[np.bool_], start: Ints, end: Ints) -> Ints:
    """Turn places in a cell (0 to 1) into microseconds, each later than the one before, none beyond the cell.

    Two customers of a product never share a microsecond, so (time, product) is an order without ties.
    """
    place = np.arange(came.shape[1], dtype=np.int64)
    at = start + np.where(came, fraction * (end - start), 0).astype(np.int64)
    later = np.maximum.accumulate(at - place, axis=1) + place
    customers = came.sum(axis=1)[:, None]
    result: Ints = np.minimum(later, end - customers + place)
    return result
