"""config/configuration.ini and the environment become frozen, validated settings.

Each key is described once: its type, its default and the rule that reads it stand in one line of the dataclasses below.
This file must not know what the settings are used for: it imports no Faust, no Kafka, and opens nothing but the file.
"""

import configparser
import difflib
import ipaddress
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, TypeVar

from yasdg_app.errors import ConfigurationError

PROJECT = Path(__file__).resolve().parent.parent
"""The folder that holds the package yasdg_app, and beside it config/ and products.csv."""

CONFIGURATION = Path("config", "configuration.ini")
DEFAULT_PORT = 9092
LARGEST_QUANTITY = 2
"""The most units that one sale takes. Stock never falls below zero as long as no shelf is ever left with fewer."""

FASTEST_PACE = 0.000_002
"""Seconds between two sales at the highest rate allowed, 500,000 sales a second."""

T = TypeVar("T")


class SettingsError(ConfigurationError):
    """The configuration file or a YASDG_ variable cannot be used."""


# --- Rules: how the text of a value is read, and what to say when it cannot be --------------------------------------


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """`parse` makes a value of a text or raises ValueError; then the person is told "expected `expected`"."""

    parse: Callable[[str], T]
    expected: str


# Python's own int() and float() also take "1_000", "nan", "infinity" and digits of other scripts: not here.
_WHOLE = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_NUMBER = re.compile(rf"({_DECIMAL.pattern})([eE][+-]?[0-9]+)?")
_KAFKA_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_HOST = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9._-]*[a-zA-Z0-9_])?\.?")


def _require(condition: object) -> None:
    if not condition:
        raise ValueError


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


def seconds(*, above_zero: bool) -> Rule[float]:
    """A finite length of time in seconds."""

    def parse(text: str) -> float:
        _require(_NUMBER.fullmatch(text))
        value = float(text)
        _require(math.isfinite(value) and (value > 0 or not above_zero))
        return value

    return Rule(parse, "a number of seconds above 0" if above_zero else "a number of seconds of at least 0")


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


def _share() -> Rule[Decimal]:
    def parse(text: str) -> Decimal:
        value = _decimal(text, 4)
        _require(value <= 1)
        return value

    return Rule(parse, "a share from 0 to 1 with at most four decimals, such as .10")


def _kafka_name(longest: int, what: str) -> Rule[str]:
    def parse(text: str) -> str:
        _require(_KAFKA_NAME.fullmatch(text) and len(text) <= longest and text not in (".", ".."))
        return text

    return Rule(parse, f"{what} of 1 to {longest} letters, digits, dots, underscores or hyphens")


def _path() -> Rule[Path]:
    def parse(text: str) -> Path:
        _require(text and text.isprintable())
        return Path(os.path.expanduser(text))

    return Rule(parse, "a path")


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


def _servers() -> Rule[str]:
    def parse(text: str) -> str:
        if text.lower() == "embedded":
            return "embedded"
        return ",".join(_server(server.strip()) for server in text.split(","))

    return Rule(parse, "embedded, or host:port[,host:port] with ports from 1 to 65535")


# --- The settings ---------------------------------------------------------------------------------------------------


def _key(default: T, rule: Rule[T]) -> T:
    """A key of the configuration file, as a field of a dataclass."""
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """[KAFKA]: which broker, and the names on it."""

    bootstrap_servers: str = _key("embedded", _servers())
    """`embedded`: Apache Kafka started here; otherwise `host:port[,host:port]`, every one with its port."""
    embedded_port: int = _key(9092, whole(1, 65535))
    """The port on this machine that an embedded broker listens on."""
    data_dir: Path = _key(Path(".yasdg"), _path())
    """What the embedded broker and the workers keep on disk; absolute after `load`."""
    application_id: str = _key("yasdg", _kafka_name(200, "a name"))
    """Workers of one application share the work between them."""
    topic_products: str = _key("demo.products", _kafka_name(249, "a topic name"))
    topic_purchases: str = _key("demo.purchases", _kafka_name(249, "a topic name"))
    topic_stockings: str = _key("demo.stockings", _kafka_name(249, "a topic name"))
    topic_lost_sales: str = _key("demo.lost_sales", _kafka_name(249, "a topic name"))
    topic_incidents: str = _key("demo.incidents", _kafka_name(249, "a topic name"))
    topic_dead_letters: str = _key("demo.dead_letters", _kafka_name(249, "a topic name"))
    partitions: int = _key(8, whole(1, 1024))
    """Of every topic: at most so many workers share the work."""
    replication_factor: int = _key(1, whole(1, 9))
    """Copies of a topic on an existing cluster; the embedded broker, being one, keeps one whatever stands here."""

    @property
    def embedded(self) -> bool:
        """Whether YASDG runs the broker itself."""
        return self.bootstrap_servers == "embedded"


