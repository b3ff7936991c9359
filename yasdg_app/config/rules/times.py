"""Rules for durations, dates, weekdays and opening hours."""

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise

from yasdg_app.config.rules.base import Rule, require
from yasdg_app.config.rules.numbers import COMMA_OR_BLANK, DECIMAL
from yasdg_app.config.rules.suggestions import did_you_mean

Span = tuple[int, int]
"""Opening hours of a day: first minute and end (exclusive), in minutes since midnight; above 1440: after midnight."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MINUTES_PER_DAY = 1440

MAX_DURATION = timedelta(days=50 * 365)  # counted back from now, that is still after 1970
FIRST_DATE, LAST_DATE = date(1971, 1, 1), date(2199, 12, 31)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_PARTS = re.compile(rf"(?:(?:{DECIMAL.pattern})\s*[smhdwy]\s*)+")
_PART = re.compile(rf"({DECIMAL.pattern})\s*([smhdwy])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(rf"({_DATE.pattern})(?:(?: +|T)([0-9]{{1,2}}):([0-9]{{2}})(?::([0-9]{{2}}))?)?")
_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*[-–]\s*([0-9]{1,2}):([0-9]{2})")


def _duration(text: str) -> timedelta:
    require(_PARTS.fullmatch(text))
    total = sum(Decimal(value) * _SECONDS[unit] for value, unit in _PART.findall(text))
    require(total <= MAX_DURATION.total_seconds())
    return timedelta(microseconds=int(total * 1_000_000))


def duration(*, zero: bool = False, minutes: bool = False) -> Rule[timedelta]:
    """Return the rule for a duration of up to 50 years; `zero`: 0 is allowed, `minutes`: whole minutes only."""

    def parse(text: str) -> timedelta:
        if zero and text == "0":
            return timedelta(0)
        value = _duration(text)
        require((value or zero) and not (minutes and value % timedelta(minutes=1)))
        return value

    example = "30m or 1d 12h" if minutes else "30d or 1d 12h"
    kind = "a duration of whole minutes" if minutes else "a duration"
    return Rule(parse, f"{'0, or ' if zero else ''}{kind} such as {example}, up to 50y")


def day() -> Rule[date]:
    """Return the rule for a calendar date from FIRST_DATE to LAST_DATE."""

    def parse(text: str) -> date:
        require(_DATE.fullmatch(text))
        value = date.fromisoformat(text)
        require(FIRST_DATE <= value <= LAST_DATE)
        return value

    return Rule(parse, f"a date from {FIRST_DATE} to {LAST_DATE}, such as 2026-12-24")


def _moment(text: str) -> datetime:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError
    hour, minute, second = (int(part or 0) for part in found.groups()[1:])
    return datetime.combine(day().parse(found[1]), time(hour, minute, second))


def moment() -> Rule[datetime | None]:
    """Return the rule for a time on the shop's clock, in whole minutes."""

    def parse(text: str) -> datetime | None:
        value = _moment(text)
        require(not value.second)
        return value

    return Rule(
        parse,
        f"a date or a time in whole minutes, such as 2026-01-01 08:30, from {FIRST_DATE.year} to {LAST_DATE.year}",
    )


def moment_or_duration(otherwise: str, direction: str) -> Rule[datetime | timedelta | None]:
    """Return the rule for a time on the shop's clock, a duration, or the word `otherwise`, which is parsed as None.

    `direction` says from where and in which direction the duration is counted.
    """
    length = duration()

    def parse(text: str) -> datetime | timedelta | None:
        if text.lower() == otherwise:
            return None
        return _moment(text) if "-" in text else length.parse(text)

    times = f"a date or time such as 2026-01-01 08:30 from {FIRST_DATE.year} to {LAST_DATE.year}"
    return Rule(parse, f"{otherwise}, {times}, or a duration {direction} such as 30d, up to 50y")


def lead_time() -> Rule[tuple[timedelta, timedelta, timedelta]]:
    """Return the rule for the shortest, most frequent and longest duration of something; 0 is allowed."""
    each = duration(zero=True)
    expected = "0, a duration such as 2d, the least and the longest such as 1d - 3d, or with the most frequent between"

    def parse(text: str) -> tuple[timedelta, timedelta, timedelta]:
        values = [each.parse(part.strip()) for part in text.split("-")]
        require(len(values) <= 3)
        require(values == sorted(values), f"{expected}; in this order")
        least, longest = values[0], values[-1]
        return least, values[1] if len(values) == 3 else (least + longest) / 2, longest

    return Rule(parse, expected)


def delay() -> Rule[tuple[timedelta, timedelta]]:
    """Return the rule for the shortest and the longest duration of something, both above 0."""
    each = duration()
    expected = "a duration such as 10m, or the shortest and the longest such as 1m - 10m"

    def parse(text: str) -> tuple[timedelta, timedelta]:
        values = [each.parse(part.strip()) for part in text.split("-")]
        require(len(values) <= 2)
        require(values == sorted(values), f"{expected}; in this order")
        return values[0], values[-1]

    return Rule(parse, expected)


def weekdays() -> Rule[tuple[int, ...]]:
    """Return the rule for days of the week; Monday is 0."""
    expected = "all, or days of the week such as monday, friday"

    def parse(text: str) -> tuple[int, ...]:
        if text.lower() == "all":
            return tuple(range(7))
        words = [word.lower() for word in COMMA_OR_BLANK.split(text)]
        for word in words:
            require(word in WEEKDAYS, f"{expected}{did_you_mean(word, WEEKDAYS, cut_short=True)}")
        return tuple(sorted({WEEKDAYS.index(word) for word in words}))

    return Rule(parse, expected)


def hours() -> Rule[tuple[Span, ...]]:
    """Return the rule for the opening hours of a day."""
    expected = "closed, or hours such as 08:00-12:00, 13:00-20:00, from 00:00 to 24:00"

    def parse(text: str) -> tuple[Span, ...]:
        if text.lower() == "closed":
            return ()
        spans = sorted(_span(part.strip()) for part in text.split(","))
        for before, after in pairwise(spans):
            overlap = f"hours that do not overlap; {span_text(before)} and {span_text(after)} do"
            require(before[1] <= after[0], overlap)
        return tuple(spans)

    return Rule(parse, expected)


def _span(text: str) -> Span:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError
    hour, minute, end_hour, end_minute = map(int, found.groups())
    start, end = 60 * hour + minute, 60 * end_hour + end_minute
    require(minute < 60 and end_minute < 60 and start < MINUTES_PER_DAY and end <= MINUTES_PER_DAY)
    require(start != end, "hours that end at another time than they begin; the whole day is 00:00-24:00")
    return start, end if end > start else end + MINUTES_PER_DAY


def clock_text(minute: int) -> str:
    """Return a minute since midnight as HH:MM; the end of the day is 24:00."""
    minute -= MINUTES_PER_DAY if minute > MINUTES_PER_DAY else 0
    return f"{minute // 60:02}:{minute % 60:02}"


def span_text(span: Span) -> str:
    """Return opening hours as they are written in the file."""
    return f"{clock_text(span[0])}-{clock_text(span[1])}"
