"""A till: turns demand over a span of event time into numbered sales and lost sales, in order.

A till resumes with the shelves of an earlier one and keeps no other state, so all tills over the same products that
start at the same cursor generate the same sales.

If restocks are instant and the shelf is above its minimum, every customer finds enough: many are served at once, in
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
from yasdg_app.config.settings import OUT_OF
from yasdg_app.shop.arrivals import ArrivalProcess
from yasdg_app.shop.customer_behaviour import quantity_of
from yasdg_app.shop.demand import Arrivals, Ints
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.randomness import Floats
from yasdg_app.shop.sales import NO_PRODUCT, STREAM_START, EventCursor, LostSale, Sales, SalesBatch
from yasdg_app.shop.shelf import Shelf
from yasdg_app.shop.shelves import NOT_SOLD, Shelves

CUSTOMERS_PER_BLOCK = 20_000  # computed at a time; bounds the memory of a till
MAX_CELLS_PER_BLOCK = 4_096  # where customers are so rare that more cells would be needed for CUSTOMERS_PER_BLOCK
MAX_PRODUCT_CELLS_PER_BLOCK = 4_000_000  # products times cells; bounds the time that a block takes


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a till resumes.

    Attributes
    ----------
    after
        The last customer whom the shelves have served.
    shelves
        By product_id; all other products have their initial stock.
    sold
        Number of published sales, by product_id; these are not returned again.
    lost
        Number of published lost sales, by product_id.
    lost_after
        The last customer with a published lost sale.
    """

    after: EventCursor
    shelves: Mapping[str, Shelf] = field(default_factory=dict)
    sold: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    lost_after: EventCursor = STREAM_START


class Till:
    """Serves the customers of some products, from a position in the stream on.

    If customers buy substitutes, the till also serves the customers of those substitutes, but does not return their
    sales.

    Parameters
    ----------
    plan
        Plan of the shop.
    products
        Products that this till sells; any subset of the shop's.
    start
        Where to resume; None: at the shop's first moment.

    Attributes
    ----------
    products
        Sorted by id: the products that it sells, and their substitutes.
    watermark
        Event time up to which all customers were served and returned, in microseconds since 1970.
    customers_served
        Number of customers computed so far.
    """

    def __init__(self, plan: Plan, products: Sequence[Product], start: ResumePoint | None = None) -> None:
        start = start or ResumePoint(EventCursor(plan.opened_at, ""))
        own = {product.product_id: product for product in products}
        substitutes = {other.product_id: other for product_id in own for other in plan.substitutes.get(product_id, ())}
        # Sorted by id, so that the order within a microsecond is that of `EventCursor`.
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
        self._waiting = SalesBatch()  # customers of computed cells who are not due yet
        self._ahead: tuple[SalesBatch, int] | None = None  # those of the next cells, and the cell after these
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
        """Continue with another plan, which must not differ in anything computed so far."""
        self.plan = plan
        self._shelves.replan(plan.supply, self._instant())

    def _instant(self) -> NDArray[np.bool_]:
        """Return for each product whether all orders arrive instantly and no customer buys substitutes."""
        if self.plan.sales.substitution_freq:
            return np.zeros(len(self.products), dtype=np.bool_)
        return self._arrivals.by_category(self.plan.supply.is_instant)

    @property
    def shelves(self) -> Sequence[Shelf]:
        """The shelves after all customers computed so far; see `shelves_watermark`."""
        return [self._shelves.copy(place) for place in range(len(self.products))]

    @property
    def shelves_watermark(self) -> int | None:
        """Event time up to which the shelves have served all customers; None while some are not returned yet."""
        if len(self._waiting.sales) or self._waiting.lost or self._ahead is not None:
            return None
        return self.plan.grid.start(self._next_cell) - 1

    @property
    def next_at(self) -> int:
        """Event time before which no customer is due; there may or may not be one at that time."""
        waiting = self._waiting
        first = self.plan.grid.start(self._next_cell)
        if len(waiting.sales):
            first = min(first, int(waiting.sales.at[0]))
        return min(first, waiting.lost[0].at) if waiting.lost else first

    def generate_until(self, until: int) -> SalesBatch:
        """Serve the next customers up to the event time `until` (microseconds since 1970, inclusive).

        One call serves at most the prepared block and another one: call it again while `watermark` is before `until`.
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
        """Event time up to which all customers are computed."""
        return self.plan.grid.start(self._next_cell if self._ahead is None else self._ahead[1]) - 1

    def prepare(self, until: int) -> None:
        """Compute the next block ahead, up to the cell of `until` at most, unless a block is already prepared.

        Without it, a caller that generates sales every few milliseconds would have to compute a block for every till at
        the same moment. The plan must be final up to `until`, as for `generate_until`.
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
            # At the microsecond of the last customer, products after it in order may still have one.
            behind = bisect_right(self.products, self._after.product_id, key=lambda product: product.product_id)
            product = came.rows.product[came.row]
            came = came[(came.at > self._after.at) | ((came.at == self._after.at) & (product >= behind))]
        self.customers_served += len(came.at)
        return self._serve(self._customers(came), first, count)

    def _customers(self, came: Arrivals) -> "_Customers":
        """Return what customers ask for and how they behave, in the order in which they are served."""
        product, option, none = came.rows.product[came.row], self._arrivals.behaviour.options(came), np.empty(0)
        number = self._shelves.sell_in_bulk(product, option)
        order = np.argsort(came.at, kind="stable")  # they were sorted by product
        willing, taste = (
            self._arrivals.behaviour.uniforms(what, came)[order] if self.plan.sales.substitution_freq else none
            for what in ("willing", "taste")
        )
        cell = came.rows.cell[came.row[order]]
        return _Customers(product[order], came.at[order], cell, option[order], number[order], willing, taste)

    def _serve(self, customers: "_Customers", first: int, count: int) -> SalesBatch:
        """Serve the customers who arrived in `count` cells from `first`."""
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
        """Serve some customers one after the other, as long as the shelves have enough.

        The arrays and `lost` are filled in: who buys what, with which number, and which sales are lost.
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
    """Customers in the order in which they are served: arrays of equal length."""

    product: Ints  # what they ask for
    at: Ints
    cell: Ints
    option: Ints
    number: Ints  # of the sale, for customers served in bulk; NOT_SOLD: for all others
    willing: Floats  # to buy a substitute: uniform in [0, 1); empty if there is no substitution
    taste: Floats  # which substitute: uniform in [0, 1)