@dataclass(frozen=True, slots=True)
class SalesSettings:
    """[SALES]: what is sold, how fast, and what customers are like."""

    products: Path = _key(Path("products.csv"), _path())
    """The catalog; absolute after `load`."""
    seed: int = _key(42, whole(0, 2**64 - 1))
    """The same seed, catalog and settings give the same sales."""
    min_sale_freq: float = _key(1.0, seconds(above_zero=False))
    """Least seconds between two sales, over the whole shop."""
    max_sale_freq: float = _key(3.0, seconds(above_zero=True))
    """Most seconds between two sales, over the whole shop."""
    number_of_sales: int = _key(0, whole(0, 10**18, " (0: it never ends)"))
    """Sales after which the shop closes; 0: never."""
    quantity_one_freq: int | float = _key(8, number(10))
    """Of 10 sales, those of one unit; the others are of two."""
    member_freq: int | float = _key(3, number(10))
    """Of 10 sales, those to a member of the club."""
    club_member_discount: Decimal = _key(Decimal("0.10"), _share())
    """The share of the price that a member does not pay."""
    add_supp_freq_group1: int | float = _key(5, number(10))
    """Of 10 sales of a product whose id begins with SF or SC, those with a supplement."""
    add_supp_freq_group2: int | float = _key(2, number(10))
    """Of 10 sales of any other product, those with a supplement."""
    supplements_cost: Decimal = _key(Decimal("1.99"), money())
    """The price of a supplement for one unit."""
    supplements_cogs: Decimal = _key(Decimal("0.50"), money())
    """What a supplement for one unit costs the shop."""
    substitution_freq: int | float = _key(0, number(10))
    """Of 10 customers who find too little of a product, those who take another of its category."""

    @property
    def mean_seconds_between_sales(self) -> float:
        """Over the whole shop; from `FASTEST_PACE` up."""
        return self.min_sale_freq / 2 + self.max_sale_freq / 2  # halved first: the sum may overflow


@dataclass(frozen=True, slots=True)
class InventorySettings:
    """[INVENTORY]: when a shelf is filled up, and by how much.

    The least values allowed are such that a shelf always holds the largest quantity of one sale.
    """

    min_inventory: int = _key(10, whole(LARGEST_QUANTITY - 1, 10**9))
    """A shelf with so many units or fewer after a sale is restocked at once."""
    restock_amount: int = _key(15, whole(LARGEST_QUANTITY, 10**9, f", because one sale takes up to {LARGEST_QUANTITY}"))
    """Units that a restock adds."""


Span = tuple[int, int]
"""Opening hours on a day: first minute and the one behind the last, since midnight; above 1440: after midnight."""

ALWAYS: tuple[Span, ...] = ((0, 1440),)
FLAT = (1.0,) * 24
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """[CLOCK]: event time, and how fast it passes."""

    start: datetime | timedelta | None = None
    """Event time of the shop's first moment: a time on the shop's clock (naive), so long ago, or None: now."""
    speed: float | None = None
    """Event time passes so many times faster than time, until it is now; None: at once."""
    end: datetime | timedelta | None = None
    """Event time of the shop's last moment: a time on the shop's clock, so long after the start, or None: never."""
    time_zone: str = "UTC"
    """Name in the tz database of the zone whose time the shop's clock shows."""
    on_restart: str = "catch_up"
    """What becomes of the time in which no worker ran: `catch_up` or `skip`."""


