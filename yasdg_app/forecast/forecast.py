"""Computes the forecast from a shop's plan: minute by minute, for groups of products that incidents affect equally."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import holidays
import numpy as np

from yasdg_app.cluster_state.lifetime import first_moment, last_moment
from yasdg_app.config.catalog import Product
from yasdg_app.config.rules import MINUTES_PER_DAY as DAY_MINUTES
from yasdg_app.config.settings import Settings, SupplierSettings
from yasdg_app.forecast.model import CatchUpForecast, Forecast, ForecastDay, Shortage
from yasdg_app.forecast.supply import HOUR, edges_of_minutes, mean_lead_time, shortage, up_to
from yasdg_app.forecast.warnings import CUSTOMERS_PER_WORKER_SECOND, likely_mistakes
from yasdg_app.shop.demand import MINUTE, Ints, TimeGrid
from yasdg_app.shop.incidents import DAY
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.randomness import Floats
from yasdg_app.shop.shelf import END_OF_TIME

WEEK = 7 * DAY
OTHERS = "others"
MAX_CATEGORIES = 7  # highest number of categories shown separately, the largest ones; the rest are OTHERS
MAX_PRODUCTS = 100  # products whose shelves are simulated: those with the highest demand while an order is on its way
WARM_UP = 60 * DAY  # event time simulated before the requested span, in microseconds
MAX_WEEKS = 260  # highest number of weeks of the catch-up that are computed; from a longer one, this many are sampled


@dataclass(frozen=True, slots=True)
class ProductGroup:
    """Products of one category that incidents affect equally: their demand differs only by a factor."""

    category: str
    product: Product  # representative of the group
    factor: float  # demand of the group relative to that product
    scopes: frozenset[int]


def forecast_shop(
    settings: Settings, products: Sequence[Product], now: int, first: date | None = None, days: int = 7
) -> Forecast:
    """Forecast a shop that is opened `now`. Raises OpeningError if it cannot be opened."""
    opened_at = first_moment(settings, now)
    of = Plan.of(settings, products, opened_at)
    if settings.clock.start is None:  # from the start of today, so that the result is the same at any hour
        midnight = datetime.combine(of.calendar.local(now).date(), datetime.min.time())
        opened_at = of.calendar.utc(midnight)
        of = Plan.of(settings, products, opened_at)
    closes_at = last_moment(settings, opened_at)
    return forecast_days(settings, of, closes_at, now, first, days)


def forecast_days(
    settings: Settings, plan: Plan, closes_at: int | None, now: int, first: date | None = None, days: int = 7
) -> Forecast:
    """Forecast some days of a shop.

    Parameters
    ----------
    plan
        Plan of the shop if it is opened now.
    closes_at
        Event time of its last moment, in microseconds since 1970; None: it never closes.
    now
        The present, in microseconds since 1970.
    first
        Date of the first day; None: that of the shop's first moment.
    days
        Number of days.
    """
    calculator = _Calculator(settings, plan, closes_at)
    first = first or plan.calendar.local(plan.opened_at).date()
    dates = [first + timedelta(days=day) for day in range(days)]
    edges = calculator.edges(dates)
    by_category = calculator.by_category(edges)
    customers = sum(by_category.values(), np.zeros(len(edges) - 1)).reshape(-1, 24)
    lost, short, simulated_products = calculator.lost(edges)
    incidents = plan.incidents.between(int(edges[0]), max(int(edges[-1]), int(edges[0]) + 1))
    shown = [
        ForecastDay(
            day,
            plan.calendar.spans(day),
            calculator.why(day),
            calculator.open_hours(day, edges[24 * row : 24 * row + 25]),
            customers[row],
            np.minimum(lost[24 * row : 24 * row + 24], customers[row]),
            tuple(each for each in incidents if each.start < edges[24 * row + 24] and each.end > edges[24 * row]),
        )
        for row, day in enumerate(dates)
    ]
    forecast = Forecast(
        settings, plan, closes_at, tuple(shown), edges, by_category, incidents, short, simulated_products,
        calculator.catch_up(now), calculator.last_sale(int(edges[-1])), (),
    )  # fmt: skip
    return replace(forecast, warnings=tuple(likely_mistakes(forecast)))


class _Calculator:
    """Adds up the expected values of the plan over the shop's lifetime, from its first to its last moment."""

    def __init__(self, settings: Settings, plan: Plan, closes_at: int | None) -> None:
        self.settings = settings
        self.plan = replace(plan, grid=TimeGrid(0))  # in minutes
        self.opened_at, self.closes_at = plan.opened_at, closes_at
        self.units = settings.sales.mean_quantity
        country, _, subdivision = settings.hours.holidays.partition("-")
        self._holidays = (
            holidays.country_holidays(country, subdiv=subdivision or None, language="en_US") if country else {}
        )
        scopes = sorted({(each.categories, each.products) for each in settings.incidents} - {((), ())})
        self._scopes = [(frozenset(categories), frozenset(ids)) for categories, ids in scopes]
        self.groups = self._groups()

    def _groups(self) -> list[ProductGroup]:
        weights: dict[str, float] = {}
        for product in self.plan.products:
            weights[product.category] = weights.get(product.category, 0.0) + product.weight
        shown = sorted(weights, key=lambda name: -weights[name])
        shown = shown if len(shown) <= MAX_CATEGORIES + 1 else shown[:MAX_CATEGORIES]
        members: dict[tuple[str, frozenset[int]], list[Product]] = {}
        for product in self.plan.products:
            category = product.category if product.category in shown else OTHERS
            members.setdefault((category, self._scopes_of(product)), []).append(product)
        groups = []
        for (category, scopes), products in members.items():
            most = max(products, key=lambda product: product.weight)
            factor = sum(product.weight for product in products) / most.weight if most.weight else 0.0
            groups.append(ProductGroup(category, most, factor, scopes))
        places = {category: place for place, category in enumerate([*shown, OTHERS])}
        return sorted(groups, key=lambda group: places[group.category])

    def _scopes_of(self, product: Product) -> frozenset[int]:
        return frozenset(
            place
            for place, (categories, ids) in enumerate(self._scopes)
            if product.category in categories or product.product_id in ids
        )

    # --- Days ---

    def edges(self, dates: Sequence[date]) -> Ints:
        """Return when each hour of the dates begins, and when the last one ends; a skipped hour is empty."""
        midnights = [datetime.combine(day, datetime.min.time()) for day in dates]
        hours = [midnight + timedelta(hours=hour) for midnight in midnights for hour in range(24)]
        hours.append(midnights[-1] + timedelta(days=1))
        edges = np.array([self.plan.calendar.utc(hour) for hour in hours], dtype=np.int64)
        # If the clock skips a whole date, its hours are those after it.
        return np.minimum.accumulate(edges[::-1])[::-1]

    def why(self, day: date) -> str:
        if day in dict(self.settings.hours.dates):
            return "hours of this date"
        return str(self._holidays.get(day) or "")

    def open_hours(self, day: date, edges: Ints) -> tuple[bool, ...]:
        """Return whether the shop is open at some time of each hour of a day; `edges`: those of the hours."""
        before = self.plan.calendar.spans(day - timedelta(days=1))
        spans = [*self.plan.calendar.spans(day), *((start - DAY_MINUTES, end - DAY_MINUTES) for start, end in before)]
        there = np.diff(self.within(edges)) > 0
        return tuple(
            bool(there[hour]) and any(start < 60 * hour + 60 and end > 60 * hour for start, end in spans)
            for hour in range(24)
        )

    def within(self, at: Ints) -> Ints:
        """Return event times, with times outside the shop's lifetime moved to its first or last moment."""
        last = END_OF_TIME if self.closes_at is None else self.closes_at + 1
        return np.clip(at, self.opened_at, last)

    # --- Customers ---

    def by_category(self, edges: Ints) -> dict[str, Floats]:
        """Return the expected number of customers between consecutive event times, by category."""
        edges = self.within(edges)
        result = {group.category: np.zeros(len(edges) - 1) for group in self.groups}
        for first, expected in self._minutes(int(edges[0]), int(edges[-1])):
            # The edges between which some of these minutes are.
            begin = max(int(np.searchsorted(edges, first * MINUTE, side="right")) - 1, 0)
            end = int(np.searchsorted(edges, (first + len(expected[0][1])) * MINUTE)) + 1
            for group, by_minute in expected:
                result[group.category][begin : end - 1] += np.diff(up_to(edges[begin:end], first, by_minute))
        return result

    def expected(self, begin: int, end: int) -> float:
        """Return the expected number of customers in a span of event time."""
        return sum(float(each[0]) for each in self.by_category(np.array([begin, end], dtype=np.int64)).values())

    def _minutes(self, begin: int, end: int) -> Iterator[tuple[int, list[tuple[ProductGroup, Floats]]]]:
        """Yield the first of some minutes, and the expected customers of each group in each minute."""
        for first in range(begin // MINUTE, -(-end // MINUTE), WEEK // MINUTE):
            count = min(WEEK // MINUTE, -(-end // MINUTE) - first)
            activity = self.plan.activity(first, count)
            yield (
                first,
                [(group, self.plan.expected(group.product, first, activity) * group.factor) for group in self.groups],
            )

    def last_sale(self, end: int) -> int | None:
        left = float(self.settings.sales.number_of_sales)
        if not left or end <= self.opened_at:
            return None
        for first, expected in self._minutes(self.opened_at, int(self.within(np.array([end]))[0])):
            edges = self.within(edges_of_minutes(first, len(expected[0][1])))
            came = np.cumsum(
                sum((np.diff(up_to(edges, first, each)) for _, each in expected), np.zeros(len(edges) - 1))
            )
            if came[-1] >= left:
                return int(edges[int(np.searchsorted(came, left)) + 1])
            left -= float(came[-1])
        return None

    def catch_up(self, now: int) -> CatchUpForecast | None:
        """Return the forecast of the catch-up from the shop's first moment to the present; None: there is none."""
        if self.opened_at >= now or self.settings.clock.start is None:
            return None
        end = now if self.closes_at is None else min(now, self.closes_at)
        starts = range(self.opened_at, end, WEEK)
        sampled = starts[:: 1 + len(starts) // MAX_WEEKS]
        customers = sum(self.expected(start, min(start + WEEK, end)) for start in sampled)
        customers *= len(starts) / len(sampled)
        restocks = customers * self.units / self.plan.supply.restock_amount
        gap, speed = (end - self.opened_at) / 1e6, self.settings.clock.speed
        seconds: float | None
        if speed is None:
            seconds = (customers + restocks) / CUSTOMERS_PER_WORKER_SECOND
        elif self.closes_at is not None and self.closes_at <= now:
            seconds = gap / speed
        else:
            seconds = gap / (speed - 1) if speed > 1 else None
        return CatchUpForecast(timedelta(seconds=gap), customers, restocks, seconds, end < now)

    # --- Shelves ---

    def supplier(self, product: Product) -> SupplierSettings:
        named = (each for each in self.settings.suppliers if product.category in each.categories)
        return next(named, self.settings.supply)

    def lost(self, edges: Ints) -> tuple[Floats, tuple[Shortage, ...], int]:
        """Return the expected lost sales between consecutive event times, the shortages, and the shelves simulated."""
        edges = self.within(edges)
        begin, end = max(self.opened_at, int(edges[0]) - WARM_UP), int(edges[-1])
        lost = np.zeros(len(edges) - 1)
        if begin >= end:
            return lost, (), 0
        lead_times = {product.category: mean_lead_time(self.supplier(product)) for product in self.plan.products}
        per_second = self.plan.per_second
        worst = sorted(
            self.plan.products,
            key=lambda product: -per_second[product.product_id] * (1 + lead_times[product.category].total_seconds()),
        )[:MAX_PRODUCTS]
        first = begin // MINUTE
        activity = self.plan.activity(first, -(-end // MINUTE) - first)
        short = []
        for product in worst:
            wanted = self.plan.expected(product, first, activity)
            missing = shortage(self.plan, product, first, wanted * self.units, begin, end)
            if missing is None:
                continue
            its = np.diff(up_to(edges, first, wanted * missing))
            lost += its
            if its.sum() > 0.0:
                lead_time = lead_times[product.category]
                asked = float(np.diff(up_to(edges, first, wanted)).sum())
                held_up = self._held_up(product, int(edges[0]), int(edges[-1]))
                starts = np.arange(int(edges[0]), int(edges[-1]), HOUR // 4)
                ends = np.minimum(starts + lead_time // timedelta(microseconds=1), edges[-1])
                most = float((up_to(ends, first, wanted) - up_to(starts, first, wanted)).max()) * self.units
                a_day = asked * self.units * DAY / int(edges[-1] - edges[0])
                short.append(Shortage(product, float(its.sum()) / asked, a_day, most, lead_time, held_up))
        return lost, tuple(sorted(short, key=lambda each: -each.share)), len(worst)

    def _held_up(self, product: Product, begin: int, end: int) -> bool:
        here = self.plan.incidents.between(begin, end)
        return any(each.is_supply and each.factor < 1.0 and each.concerns(product) for each in here)
