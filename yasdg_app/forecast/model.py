"""An forecast: what a configuration will do, as plain data.

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

MAX_DAYS_HOUR_BY_HOUR = 14  # days whose hours are told; of more, those of a usual week


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """One day of the shop's clock."""

    date: date
    spans: tuple[Span, ...]
    why: str  # its hours are other ones than its weekday's; empty: they are not
    open: tuple[bool, ...]  # by hour: is it open for some of it?
    customers: Floats  # expected, by hour
    lost: Floats  # of these, who may be expected to find too little
    incidents: tuple[Incident, ...]

    @property
    def total(self) -> float:
        """Customers of the day."""
        return float(self.customers.sum())

    @property
    def hours(self) -> str:
        """Its hours as they are written in the configuration."""
        return ", ".join(f"{clock_text(start)}-{clock_text(end)}" for start, end in self.spans) or "closed"


@dataclass(frozen=True, slots=True)
class Shortage:
    """A product of which customers will find too little."""

    product: Product
    share: float  # of its customers, in the span
    a_day: float  # units that are asked for on the average
    in_lead_time: float  # and while an order is on its way, when most are
    lead_time: timedelta  # on the average, with the wait for a delivery day
    held_up: bool  # by an incident in the span


@dataclass(frozen=True, slots=True)
class CatchUpForecast:
    """What lies between the shop's first moment and the present."""

    behind: timedelta
    customers: float
    restocks: float
    seconds: float | None  # that it takes; None: it never ends
    closes: bool  # at the end of it, for good

    @property
    def a_second(self) -> float:
        """Customers in a second of it, on the average; 0: it never ends."""
        return self.customers / self.seconds if self.seconds else 0.0

    @property
    def messages(self) -> float:
        """Sales and restocks."""
        return self.customers + self.restocks


@dataclass(frozen=True, slots=True)
class Forecast:
    """See the module."""

    settings: Settings
    plan: Plan
    closes_at: int | None
    days: tuple[ForecastDay, ...]
    edges: Ints  # of all hours of the days, and the end
    by_category: dict[str, Floats]  # expected customers, hour by hour
    incidents: tuple[Incident, ...]
    short: tuple[Shortage, ...]  # the worst first
    looked_at: int  # products whose shelves were looked at
    catch_up: CatchUpForecast | None  # None: the shop begins now
    last_sale: int | None  # when number_of_sales may be expected to be reached; None: not in these days
    warnings: tuple[str, ...]

    @property
    def customers(self) -> float:
        """Customers expected in all of the days."""
        return sum(day.total for day in self.days)

    @property
    def lost(self) -> float:
        """Of these, who may be expected to find too little."""
        return sum(float(day.lost.sum()) for day in self.days)


def by_hour(forecast: Forecast) -> Iterator[tuple[str, Sequence[bool], Sequence[float]]]:
    """Yield a name, whether the shop is open, and customers by the hour: of each day, or of each weekday's mean."""
    if len(forecast.days) <= MAX_DAYS_HOUR_BY_HOUR:
        for day in forecast.days:
            yield f"{day.date:%a %d}", day.open, day.customers.tolist()
        return
    for weekday, name in enumerate(WEEKDAYS):
        days = [day for day in forecast.days if day.date.weekday() == weekday]
        opened = [any(day.open[hour] for day in days) for hour in range(24)]
        yield name[:3].title(), opened, np.mean([day.customers for day in days], axis=0).tolist()
