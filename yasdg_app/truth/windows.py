"""Sums over tumbling windows of event time, as `GROUP BY window, key` yields them: no row for an empty group."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.plan import Plan
from yasdg_app.truth.arrivals import ArrivalSimulator
from yasdg_app.truth.events import COUNTED, PLACE, Block, EventColumns, blocks
from yasdg_app.truth.tumbling import AFTER_ALL_WINDOWS, Span

MERGE_AFTER_ROWS = 200_000  # min number of rows that are added up in one step
BY = ("product", "category")


class Keys:
    """The keys of the sums: products, or their categories.

    Parameters
    ----------
    products
        Those of the till.
    by
        One of BY.

    Attributes
    ----------
    names
        In the order of the rows of a window.
    of
        Index of each product's key in `names`.
    opening
        Units on the shelves when the shop opened.
    """

    def __init__(self, products: Sequence[Product], by: str) -> None:
        named = [product.product_id if by == "product" else product.category for product in products]
        self.column = "product_id" if by == "product" else by
        self.names = sorted(set(named))
        places = {name: place for place, name in enumerate(self.names)}
        self.of = np.array([places[name] for name in named], dtype=np.int64)
        self.opening = np.zeros(len(self.names), dtype=np.int64)
        np.add.at(self.opening, self.of, [product.inventory for product in products])

    def groups(self, windows: Ints, keys: Ints) -> Ints:
        """Return one number for each pair of window and key, in the order of rows."""
        return windows * len(self.names) + keys

    def before(self, groups: Ints, window: int) -> int:
        """Return how many of these sorted groups belong to windows before the window of a number."""
        return len(groups) if window >= AFTER_ALL_WINDOWS else int(np.searchsorted(groups, window * len(self.names)))


@dataclass(frozen=True, slots=True)
class SumRows:
    """Sums: arrays of one length, in order of window and key.

    Attributes
    ----------
    number
        Of the window.
    key
        Index in the names of the keys.
    counts
        By row, then as COUNTED.
    closing_stock
        Units on the shelves at the end of the window, after all earlier restocks and sales.
    """

    number: Ints
    key: Ints
    counts: Ints
    closing_stock: Ints

    def __len__(self) -> int:
        return len(self.key)

    def column(self, name: str) -> Ints:
        """Return a column: one of COUNTED, or closing_stock."""
        result: Ints = self.closing_stock if name == "closing_stock" else self.counts[:, PLACE[name]]
        return result


class WindowSums:
    """Adds up events, and returns the sums window by window.

    Memory holds the events of windows that are not over.
    """

    def __init__(self, keys: Keys, span: Span) -> None:
        self._keys, self._span = keys, span
        self._level = keys.opening.copy()  # before the first window that was not returned
        self._groups: list[Ints] = []
        self._counts: list[Ints] = []
        self._rows, self._summed = 0, 0
        self._next = -(2**62)  # number of the first window that was not returned

    def add(self, events: EventColumns) -> None:
        """Add events; those outside the span change only the shelves, or nothing."""
        at, key, counts = events.at, self._keys.of[events.product], events.counts
        if events.times is not None:
            seen = events.times > 0
            at, key, counts = at[seen], key[seen], counts[seen] * events.times[seen, None]
        before = at < self._span.begin
        if before.any():
            np.add.at(self._level, key[before], _restocked_less_sold(counts[before]))
        inside = ~before & (at < self._span.end)
        if not inside.any():
            return
        group = self._keys.groups(self._span.number(at[inside]), key[inside])
        self._keep(*_summed(group, counts[inside]))
        if self._rows > 2 * self._summed + MERGE_AFTER_ROWS:
            self._sum()

    def keep(self, groups: Ints) -> None:
        """Make sure that each of some groups has a row."""
        self._keep(groups, np.zeros((len(groups), len(COUNTED)), dtype=np.int64))

    def over(self, settled: int) -> SumRows:
        """Return the rows of the next windows that are over; `settled`: event time before which all is known."""
        until = self._span.over(settled)
        if until <= self._next:
            return self._given(np.empty(0, dtype=np.int64), np.empty((0, len(COUNTED)), dtype=np.int64))
        self._next = until
        self._sum()
        (group,), (counts,) = self._groups, self._counts
        first = self._keys.before(group, until)
        self._groups, self._counts, self._rows = [], [], 0
        self._keep(group[first:], counts[first:])
        self._summed = self._rows
        return self._given(group[:first], counts[:first])

    def _keep(self, group: Ints, counts: Ints) -> None:
        self._groups.append(group)
        self._counts.append(counts)
        self._rows += len(group)

    def _sum(self) -> None:
        groups = self._groups or [np.empty(0, dtype=np.int64)]
        counts = self._counts or [np.empty((0, len(COUNTED)), dtype=np.int64)]
        self._groups, self._counts, self._rows = [], [], 0
        self._keep(*_summed(np.concatenate(groups), np.concatenate(counts)))
        self._summed = self._rows

    def _given(self, group: Ints, counts: Ints) -> SumRows:
        number, key = np.divmod(group, len(self._keys.names))
        change = _restocked_less_sold(counts)
        order = np.argsort(key, kind="stable")
        sorted_key, changes = key[order], np.cumsum(change[order])
        begin = np.flatnonzero(np.diff(sorted_key, prepend=-1))
        before = np.repeat(changes[begin] - change[order][begin], np.diff(begin, append=len(sorted_key)))
        closing = np.empty_like(change)
        closing[order] = self._level[sorted_key] + changes - before
        last = np.flatnonzero(np.diff(sorted_key, append=-1))
        self._level[sorted_key[last]] = closing[order[last]]
        return SumRows(number, key, counts, closing)


def _summed(group: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Return each group once, in order, with the sum of its counts."""
    order = np.argsort(group, kind="stable")
    group = group[order]
    begin = np.flatnonzero(np.diff(group, prepend=-(2**62)))
    if not len(begin):
        return group, counts
    return group[begin], np.add.reduceat(counts[order], begin, axis=0)


def _restocked_less_sold(counts: Ints) -> Ints:
    change: Ints = counts[:, PLACE["restocked_units"]] - counts[:, PLACE["units"]]
    return change


def rows_of(
    event_blocks: Iterator[Block], keys: Keys, span: Span, also: Ints | None = None
) -> Iterator[tuple[SumRows, int]]:
    """Yield the rows of the windows that are over, and the event time reached.

    `also`: groups (see `Keys.groups`), in order, that get a row even without an event.
    """
    windows, left = WindowSums(keys, span), np.empty(0, dtype=np.int64) if also is None else also
    for block in event_blocks:
        for events in block.events:
            windows.add(events)
        here = keys.before(left, span.over(block.settled))
        windows.keep(left[:here])
        left = left[here:]
        yield windows.over(block.settled), block.through
        if block.settled >= span.end:
            return


def aggregates(
    plan: Plan, keys: Keys, span: Span, until: int, arrivals: ArrivalSimulator | None = None
) -> Iterator[tuple[SumRows, int]]:
    """Yield the truth about a shop: see `rows_of`.

    `until`: event time up to and including which the shop is simulated; it may be after the span, because a restock is
    published only with a sale. `arrivals`: simulates what an engine sees of the sales; None: it sees all.
    """
    return rows_of(blocks(plan, until, arrivals), keys, span)


def sorted_products(plan: Plan) -> Sequence[Product]:
    """Return the products of a shop in the order of its till."""
    return sorted(plan.products, key=lambda product: product.product_id)
