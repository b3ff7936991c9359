"""A till: demand over a stretch of event time, turned into numbered sales and customers turned away, in order.

A till resumes with the shelves as others left them and keeps no other state, so every till over the same products that
starts at the same cursor generates the same sales.

Where restocks are instant and the shelf is above its minimum, every customer finds enough: many are served at once, in
columns. All others are served one by one.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yasdg_app.config.catalog import Product
from yasdg_app.shop.arrivals import ArrivalProcess
from yasdg_app.shop.customer_behaviour import OUT_OF, quantity_of
from yasdg_app.shop.demand import Arrivals, Ints
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.randomness import Floats
from yasdg_app.shop.sales import NO_PRODUCT, STREAM_START, EventCursor, LostSale, Sales, SalesBatch
from yasdg_app.shop.shelf import Shelf
from yasdg_app.shop.shelves import NOT_SOLD, Shelves

CUSTOMERS_PER_BLOCK = 20_000  # computed at a time; bounds the memory of a till
MAX_CELLS_PER_BLOCK = 4_096  # fewer customers than that come in so many cells: the bound where hardly anybody comes
MAX_PRODUCT_CELLS_PER_BLOCK = 4_000_000  # and cells of all products: some of a till's time


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a till goes on.

    Attributes
    ----------
    after
        The last customer whom the shelves have seen.
    shelves
        By product_id; one that is not named is as the shop opens.
    sold
        Number of sales that were told, by product_id: none of them is told again.
    lost
        Number of lost sales that were told, by product_id.
    lost_after
        The last customer turned away of whom was told.
    """

    after: EventCursor
    shelves: Mapping[str, Shelf] = field(default_factory=dict)
    sold: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    lost_after: EventCursor = STREAM_START


