"""The forecast of a configuration, as plain data.

Times are microseconds since 1970, as elsewhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.config.rules import WEEKDAYS, Span, clock_text
from yasdg_app.config.settings import Settings
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.randomness import Floats

MAX_DAYS_HOUR_BY_HOUR = 14  # up to this many days are shown hour by hour; longer forecasts show an average week


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """One day on the shop's clock."""

    date: date
    spans: tuple[Span, ...]
    why: str  # reason why its hours differ from its weekday's; empty: they do not differ
    open: tuple[bool, ...]  # by hour: is it open at some time of it?
    customers: Floats  # expected number, by hour
    lost: Floats  # of these, those expected to find too little
    incidents: tuple[Incident, ...]

    @property
    def total(self) -> float:
        """Expected number of customers of the day."""
        return float(self.customers.sum())

    @property
    def hours(self) -> str:
        """Its hours as they are written in the configuration."""
        return ", ".join(f"{clock_text(start)}-{clock_text(end)}" for start, end in self.spans) or "closed"


@dataclass(frozen=True, slots=True)
class Shortage:
    """A product of which customers will find too little."""

    product: Product
    share: float  # share of its customers in the forecast span who find too little
    a_day: float  # mean units requested per day
    in_lead_time: float  # units requested during one lead time, at the busiest time
    lead_time: timedelta  # mean, including the wait for a delivery day
    held_up: bool  # by an incident in the span


@dataclass(frozen=True, slots=True)
class CatchUpForecast:
    """The catch-up from the shop's first moment to the present."""

    behind: timedelta
    customers: float
    restocks: float
    seconds: float | None  # expected duration; None: it never ends
    closes: bool  # whether the shop closes at the end of it, for good

    @property
    def a_second(self) -> float:
        """Mean number of customers per second of the catch-up; 0: it never ends."""
        return self.customers / self.seconds if self.seconds else 0.0

    @property
    def messages(self) -> float:
        """Number of sales and restocks."""
        return self.customers + self.restocks


@dataclass(frozen=True, slots=True)
class Forecast:
    """The complete forecast; see the module."""

    settings: Settings
    plan: Plan
    closes_at: int | None
    days: tuple[ForecastDay, ...]
    edges: Ints  # of all hours of the days, and the end
    by_category: dict[str, Floats]  # expected customers, hour by hour
    incidents: tuple[Incident, ...]
    short: tuple[Shortage, ...]  # the worst first
    simulated_products: int  # number of products whose shelves were simulated
    catch_up: CatchUpForecast | None  # None: the shop begins now
    last_sale: int | None  # expected event time at which number_of_sales is reached; None: not in these days
    warnings: tuple[str, ...]

    @property
    def customers(self) -> float:
        """Expected number of customers in all of the days."""
        return sum(day.total for day in self.days)

    @property
    def lost(self) -> float:
        """Of these, the number expected to find too little."""
        return sum(float(day.lost.sum()) for day in self.days)


def by_hour(forecast: Forecast) -> Iterator[tuple[str, Sequence[bool], Sequence[float]]]:
    """Yield name, open flags and customers by hour: of each day, or of each weekday's mean in a long forecast."""
    if len(forecast.days) <= MAX_DAYS_HOUR_BY_HOUR:
        for day in forecast.days:
            yield f"{day.date:%a %d}", day.open, day.customers.tolist()
        return
    for weekday, name in enumerate(WEEKDAYS):
        days = [day for day in forecast.days if day.date.weekday() == weekday]
        opened = [any(day.open[hour] for day in days) for hour in range(24)]
        yield name[:3].title(), opened, np.mean([day.customers for day in days], axis=0).tolist()
