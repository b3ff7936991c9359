"""How the text of a value is read, and what to say when it cannot be: the rules that settings and catalog are made of.

This file must not know which keys there are, nor where their texts come from.
"""

import csv
import importlib.resources
import ipaddress
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, urlsplit

DEFAULT_PORT = 9092
MOST = 1_000_000
"""The highest weight of an hour or a month."""

Span = tuple[int, int]
"""Opening hours on a day: first minute and the one behind the last, since midnight; above 1440: after midnight."""

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY = 1440  # minutes

T_co = TypeVar("T_co", covariant=True)


class Expected(ValueError):
    """`str()` is what was expected of this very text, where that can be said better than for all texts alike."""


@dataclass(frozen=True, slots=True)
class Rule(Generic[T_co]):
    """`parse` makes a value of a text or raises ValueError; then the person is told "expected `expected`"."""

    parse: Callable[[str], T_co]
    expected: str

    def read(self, text: str) -> T_co:
        """Return the value of a text. Raises Expected."""
        try:
            return self.parse(text)
        except Expected:
            raise
        except (ValueError, OverflowError):
            raise Expected(self.expected) from None


def did_you_mean(
    word: str, known: Iterable[str], shown_as: Mapping[str, str] | None = None, *, cut_short: bool = False
) -> str:
    """Return "; did you mean X?", X being the one known word that is meant, or what it is shown as; "" if none is sure.

    A word is meant if no more differs than case, separators and leading zeros, or else one letter that is missing, too
    much, or in the place of its neighbour; `cut_short`: or it is a part of one, as fri. Of several, none is meant.
    """
    names = list(dict.fromkeys(known))
    for is_meant in (_is_same, _is_misspelt(names), *((_is_cut_short,) if cut_short else ())):
        meant = {(shown_as or {}).get(name, name) for name in names if is_meant(word, name)}
        if meant:
            return f"; did you mean {meant.pop()}?" if len(meant) == 1 else ""
    return ""


SHORTEST = 4  # letters in which one that is wrong leaves no doubt
_SEPARATORS = re.compile(r"[\s_./-]+")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def _words(text: str) -> list[str]:
    return [part for part in _SEPARATORS.split(_LEADING_ZEROS.sub("", text.casefold())) if part]


def _is_same(word: str, name: str) -> bool:
    return "".join(_words(word)) == "".join(_words(name))


def _is_cut_short(word: str, name: str) -> bool:
    return len(word) >= 3 and (name.casefold().startswith(word.casefold()) or word.casefold() in _words(name))


def _is_misspelt(names: Iterable[str]) -> Callable[[str, str], bool]:
    """Return what tells whether a word is a name of these with a letter wrong, not one with another of their words."""
    vocabulary = {part for name in names for part in _words(name)}

    def is_misspelt(word: str, name: str) -> bool:
        ours, theirs = _words(word), _words(name)
        if not _differ_in_a_letter("".join(ours), "".join(theirs)):
            return False
        if len(ours) == len(theirs):  # ssl is no misspelling of sasl where there are both, but sales is one of sale
            others = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
            return all(one not in vocabulary or one.rstrip("s") == other.rstrip("s") for one, other in others)
        return True

    return is_misspelt


def _differ_in_a_letter(one: str, other: str) -> bool:
    """Tell whether one letter is missing in one of two words, or two that stand side by side are swapped."""
    short, long = sorted((one, other), key=len)
    if len(short) < SHORTEST or len(long) - len(short) > 1 or re.findall("[0-9]+", one) != re.findall("[0-9]+", other):
        return False
    at = next((place for place, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    return short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]


# Python's own int() and float() also take "1_000", "nan", "infinity" and digits of other scripts: not here.
_WHOLE = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_NUMBER = re.compile(rf"({_DECIMAL.pattern})([eE][+-]?[0-9]+)?")
_KAFKA_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_HOST = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9._-]*[a-zA-Z0-9_])?\.?")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,40}")
_TOKEN = re.compile(r"[a-zA-Z0-9._~-]{16,256}")
_PAIR = re.compile(r"([A-Za-z]+) *= *([!-+\--~]+)")
_WEB_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(/[!-~]*)?")
_TABLE = re.compile(r"[a-zA-Z0-9_.-]{3,255}")  # of DynamoDB
_REGION = re.compile(r"[a-z0-9-]+")
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+/?")
_LINE_ENDS = re.compile(r"\s*[\r\n]+\s*")
_COMMA_OR_BLANK = re.compile(r"\s*,\s*|\s+")