class Till:
    """Serves the customers of some products, from a place in the stream onwards.

    Where customers take one product instead of another, it serves those of the products beside its own as well, and
    does not tell of them.

    Parameters
    ----------
    plan
        Of the shop.
    products
        Products that this till sells; any part of the shop's.
    start
        Where it goes on; None: at the shop's first moment.

    Attributes
    ----------
    products
        In order of id: those that it sells, and those beside them.
    through
        Event time up to which everybody was served and is told of.
    served
        Number of customers computed so far.
    """

    def __init__(self, plan: Plan, products: Sequence[Product], start: ResumePoint | None = None) -> None:
        start = start or ResumePoint(EventCursor(plan.opened_at, ""))
        own = {product.product_id: product for product in products}
        substitutes = {other.product_id: other for product_id in own for other in plan.substitutes.get(product_id, ())}
        # In order of id, so that the order within a microsecond is that of `EventCursor`.
        self.products = tuple(sorted((substitutes | own).values(), key=attrgetter("product_id")))
        self.plan = plan
        self._after = start.after
        self._next_cell = plan.grid.cell_at(self._after.at)
        ids = [product.product_id for product in self.products]
        self._arrivals = ArrivalProcess(plan, self.products)
        self._shelves = Shelves(self.products, start.shelves, plan.supply, self._instant())
        self._told = np.array([product_id in own for product_id in ids], dtype=np.bool_)
        self._sold = np.array([start.sold.get(product_id, 0) for product_id in ids], dtype=np.int64)
        self._lost = np.array([start.lost.get(product_id, 0) for product_id in ids], dtype=np.int64)
        self._lost_after = start.lost_after
        self._places = {product_id: place for place, product_id in enumerate(ids)} if plan.substitutes else {}
        self._waiting = SalesBatch()  # customers of computed cells whose time has not come
        self._ahead: tuple[SalesBatch, int] | None = None  # those of the next cells, and the cell behind these
        busiest = self._arrivals.per_second * plan.calendar.peak * plan.grid.seconds
        most = min(
            MAX_CELLS_PER_BLOCK,
            CUSTOMERS_PER_BLOCK / max(busiest, 1e-9),
            MAX_PRODUCT_CELLS_PER_BLOCK / max(len(ids), 1),
        )
        self._cells_at_a_time = int(max(1, most))
        self.watermark = self._after.at
        self.customers_served = 0

    def replan(self, plan: Plan) -> None:
        """Go on by another plan, which differs from the one before in nothing that was computed so far."""
        self.plan = plan
        self._shelves.replan(plan.supply, self._instant())

    def _instant(self) -> NDArray[np.bool_]:
        """Tell of which products all that is ordered is there at once, and nobody looks at other shelves as well."""
        if self.plan.sales.substitution_freq:
            return np.zeros(len(self.products), dtype=np.bool_)
        return self._arrivals.by_category(self.plan.supply.is_instant)

    @property
    def shelves(self) -> Sequence[Shelf]:
        """The shelves as those have left them who were computed so far; see `shelves_watermark`."""
        return [self._shelves.copy(place) for place in range(len(self.products))]

    @property
    def shelves_watermark(self) -> int | None:
        """Event time up to which the shelves have seen everybody; None while some of them wait to be told of."""
        if len(self._waiting.sales) or self._waiting.lost or self._ahead is not None:
            return None
        return self.plan.grid.start(self._next_cell) - 1

    @property
    def next_at(self) -> int:
        """Event time before which nobody is to be told of; it may be that of somebody, or of nobody."""
        waiting = self._waiting
        first = self.plan.grid.start(self._next_cell)
        if len(waiting.sales):
            first = min(first, int(waiting.sales.at[0]))
        return min(first, waiting.lost[0].at) if waiting.lost else first

    def generate_until(self, until: int) -> SalesBatch:
        """Serve the next customers up to the event time `until` (inclusive): a block at most, and who is prepared.

        Call it again while `through` is before `until`.
        """
        served = self._generate_block(until)
        if self.watermark < until and self._ahead is not None:
            served += self._generate_block(until)
        return served

    def _generate_block(self, until: int) -> SalesBatch:
        grid, waiting = self.plan.grid, self._waiting
        if not len(waiting.sales) and not waiting.lost and self._next_cell <= grid.cell_at(until):
            self.prepare(until)
            assert self._ahead is not None
            (waiting, self._next_cell), self._ahead = self._ahead, None
        due = int(np.searchsorted(waiting.sales.at, until, side="right"))
        lost_due = bisect_right(waiting.lost, until, key=lambda lost: lost.at)
        self._waiting = SalesBatch(waiting.sales[due:], waiting.lost[lost_due:])
        computed = grid.start(self._next_cell) - 1
        self.watermark = max(self.watermark, min(until, computed))
        return SalesBatch(waiting.sales[:due], waiting.lost[:lost_due])

    @property
    def prepared_watermark(self) -> int:
        """Event time up to which everybody is computed."""
        return self.plan.grid.start(self._next_cell if self._ahead is None else self._ahead[1]) - 1

    def prepare(self, until: int) -> None:
        """Compute ahead who comes next, up to the cell of `until`, a block at most, unless that is done already.

        Whoever rings up every few milliseconds would else have a block to compute for every till at the same moment.
        What is known of the shop has to hold up to `until`, as for `generate_until`.
        """
        first, last = self._next_cell, self.plan.grid.cell_at(until)
        if self._ahead is not None or first > last:
            return
        count = min(self._cells_at_a_time, last - first + 1)
        count = max(1, int(count / self.plan.rush(first, count)))
        self._ahead = self._compute(first, count), first + count

    def _compute(self, first: int, count: int) -> SalesBatch:
        """Compute `count` cells from `first`."""
        activity = self.plan.activity(first, count)
        if not activity.any():
            return SalesBatch()
        came = self._arrivals.arrivals(self.plan, first, activity)
        if self._after.at >= self.plan.grid.start(first):
            # At the microsecond of the last customer, products behind it in order may still have one.
            behind = bisect_right(self.products, self._after.product_id, key=lambda product: product.product_id)
            product = came.rows.product[came.row]
            came = came[(came.at > self._after.at) | ((came.at == self._after.at) & (product >= behind))]
        self.customers_served += len(came.at)
        return self._serve(self._customers(came), first, count)

    def _customers(self, came: Arrivals) -> "_Customers":
        """Return what customers ask for and what they are like, in the order in which they are served."""
        product, option, none = came.rows.product[came.row], self._arrivals.behaviour.options(came), np.empty(0)
        number = self._shelves.sell_in_bulk(product, option)
        order = np.argsort(came.at, kind="stable")  # they came in order of product
        willing, taste = (
            self._arrivals.behaviour.uniforms(what, came)[order] if self.plan.sales.substitution_freq else none
            for what in ("willing", "taste")
        )
        cell = came.rows.cell[came.row[order]]
        return _Customers(product[order], came.at[order], cell, option[order], number[order], willing, taste)

    def _serve(self, customers: "_Customers", first: int, count: int) -> SalesBatch:
        """Serve customers who came in `count` cells from `first`."""
        discounts = partial(self._arrivals.discounts, self.plan, first, count)
        bought, number = customers.product.copy(), customers.number.copy()
        requested_product = np.full(len(number), NO_PRODUCT, dtype=np.int64)
        lost: list[LostSale] = []
        individually = np.flatnonzero(number == NOT_SOLD)
        if len(individually):
            asked = discounts(customers.product, customers.cell)
            self._serve_one_by_one(individually, customers, asked, bought, number, requested_product, lost)
        told = self._told[bought] & (number > self._sold[bought])
        bought = bought[told]
        promotion = discounts(bought, customers.cell[told])
        return SalesBatch(
            Sales(bought, number[told], customers.at[told], customers.option[told], promotion, requested_product[told]),
            lost,
        )

    def _serve_one_by_one(
        self,
        rows: Ints,
        customers: "_Customers",
        promotion: Ints,
        bought: Ints,
        number: Ints,
        requested_product: Ints,
        lost: list[LostSale],
    ) -> None:
        """Serve some of the customers one after the other, as far as there is something on the shelves.

        It is written down who buys what, with what number, and who is turned away.
        """
        supply = self.plan.supply
        shelves = {place: self._shelves[place] for place in np.unique(customers.product[rows]).tolist()}
        columns = rows, customers.product[rows], customers.at[rows], customers.option[rows]
        for row, place, at, option in zip(*(column.tolist() for column in columns), strict=True):
            shelf, quantity = shelves[place], quantity_of(option)
            if shelf.due <= at:
                shelf.receive(at, supply)
            if shelf.level < quantity:
                sold = self._instead(place, at, quantity, customers, row)
                self._turn_away(place, at, option, int(promotion[row]), sold, lost)
                if sold == NO_PRODUCT:
                    continue
                shelf = self._shelves[sold]
                bought[row], requested_product[row] = sold, place
            shelf.sell(quantity, at, supply)
            number[row] = shelf.sales
        self._shelves.close(shelves)

    def _instead(self, place: int, at: int, quantity: int, customers: "_Customers", row: int) -> int:
        """Choose a substitute by weight among those with enough stock; return its index, or NO_PRODUCT."""
        freq = self.plan.sales.substitution_freq
        if not freq or customers.willing[row] * OUT_OF >= freq:
            return NO_PRODUCT
        there, weight = [], 0.0
        for other in self.plan.substitutes[self.products[place].product_id]:
            shelf = self._shelves[self._places[other.product_id]]
            if shelf.due <= at:
                shelf.receive(at, self.plan.supply)
            if shelf.level >= quantity:
                weight += other.weight
                there.append((weight, self._places[other.product_id]))
        wanted = customers.taste[row] * weight
        return next((other for through, other in there if wanted < through), NO_PRODUCT)

    def _turn_away(
        self, place: int, at: int, option: int, promotion: int, substitute: int, lost: list[LostSale]
    ) -> None:
        shelf = self._shelves[place]
        if not self._told[place] or (at, shelf.product.product_id) <= self._lost_after:
            return
        self._lost[place] += 1
        number = int(self._lost[place])
        lost.append(LostSale(place, number, at, option, promotion, shelf.level, *shelf.backorder_info(at), substitute))


class _Customers(NamedTuple):
    """Customers in the order in which they are served: arrays of one length."""

    product: Ints  # what they ask for
    at: Ints
    cell: Ints
    option: Ints
    number: Ints  # of the sale, of those that were served at once; NOT_SOLD: of the others
    willing: Floats  # to take another: uniform in [0, 1); nothing where nobody may
    taste: Floats  # which other: uniform in [0, 1)
