"""Incidents: what happens to the shop, and its effect on demand, prices and deliveries.

Random incidents are a Poisson process in event time, drawn day by day (UTC). A day depends only on (seed, name, day),
so any time span can be computed separately. All times of an incident are whole minutes.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from datetime import datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import islice, pairwise
from math import ceil

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import IncidentSettings
from yasdg_app.shop.demand import MINUTE, Ints, microseconds
from yasdg_app.shop.incident import Incident, incident_of
from yasdg_app.shop.price import BASIS_POINTS
from yasdg_app.shop.randomness import Floats, exponentials, key, keys_of_cells

DAY_MINUTES = 1440
DAY = DAY_MINUTES * MINUTE
FIRST_LOOK_AHEAD = 60 * MINUTE
LONGEST_DELAY = 36_525 * DAY  # of a delivery: 100 years
UNBOUNDED_FACTOR = 1e100  # products of factors are capped here, so that they never become infinite

_BLOCK = 16  # random incidents drawn at a time, roughly
_MOST_DAYS = 512  # highest number of days drawn at a time, for rare incidents
_ANNOUNCED = 8 * DAY  # event time whose announcements are collected at a time


class Incidents:
    """The timeline of all incidents.

    Parameters
    ----------
    settings
        Configured incidents.
    utc
        Converts a time on the shop's clock to event time.
    seed
        Seed of the random incidents.
    opened_at
        Event time of the shop's first moment: no random incident starts earlier.
    live
        Incidents that were added while the shop was running.

    Attributes
    ----------
    has_supply
        Whether any incident delays deliveries, at whatever time.
    """

    def __init__(
        self,
        settings: Sequence[IncidentSettings],
        utc: Callable[[datetime], int],
        seed: int,
        opened_at: int,
        live: Sequence[Incident] = (),
    ) -> None:
        self._configured = tuple(
            incident_of(each, each.name, utc(each.start) // MINUTE) for each in settings if each.start is not None
        )
        self._random = tuple(
            _Process(each, each.every, seed, opened_at)
            for each in settings
            if each.start is None and each.every is not None
        )
        self._supply_random = tuple(process for process in self._random if process.is_supply)
        self._set_live(live)

    def with_live(self, live: Sequence[Incident]) -> "Incidents":
        """Return the same timeline with these live incidents in place of the current ones."""
        other = copy(self)
        other._set_live(live)
        return other

    def _set_live(self, live: Sequence[Incident]) -> None:
        self._known = tuple(sorted((*self._configured, *live), key=_order))
        self._fixed = tuple(incident for incident in self._known if incident.start < incident.end)
        self._supply_fixed = tuple(incident for incident in self._fixed if incident.is_supply)
        self._has_any = bool(self._fixed or self._random)
        self.has_supply = bool(self._supply_fixed or self._supply_random)

    def known(self) -> tuple[Incident, ...]:
        """Return the configured incidents with a fixed start and the live ones, including those without effect."""
        return self._known

    def between(self, first: int, last: int) -> tuple[Incident, ...]:
        """Return the incidents active at some time from `first` up to `last`, sorted by start and name."""
        return _between(self._fixed, self._random, first, last) if self._has_any else ()

    def random_between(self, first: int, last: int, number: int) -> list[Incident]:
        """Return the first random incidents active at some time from `first` up to `last`, at most `number` of them."""
        found = [incident for process in self._random for incident in islice(process.between(first, last), number)]
        return sorted(found, key=_order)[:number]

    def demand(self, product: Product, minutes: Ints) -> Floats | None:
        """Return the factor on a product's demand in consecutive minutes since 1970; None: 1 throughout."""
        return demand_of([incident for incident in self.during(minutes) if incident.concerns(product)], minutes)

    def discount(self, product: Product, minutes: Ints) -> Ints | None:
        """Return the discount on a product in consecutive minutes since 1970, in ten-thousandths; None: no discount."""
        return discount_of([incident for incident in self.during(minutes) if incident.concerns(product)], minutes)

    def during(self, minutes: Ints) -> tuple[Incident, ...]:
        """Return the incidents active at some time of consecutive minutes since 1970."""
        if not self._has_any or not len(minutes):
            return ()
        return self.between(int(minutes[0]) * MINUTE, (int(minutes[-1]) + 1) * MINUTE)

    def delivery(self, product: Product, at: int, lead: int) -> tuple[int, str | None]:
        """Return when a delivery arrives, and the name of the first incident that delayed it; None if it is on time.

        It arrives at the first microsecond from `at` on at which the whole way is completed and deliveries are not
        blocked.

        Parameters
        ----------
        product
            The delivered product.
        at
            Event time of the order.
        lead
            Lead time in microseconds at a speed of 1. The speed at a time is the product of the factors of all supply
            incidents active at that time.
        """
        in_time = at + lead
        if not self.has_supply:
            return in_time, None
        latest = in_time + LONGEST_DELAY
        slowed_by = None
        left = Fraction(lead)
        ahead = FIRST_LOOK_AHEAD  # of incidents that come often, few are needed; where it is split changes no result
        while at < latest:
            until, ahead = at + lead + ahead, min(2 * ahead, DAY)
            found = _between(self._supply_fixed, self._supply_random, at, until)
            here = [incident for incident in found if incident.concerns(product)]
            edges = sorted({until, *(edge for incident in here for edge in (incident.start, incident.end))})
            while at < until:
                active = [incident for incident in here if incident.start <= at < incident.end]
                slowed_by = slowed_by or next((incident.name for incident in active if incident.factor < 1.0), None)
                blocked = max((incident.end for incident in active if incident.factor == 0.0), default=at)
                if blocked > at:
                    at = blocked
                    continue
                speed = _speed(tuple(incident.factor for incident in active))
                end = edges[bisect_right(edges, at)]  # at most `until`
                arrival = at + ceil(left / speed)
                if arrival < end:
                    return min(arrival, latest), slowed_by if arrival > in_time else None
                left = max(left - speed * (end - at), Fraction(0))
                at = end
        return latest, slowed_by

    def announcements(self, first: int, last: int) -> Iterator[tuple[int, str, Incident]]:
        """Yield (time, "start" or "end", incident) from `first` up to `last`, in order; of equal times, ends first."""
        step = _ANNOUNCED if self._random else max(last - first, 1)
        for start in range(first, last if self._has_any else first, step):
            end = min(start + step, last)
            here = self.between(start - 1, end)  # one that ends at `start` is active until a microsecond before
            events = [(incident.start, "start", incident) for incident in here]
            events += [(incident.end, "end", incident) for incident in here]
            events = [event for event in events if start <= event[0] < end]
            yield from sorted(events, key=lambda event: (event[0], event[1], event[2].name))  # "end" < "start"