def _require(condition: object, otherwise: str = "") -> None:
    """`otherwise`: what is expected, if not what the rule expects of any text."""
    if not condition:
        raise Expected(otherwise) if otherwise else ValueError


# --- Numbers


def whole(low: int, high: int, note: str = "") -> Rule[int]:
    """A whole number from `low` to `high`, both included; `note` is added to the expectation."""

    def parse(text: str) -> int:
        _require(_WHOLE.fullmatch(text))
        value = int(text)
        _require(low <= value <= high)
        return value

    return Rule(parse, f"a whole number from {low} to {high}{note}")


def number(high: int) -> Rule[int | float]:
    """A finite number from 0 to `high`, both included; what is written as a whole number stays an int."""

    def parse(text: str) -> int | float:
        _require(_NUMBER.fullmatch(text))
        value = int(text) if _WHOLE.fullmatch(text) else float(text)
        _require(value <= high)
        return value

    return Rule(parse, f"a number from 0 to {high}")


def growth() -> Rule[float]:
    """A share by which something grows or, below 0, shrinks, but not to nothing."""

    def parse(text: str) -> float:
        _require(_NUMBER.fullmatch(text.removeprefix("-")))
        value = float(text)
        _require(-1 < value <= 10)
        return value + 0.0  # -0 is 0

    return Rule(parse, "a number above -1, up to 10, such as .1 for 10 % a year")


def numbers(count: int, each: str, *, all_zero: bool = True) -> Rule[tuple[float, ...]]:
    """So many weights between commas or blanks; `each` says what each is for, `all_zero` whether all may be 0."""
    weight = number(MOST)
    expected = f"{count} numbers from 0 to {MOST}, {each}"

    def parse(text: str) -> tuple[float, ...]:
        values = tuple(float(weight.parse(part)) for part in _COMMA_OR_BLANK.split(text))
        _require(len(values) == count, f"{expected}; there {'is' if len(values) == 1 else 'are'} {len(values)}")
        _require(all_zero or any(values), f"{expected}, not all of them 0")
        return values

    return Rule(parse, expected)


def seconds(*, above_zero: bool) -> Rule[float]:
    """A finite length of time in seconds."""

    def parse(text: str) -> float:
        _require(_NUMBER.fullmatch(text))
        value = float(text)
        _require(math.isfinite(value) and (value > 0 or not above_zero))
        return value

    return Rule(parse, "a number of seconds above 0" if above_zero else "a number of seconds of at least 0")


def speed() -> Rule[float | None]:
    """How many times faster than time; None: at once."""

    def parse(text: str) -> float | None:
        if text.lower() == "max":
            return None
        _require(_NUMBER.fullmatch(text))
        value = float(text)
        _require(math.isfinite(value) and value > 0)
        return value

    return Rule(parse, "max, or a number above 0 such as 60")


def _decimal(text: str, places: int) -> Decimal:
    _require(_DECIMAL.fullmatch(text) and len(text.partition(".")[2]) <= places)
    return Decimal(text)


def money() -> Rule[Decimal]:
    """An amount of money, in the shop's currency, exact to the cent."""

    def parse(text: str) -> Decimal:
        value = _decimal(text, 2)
        # Keeps quantity × cents × ten-thousandths of discount exact in 64 bits, of whole numbers or of floats.
        _require(value < 1_000_000_000)
        return value

    return Rule(parse, "an amount of money of at least 0 with at most two decimals, below 1000000000")


