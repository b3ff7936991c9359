"""The shop's clock, its opening hours, and how demand varies from minute to minute.

Event time is counted in microseconds since 1970, UTC, and in minutes since then. A time on the shop's clock is counted
in the same way, as if the clock showed UTC; it is called "shown". Nothing here depends on the machine: time zones come
from the package tzdata, whatever the system has, and floats are only added, subtracted, multiplied and divided (IEEE
754).
"""

import importlib.resources
import itertools
import math
import operator
from bisect import bisect_left
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
import numpy as np
from numpy.typing import NDArray

from yasdg_app.config.rules import Span
from yasdg_app.config.settings import ClockSettings, HoursSettings, VolumeSettings
from yasdg_app.shop.demand import MINUTE, Ints
from yasdg_app.shop.randomness import Floats

Bools = NDArray[np.bool_]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND_MICROSECONDS = 1_000_000
HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
WEEK_SECONDS = 7 * DAY_SECONDS
YEAR_MICROSECONDS = 31_557_600 * SECOND_MICROSECONDS  # 365.25 days
MINUTES_PER_DAY = 1440
EPOCH_WEEKDAY = 3  # Thursday: the weekday of the first day of 1970

CACHED_DAYS = 512  # whose minutes are cached: 6 MB


def zone(name: str) -> ZoneInfo:
    """Return a time zone of the package tzdata. Raises ZoneInfoNotFoundError if it has none of that name."""
    data = importlib.resources.files("tzdata")
    if name not in data.joinpath("zones").read_text("utf-8").split():
        raise ZoneInfoNotFoundError(f"No time zone found with key {name}")
    with data.joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


class _Piece(NamedTuple):
    """A span of time between two changes of the clock, which shows UTC plus `offset`. All values are seconds."""

    begin: int
    end: int
    offset: int


