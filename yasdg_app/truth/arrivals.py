"""What an engine sees of the sales that a faulty channel delivers: in order of release, with an allowed lateness.

The engine's watermark is the latest event time that it has seen, minus the allowed lateness. A message is dropped if
its window had ended when it arrived: the latest event time released before it, minus the allowed lateness, is not
before the end of the window. Messages released in the same microsecond arrive in order of product and number, as on the
dirty topic.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yasdg_app.config.catalog import Product
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.faults import CORRUPT, DROPPED, DUPLICATE, Faults, Kinds
from yasdg_app.shop.sales import NO_SALES, Sales
from yasdg_app.truth.tumbling import Span

BEGINNING_OF_TIME = -(2**62)  # event time before the first message


class Arrived(NamedTuple):
    """Sales and how each of them arrived: columns of one length."""

    sales: Sales
    kinds: Kinds
    delays: Ints
    too_late: NDArray[np.bool_]  # its window had ended; an engine drops it
    times: Ints  # how often an engine counts it


class ArrivalSimulator:
    """Delivers the sales of a whole shop.

    Parameters
    ----------
    faults
        Of the shop.
    products
        Those of the till.
    span
        The windows.
    lateness
        Allowed lateness of the engine, in microseconds; None: no engine is simulated, nothing is delayed, and
        everything is counted once.
    deduplicated
        Whether the engine counts a duplicated message once.
    """

    def __init__(
        self, faults: Faults, products: Sequence[Product], span: Span, lateness: int | None, deduplicated: bool
    ) -> None:
        self._faults, self._span = faults, span
        self._keys = faults.keys([product.product_id for product in products])
        self._lateness, self._twice = lateness, 1 if deduplicated else 2
        self._held = NO_SALES  # released later than everything that has arrived
        self._release = np.empty(0, dtype=np.int64)
        self._seen = BEGINNING_OF_TIME  # latest event time that has arrived

    @property
    def first_held(self) -> int:
        """Event time of the earliest sale that has not arrived."""
        return int(self._held.at.min(initial=2**62))

    def deliver(self, sales: Sales, through: int) -> Arrived:
        """Return what arrives up to and including a time; `sales`: the next ones, up to that event time."""
        kinds, delays = self._faults.of_rows(self._keys[sales.product], sales.number)
        if self._lateness is None:
            once = np.ones(len(sales), dtype=np.int64)
            return Arrived(sales, kinds, delays, np.zeros(len(sales), dtype=np.bool_), once)
        sales, release = _joined(self._held, sales), np.concatenate([self._release, sales.at + delays])
        here = release <= through
        self._held, self._release = sales[~here], release[~here]
        order = np.flatnonzero(here)
        order = order[np.lexsort((sales.number[order], sales.product[order], release[order]))]
        sales, delays = sales[order], release[order] - sales.at[order]
        kinds = self._faults.of_rows(self._keys[sales.product], sales.number).kinds
        readable = (kinds != DROPPED) & (kinds != CORRUPT)
        seen = np.maximum.accumulate(np.concatenate([[self._seen], np.where(readable, sales.at, BEGINNING_OF_TIME)]))
        self._seen = int(seen[-1])
        too_late = readable & (seen[:-1] - self._lateness >= self._span.edges(self._span.number(sales.at))[1])
        times = np.where(kinds == DUPLICATE, self._twice, 1) * (readable & ~too_late)
        return Arrived(sales, kinds, delays, too_late, times)

    def rest(self) -> Arrived:
        """Return what never arrives, because the shop closes first."""
        sales, release = self._held, self._release
        kinds = self._faults.of_rows(self._keys[sales.product], sales.number).kinds
        return Arrived(
            sales, kinds, release - sales.at, np.ones(len(sales), dtype=np.bool_), np.zeros(len(sales), dtype=np.int64)
        )


def _joined(one: Sales, other: Sales) -> Sales:
    names = ("product", "number", "at", "option", "promotion", "requested_product")
    return Sales(*(np.concatenate([getattr(one, name), getattr(other, name)]) for name in names))
