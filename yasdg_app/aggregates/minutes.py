"""The sales of one partition by minute of event time: pure sums, fed from what is applied to the table, chunk by chunk.

Almost every chunk is entirely within the newest minute and costs nothing: the sales of that minute are the current
totals of the table minus its earlier totals. Only a chunk that leaves the minute is processed sale by sale.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from yasdg_app.inventory.projection import AppliedChunk, SalesByProduct
from yasdg_app.messages.decoders import SaleEvent
from yasdg_app.messages.times import EPOCH
from yasdg_app.shop.demand import Ints

MINUTE = 60_000_000  # microseconds
ONE_MINUTE = timedelta(minutes=1)
# Minutes that are kept: a day, and three hours so that a query for a time in the recent past has the whole day before
# it.
KEPT = 27 * 60
MANY = 20_000  # cells that are merged even without a query
SEAT_BITS = 32  # of a key
SEAT_MASK = (1 << SEAT_BITS) - 1
NO_MINUTE = -(2**30)  # before all others

Totals = Callable[[], Ints]
"""Returns the table's current totals: sales, units and revenue in cents, three rows, by seat of the product."""


class Cells(NamedTuple):
    """Sales by minute and product; each pair may occur several times."""

    keys: Ints  # the minute since 1970, and in the lower half the seat of the product
    sums: Ints  # sales, units, revenue in cents: three rows

    @property
    def minutes(self) -> Ints:
        """The minute of each cell."""
        minutes: Ints = self.keys >> SEAT_BITS
        return minutes

    @property
    def seats(self) -> Ints:
        """The seat of each cell."""
        seats: Ints = self.keys & SEAT_MASK
        return seats

    def where(self, mask: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> "Cells":
        """Return the cells selected by a mask."""
        return Cells(self.keys[mask], self.sums[:, mask])

    def added_up(self) -> "Cells":
        """Return the same sums, sorted, with each pair of minute and product once."""
        order = np.argsort(self.keys, kind="stable")
        return Cells(self.keys[order], self.sums[:, order]).runs()

    def runs(self) -> "Cells":
        """Return the same sums, with adjacent cells of the same minute and product merged."""
        if not len(self.keys):
            return self
        starts = np.flatnonzero(np.diff(self.keys, prepend=~self.keys[0]))
        return Cells(self.keys[starts], np.add.reduceat(self.sums, starts, axis=1))

    def by(self, places: Ints, count: int) -> Ints:
        """Return the sums at each of `count` positions; `places`: the position of each cell."""
        sums = np.zeros((3, count), np.int64)
        for line, own in zip(sums, self.sums, strict=True):
            np.add.at(line, places, own)
        return sums


NO_CELLS = Cells(np.zeros(0, np.int64), np.zeros((3, 0), np.int64))


def cells(minutes: Ints, seats: Ints, quantity: Ints, cents: Ints) -> Cells:
    """Return one cell per sale."""
    return Cells(minutes << SEAT_BITS | seats, np.stack([np.ones_like(quantity), quantity, cents]))


def joined(blocks: Sequence[Cells]) -> Cells:
    """Return the cells of all blocks."""
    return Cells(np.concatenate([block.keys for block in blocks]), np.hstack([block.sums for block in blocks]))


def minute_of(sale: SaleEvent) -> int:
    """Return the minute of a sale, since 1970."""
    return (sale.transaction_time - EPOCH) // ONE_MINUTE


Row = tuple[int, int, int, int]
"""A single cell: key, sales, units, revenue in cents."""


class Minutes:
    """Cells in the order in which they become known, kept as long as they are needed.

    Parameters
    ----------
    categories
        Number of the category of each product, by its seat.
    most
        Highest number of cells kept by product. Beyond it, the oldest ones are kept only by category.

    Attributes
    ----------
    of_seats
        These categories.
    products_from
        The minute from which sums are kept by product.
    oldest
        The minute from which any sums are kept.
    """

    def __init__(self, categories: Ints, most: int) -> None:
        self.products_from = self.oldest = NO_MINUTE
        self.of_seats = categories
        self._most = most
        self._whole = NO_CELLS
        self._blocks: list[Cells] = []  # added since the last merge, in two forms
        self._rows: list[Row] = []
        self._count = 0  # of both
        self._by_category = NO_CELLS

    def add(self, more: Cells) -> None:
        """Add sales."""
        if len(more.keys):
            self._blocks.append(more)
            self._note(len(more.keys))

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Add a few sales."""
        self._rows += rows
        self._note(len(rows))

    def _note(self, count: int) -> None:
        self._count += count
        if self._count > MANY:
            self._put_together()

    def by_product(self, first: int, end: int) -> Ints:
        """Return the sums of each product over the minutes from `first` to before `end`."""
        own = self._between(self._all(), first, end)
        return own.by(own.seats, len(self.of_seats))

    def by_category(self, first: int, end: int, categories: int) -> Ints:
        """Return the sums by minute, from `first` to before `end`, and category: 3 × minutes × categories."""
        count, shape = (end - first) * categories, (3, end - first, categories)
        own, old = self._between(self._all(), first, end), self._between(self._by_category, first, end)
        sums = own.by((own.minutes - first) * categories + self.of_seats[own.seats], count)
        return (sums + old.by((old.minutes - first) * categories + old.seats, count)).reshape(shape)

    @staticmethod
    def _between(of: Cells, first: int, end: int) -> Cells:
        begins, ends = np.searchsorted(of.keys, [first << SEAT_BITS, end << SEAT_BITS]).tolist()
        return Cells(of.keys[begins:ends], of.sums[:, begins:ends])

    def _all(self) -> Cells:
        if self._blocks or self._rows:
            self._put_together()
        return self._whole

    def _put_together(self) -> None:
        """Merge all added cells; drop those that are too old, and keep those above the limit by category only."""
        keys, *sums = np.array(self._rows, np.int64).reshape(-1, 4).T
        whole = joined([self._whole, *self._blocks, Cells(keys, np.array(sums))]).added_up()
        self._blocks, self._rows, self._count = [], [], 0
        minutes = whole.minutes
        self.oldest = max(self.oldest, int(minutes[-1]) - KEPT)
        kept = int(np.searchsorted(minutes, self.oldest))
        if len(minutes) - kept > self._most:
            # A quarter below the limit, so that this happens only occasionally.
            self.products_from = max(self.products_from, int(minutes[len(minutes) - self._most * 3 // 4]) + 1)
        old = max(kept, int(np.searchsorted(minutes, self.products_from)))
        self._let_go(Cells(whole.keys[kept:old], whole.sums[:, kept:old]))
        self._whole = Cells(whole.keys[old:].copy(), whole.sums[:, old:].copy())

    def _let_go(self, old: Cells) -> None:
        """Keep cells by category only."""
        by_category = Cells(old.minutes << SEAT_BITS | self.of_seats[old.seats], old.sums)
        whole = joined([self._by_category, by_category]).added_up()
        self._by_category = whole.where(whole.minutes >= self.oldest)


class Counted(NamedTuple):
    """The contribution of a chunk that reaches beyond the newest minute."""

    last: int  # minute of its last sale
    came: Cells | list[Row] | None  # None: it is too old to be counted


class Window:
    """The sales of a partition from some position of its log on, and earlier ones as far as they are added later.

    Parameters
    ----------
    minutes
        Where the sums are kept.
    totals
        Returns the totals of the table.
    whole_from
        See below.

    Attributes
    ----------
    whole_from
        The minute from which the sums include all sales; `NO_MINUTE`: all sales ever.
    is_cut_off
        True if some sales were skipped because they were too old: earlier sales are then of no use.
    """

    def __init__(self, minutes: Minutes, totals: Totals, whole_from: int) -> None:
        self.whole_from = whole_from
        self.is_cut_off = False
        self._minutes = minutes
        self._totals = totals
        self._newest = NO_MINUTE
        self._ends = EPOCH  # the end of the newest minute
        self._before: Ints | None = None  # totals before the first chunk that was not processed sale by sale, if any

    @property
    def products_from(self) -> int:
        """The minute from which sums by product are complete."""
        return max(self.categories_from, self._minutes.products_from)

    @property
    def categories_from(self) -> int:
        """The minute from which sums by category are complete."""
        return max(self.whole_from, self._minutes.oldest)

    def count(self, applied: AppliedChunk, horizon: Callable[[], int], seats: Callable[[str], int]) -> Counted | None:
        """Process a chunk before it is written to the table; return what to add once it is written.

        `horizon`: returns the minute before which no sales are needed.
        """
        sales = applied.sales
        if not sales:
            return None
        if sales[-1].transaction_time < self._ends:  # the log is in order of event time
            if self._before is None:
                self._before = self._totals()
            return None
        self._minutes.add(self._unseen())
        self._before = None
        last = minute_of(sales[-1])
        if last < horizon():
            return Counted(last, None)
        if applied.sales_by_product is None:
            return Counted(last, [_row(sale, seats) for sale in sales])
        return Counted(last, _cells_by_product(sales, applied.sales_by_product, seats))

    def add(self, counted: Counted | None) -> None:
        """Add a chunk that has been written to the table."""
        if counted is None:
            return
        if counted.came is None:
            self.is_cut_off, self.whole_from = True, counted.last + 1  # some sales of that minute are skipped
            return
        if isinstance(counted.came, list):
            self._minutes.add_rows(counted.came)
        else:
            self._minutes.add(counted.came)
        self._newest = counted.last
        self._ends = EPOCH + (counted.last + 1) * ONE_MINUTE

    def add_earlier(self, came: Cells, whole_from: int) -> None:
        """Add sales from before all others."""
        if not self.is_cut_off:
            self._minutes.add(came)
            self.whole_from = whole_from

    def by_product(self, first: int, end: int) -> Ints:
        """Return the sums of each product over the minutes from `first` to before `end`."""
        sums = self._minutes.by_product(first, end)
        if first <= self._newest < end:
            unseen = self._unseen()
            sums += unseen.by(unseen.seats, sums.shape[1])
        return sums

    def by_category(self, first: int, end: int, categories: int) -> Ints:
        """Return the sums by minute, from `first` to before `end`, and category: 3 × minutes × categories."""
        sums = self._minutes.by_category(first, end, categories)
        if first <= self._newest < end:
            unseen = self._unseen()
            sums[:, self._newest - first] += unseen.by(self._minutes.of_seats[unseen.seats], categories)
        return sums

    def _unseen(self) -> Cells:
        """Return the sales of the chunks that were not processed sale by sale; all are in the newest minute."""
        if self._before is None:
            return NO_CELLS
        sums = self._totals() - self._before
        (seats,) = np.nonzero(sums[0])
        return Cells(self._newest << SEAT_BITS | seats, sums[:, seats])


def _row(sale: SaleEvent, seats: Callable[[str], int]) -> Row:
    return minute_of(sale) << SEAT_BITS | seats(sale.product_id), 1, sale.quantity, round(sale.total_purchase * 100)


def _cells_by_product(sales: Sequence[SaleEvent], grouped: SalesByProduct, seats: Callable[[str], int]) -> Cells:
    """Return the cells of sales sorted by time, without processing them one by one."""
    minutes, lengths, begin = list[int](), list[int](), 0
    while begin < len(sales):
        minute = minute_of(sales[begin])
        end = bisect_left(sales, EPOCH + (minute + 1) * ONE_MINUTE, begin + 1, key=_time_of)
        minutes.append(minute)
        lengths.append(end - begin)
        begin = end
    by_place = np.repeat(np.array(minutes, np.int64), lengths)
    of_product = np.array([seats(product.product_id) for product, _, _ in grouped.products], np.int64)
    counts = [end - start for _, start, end in grouped.products]
    return cells(by_place[grouped.order], np.repeat(of_product, counts), grouped.quantity, grouped.cents).runs()


_time_of = attrgetter("transaction_time")


def not_counted(left: Ints, seats: Ints, numbers: Ints) -> Ints:
    """Return which sales of a piece of the log count: for each product the last ones not counted yet, each once.

    Pieces are read from the end of the log to its beginning. `left`: by seat, how many sales of each product are still
    to be counted, which are those up to that number; it is updated.
    """
    order = np.lexsort((-numbers, seats))
    order = order[numbers[order] <= left[seats[order]]]
    seated, numbered = seats[order], numbers[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (np.diff(seated) != 0) | (np.diff(numbered) != 0)
    order, seated, numbered = order[is_new], seated[is_new], numbered[is_new]
    begins = np.searchsorted(seated, seated)
    counts = numbered == left[seated] - (np.arange(len(order)) - begins)
    order = order[counts]
    left -= np.bincount(seats[order], minlength=len(left))
    return order