@dataclass(frozen=True, slots=True)
class HoursSettings:
    """[HOURS]: when the shop is open, by its own clock. Spans are in order and do not overlap; none: closed."""

    week: tuple[tuple[Span, ...], ...] = (ALWAYS,) * 7
    """By weekday, from Monday."""
    dates: tuple[tuple[date, tuple[Span, ...]], ...] = ()
    """Days that differ, whatever weekday or holiday they are."""
    holidays: str = ""
    """Country, or country-subdivision, whose public holidays count, such as DE or DE-BY; empty: none."""
    on_holidays: tuple[Span, ...] = ()
    """Hours on a public holiday."""


@dataclass(frozen=True, slots=True)
class VolumeSettings:
    """[VOLUME]: how demand differs from hour to hour, season to season, year to year."""

    week: tuple[tuple[float, ...], ...] = (FLAT,) * 7
    """By weekday from Monday, 24 hours of each; relative to each other."""
    months: tuple[float, ...] = (1.0,) * 12
    """By month from January; relative to each other."""
    growth: float = 0.0
    """Share by which demand grows in a year; above -1."""


@dataclass(frozen=True, slots=True)
class SupplierSettings:
    """[SUPPLY], and [SUPPLIER name] for the products of some categories."""

    name: str = ""
    """Empty: the supplier of whatever no other supplies."""
    categories: tuple[str, ...] = ()
    lead_time: tuple[timedelta, timedelta, timedelta] = (timedelta(0),) * 3
    """From order to delivery: least, most frequent, longest (triangular distribution); all equal: fixed."""
    delivery_days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    """Weekdays (Monday is 0) on which deliveries come."""
    partial_freq: int | float = 0
    """Of 10 deliveries, those that bring only a part of what is outstanding."""


@dataclass(frozen=True, slots=True)
class IncidentSettings:
    """[INCIDENT name]: something that happens to the shop, once or now and again."""

    name: str
    kind: str
    """One of INCIDENT_KINDS."""
    start: datetime | None = None
    """On the shop's clock; None: it comes at random."""
    every: timedelta | None = None
    """Mean time between two of them that come at random; None: it comes once, at `start`."""
    duration: timedelta = timedelta(hours=1)
    """From start to end, ramps included. Whole minutes, as all times of an incident are."""
    ramp_up: timedelta = timedelta(0)
    """Time from the start until it has its full effect."""
    ramp_down: timedelta = timedelta(0)
    """Time before the end in which the effect fades."""
    categories: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    """Products that it concerns, with those of the categories; neither: all."""
    factor: float = 1.0
    """On demand; of kind `supply`: on the speed of deliveries, 0: none come."""
    discount: Decimal = Decimal(0)
    """Share of the price that nobody pays in the meantime, at most four decimals; not ramped."""


INCIDENT_KINDS = {
    "storm": 0.3, "power_outage": 0.0, "promotion": 2.5, "viral": 4.0, "road_works": 0.7, "supply": 0.0, "custom": None,
}  # fmt: skip
"""Kinds of incidents, and the factor of each where none is given; None: it has to be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be configured. `source` is the file it was read from, None where there was none."""

    kafka: KafkaSettings = KafkaSettings()
    sales: SalesSettings = SalesSettings()
    inventory: InventorySettings = InventorySettings()
    clock: ClockSettings = ClockSettings()
    hours: HoursSettings = HoursSettings()
    volume: VolumeSettings = VolumeSettings()
    supply: SupplierSettings = SupplierSettings()
    suppliers: tuple[SupplierSettings, ...] = ()
    incidents: tuple[IncidentSettings, ...] = ()
    source: Path | None = None


_RULES: dict[str, dict[str, Rule[Any]]] = {
    section: {key.name: key.metadata["rule"] for key in fields(kind)}
    for section, kind in (("KAFKA", KafkaSettings), ("SALES", SalesSettings), ("INVENTORY", InventorySettings))
}
_VARIABLES = {f"YASDG_{section}_{key}".upper(): (section, key) for section, keys in _RULES.items() for key in keys}


# --- Loading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as somebody wrote it: `place` is where, in words that begin a problem."""

    text: str
    place: str


_GivenValues = dict[tuple[str, str], _Given]


