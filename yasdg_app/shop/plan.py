"""The plan of a shop: the expected customers of each product at any event time, and the discounts.

The stream depends on nothing else: the plan is made from configuration, catalog, the shop's first moment and the
control topic. Tills, inventory, audit and `yasdg plan` use the same plan.
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
"""Maximum number of customers that incidents together can bring: more than any worker can serve in that time.

Tills compute whole cells in memory, at about 120 bytes per customer, so the cells of all partitions need 1.2 GB.
"""
SUBSTITUTION_GROUP_SIZE = 8  # products among which a customer looks for a substitute


class Gap(NamedTuple):
    """Time that the shop skipped: customers after `after`, up to `until`, do not arrive."""

    after: int  # microseconds since 1970
    until: int  # microseconds since 1970


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a shop; see the module. Create it with `of`.

    Attributes
    ----------
    per_second
        Mean rate of customers per second while the shop is open, by product_id.
    substitutes
        Products of the same category that a customer may buy instead, by product_id.
    grid
        The division of event time into cells; methods take the index of the first cell and a number of cells.
    max_factor
        Highest combined factor of incidents on demand; higher values are capped.
    opened_at
        The shop's first moment: event time, microseconds since 1970.
    gaps
        Time that was skipped while the shop ran.
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
        """Return the plan of a shop that opened at an event time (microseconds), without its control topic."""
        sales = settings.sales
        calendar = Calendar(settings.clock, settings.hours, settings.volume, opened_at)
        incidents = Incidents(settings.incidents, calendar.utc, sales.seed, opened_at)
        # Independent Poisson processes add up to one, so each product is a stream of its own.
        in_all = 1.0 / sales.mean_seconds_between_sales
        share = in_all / sum(product.weight for product in products)
        # Equal rates share one object, to save memory.
        rates = {weight: weight * share for weight in {product.weight for product in products}}
        per_second = {product.product_id: rates[product.weight] for product in products}
        # Incidents are left out, since they may be added at any time, and the stream depends on the length of a cell.
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
        """Return the plan with the incidents and gaps of the control topic."""
        incidents = self.incidents.with_live(live)
        supply = _supply(self._settings, self.calendar, incidents)
        return replace(self, incidents=incidents, supply=supply, gaps=tuple(gaps))

    def holds(self, kept_at: int) -> bool:
        """Return whether shelves saved at an event time are valid: no gap has removed customers that they served."""
        return not any(gap.after < kept_at < gap.until for gap in self.gaps)

    def activity(self, first: int, count: int) -> Floats:
        """Return the factor on the mean rate in each of `count` cells from `first`, without incidents; 0: closed."""
        minutes = self._minutes(first, count)
        return self._by_cell(self.calendar.activity(minutes), first, count)

    def during(self, first: int, count: int) -> tuple[Incident, ...]:
        """Return the incidents active in the minutes that contain `count` cells from `first`."""
        return self.incidents.during(self._minutes(first, count))

    def rush(self, first: int, count: int) -> float:
        """Return the highest factor by which incidents increase demand in `count` cells from `first`; at least 1."""
        here = self.incidents.between(self.grid.start(first), self.grid.start(first + count))
        return min(self.max_factor, prod(max(1.0, incident.factor) for incident in here if not incident.is_supply))

    def expected(self, product: Product, first: int, activity: Floats) -> Floats:
        """Return the expected number of customers of a product in each cell from `first` on.

        `activity`: factors of these cells.
        """
        expected: Floats = activity * (self.per_second[product.product_id] * self.grid.seconds)
        factor = self.factor(self._concern(product, first, len(activity)), first, len(activity))
        return expected if factor is None else expected * factor

    def factor(self, incidents: Sequence[Incident], first: int, count: int) -> Floats | None:
        """Return the factor of incidents on demand in each cell from `first`; None: 1 throughout.

        `incidents`: those of `during` that concern a product.
        """
        factor = demand_of(incidents, self._minutes(first, count))
        return None if factor is None else np.minimum(self._by_cell(factor, first, count), self.max_factor)

    def discount(self, product: Product, first: int, count: int) -> Ints | None:
        """Return a product's discount in each cell from `first`, in ten-thousandths; None: no discount."""
        return self.discount_by(self._concern(product, first, count), first, count)

    def discount_by(self, incidents: Sequence[Incident], first: int, count: int) -> Ints | None:
        """Return the discount of incidents in each cell from `first`, in ten-thousandths; see `factor`."""
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
        """Return the index of each cell's minute in `_minutes`."""
        halvings = self.grid.halvings
        return (np.arange(first, first + count, dtype=np.int64) >> halvings) - (first >> halvings)

    def _by_cell(self, by_minute: Floats, first: int, count: int) -> Floats:
        if not self.grid.halvings:
            return by_minute
        by_cell: Floats = by_minute[self._places(first, count)]
        return by_cell


def _supply(settings: Settings, calendar: Calendar, incidents: Incidents) -> Supply:
    sales = settings.sales
    return Supply(
        settings.inventory, settings.supply, settings.suppliers, calendar, incidents, sales.seed, sales.largest_quantity
    )  # fmt: skip


def _substitutes(products: Sequence[Product]) -> dict[str, tuple[Product, ...]]:
    """Return the substitutes of each product.

    Each category is divided, in catalog order, into groups of SUBSTITUTION_GROUP_SIZE products.
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
