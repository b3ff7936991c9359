"""The plan of a shop: how many customers are expected to ask for which product at any event time, and at what discount.

It is all that the stream is a function of: configuration, catalog, the shop's first moment, and what the control topic
says. Tills, the inventory, audits and `yasdg plan` look at one and the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import MAX_FACTOR, SalesSettings, Settings
from yasdg_app.shop.calendar import Calendar
from yasdg_app.shop.demand import Ints, TimeGrid
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.incidents import Incidents, demand_of, discount_of
from yasdg_app.shop.randomness import Floats
from yasdg_app.shop.supply import Supply

MAX_CUSTOMERS_PER_CELL = 10_000_000
"""That incidents together can bring: more than any worker sells in that time.

Tills compute whole cells, in memory, some 120 bytes a customer, so that those of all partitions need 1.2 GB.
"""
SUBSTITUTION_GROUP_SIZE = 8  # products that stand beside each other: among them a customer looks for another


class Gap(NamedTuple):
    """Time that the shop left out: customers behind `after`, up to `until`, do not come."""

    after: int  # microseconds since 1970
    until: int


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module.

    Attributes
    ----------
    per_second
        Mean rate at which each product is asked for while the shop is open, by product_id.
    beside
        The products of its category that a customer may take instead of one, by product_id.
    max_factor
        The highest factor that incidents have on demand together: what goes beyond is cut off.
    """

    products: tuple[Product, ...]
    sales: SalesSettings
    calendar: Calendar
    incidents: Incidents
    supply: Supply
    per_second: Mapping[str, float]
    grid: TimeGrid
    substitutes: Mapping[str, tuple[Product, ...]]
    max_factor: float
    opened_at: int
    gaps: tuple[Gap, ...]
    _settings: Settings

    @classmethod
    def of(cls, settings: Settings, products: Sequence[Product], opened_at: int) -> "Plan":
        """Return the plan of a shop that opened at an event time, before anything was said on its control topic."""
        sales = settings.sales
        calendar = Calendar(settings.clock, settings.hours, settings.volume, opened_at)
        incidents = Incidents(settings.incidents, calendar.utc, sales.seed, opened_at)
        # Independent Poisson processes add up to one: each product is a stream of its own.
        in_all = 1.0 / sales.mean_seconds_between_sales
        share = in_all / sum(product.weight for product in products)
        rates = {weight: weight * share for weight in {product.weight for product in products}}  # one of each: memory
        per_second = {product.product_id: rates[product.weight] for product in products}
        # Not of incidents, which may be set at any time: the length of a cell is part of the stream.
        grid = TimeGrid.for_rates(max(rates.values()) * calendar.peak, in_all * calendar.peak)
        return cls(
            products=tuple(products),
            sales=sales,
            calendar=calendar,
            incidents=incidents,
            supply=_supply(settings, calendar, incidents),
            per_second=per_second,
            grid=grid,
            substitutes=_substitutes(products) if sales.substitution_freq else {},
            max_factor=max(MAX_FACTOR, MAX_CUSTOMERS_PER_CELL / max(in_all * calendar.peak * grid.seconds, 1e-9)),
            opened_at=opened_at,
            gaps=(),
            _settings=settings,
        )

    def with_control(self, live: Sequence[Incident], gaps: Sequence[Gap]) -> "Plan":
        """Return the plan with what the control topic says."""
        incidents = self.incidents.with_live(live)
        supply = _supply(self._settings, self.calendar, incidents)
        return replace(self, incidents=incidents, supply=supply, gaps=tuple(gaps))

    def holds(self, kept_at: int) -> bool:
        """Tell whether shelves that were kept at an event time have seen nobody whom a gap has sent away since."""
        return not any(gap.after < kept_at < gap.until for gap in self.gaps)

    def activity(self, first: int, count: int) -> Floats:
        """Return the factor on all mean rates in `count` cells from `first`, incidents apart; 0: the shop is closed."""
        minutes = self._minutes(first, count)
        return self._by_cell(self.calendar.activity(minutes), first, count)

    def during(self, first: int, count: int) -> tuple[Incident, ...]:
        """Return the incidents that last for some time of the minutes in which `count` cells from `first` lie."""
        return self.incidents.during(self._minutes(first, count))

    def rush(self, first: int, count: int) -> float:
        """Return how many times as many customers as usual incidents bring at most, in `count` cells from `first`."""
        here = self.incidents.between(self.grid.start(first), self.grid.start(first + count))
        return min(self.max_factor, prod(max(1.0, incident.factor) for incident in here if not incident.is_supply))

    def expected(self, product: Product, first: int, activity: Floats) -> Floats:
        """Return how many customers are expected to ask for a product in each cell from `first` on.

        `activity`: of these cells.
        """
        expected: Floats = activity * (self.per_second[product.product_id] * self.grid.seconds)
        factor = self.factor(self._concern(product, first, len(activity)), first, len(activity))
        return expected if factor is None else expected * factor

    def factor(self, incidents: Sequence[Incident], first: int, count: int) -> Floats | None:
        """Return the factor on demand that incidents have in each cell from `first`; None: 1 throughout.

        `incidents`: of `during`, those that concern a product.
        """
        factor = demand_of(incidents, self._minutes(first, count))
        return None if factor is None else np.minimum(self._by_cell(factor, first, count), self.max_factor)

    def discount(self, product: Product, first: int, count: int) -> Ints | None:
        """Return a product's discount in each cell from `first`, in ten-thousandths; None: none at all."""
        return self.discount_by(self._concern(product, first, count), first, count)

    def discount_by(self, incidents: Sequence[Incident], first: int, count: int) -> Ints | None:
        """Return the discount that incidents give in each cell from `first`; as `factor`."""
        discount = discount_of(incidents, self._minutes(first, count))
        if discount is None:
            return None
        result: Ints = discount[self._places(first, count)]
        return result

    def _concern(self, product: Product, first: int, count: int) -> Sequence[Incident]:
        return [incident for incident in self.during(first, count) if incident.concerns(product)]

    def _minutes(self, first: int, count: int) -> Ints:
        halvings = self.grid.halvings
        return np.arange(first >> halvings, ((first + count - 1) >> halvings) + 1, dtype=np.int64)

    def _places(self, first: int, count: int) -> Ints:
        """Return the place of each cell's minute among those of `_minutes`."""
        halvings = self.grid.halvings
        return (np.arange(first, first + count, dtype=np.int64) >> halvings) - (first >> halvings)

    def _by_cell(self, by_minute: Floats, first: int, count: int) -> Floats:
        if not self.grid.halvings:
            return by_minute
        by_cell: Floats = by_minute[self._places(first, count)]
        return by_cell


def _supply(settings: Settings, calendar: Calendar, incidents: Incidents) -> Supply:
    return Supply(settings.inventory, settings.supply, settings.suppliers, calendar, incidents, settings.sales.seed)


def _substitutes(products: Sequence[Product]) -> dict[str, tuple[Product, ...]]:
    """Return the substitutes of each product.

    A category is divided, in the catalog's order, into groups of SUBSTITUTION_GROUP_SIZE products.
    """
    by_category: dict[str, list[Product]] = {}
    for product in products:
        by_category.setdefault(product.category, []).append(product)
    substitutes = {}
    for members in by_category.values():
        for start in range(0, len(members), SUBSTITUTION_GROUP_SIZE):
            group = members[start : start + SUBSTITUTION_GROUP_SIZE]
            for product in group:
                substitutes[product.product_id] = tuple(other for other in group if other is not product)
    return substitutes