def load(environ: Mapping[str, str], cwd: Path) -> Settings:
    """Read the settings as a program started in `cwd` with the environment `environ` has them.

    The file is the one that YASDG_CONFIG names, else config/configuration.ini in `cwd`, else the project's own, else
    there is none and the defaults hold. A variable YASDG_<SECTION>_<KEY> overrides one value of it.

    Raises SettingsError with every problem found.
    """
    cwd = cwd.absolute()
    problems: list[str] = []
    source = _find(environ, cwd, problems)
    given: _GivenValues = {}
    if source is not None:
        given |= _read_file(source, shown_path(source, cwd), problems)
    given |= _read_environment(environ, problems)

    values: dict[str, dict[str, Any]] = {section: {} for section in _RULES}
    unread: set[str] = set()
    for (section, key), value in given.items():
        rule = _RULES[section][key]
        try:
            values[section][key] = rule.parse(value.text)
        except ValueError:
            problems.append(f"{value.place}: expected {rule.expected}")
            unread.add(key)
    settings = Settings(
        KafkaSettings(**values["KAFKA"]), SalesSettings(**values["SALES"]), InventorySettings(**values["INVENTORY"])
    )
    _check_together(settings, given, unread, problems)
    if problems:
        raise SettingsError(problems)

    values["KAFKA"]["data_dir"] = cwd / settings.kafka.data_dir
    values["SALES"]["products"] = _find_products(settings.sales.products, source, cwd)
    return Settings(KafkaSettings(**values["KAFKA"]), SalesSettings(**values["SALES"]), settings.inventory, source)


def _find(environ: Mapping[str, str], cwd: Path, problems: list[str]) -> Path | None:
    named = environ.get("YASDG_CONFIG")
    if named is not None:
        path = cwd / named
        # Not is_file(): a pipe or /dev/stdin will do. os.path: Path.exists raises where a folder is closed to us.
        if os.path.exists(path) and not os.path.isdir(path):
            return path
        problems.append(f"YASDG_CONFIG={shown(named)}: expected the path of an existing file")
        return None
    # lexists: a file that is there but cannot be read is a problem to report, not a reason to take another one.
    return next((folder / CONFIGURATION for folder in (cwd, PROJECT) if os.path.lexists(folder / CONFIGURATION)), None)


def _find_products(products: Path, source: Path | None, cwd: Path) -> Path:
    """The absolute path of the catalog; where it is nowhere, the first place, for catalog.load to complain about."""
    folders = [cwd, *([source.parent.parent] if source else []), PROJECT]
    return next((folder / products for folder in folders if os.path.exists(folder / products)), cwd / products)


def _read_environment(environ: Mapping[str, str], problems: list[str]) -> _GivenValues:
    given: _GivenValues = {}
    for name, text in environ.items():
        if name in _VARIABLES:
            given[_VARIABLES[name]] = _Given(text.strip(), f"{name}={shown(text)}")
        elif name.startswith("YASDG_") and name != "YASDG_CONFIG":
            # The value is not repeated: what we do not know might be a password.
            problems.append(f"{shown(name)}: unknown variable{_did_you_mean(name, [*_VARIABLES, 'YASDG_CONFIG'])}")
    return given


def _read_file(path: Path, name: str, problems: list[str]) -> _GivenValues:
    try:
        text = read_text(path, name)
    except ConfigurationError as error:
        problems += error.problems
        return {}
    given: _GivenValues = {}
    for section, values in _parse(text, name, problems):
        if section not in _RULES:
            hint = _did_you_mean(f"[{section}]", [f"[{known}]" for known in _RULES])
            problems.append(f"{name}: [{shown(section)}]: unknown section{hint}")
            continue
        for key, value in values.items():
            place = f"{name}: [{section}] {shown(key)}"
            if key in _RULES[section]:
                given[section, key] = _Given(value, f"{place} = {shown(value)}")
            else:
                home = next((f"; it belongs in [{other}]" for other, keys in _RULES.items() if key in keys), "")
                problems.append(f"{place}: unknown key{home or _did_you_mean(key, _RULES[section])}")
    return given


