"""The arrival process: all customers who ask for some of the shop's products, whether they are served or not.

It is computed in columns, for many products and time cells at once. Each customer is a function of (seed, product,
position in time), so every process with that product yields the same customers.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from yasdg_app.config.catalog import Product
from yasdg_app.shop.customer_behaviour import CustomerBehaviour
from yasdg_app.shop.demand import DRAWS_PER_CHUNK, Arrivals, Ints, arrivals, candidate_cells, concatenate_cells
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.randomness import Floats, keys

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class IncidentGroups:
    """Products grouped so that each incident of a time span concerns all products of a group or none."""

    incidents: Sequence[Sequence[Incident]]  # those that concern each group
    of: NDArray[np.int32]  # group of each product


class ArrivalProcess:
    """The customers of some products.

    Parameters
    ----------
    plan
        Plan of the shop; methods also accept later plans of the same shop.
    products
        Sorted by id.
    """

    def __init__(self, plan: Plan, products: Sequence[Product]) -> None:
        self.products = products
        self.behaviour = CustomerBehaviour(products, plan.sales)
        ids = [product.product_id for product in products]
        self._families = keys(plan.sales.seed, ids, "arrival")
        self._per_second = np.array([plan.per_second[product_id] for product_id in ids], dtype=np.float64)
        self.per_second = float(self._per_second.sum())
        """Mean number of customers per second while the shop is open."""
        numbers: dict[str, int] = {}
        category = [numbers.setdefault(product.category, len(numbers)) for product in products]
        self._category = np.array(category, dtype=np.int32)
        one_of_each = {product.category: product for product in products}
        self._one_of_each = [one_of_each[name] for name in numbers]
        self._grouped: tuple[Sequence[Incident], IncidentGroups] = (), self._group(())

    def arrivals(self, plan: Plan, first: int, activity: Floats) -> Arrivals:
        """Return the customers of the cells from `first` on, except in gaps; `activity`: factors of these cells."""
        count, opened = len(activity), np.flatnonzero(activity)
        activity = activity[opened]
        rates = self._per_second * plan.grid.seconds
        groups = self._groups(plan, first, count)
        factors = [plan.factor(incidents, first, count) for incidents in groups.incidents]
        by_group = _rows([None if factor is None else factor[opened] for factor in factors], np.ones(len(opened)))
        parts, length = [], max(1, DRAWS_PER_CHUNK // max(1, len(opened)))
        for start in range(0, len(rates), length):
            piece = slice(start, start + length)
            expected = activity * rates[piece, None]
            if by_group is not None:
                expected *= by_group[groups.of[piece]]
            parts.append(candidate_cells(start, self._families[piece], first + opened, expected))
        came = arrivals(concatenate_cells(parts), plan.grid)
        for gap in plan.gaps:
            if gap.after < plan.grid.start(first + count) and gap.until >= plan.grid.start(first):
                came = came[(came.at <= gap.after) | (came.at > gap.until)]
        return came

    def discounts(self, plan: Plan, first: int, count: int, products: Ints, cells: Ints) -> Ints:
        """Return the discount on each of some products, each in one cell, in ten-thousandths.

        Each of `cells` is one of the `count` cells from `first`.
        """
        groups = self._groups(plan, first, count)
        discounts = [plan.discount_by(incidents, first, count) for incidents in groups.incidents]
        by_group = _rows(discounts, np.zeros(count, dtype=np.int64))
        if by_group is None:
            return np.zeros(len(products), dtype=np.int64)
        result: Ints = by_group[groups.of[products], cells - first]
        return result

    def by_category(self, tell: Callable[[Product], bool]) -> NDArray[np.bool_]:
        """Return the result of `tell` for each product; `tell` must depend only on the product's category."""
        told = np.array([tell(product) for product in self._one_of_each], dtype=np.bool_)
        return told[self._category]

    def _groups(self, plan: Plan, first: int, count: int) -> IncidentGroups:
        incidents = plan.during(first, count)
        if incidents != self._grouped[0]:  # they last for many blocks of customers
            self._grouped = incidents, self._group(incidents)
        return self._grouped[1]

    def _group(self, incidents: Sequence[Incident]) -> IncidentGroups:
        numbers: dict[tuple[int, ...], int] = {}

        def number(concern: Iterable[bool]) -> int:
            places = tuple(place for place, concerns in enumerate(concern) if concerns)
            return numbers.setdefault(places, len(numbers))

        categories = [
            number(each.concerns_category(product.category) for each in incidents) for product in self._one_of_each
        ]
        of = np.array(categories, dtype=np.int32)[self._category]
        for product_id in {product_id for each in incidents for product_id in each.products}:
            place = bisect_left(self.products, product_id, key=lambda product: product.product_id)
            if place < len(self.products) and self.products[place].product_id == product_id:
                of[place] = number(each.concerns(self.products[place]) for each in incidents)
        return IncidentGroups([[incidents[place] for place in places] for places in numbers], of)


def _rows(values: Sequence[NDArray[T] | None], otherwise: NDArray[T]) -> NDArray[T] | None:
    """Return arrays of equal length as the rows of one array, with `otherwise` for None; None if all are None."""
    if all(each is None for each in values):
        return None
    return np.stack([otherwise if each is None else each for each in values])