class _Process:
    """The random occurrences of one incident: those of a day are cumulative sums of exponentials, as for customers."""

    def __init__(self, settings: IncidentSettings, every: timedelta, seed: int, opened_at: int) -> None:
        self.is_supply = settings.kind == "supply"
        self._settings = settings
        self._duration = microseconds(settings.duration)
        self._opened_at = opened_at
        self._per_day = DAY / microseconds(every)
        self._key = key(seed, "incident", settings.name)
        self._days = int(min(max(_BLOCK / self._per_day, 1), _MOST_DAYS))
        self._block = lru_cache(maxsize=1024)(self._draw)

    def between(self, first: int, last: int) -> Iterator[Incident]:
        """Yield the occurrences active at some time from `first` up to `last`, sorted by start."""
        length = self._days * DAY
        earliest = max(first - self._duration, self._opened_at)
        for block in range(earliest // length, (last - 1) // length + 1):
            for incident in self._block(block):
                if incident.start < last and incident.end > first:
                    yield incident

    def _draw(self, block: int) -> tuple[Incident, ...]:
        """Return the occurrences that start in a block of days; days are drawn together only for speed."""
        days = np.arange(block * self._days, (block + 1) * self._days, dtype=np.int64)
        keys = keys_of_cells(self._key, days)[:, None]
        width = int(self._per_day + 6.0 * self._per_day**0.5) + 8
        while True:
            position = np.cumsum(exponentials(keys, np.arange(width, dtype=np.int64)), axis=1)
            if bool((position[:, -1] > self._per_day).all()):
                break
            width *= 2  # a day with far more than expected: the same draws, and more of them
        day, index = np.nonzero(position <= self._per_day)
        minute = (position[day, index] / self._per_day * DAY_MINUTES).astype(np.int64)
        starts: list[int] = (days[day] * DAY_MINUTES + np.minimum(minute, DAY_MINUTES - 1)).tolist()
        return tuple(self._named(starts))

    def _named(self, starts: list[int]) -> Iterator[Incident]:
        """Yield the occurrence that starts in each minute since 1970, unless the shop is not open yet."""
        before, same = None, 1
        for start in starts:
            same = same + 1 if start == before else 1
            before = start
            time = str(np.datetime64(start, "m")).replace("-", "").replace(":", "")
            name = f"{self._settings.name}-{time}" + (f"-{same}" if same > 1 else "")
            if start * MINUTE >= self._opened_at and self._duration > 0:
                yield incident_of(self._settings, name, start)


def demand_of(incidents: Iterable[Incident], minutes: Ints) -> Floats | None:
    """Return the factor on demand for products that all of the incidents concern, in consecutive minutes since 1970.

    None: 1 throughout. Incidents must be in timeline order, because the last bit of the result depends on it.
    """
    here = [incident for incident in incidents if incident.factor != 1.0 and not incident.is_supply]
    if not here:
        return None
    result = np.ones(len(minutes))
    offset = int(minutes[0])
    for incident in here:
        its = slice(max(incident.start // MINUTE - offset, 0), incident.end // MINUTE - offset)
        result[its] *= incident.demand(minutes[its])
        np.minimum(result, UNBOUNDED_FACTOR, out=result)
    return result


def discount_of(incidents: Iterable[Incident], minutes: Ints) -> Ints | None:
    """Return the discount on products that all of the incidents concern, in consecutive minutes since 1970.

    In ten-thousandths; None: no discount. Discounts combine as if applied one after the other: together they never
    exceed the price.
    """
    here = [incident for incident in incidents if incident.discount]
    if not here:
        return None
    result = np.zeros(len(minutes), dtype=np.int64)
    offset = int(minutes[0])
    edges = {edge // MINUTE - offset for incident in here for edge in (incident.start, incident.end)}
    inside = sorted(edge for edge in edges | {0, len(minutes)} if 0 <= edge <= len(minutes))
    for start, end in pairwise(inside):
        at = (offset + start) * MINUTE
        result[start:end] = _combined(incident.discount for incident in here if incident.start <= at < incident.end)
    return result


def _order(incident: Incident) -> tuple[int, str]:
    return incident.start, incident.name


def _between(fixed: Sequence[Incident], random: Sequence[_Process], first: int, last: int) -> tuple[Incident, ...]:
    found = [incident for incident in fixed if incident.start < last and incident.end > first]
    if random:
        for process in random:
            found += process.between(first, last)
        found.sort(key=_order)
    return tuple(found)


def _combined(discounts: Iterable[int]) -> int:
    """Return one minus the product of the remaining shares, rounded half up to ten-thousandths."""
    left, whole = 1, 1
    for discount in discounts:
        left *= BASIS_POINTS - discount
        whole *= BASIS_POINTS
    off = whole - left
    return (2 * BASIS_POINTS * off + whole) // (2 * whole)


@lru_cache(maxsize=1024)
def _speed(factors: tuple[float, ...]) -> Fraction:
    """Return the exact product of the factors as they were written: 0.3 is three tenths; the float is slightly less.

    Without rounding errors, a later order can never arrive a microsecond earlier.
    """
    speed = Fraction(1)
    for factor in factors:
        speed *= Fraction(repr(factor))
    return speed