def share(*, below_one: bool = False, of_a_million: bool = False) -> Rule[Decimal]:
    """A share, exact to the hundredth of a percent, or to one of a million."""
    places, words = (6, "six") if of_a_million else (4, "four")

    def parse(text: str) -> Decimal:
        value = _decimal(text, places)
        _require(value < 1 if below_one else value <= 1)
        return value

    high = "below 1" if below_one else "to 1"
    return Rule(parse, f"a share from 0 {high} with at most {words} decimals, such as .10")


# --- Names and addresses


def kafka_name(longest: int, what: str) -> Rule[str]:
    """A name that Apache Kafka takes."""

    def parse(text: str) -> str:
        _require(_KAFKA_NAME.fullmatch(text) and len(text) <= longest and text not in (".", ".."))
        return text

    return Rule(parse, f"{what} of 1 to {longest} letters, digits, dots, underscores or hyphens")


def is_name(text: str) -> bool:
    """Tell whether a text may be the name of a supplier or an incident."""
    return _NAME.fullmatch(text) is not None


def name() -> Rule[str]:
    """The name of a supplier or an incident: in headers, addresses of the web, and keys of messages."""

    def parse(text: str) -> str:
        _require(is_name(text))
        return text

    return Rule(parse, "a name of 1 to 40 letters, digits, underscores or hyphens")


def names(what: str) -> Rule[tuple[str, ...]]:
    """One or more of something that has a name, between commas, each of them once; see `listed`."""

    def parse(text: str) -> tuple[str, ...]:
        line = _LINE_ENDS.sub(" ", text.strip())
        try:
            parts = next(csv.reader([line], skipinitialspace=True, strict=True), [])
        except csv.Error:
            raise Expected(f'{expected}; quotes around a whole name, such as "Shakes, Malts & More"') from None
        values = [part.strip() for part in parts]
        _require(values and all(values))
        return tuple(dict.fromkeys(values))

    expected = f"{what} with commas between them"
    return Rule(parse, expected)


def listed(names: Iterable[str]) -> str:
    """Return names as `names` reads them: with commas between them, in quotes where a name could be taken for more."""
    return ", ".join(
        '"' + name.replace('"', '""') + '"' if "," in name or name.startswith('"') else name for name in names
    )


def choice(*known: str) -> Rule[str]:
    """One of a few words."""
    expected = f"{', '.join(known[:-1])} or {known[-1]}"

    def parse(text: str) -> str:
        word = text.lower()
        _require(word in known, f"{expected}{did_you_mean(word, known, cut_short=True)}")
        return word

    return Rule(parse, expected)


def path() -> Rule[Path]:
    """A path of this machine; ~ is the home folder."""

    def parse(text: str) -> Path:
        _require(text and text.isprintable())
        return Path(os.path.expanduser(text))

    return Rule(parse, "a path")


def path_if_any() -> Rule[Path | None]:
    """A path of this machine, or none."""
    some = path()
    return Rule(lambda text: some.parse(text) if text else None, "a path, or nothing")


def line() -> Rule[str]:
    """A text as it is, on one line; or none."""

    def parse(text: str) -> str:
        _require(text.isprintable())
        return text

    return Rule(parse, "a text on one line, or nothing")


def pairs() -> Rule[tuple[tuple[str, str], ...]]:
    """Names and their values; or none."""

    def parse(text: str) -> tuple[tuple[str, str], ...]:
        found = [_PAIR.fullmatch(part.strip()) for part in text.split(",")] if text else []
        _require(all(found))
        return tuple((pair[1], pair[2]) for pair in found if pair)

    return Rule(parse, "nothing, or name=value[, name=value]")


def web_address() -> Rule[str]:
    """Where on the web a secret may be sent; or nothing."""
    example = "nothing, or an address such as https://login.example.com/oauth2/token"

    def parse(text: str) -> str:
        _require(not text or _WEB_ADDRESS.fullmatch(text))
        secure = not text.startswith("http://") or is_loopback(urlsplit(text).hostname or "")
        _require(secure, f"{example}; http:// is for this machine alone, since anybody on the way reads along")
        return text

    return Rule(parse, example)


