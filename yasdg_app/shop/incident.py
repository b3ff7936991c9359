"""One incident: what it concerns, what effect it has when, and its limits.

All times of an incident are whole minutes.
"""

from dataclasses import dataclass

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.config.rules import is_name
from yasdg_app.config.settings import (
    DISCOUNTED_KINDS,
    INCIDENT_KINDS,
    KINDS_WITHOUT_RAMPS,
    MAX_DISCOUNT,
    MAX_DURATION,
    MAX_FACTOR,
    IncidentSettings,
)
from yasdg_app.shop.demand import MINUTE, Ints, microseconds
from yasdg_app.shop.price import BASIS_POINTS
from yasdg_app.shop.randomness import Floats

LATEST_START = 10**16  # microseconds since 1970 (the year 2286): the last time that fits into all message formats


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident, from `start` up to but not including `end`; without effect if it is empty."""

    name: str
    """Different for each occurrence."""
    kind: str
    """One of INCIDENT_KINDS."""
    start: int  # event time, microseconds since 1970
    end: int
    ramp_up: int  # microseconds from the start until the full effect
    ramp_down: int  # microseconds before the end in which the effect fades
    categories: frozenset[str]
    products: frozenset[str]  # ids; if there are neither products nor categories: all products
    factor: float  # on demand; for kind `supply`: on the speed of deliveries
    discount: int  # ten-thousandths
    planned_end: int | None = None  # the original end of an incident that was ended early

    @property
    def planned(self) -> int:
        """Event time of the end that was planned when the incident began."""
        return self.end if self.planned_end is None else self.planned_end

    @property
    def is_supply(self) -> bool:
        """Whether the factor applies to deliveries instead of demand."""
        return self.kind == "supply"

    def is_over(self, at: int) -> bool:
        """Return whether it has no effect from an event time on; also true if it was ended before it began."""
        return self.end <= max(self.start, at)

    def concerns(self, product: Product) -> bool:
        return self.concerns_category(product.category) or product.product_id in self.products

    def concerns_category(self, category: str) -> bool:
        """Return whether it concerns all products of a category, not only some that it lists."""
        return category in self.categories or not (self.categories or self.products)

    def weight(self, minutes: Ints) -> Floats:
        """Return the share of its full effect in the middle of each minute since 1970."""
        at = minutes * MINUTE + MINUTE // 2
        weight = np.ones(len(minutes))
        if self.ramp_up:
            weight = np.minimum(weight, (at - self.start) / self.ramp_up)
        if self.ramp_down:
            weight = np.minimum(
                weight, (self.planned - at) / self.ramp_down
            )  # where ramps overlap, the lower one counts
        return np.where((self.start <= at) & (at < self.end), weight, 0.0)

    def demand(self, minutes: Ints) -> Floats:
        """Return its factor on the demand of the products that it concerns, minute by minute."""
        if self.is_supply:
            return np.ones(len(minutes))
        return 1.0 + (self.factor - 1.0) * self.weight(minutes)


def incident_of(settings: IncidentSettings, name: str, minute: int) -> Incident:
    """Return the incident with a name that starts at a minute since 1970."""
    start = minute * MINUTE
    return Incident(
        name,
        settings.kind,
        start,
        start + microseconds(settings.duration),
        microseconds(settings.ramp_up),
        microseconds(settings.ramp_down),
        frozenset(settings.categories),
        frozenset(settings.products),
        settings.factor,
        int(settings.discount * BASIS_POINTS),
    )


def is_within_limits(incident: Incident) -> bool:
    """Return whether the configuration or a request could create the incident, whatever the catalog has."""
    duration = incident.end - incident.start
    times = (incident.start, incident.end, incident.ramp_up, incident.ramp_down)
    return (
        is_name(incident.name)
        and incident.kind in INCIDENT_KINDS
        and not any(time % MINUTE for time in times)
        and 0 <= incident.start < LATEST_START
        and 0 < duration <= microseconds(MAX_DURATION)
        and min(incident.ramp_up, incident.ramp_down) >= 0
        and incident.ramp_up + incident.ramp_down <= (0 if incident.kind in KINDS_WITHOUT_RAMPS else duration)
        and 0 <= incident.factor <= MAX_FACTOR
        and 0 <= incident.discount <= (MAX_DISCOUNT if incident.kind in DISCOUNTED_KINDS else 0)
    )