def _parse(text: str, name: str, problems: list[str]) -> list[tuple[str, dict[str, str]]]:
    """The sections of the file, one that stands there twice as two.

    configparser stops at the first error of most kinds. To report them all, the line is made harmless and the file
    parsed again; a file with more than a few of them is no configuration file, and not worth the time.
    """
    lines = text.replace("\0", "\N{REPLACEMENT CHARACTER}").split("\n")  # NUL is then free to mark repeated sections
    for _ in range(20):
        parser = configparser.RawConfigParser(
            interpolation=None,
            inline_comment_prefixes=(";",),  # after a blank; not "#", which occurs in file names
            empty_lines_in_values=False,
            default_section="",  # a name that no header can have: [DEFAULT] is nothing special here
        )
        try:
            parser.read_string("\n".join(lines))
        except configparser.DuplicateSectionError as error:
            at = error.lineno or 1
            problems.append(f"{name}:{at}: [{_original(error.section)}] stands here a second time")
            lines[at - 1] = f"[{error.section}\0{at}]"
        except configparser.DuplicateOptionError as error:
            at = error.lineno or 1
            problems.append(f"{name}:{at}: [{_original(error.section)}] {error.option} stands here a second time")
            lines[at - 1] = ""
        except configparser.MissingSectionHeaderError as error:
            problems.append(f"{name}:{error.lineno}: {shown(lines[error.lineno - 1])}: expected a [SECTION] first")
            lines[error.lineno - 1] = ""
        except configparser.ParsingError as error:
            for at in [at for at, _ in error.errors] or [getattr(error, "lineno", 1)]:
                problems.append(f"{name}:{at}: {shown(lines[at - 1])}: expected key = value")
                lines[at - 1] = ""
        else:
            return [(_original(section), dict(parser.items(section))) for section in parser.sections()]
    return []


def _original(section: str) -> str:
    return section.partition("\0")[0]


def _check_together(settings: Settings, given: _GivenValues, unread: set[str], problems: list[str]) -> None:
    """What must hold between values that are each right by themselves. `unread`: keys whose value could not be read."""

    def complain(section: str, keys: tuple[str, str], expected: str) -> None:
        # At the first of the keys that somebody wrote. There is one, because the defaults agree with each other.
        place = next(given[section, key].place for key in keys if (section, key) in given)
        problems.append(f"{place}: expected {expected}")

    sales, pace = settings.sales, ("max_sale_freq", "min_sale_freq")
    if unread.isdisjoint(pace):
        if sales.min_sale_freq > sales.max_sale_freq:
            numbers = f"{sales.min_sale_freq:g} and {sales.max_sale_freq:g}"
            complain("SALES", pace, f"min_sale_freq to be at most max_sale_freq; they are {numbers}")
        elif sales.mean_seconds_between_sales < FASTEST_PACE * (1 - 1e-9):  # sums of decimals are inexact
            complain("SALES", pace, f"a mean of min_sale_freq and max_sale_freq of at least {FASTEST_PACE:f} seconds")

    # Kafka takes names that differ in nothing but "." and "_" for the same, and refuses the second one.
    seen: dict[str, str] = {}
    for key in _RULES["KAFKA"]:
        if key.startswith("topic_") and key not in unread:
            other = seen.setdefault(getattr(settings.kafka, key).replace(".", "_"), key)
            if other != key:
                complain("KAFKA", (key, other), f"{key} and {other} to differ in more than dots and underscores")


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    by_case = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_case, n=1)
    return f"; did you mean {by_case[close[0]]}?" if close else ""


# --- Reading and showing what people wrote; catalog.py does it the same way -----------------------------------------


def read_text(path: Path, name: str) -> str:
    """The text of a UTF-8 file, with or without a byte order mark. Raises ConfigurationError, calling it `name`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"{name}: cannot be read: {error.strerror or error}"]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `error.object` lacks the byte order mark, if there was one; its positions are counted without it.
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError([f"{name}:{line}: not UTF-8 text: expected a file saved as UTF-8"]) from None


def shown(text: str, longest: int = 80) -> str:
    """`text` fit for one line of a terminal."""
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)


def shown_path(path: Path, cwd: Path) -> str:
    """`path` as a person in the folder `cwd` would write it."""
    return shown(str(path.relative_to(cwd) if path.is_relative_to(cwd) else path), longest=4096)