def _server(text: str) -> str:
    """One server as host:port. Raises ValueError."""
    if text.startswith("["):
        address, closed, port = text[1:].partition("]")
        _require(closed and port[:1] in ("", ":") and port != ":")
        host, port = f"[{ipaddress.IPv6Address(address)}]", port[1:]
    else:
        host, colon, port = text.partition(":")
        _require(_HOST.fullmatch(host) and (port or not colon))
    return f"{host}:{whole(1, 65535).parse(port) if port else DEFAULT_PORT}"


def servers() -> Rule[str]:
    """The brokers of a cluster, or `embedded`."""

    def parse(text: str) -> str:
        if text.lower() == "embedded":
            return "embedded"
        return ",".join(_server(server.strip()) for server in text.split(","))

    return Rule(parse, "embedded, or host:port[,host:port] with ports from 1 to 65535")


def host() -> Rule[str]:
    """A name or an address of this machine; an IPv6 address without the brackets that it may have."""

    def parse(text: str) -> str:
        if ":" in text:
            return str(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
        _require(_HOST.fullmatch(text))
        return text

    return Rule(parse, "an address such as 127.0.0.1 or 0.0.0.0, or the name of this machine")


def datastore() -> Rule[str]:
    """The address of a datastore, as it was written; or none."""
    expected = (
        "nothing, sqlite:///path/of/file.db, postgresql://user:password@host:port/database, or "
        "dynamodb://table?region=…&endpoint=…; letters that mean something in an address, such as @ : / ? # in a "
        "password, as %40 and the like"
    )

    def parse(text: str) -> str:
        address = urlsplit(text)
        parts = dict(parse_qsl(address.query, keep_blank_values=True))
        path = address.path.removeprefix("/")
        _require(text.isprintable() and not address.fragment)
        match address.scheme:
            case "":
                _require(not text)
            case "sqlite":
                _require(path and not path.endswith("/") and not address.netloc and not parts)
            case "postgresql":
                _require(address.port != 0 and path and "/" not in path)
            case "dynamodb":
                _require(_TABLE.fullmatch(address.netloc) and not path and parts.keys() <= {"region", "endpoint"})
                _require(_REGION.fullmatch(parts.get("region", "any")))
                _require(_ENDPOINT.fullmatch(parts.get("endpoint", "http://any")))
            case _:
                raise ValueError
        return text

    return Rule(parse, expected)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address of its own, or a name that stands for one."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def token() -> Rule[str]:
    """A secret that goes into a header, a cookie and an address as it is; or none."""

    def parse(text: str) -> str:
        _require(not text or _TOKEN.fullmatch(text))
        return text

    return Rule(parse, "nothing, or 16 to 256 letters, digits, dots, underscores, tildes or hyphens")


def address() -> Rule[str]:
    """The address of a server that speaks HTTP, with a user and a password or without; or none."""

    def parse(text: str) -> str:
        if text:
            parts = urlsplit(text)
            _require(parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment))
            _require(parts.port != 0 and text.isprintable() and " " not in text)
        return text.rstrip("/")

    return Rule(parse, "nothing, or an address such as http://localhost:8081 or https://user:password@registry")


def time_zone() -> Rule[str]:
    """A name in the tz database of the package tzdata; not of this machine's, so that it means the same on each."""

    def parse(text: str) -> str:
        known = importlib.resources.files("tzdata").joinpath("zones").read_text("utf-8").split()
        if text not in known:
            raise Expected(expected + _zone_meant(text, known))
        return text

    expected = "the name of a time zone, such as UTC or Europe/Berlin"
    return Rule(parse, expected)