class Calendar:
    """Computes what the shop's clock shows, whether the shop is open, and how busy it is.

    Parameters
    ----------
    clock, hours, volume
        The shop's configuration.
    opened_at
        Event time of the shop's first moment, in microseconds since 1970: growth starts here.
    """

    def __init__(self, clock: ClockSettings, hours: HoursSettings, volume: VolumeSettings, opened_at: int) -> None:
        self._zone = zone(clock.time_zone)
        self._hours = hours
        self._dates = dict(hours.dates)
        country, _, subdivision = hours.holidays.partition("-")
        self._holidays = holidays.country_holidays(country, subdiv=subdivision or None) if country else ()
        self._curve = _curve(volume.week, hours.week)
        self._months = _months(volume.months)
        self._growth = 1.0 + volume.growth
        self._opened_at = opened_at
        self._even = _always_open(hours) and _flat(self._curve) and _flat(self._months) and self._growth == 1.0
        self._pieces = lru_cache(CACHED_DAYS)(self._find_pieces)
        self._open_on = lru_cache(CACHED_DAYS)(self._find_open_on)
        self._row = lru_cache(CACHED_DAYS)(self._compute_row)
        self.peak = float(self._curve.max() * self._months.max())
        """The highest value of `activity`, without growth."""

    # --- The clock ---

    def local(self, at: int) -> datetime:
        """Return what the shop's clock shows, as a naive time."""
        return (EPOCH + at * MICROSECOND).astimezone(self._zone).replace(tzinfo=None, fold=0)

    def utc(self, local: datetime) -> int:
        """Return the event time at which the shop's clock shows the naive time `local`: the first one if there are two.

        A time that the clock skips is moved forward by the same amount as the clock.
        """
        return (local.replace(tzinfo=self._zone, fold=0) - EPOCH) // MICROSECOND

    def weekday(self, at: int) -> int:
        """Return the day of the week on the shop's clock; Monday is 0."""
        return self.local(at).weekday()

    def next_midnight_on(self, at: int, weekdays: Collection[int]) -> int:
        """Return the first event time from `at` on that is on one of the weekdays: `at`, or the first one of a day.

        Raises ValueError if `weekdays` is empty.
        """
        if not weekdays:
            raise ValueError("no weekdays")
        for day in itertools.count(at // (DAY_SECONDS * SECOND_MICROSECONDS)):
            for begin, end, offset in self._pieces(day):
                shown = max(begin, at // SECOND_MICROSECONDS) + offset
                midnight = (shown // DAY_SECONDS + 1) * DAY_SECONDS
                if shown < end + offset and _weekday(shown) in weekdays:
                    return max(begin * SECOND_MICROSECONDS, at)
                if midnight < end + offset and _weekday(midnight) in weekdays:
                    return (midnight - offset) * SECOND_MICROSECONDS
        raise AssertionError  # count() does not end

    def _find_pieces(self, day: int) -> tuple[_Piece, ...]:
        """Return the pieces of a UTC day (its number since 1970): more than one if the clock changes on that day.

        No zone has ever changed its clock twice within an hour, nor twice within three days.
        """
        begin, end = day * DAY_SECONDS, (day + 1) * DAY_SECONDS
        marks = itertools.pairwise(range(begin, end + 1, HOUR_SECONDS))
        changes = (self._change(*hour) for hour in marks if self._offset(hour[0]) != self._offset(hour[1]))
        edges = sorted({begin, *changes, end})
        return tuple(_Piece(a, b, self._offset(a)) for a, b in itertools.pairwise(edges))

    def _change(self, before: int, after: int) -> int:
        """Return when the clock changed between two times, in seconds since 1970."""
        old = self._offset(before)
        return before + bisect_left(range(before, after), True, key=lambda at: self._offset(at) != old)

    def _offset(self, at: int) -> int:
        """Return how far the clock is ahead of UTC in seconds; `at`: seconds since 1970."""
        moment = EPOCH + timedelta(seconds=at)
        shown = moment.astimezone(self._zone).replace(tzinfo=UTC)
        return (shown - moment) // timedelta(seconds=1)

    # --- The hours ---

    def spans(self, local_date: date) -> tuple[Span, ...]:
        """Return the opening hours of a date: its own, else those of a holiday, else those of its weekday."""
        if local_date in self._dates:
            return self._dates[local_date]
        if local_date in self._holidays:
            return self._hours.on_holidays
        return self._hours.week[local_date.weekday()]

    def is_open(self, at: int) -> bool:
        """Return whether the shop's clock shows a time within the opening hours."""
        local = self.local(at)
        return bool(self._open_on(local.toordinal() - EPOCH.toordinal())[local.hour * 60 + local.minute])

    def _find_open_on(self, day: int) -> Bools:
        """Return whether the shop is open, for each minute that the clock may show on a day (its number since 1970)."""
        today = date.fromordinal(EPOCH.toordinal() + day)
        return _open_minutes(self.spans(today), self.spans(today - timedelta(days=1)))

    def _shown_open(self, first: Ints, last: Ints) -> Bools:
        """Return whether the shop is open in both of two shown minutes; the arrays increase, over about two days."""
        days = range(int(first[0]) // MINUTES_PER_DAY, int(last[-1]) // MINUTES_PER_DAY + 1)
        minutes = np.concatenate([self._open_on(day) for day in days])
        start = days[0] * MINUTES_PER_DAY
        both: Bools = minutes[first - start] & minutes[last - start]
        return both

    # --- The volume ---

    def activity(self, minutes: Ints) -> Floats:
        """Return the factor on mean demand in each minute; 0 for minutes in which the shop is not open throughout.

        The mean is 1 over the open minutes of an ordinary week, and 1 over the seasons. The value of a minute is that
        of its middle. Results do not depend on which minutes are requested together, nor on the order of calls.
        """
        if self._even or not minutes.size:
            return np.ones(minutes.shape)
        day = int(minutes.flat[0]) // MINUTES_PER_DAY
        minute_of_day = minutes - day * MINUTES_PER_DAY
        if minute_of_day.min() >= 0 and minute_of_day.max() < MINUTES_PER_DAY:
            return self._row(day)[minute_of_day]
        days, row = np.unique(minutes // MINUTES_PER_DAY, return_inverse=True)
        rows = np.stack([self._row(day) for day in days.tolist()])
        return rows[row.reshape(minutes.shape), minutes % MINUTES_PER_DAY]

    def _compute_row(self, day: int) -> Floats:
        """Return the activity in each minute of a UTC day."""
        opened = np.ones(MINUTES_PER_DAY, dtype=np.bool_)
        # What the clock shows in the middle of each minute, in seconds.
        middle = np.empty(MINUTES_PER_DAY, dtype=np.int64)
        for begin, end, offset in self._pieces(day):
            # In a zone whose offset is not a whole minute, the clock may change in the middle of a minute. That minute
            # is part of both pieces.
            starts = np.arange(begin // 60, -(-end // 60), dtype=np.int64) * 60
            minutes = starts // 60 - day * MINUTES_PER_DAY
            first = np.maximum(starts, begin) + offset
            last = np.minimum(starts + 60, end) - 1 + offset
            opened[minutes] &= self._shown_open(first // 60, last // 60)
            ours = (begin <= starts + 30) & (starts + 30 < end)
            middle[minutes[ours]] = starts[ours] + 30 + offset
        middles = np.arange(MINUTES_PER_DAY) * MINUTE + MINUTE // 2 + day * DAY_SECONDS * SECOND_MICROSECONDS
        growth = _growth(self._growth, middles - self._opened_at)
        return np.where(opened, _by_hour(self._curve, middle) * _by_month(self._months, middle) * growth, 0.0)


def _weekday(shown: int) -> int:
    return (shown // DAY_SECONDS + EPOCH_WEEKDAY) % 7


def _flat(factors: Floats) -> bool:
    return bool((factors == 1.0).all())


# --- Hours ----------------------------------------------------------------------------------------------------------


def _open_minutes(today: Sequence[Span], yesterday: Sequence[Span]) -> Bools:
    """Return for each minute of a day whether it is in the day's own spans, or in the previous day's past midnight."""
    minutes = np.zeros(MINUTES_PER_DAY, dtype=np.bool_)
    for first, end in today:
        minutes[first:end] = True
    for first, end in yesterday:
        minutes[max(first - MINUTES_PER_DAY, 0) : max(end - MINUTES_PER_DAY, 0)] = True
    return minutes


def _open_in_week(week: Sequence[Sequence[Span]]) -> Bools:
    """Return for each minute of an ordinary week whether the shop is open."""
    return np.concatenate([_open_minutes(week[day], week[day - 1]) for day in range(7)])


def _always_open(hours: HoursSettings) -> bool:
    days = [*hours.week, *(spans for _, spans in hours.dates), *([hours.on_holidays] if hours.holidays else [])]
    return all(bool(_open_minutes(spans, ()).all()) for spans in days)


# --- Volume: factors apply to the middle of an hour or month, and are interpolated linearly in between --------------


def _curve(factors: Sequence[Sequence[float]], hours: Sequence[Sequence[Span]]) -> Floats:
    """Return the factors of the week's 168 hours, scaled so that their mean over the week's open minutes is 1."""
    curve = _below_one(np.concatenate([np.asarray(day, dtype=np.float64) for day in factors]))
    minutes = np.arange(7 * MINUTES_PER_DAY, dtype=np.int64)[_open_in_week(hours)]
    monday = (7 - EPOCH_WEEKDAY) * DAY_SECONDS
    mean = math.fsum(_by_hour(curve, monday + minutes * 60 + 30)) / max(len(minutes), 1)
    return curve / (mean or 1.0)  # never open except on some dates: the highest is 1


def _months(factors: Sequence[float]) -> Floats:
    """Return the factors of the months, scaled so that their mean over a year of 365 days is 1."""
    months = _below_one(np.asarray(factors, dtype=np.float64))
    middles = _middle_of_month(np.arange(12, 25))  # of 1971, and of the next January
    lengths = (middles[1:] - middles[:-1]).tolist()
    means = ((months + np.roll(months, -1)) / 2.0).tolist()
    mean = math.fsum(map(operator.mul, means, lengths)) / (365 * DAY_SECONDS)
    return months / (mean or 1.0)


def _below_one(factors: Floats) -> Floats:
    """Divide by the highest factor, so that equal factors, and their mean, are exactly 1."""
    return factors / (factors.max() or 1.0)


def _by_hour(curve: Floats, shown: Ints) -> Floats:
    # Since the middle of Monday's first hour.
    since = (shown + EPOCH_WEEKDAY * DAY_SECONDS - HOUR_SECONDS // 2) % WEEK_SECONDS
    return _between(curve, since // HOUR_SECONDS, since % HOUR_SECONDS / HOUR_SECONDS)


def _by_month(months: Floats, shown: Ints) -> Floats:
    month = shown.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    left = month - (shown < _middle_of_month(month))
    begin, end = _middle_of_month(left), _middle_of_month(left + 1)
    return _between(months, left, (shown - begin) / (end - begin))


def _middle_of_month(months: Ints) -> Ints:
    """Return the middle of months, in seconds since 1970; `months`: counted since 1970."""
    begin, end = (n.astype("datetime64[M]").astype("datetime64[s]").astype(np.int64) for n in (months, months + 1))
    return (begin + end) // 2


def _between(factors: Floats, left: Ints, fraction: Floats) -> Floats:
    """Interpolate linearly between the factors at `left` and `left + 1`; positions wrap around."""
    start, end = factors[left % len(factors)], factors[(left + 1) % len(factors)]
    return start + (end - start) * fraction


def _growth(a_year: float, since: Ints) -> Floats:
    """Return the growth factor at increasing numbers of microseconds since the opening: linear within each year."""
    whole, rest = np.divmod(np.maximum(since, 0), YEAR_MICROSECONDS)
    powers = itertools.accumulate(itertools.repeat(a_year, int(whole[-1])), operator.mul, initial=1.0)
    return np.array(list(powers))[whole] * (1.0 + (a_year - 1.0) * (rest / YEAR_MICROSECONDS))
