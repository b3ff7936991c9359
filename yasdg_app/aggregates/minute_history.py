"""The sales of one partition by minute of event time, fed from what is applied to the table, chunk by chunk.

Almost every chunk is entirely within the newest minute and costs nothing: the sales of that minute are the current
totals of the table minus its earlier totals. Only a chunk that leaves the minute is processed sale by sale.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from yasdg_app.aggregates.minute_sums import (
    LOCAL_INDEX_BITS,
    NO_CELLS,
    NO_MINUTE,
    ONE_MINUTE,
    Cell,
    MinuteStore,
    SalesByMinute,
    cells_of_sales,
    minute_of,
)
from yasdg_app.inventory.projection import AppliedChunk, SalesByProduct
from yasdg_app.messages.decoders import SaleEvent
from yasdg_app.messages.times import EPOCH
from yasdg_app.shop.demand import Ints

Totals = Callable[[], Ints]
"""Returns the table's current totals: sales, units and revenue in cents, three rows, by local index of the product."""


class Contribution(NamedTuple):
    """The contribution of a chunk that reaches beyond the newest minute."""

    last_minute: int  # of its last sale
    sales: SalesByMinute | list[Cell] | None  # None: they are too old to be counted


class MinuteHistory:
    """The sales of a partition from some position of its log on, and earlier ones as far as they are added later.

    Parameters
    ----------
    minutes
        Where the sums are kept.
    totals
        Returns the totals of the table.
    complete_from
        See below.

    Attributes
    ----------
    complete_from
        The minute from which the sums include all sales; `NO_MINUTE`: all sales ever.
    is_cut_off
        True if some sales were skipped because they were too old: earlier sales are then of no use.
    """

    def __init__(self, minutes: MinuteStore, totals: Totals, complete_from: int) -> None:
        self.complete_from = complete_from
        self.is_cut_off = False
        self._minutes = minutes
        self._totals = totals
        self._newest = NO_MINUTE
        self._newest_ends = EPOCH  # the end of the newest minute
        self._totals_before: Ints | None = None  # before the first chunk that was not processed sale by sale, if any

    @property
    def products_from(self) -> int:
        """The minute from which sums by product are complete."""
        return max(self.categories_from, self._minutes.products_from)

    @property
    def categories_from(self) -> int:
        """The minute from which sums by category are complete."""
        return max(self.complete_from, self._minutes.oldest)

    def prepare(
        self, applied: AppliedChunk, horizon: Callable[[], int], local_index_of: Callable[[str], int]
    ) -> Contribution | None:
        """Process a chunk before it is written to the table; return what to add once it is written.

        `horizon`: returns the minute before which no sales are needed.
        """
        sales = applied.sales
        if not sales:
            return None
        if sales[-1].transaction_time < self._newest_ends:  # the log is in order of event time
            if self._totals_before is None:
                self._totals_before = self._totals()
            return None
        self._minutes.add(self._newest_sales())
        self._totals_before = None
        last_minute = minute_of(sales[-1])
        if last_minute < horizon():
            return Contribution(last_minute, None)
        if applied.sales_by_product is None:
            return Contribution(last_minute, [_cell(sale, local_index_of) for sale in sales])
        return Contribution(last_minute, _cells_by_product(sales, applied.sales_by_product, local_index_of))

    def add(self, contribution: Contribution | None) -> None:
        """Add a chunk that has been written to the table."""
        if contribution is None:
            return
        last_minute, sales = contribution
        if sales is None:
            self.is_cut_off, self.complete_from = True, last_minute + 1  # some sales of that minute are skipped
            return
        if isinstance(sales, list):
            self._minutes.add_cells(sales)
        else:
            self._minutes.add(sales)
        self._newest = last_minute
        self._newest_ends = EPOCH + (last_minute + 1) * ONE_MINUTE

    def add_earlier(self, sales: SalesByMinute, complete_from: int) -> None:
        """Add sales from before all others."""
        if not self.is_cut_off:
            self._minutes.add(sales)
            self.complete_from = complete_from

    def by_product(self, first: int, end: int) -> Ints:
        """Return the sums of each product over the minutes from `first` to before `end`."""
        sums = self._minutes.by_product(first, end)
        if first <= self._newest < end:
            newest = self._newest_sales()
            sums += newest.summed_by(newest.local_indexes, sums.shape[1])
        return sums

    def by_category(self, first: int, end: int, categories: int) -> Ints:
        """Return the sums by minute, from `first` to before `end`, and category: 3 × minutes × categories."""
        sums = self._minutes.by_category(first, end, categories)
        if first <= self._newest < end:
            newest = self._newest_sales()
            numbers = self._minutes.category_numbers[newest.local_indexes]
            sums[:, self._newest - first] += newest.summed_by(numbers, categories)
        return sums

    def _newest_sales(self) -> SalesByMinute:
        """Return the sales of the chunks that were not processed sale by sale; all are in the newest minute."""
        if self._totals_before is None:
            return NO_CELLS
        sums = self._totals() - self._totals_before
        (local_indexes,) = np.nonzero(sums[0])
        return SalesByMinute(self._newest << LOCAL_INDEX_BITS | local_indexes, sums[:, local_indexes])


def _cell(sale: SaleEvent, local_index_of: Callable[[str], int]) -> Cell:
    key = minute_of(sale) << LOCAL_INDEX_BITS | local_index_of(sale.product_id)
    return key, 1, sale.quantity, round(sale.total_purchase * 100)


def _cells_by_product(
    sales: Sequence[SaleEvent], by_product: SalesByProduct, local_index_of: Callable[[str], int]
) -> SalesByMinute:
    """Return the cells of sales sorted by time, without processing them one by one."""
    minutes, lengths, begin = list[int](), list[int](), 0
    while begin < len(sales):
        minute = minute_of(sales[begin])
        end = bisect_left(sales, EPOCH + (minute + 1) * ONE_MINUTE, begin + 1, key=_time_of)
        minutes.append(minute)
        lengths.append(end - begin)
        begin = end
    minute_of_each = np.repeat(np.array(minutes, np.int64), lengths)
    local_indexes = np.array([local_index_of(product.product_id) for product, _, _ in by_product.products], np.int64)
    counts = [end - start for _, start, end in by_product.products]
    return cells_of_sales(
        minute_of_each[by_product.order], np.repeat(local_indexes, counts), by_product.quantity, by_product.cents
    ).merged_adjacent()


_time_of = attrgetter("transaction_time")