def _zone_meant(text: str, known: Sequence[str]) -> str:
    """Return "; did you mean X?" for a time zone, or its city alone; "" if zones of several clocks may be meant."""
    files = importlib.resources.files("tzdata").joinpath("zoneinfo")
    names = [zone for zone in known if not zone.startswith("Etc/")]  # whose GMT+2 is what others call GMT-2
    for is_meant in (_is_same, _is_misspelt(names)):
        meant = [
            zone
            for zone in names
            if is_meant(text, zone) or (zone.count("/") == 1 and is_meant(text, zone.rpartition("/")[2]))
        ]
        if meant:
            clocks = {files.joinpath(zone).read_bytes() for zone in meant}
            return f"; did you mean {meant[0]}?" if len(clocks) == 1 and "+" not in text else ""
    return ""


def region() -> Rule[str]:
    """A country or country-subdivision whose public holidays the package holidays knows; nothing: none."""

    def parse(text: str) -> str:
        if not text:
            return ""
        import holidays  # a tenth of a second, for those who want it
        from holidays.registry import COUNTRIES

        countries = holidays.list_supported_countries(include_aliases=False)
        country, hyphen, subdivision = text.partition("-")
        if country in countries and (not hyphen or subdivision in countries[country]):
            return text
        codes = {name: code for name, code, *_ in COUNTRIES.values()}
        here = {country: countries[country]} if country in countries else countries
        known = [f"{code}-{part}" for code, parts in here.items() for part in parts]
        if any(_is_same(text, code) for code in (*known, *here)):
            raise Expected(expected + did_you_mean(text, [*known, *here]))
        # One letter more or less makes another code, but hardly another country's name.
        raise Expected(expected + did_you_mean(text, codes, codes))

    expected = "a country such as DE, one with its subdivision such as DE-BY, or nothing"
    return Rule(parse, expected)


# --- Times

LONGEST = timedelta(days=50 * 365)  # from now to the past, it is still after 1970
FIRST, LAST = date(1971, 1, 1), date(2199, 12, 31)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_PARTS = re.compile(rf"(?:(?:{_DECIMAL.pattern})\s*[smhdwy]\s*)+")
_PART = re.compile(rf"({_DECIMAL.pattern})\s*([smhdwy])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(rf"({_DATE.pattern})(?:(?: +|T)([0-9]{{1,2}}):([0-9]{{2}})(?::([0-9]{{2}}))?)?")
_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*[-–]\s*([0-9]{1,2}):([0-9]{2})")


def _duration(text: str) -> timedelta:
    _require(_PARTS.fullmatch(text))
    total = sum(Decimal(value) * _SECONDS[unit] for value, unit in _PART.findall(text))
    _require(total <= LONGEST.total_seconds())
    return timedelta(microseconds=int(total * 1_000_000))


def duration(*, zero: bool = False, minutes: bool = False) -> Rule[timedelta]:
    """A length of time; `zero`: or none at all, `minutes`: in whole ones."""

    def parse(text: str) -> timedelta:
        if zero and text == "0":
            return timedelta(0)
        value = _duration(text)
        _require((value or zero) and not (minutes and value % timedelta(minutes=1)))
        return value

    example = "30m or 1d 12h" if minutes else "30d or 1d 12h"
    kind = "a duration of whole minutes" if minutes else "a duration"
    return Rule(parse, f"{'0, or ' if zero else ''}{kind} such as {example}, up to 50y")


def day() -> Rule[date]:
    """A day of the calendar."""

    def parse(text: str) -> date:
        _require(_DATE.fullmatch(text))
        value = date.fromisoformat(text)
        _require(FIRST <= value <= LAST)
        return value

    return Rule(parse, f"a date from {FIRST} to {LAST}, such as 2026-12-24")


def _moment(text: str) -> datetime:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError
    hour, minute, second = (int(part or 0) for part in found.groups()[1:])
    return datetime.combine(day().parse(found[1]), time(hour, minute, second))


def moment() -> Rule[datetime | None]:
    """A time on the shop's clock, in whole minutes."""

    def parse(text: str) -> datetime | None:
        value = _moment(text)
        _require(not value.second)
        return value

    return Rule(parse, f"a date or a time in whole minutes, such as 2026-01-01 08:30, from {FIRST.year} to {LAST.year}")


def moment_or_duration(otherwise: str, direction: str) -> Rule[datetime | timedelta | None]:
    """A time on the shop's clock, a duration, or the word for neither; `direction` says where the duration leads."""
    length = duration()

    def parse(text: str) -> datetime | timedelta | None:
        if text.lower() == otherwise:
            return None
        return _moment(text) if "-" in text else length.parse(text)

    times = f"a date or time such as 2026-01-01 08:30 from {FIRST.year} to {LAST.year}"
    return Rule(parse, f"{otherwise}, {times}, or a duration {direction} such as 30d, up to 50y")


def lead_time() -> Rule[tuple[timedelta, timedelta, timedelta]]:
    """The least, most frequent and longest duration of something."""
    each = duration(zero=True)
    expected = "0, a duration such as 2d, the least and the longest such as 1d - 3d, or with the most frequent between"

    def parse(text: str) -> tuple[timedelta, timedelta, timedelta]:
        values = [each.parse(part.strip()) for part in text.split("-")]
        _require(len(values) <= 3)
        _require(values == sorted(values), f"{expected}; in this order")
        least, longest = values[0], values[-1]
        return least, values[1] if len(values) == 3 else (least + longest) / 2, longest

    return Rule(parse, expected)


def delay() -> Rule[tuple[timedelta, timedelta]]:
    """The shortest and the longest duration of something, none of them 0."""
    each = duration()
    expected = "a duration such as 10m, or the shortest and the longest such as 1m - 10m"

    def parse(text: str) -> tuple[timedelta, timedelta]:
        values = [each.parse(part.strip()) for part in text.split("-")]
        _require(len(values) <= 2)
        _require(values == sorted(values), f"{expected}; in this order")
        return values[0], values[-1]

    return Rule(parse, expected)


def weekdays() -> Rule[tuple[int, ...]]:
    """Days of the week, Monday being 0."""
    expected = "all, or days of the week such as monday, friday"

    def parse(text: str) -> tuple[int, ...]:
        if text.lower() == "all":
            return tuple(range(7))
        words = [word.lower() for word in _COMMA_OR_BLANK.split(text)]
        for word in words:
            _require(word in WEEKDAYS, f"{expected}{did_you_mean(word, WEEKDAYS, cut_short=True)}")
        return tuple(sorted({WEEKDAYS.index(word) for word in words}))

    return Rule(parse, expected)


def hours() -> Rule[tuple[Span, ...]]:
    """Opening hours of a day."""
    expected = "closed, or hours such as 08:00-12:00, 13:00-20:00, from 00:00 to 24:00"

    def parse(text: str) -> tuple[Span, ...]:
        if text.lower() == "closed":
            return ()
        spans = sorted(_span(part.strip()) for part in text.split(","))
        for before, after in pairwise(spans):
            overlap = f"hours that do not overlap; {span_text(before)} and {span_text(after)} do"
            _require(before[1] <= after[0], overlap)
        return tuple(spans)

    return Rule(parse, expected)


def _span(text: str) -> Span:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError
    hour, minute, end_hour, end_minute = map(int, found.groups())
    start, end = 60 * hour + minute, 60 * end_hour + end_minute
    _require(minute < 60 and end_minute < 60 and start < DAY and end <= DAY)
    _require(start != end, "hours that end at another time than they begin; the whole day is 00:00-24:00")
    return start, end if end > start else end + DAY


def clock_text(minute: int) -> str:
    """Return the time of a minute since midnight, 24:00 for the day's end."""
    minute -= DAY if minute > DAY else 0
    return f"{minute // 60:02}:{minute % 60:02}"


def span_text(span: Span) -> str:
    """Return opening hours as they are written in the file."""
    return f"{clock_text(span[0])}-{clock_text(span[1])}"
