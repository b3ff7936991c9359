"""config/configuration.ini and the environment become frozen, validated settings.

Each key is described once: its type, its default and the rule that reads it stand in one line of the dataclasses below.
This file must not know what the settings are used for: it imports no Faust, no Kafka, and opens nothing but the file.
"""

import configparser
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

from yasdg_app.config import rules

# These are known under the names of this module, too.
from yasdg_app.config.rules import WEEKDAYS as WEEKDAYS
from yasdg_app.config.rules import Expected, clock_text, did_you_mean, listed, span_text
from yasdg_app.config.rules import Rule as Rule
from yasdg_app.config.rules import Span as Span
from yasdg_app.config.rules import money as money
from yasdg_app.config.rules import number as number
from yasdg_app.config.rules import whole as whole
from yasdg_app.errors import ConfigurationError

_PACKAGE = Path(__file__).resolve().parents[1]
PROJECT = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent
"""The folder of our own config/ and products.csv: `data` in an installed package, in a checkout the one above it."""

CONFIGURATION = Path("config", "configuration.ini")
LARGEST_QUANTITY = 2
"""The most units that one sale takes. Stock never falls below zero as long as no shelf is ever left with fewer."""

FASTEST_PACE = 0.000_002
"""Seconds between two sales at the highest rate allowed, 500,000 sales a second."""

T = TypeVar("T")


class SettingsError(ConfigurationError):
    """The configuration file or a YASDG_ variable cannot be used."""


# --- The settings ---------------------------------------------------------------------------------------------------


def _key(default: T, rule: Rule[T], *, secret: bool = False) -> T:
    """A key of the configuration file, as a field of a dataclass; a secret one is shown nowhere."""
    return field(default=default, repr=not secret, metadata={"rule": rule, "secret": secret})


AUTH_METHODS = ("plaintext", "ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer", "aws_msk_iam")
"""How a client tells a cluster who it is. All but the first go through TLS, unless `sasl_protocol` says otherwise."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """[KAFKA]: which broker, the names on it, and who we are to it."""

    bootstrap_servers: str = _key("embedded", rules.servers())
    """`embedded`: Apache Kafka started here; otherwise `host:port[,host:port]`, every one with its port."""
    embedded_port: int = _key(9092, rules.whole(1, 65535))
    """The port on this machine that an embedded broker listens on."""
    data_dir: Path = _key(Path(".yasdg"), rules.path())
    """What the embedded broker and the workers keep on disk; absolute after `load`."""
    application_id: str = _key("yasdg", rules.kafka_name(200, "a name"))
    """Workers of one application share the work between them."""
    topic_products: str = _key("demo.products", rules.kafka_name(249, "a topic name"))
    topic_purchases: str = _key("demo.purchases", rules.kafka_name(249, "a topic name"))
    topic_stockings: str = _key("demo.stockings", rules.kafka_name(249, "a topic name"))
    topic_lost_sales: str = _key("demo.lost_sales", rules.kafka_name(249, "a topic name"))
    topic_incidents: str = _key("demo.incidents", rules.kafka_name(249, "a topic name"))
    topic_dead_letters: str = _key("demo.dead_letters", rules.kafka_name(249, "a topic name"))
    topic_dirty: str = _key("demo.dirty_purchases", rules.kafka_name(249, "a topic name"))
    """There only with [FAULTS], as is the next one."""
    topic_faults: str = _key("demo.faults", rules.kafka_name(249, "a topic name"))
    partitions: int = _key(8, rules.whole(1, 1024))
    """Of every topic: at most so many workers share the work."""
    replication_factor: int = _key(1, rules.whole(1, 9))
    """Copies of a topic on an existing cluster; the embedded broker, being one, keeps one whatever stands here."""
    auth_method: str = _key("plaintext", rules.choice(*AUTH_METHODS))
    """How we tell the cluster who we are; one of AUTH_METHODS."""
    ssl_ca_file: Path | None = _key(None, rules.path_if_any())
    """Who may have signed the brokers' certificates, PEM; None: whom this machine trusts. Absolute after `load`."""
    ssl_cert_file: Path | None = _key(None, rules.path_if_any())
    """Our own certificate, PEM; None: we show none."""
    ssl_key_file: Path | None = _key(None, rules.path_if_any())
    """Its private key, PEM; None: it stands in `ssl_cert_file`."""
    ssl_key_password: str = _key("", rules.line(), secret=True)
    ssl_key_password_file: Path | None = _key(None, rules.path_if_any())
    sasl_protocol: str = _key("sasl_ssl", rules.choice("sasl_ssl", "sasl_plaintext"))
    """Whether what follows is said through TLS (`sasl_ssl`), or for anybody on the way to read (`sasl_plaintext`)."""
    sasl_username: str = _key("", rules.line())
    sasl_password: str = _key("", rules.line(), secret=True)
    sasl_password_file: Path | None = _key(None, rules.path_if_any())
    sasl_scram_mechanism: str = _key("scram-sha-512", rules.choice("scram-sha-512", "scram-sha-256"))
    sasl_oauthbearer_token_endpoint_url: str = _key("", rules.web_address())
    sasl_oauthbearer_client_id: str = _key("", rules.line())
    sasl_oauthbearer_client_secret: str = _key("", rules.line(), secret=True)
    sasl_oauthbearer_client_secret_file: Path | None = _key(None, rules.path_if_any())
    sasl_oauthbearer_scope: str = _key("", rules.line())
    sasl_oauthbearer_extensions: tuple[tuple[str, str], ...] = _key((), rules.pairs())
    """What a cluster wants to hear beside the token, by name."""
    aws_region: str = _key("", rules.line())
    aws_profile: str = _key("", rules.line())
    """Of the credentials on this machine; empty: whatever AWS's default chain finds."""
    aws_role_arn: str = _key("", rules.line())
    """The role to take on with those credentials; empty: none."""

    @property
    def embedded(self) -> bool:
        """Whether YASDG runs the broker itself."""
        return self.bootstrap_servers == "embedded"


@dataclass(frozen=True, slots=True)
class SalesSettings:
    """[SALES]: what is sold, how fast, and what customers are like."""

    products: Path = _key(Path("products.csv"), rules.path())
    """The catalog; absolute after `load`."""
    seed: int = _key(42, rules.whole(0, 2**64 - 1))
    """The same seed, catalog and settings give the same sales."""
    min_sale_freq: float = _key(1.0, rules.seconds(above_zero=False))
    """Least seconds between two sales, over the whole shop."""
    max_sale_freq: float = _key(3.0, rules.seconds(above_zero=True))
    """Most seconds between two sales, over the whole shop."""
    number_of_sales: int = _key(0, rules.whole(0, 10**18, " (0: it never ends)"))
    """Sales after which the shop closes; 0: never."""
    quantity_one_freq: int | float = _key(8, rules.number(10))
    """Of 10 sales, those of one unit; the others are of two."""
    member_freq: int | float = _key(3, rules.number(10))
    """Of 10 sales, those to a member of the club."""
    club_member_discount: Decimal = _key(Decimal("0.10"), rules.share())
    """The share of the price that a member does not pay."""
    add_supp_freq_group1: int | float = _key(5, rules.number(10))
    """Of 10 sales of a product whose id begins with SF or SC, those with a supplement."""
    add_supp_freq_group2: int | float = _key(2, rules.number(10))
    """Of 10 sales of any other product, those with a supplement."""
    supplements_cost: Decimal = _key(Decimal("1.99"), rules.money())
    """The price of a supplement for one unit."""
    supplements_cogs: Decimal = _key(Decimal("0.50"), rules.money())
    """What a supplement for one unit costs the shop."""
    substitution_freq: int | float = _key(0, rules.number(10))
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

    min_inventory: int = _key(10, rules.whole(LARGEST_QUANTITY - 1, 10**9))
    """A shelf with so many units or fewer after a sale is restocked at once."""
    restock_amount: int = _key(
        15, rules.whole(LARGEST_QUANTITY, 10**9, f", because one sale takes up to {LARGEST_QUANTITY}")
    )
    """Units that a restock adds."""


ALWAYS: tuple[Span, ...] = ((0, 1440),)
FLAT = (1.0,) * 24


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """[CLOCK]: event time, and how fast it passes."""

    start: datetime | timedelta | None = _key(None, rules.moment_or_duration("now", "back from now"))
    """Event time of the shop's first moment: a time on the shop's clock (naive), so long ago, or None: now."""
    speed: float | None = _key(None, rules.speed())
    """Event time passes so many times faster than time, until it is now; None: at once."""
    end: datetime | timedelta | None = _key(None, rules.moment_or_duration("never", "after the start"))
    """Event time of the shop's last moment: a time on the shop's clock, so long after the start, or None: never."""
    time_zone: str = _key("UTC", rules.time_zone())
    """Name in the tz database of the zone whose time the shop's clock shows."""
    on_restart: str = _key("catch_up", rules.choice("catch_up", "skip"))
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
    categories: tuple[str, ...] = _key((), rules.names("categories"))
    lead_time: tuple[timedelta, timedelta, timedelta] = _key((timedelta(0),) * 3, rules.lead_time())
    """From order to delivery: least, most frequent, longest (triangular distribution); all equal: fixed."""
    delivery_days: tuple[int, ...] = _key((0, 1, 2, 3, 4, 5, 6), rules.weekdays())
    """Weekdays (Monday is 0) on which deliveries come."""
    partial_freq: int | float = _key(0, rules.number(10))
    """Of 10 deliveries, those that bring only a part of what is outstanding."""


INCIDENT_KINDS = {
    "storm": 0.3, "power_outage": 0.0, "promotion": 2.5, "viral": 4.0, "road_works": 0.7, "supply": 0.0, "custom": None,
}  # fmt: skip
"""Kinds of incidents, and the factor of each where none is given; None: it has to be."""

# What an incident may be, wherever it comes from: a file, a request, or a record of the control topic. What counted
# once on that topic counts for ever, so these limits are only ever widened (pinned in test_control_limits.py).
MAX_FACTOR = 100
MAX_DISCOUNT = 9_999  # ten-thousandths of the price
MAX_DURATION = rules.LONGEST
DISCOUNTED_KINDS = ("promotion", "custom")
KINDS_WITHOUT_RAMPS = ("supply",)


@dataclass(frozen=True, slots=True)
class IncidentSettings:
    """[INCIDENT name]: something that happens to the shop, once or now and again."""

    name: str
    kind: str = field(metadata={"rule": rules.choice(*INCIDENT_KINDS)})
    """One of INCIDENT_KINDS."""
    start: datetime | None = _key(None, rules.moment())
    """On the shop's clock; None: it comes at random."""
    every: timedelta | None = _key(None, rules.duration(minutes=True))
    """Mean time between two of them that come at random; None: it comes once, at `start`."""
    duration: timedelta = _key(timedelta(hours=1), rules.duration(minutes=True))
    """From start to end, ramps included. Whole minutes, as all times of an incident are."""
    ramp_up: timedelta = _key(timedelta(0), rules.duration(zero=True, minutes=True))
    """Time from the start until it has its full effect."""
    ramp_down: timedelta = _key(timedelta(0), rules.duration(zero=True, minutes=True))
    """Time before the end in which the effect fades."""
    categories: tuple[str, ...] = _key((), rules.names("categories"))
    products: tuple[str, ...] = _key((), rules.names("ids of products"))
    """Products that it concerns, with those of the categories; neither: all."""
    factor: float = _key(1.0, rules.number(MAX_FACTOR))
    """On demand; of kind `supply`: on the speed of deliveries, 0: none come."""
    discount: Decimal = _key(Decimal(0), rules.share(below_one=True))
    """Share of the price that nobody pays in the meantime, at most four decimals; not ramped."""


FAULTS = ("late", "duplicate", "dropped", "out_of_order", "corrupt")
"""What a flawed network does to a message; each is a share of the sales in [FAULTS]."""


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """[FAULTS]: what a flawed network does to the sales on their way; `topic_dirty` shows them as they arrive.

    A message has one fault at most.
    """

    late: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """The share of the sales that arrive late, by `late_by`."""
    duplicate: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """The share that arrives twice, one right behind the other."""
    dropped: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """The share that never arrives."""
    out_of_order: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """The share that is held up for a moment, by up to `out_of_order_by`, and overtaken by others."""
    corrupt: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """The share whose value cannot be read."""
    late_by: tuple[timedelta, timedelta] = _key((timedelta(minutes=1), timedelta(minutes=10)), rules.delay())
    """Shortest and longest; evenly between them."""
    out_of_order_by: timedelta = _key(timedelta(seconds=5), rules.duration())
    """The longest; evenly from 0."""

    @property
    def any(self) -> bool:
        """Whether there are faults at all."""
        return any(getattr(self, kind) for kind in FAULTS)


@dataclass(frozen=True, slots=True)
class FormatSettings:
    """[FORMAT]: how the messages stand on the topics that others read."""

    value: str = _key("json", rules.choice("json", "avro", "protobuf"))
    """Of products, purchases, stockings, lost sales and incidents."""
    registry: str = _key("", rules.address(), secret=True)
    """Where the schemas of Avro and Protobuf are registered: http(s)://[user:password@]host[:port]; empty: nowhere."""
    time: str = _key("sql", rules.choice("sql", "iso-z", "epoch_ms", "epoch_us"))
    """How JSON has times."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """[WEB]: where the worker's web server listens, and who may ask it."""

    host: str = _key("127.0.0.1", rules.host())
    """The address or name that it listens on; an IPv6 address without brackets."""
    port: int = _key(6066, rules.whole(1, 65535))
    token: str = _key("", rules.token(), secret=True)
    """What whoever asks has to know; empty: nothing, which is for a server that only this machine reaches."""


@dataclass(frozen=True, slots=True)
class DatastoreSettings:
    """[DATASTORE]: where else the inventory is kept up to date."""

    url: str = _key("", rules.datastore(), secret=True)
    """`sqlite:///file`, `postgresql://…` or `dynamodb://table`; a password may be in it. Empty: nowhere."""


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
    faults: FaultSettings = FaultSettings()
    web: WebSettings = WebSettings()
    format: FormatSettings = FormatSettings()
    datastore: DatastoreSettings = DatastoreSettings()
    source: Path | None = None


def _rules(kind: type[Any]) -> dict[str, Rule[Any]]:
    return {key.name: key.metadata["rule"] for key in fields(kind) if "rule" in key.metadata}


_BY_HOUR = rules.numbers(24, "one for each hour of the day")
_SUPPLIER_RULES = _rules(SupplierSettings)
_RULES: dict[str, dict[str, Rule[Any]]] = {
    "KAFKA": _rules(KafkaSettings),
    "SALES": _rules(SalesSettings),
    "INVENTORY": _rules(InventorySettings),
    "CLOCK": _rules(ClockSettings),
    "HOURS": {
        **dict.fromkeys(("every_day", *WEEKDAYS), rules.hours()),
        "holidays": rules.region(),
        "on_holidays": rules.hours(),
    },
    "VOLUME": {
        **dict.fromkeys(("every_day", *WEEKDAYS), _BY_HOUR),
        "months": rules.numbers(12, "one for each month", all_zero=False),
        "growth": rules.growth(),
    },
    "SUPPLY": {key: rule for key, rule in _SUPPLIER_RULES.items() if key != "categories"},
    "FAULTS": _rules(FaultSettings),
    "WEB": _rules(WebSettings),
    "FORMAT": _rules(FormatSettings),
    "DATASTORE": _rules(DatastoreSettings),
}
_WITH_SECRETS: dict[str, type[Any]] = {
    "KAFKA": KafkaSettings, "WEB": WebSettings, "FORMAT": FormatSettings, "DATASTORE": DatastoreSettings,
}  # fmt: skip
_SECRETS = {
    (section, key.name) for section, kind in _WITH_SECRETS.items() for key in fields(kind) if key.metadata["secret"]
}
"""Section and key of what is repeated nowhere."""
_NAMED = {"SUPPLIER": _SUPPLIER_RULES, "INCIDENT": _rules(IncidentSettings)}
"""Of sections that may stand there any number of times, as [KIND name]."""
_VARIABLES = {f"YASDG_{section}_{key}".upper(): (section, key) for section, keys in _RULES.items() for key in keys}
_GENERAL = ("WEB", "FORMAT", "DATASTORE")
"""Sections whose keys, such as port or time, mean something else elsewhere: there they are not told to belong here."""
_DAY, _NAME = rules.day(), rules.name()
_MINUTE = timedelta(minutes=1)


def _rules_of(section: str) -> Mapping[str, Rule[Any]]:
    return _RULES[section] if section in _RULES else _NAMED[section.partition(" ")[0]]


# --- Loading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as somebody wrote it: `place` is where, in words that begin a problem."""

    text: str
    place: str


@dataclass(slots=True)
class _Values:
    """Values on their way into the settings: what somebody wrote, what it means, and what is wrong with it."""

    problems: list[str] = field(default_factory=list)
    given: dict[tuple[str, str], _Given] = field(default_factory=dict)
    """By section and key."""
    named: dict[str, str] = field(default_factory=dict)
    """The sections [KIND name], and how a problem with one of their keys begins."""
    read: defaultdict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    unread: set[tuple[str, str]] = field(default_factory=set)
    """Section and key of what could not be read, and is not compared with anything."""

    def parse(self) -> None:
        for (section, key), value in self.given.items():
            rules_here = _rules_of(section)
            rule = rules_here["every_day"] if _is_day(section, key) else rules_here[key]
            try:
                self.read[section][key] = rule.read(value.text)
            except Expected as error:
                self.problems.append(f"{value.place}: expected {error}")
                self.unread.add((section, key))

    def all_read(self, section: str, *keys: str) -> bool:
        return self.unread.isdisjoint((section, key) for key in keys)

    def refuse(self, section: str, keys: Iterable[str], why: str) -> None:
        """At the first of the keys that somebody wrote. There is one, because the defaults agree with each other."""
        place = next(self.given[section, key].place for key in keys if (section, key) in self.given)
        self.problems.append(f"{place}: {why}")

    def require(self, section: str, key: str, expected: str = "") -> None:
        """Without `expected`, what the key's rule expects."""
        if (section, key) not in self.given:
            expected = expected or _rules_of(section)[key].expected
            self.problems.append(f"{self.named[section]}{key}: missing; expected {expected}")


def load(environ: Mapping[str, str], cwd: Path) -> Settings:
    """Read the settings as a program started in `cwd` with the environment `environ` has them.

    The file is the one that YASDG_CONFIG names, in `cwd` or among the project's own, else config/configuration.ini in
    `cwd`, else the project's own, else there is none and the defaults hold. A variable YASDG_<SECTION>_<KEY> overrides
    one value of it.

    Raises SettingsError with every problem found.
    """
    cwd = cwd.absolute()
    values = _Values()
    source = _find(environ, cwd, values.problems)
    if source is not None:
        _read_file(source, shown_path(source, cwd), values)
    _read_environment(environ, values)
    values.parse()
    read, named = values.read, values.named
    settings = Settings(
        KafkaSettings(**read["KAFKA"]),
        SalesSettings(**read["SALES"]),
        InventorySettings(**read["INVENTORY"]),
        ClockSettings(**read["CLOCK"]),
        _hours(read["HOURS"]),
        VolumeSettings(_week(read["VOLUME"], FLAT), **_without_days(read["VOLUME"])),
        SupplierSettings(**read["SUPPLY"]),
        tuple(_supplier(section, values) for section in named if section.startswith("SUPPLIER ")),
        tuple(_incident(section, values) for section in named if section.startswith("INCIDENT ")),
        FaultSettings(**read["FAULTS"]),
        WebSettings(**read["WEB"]),
        FormatSettings(**read["FORMAT"]),
        DatastoreSettings(**read["DATASTORE"]),
        source,
    )
    _check_together(settings, values)
    if values.problems:
        raise SettingsError(values.problems)
    paths: dict[str, Any] = {k: cwd / path for k, path in _fields(settings.kafka).items() if isinstance(path, Path)}
    kafka = replace(settings.kafka, **paths)
    sales = replace(settings.sales, products=_find_products(settings.sales.products, source, cwd))
    return replace(settings, kafka=kafka, sales=sales)


def incident(name: str, given: Mapping[str, str]) -> IncidentSettings:
    """Make an incident of texts, as of the keys of a section [INCIDENT name], but for one that is about to happen.

    It may lack a start, and begins shortly then; it comes once, so `every` is refused. Whether the catalog has what it
    names, `check_products` says.

    Raises SettingsError with every problem found; each begins with the key that it is about, or with `name`.
    """
    section, values = f"INCIDENT {name}", _Values()
    values.named[section] = ""
    try:
        _NAME.read(name)
    except Expected as error:
        values.problems.append(f"name = {shown(name)}: expected {error}")
    known = [key for key in _NAMED["INCIDENT"] if key != "every"]
    for key, text in given.items():
        if key in known:
            values.given[section, key] = _Given(text.strip(), f"{key} = {shown(text)}")
        elif key == "every":
            values.problems.append(f"every = {shown(text)}: expected a start or nothing; this incident comes once")
        else:
            values.problems.append(f"{shown(key)}: unknown key{did_you_mean(key, known)}")
    values.parse()
    result = _incident(section, values, live=True)
    if values.problems:
        raise SettingsError(values.problems)
    return result


def _week(read: Mapping[str, Any], otherwise: T) -> tuple[T, ...]:
    return tuple(read.get(day, read.get("every_day", otherwise)) for day in WEEKDAYS)


def _without_days(read: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in read.items() if key not in ("every_day", *WEEKDAYS)}


def _is_day(section: str, key: str) -> bool:
    """Whether the key is a day of the calendar, or meant to be: in [HOURS] any number of them may stand."""
    return section == "HOURS" and key[:1].isdigit()


def _hours(read: Mapping[str, Any]) -> HoursSettings:
    days = {key: value for key, value in read.items() if _is_day("HOURS", key)}
    others = {key: value for key, value in _without_days(read).items() if key not in days}
    dates = tuple(sorted((date.fromisoformat(key), spans) for key, spans in days.items()))
    return HoursSettings(_week(read, ALWAYS), dates, **others)


def _supplier(section: str, values: _Values) -> SupplierSettings:
    values.require(section, "categories")
    return SupplierSettings(section.partition(" ")[2], **values.read[section])


def _incident(section: str, values: _Values, *, live: bool = False) -> IncidentSettings:
    """Make an incident of what could be read of a section, and complain about the rest; `live`: a start is optional."""
    given = {key for in_section, key in values.given if in_section == section}
    values.require(section, "kind")
    if {"start", "every"} <= given:
        values.refuse(section, ("every",), "expected either start or every, not both")
    elif "every" not in given and not live:
        values.require(section, "start", "start, the time at which it comes, or every, the mean time between two")

    result = IncidentSettings(section.partition(" ")[2], **{"kind": "", **values.read[section]})
    if result.kind and "factor" not in given:
        factor = INCIDENT_KINDS[result.kind]
        if factor is None:
            values.require(section, "factor")
        else:
            result = replace(result, factor=factor)
    if result.kind not in (*DISCOUNTED_KINDS, "") and result.discount:
        values.refuse(section, ("discount",), "expected no discount, but in an incident of kind promotion or custom")
    ramps = result.ramp_up + result.ramp_down
    if result.kind in KINDS_WITHOUT_RAMPS and ramps:
        ramp = "ramp_up" if result.ramp_up else "ramp_down"
        values.refuse(section, (ramp,), "expected no ramps in an incident of kind supply")
    elif ramps > result.duration and values.all_read(section, "duration"):
        taken = f"they take {ramps // _MINUTE}m of {result.duration // _MINUTE}m"
        why = f"expected ramp_up and ramp_down to fit into duration; {taken}"
        values.refuse(section, ("ramp_up", "ramp_down"), why)
    return result


def _find(environ: Mapping[str, str], cwd: Path, problems: list[str]) -> Path | None:
    named = environ.get("YASDG_CONFIG")
    if named is not None:
        for path in (cwd / named, PROJECT / named):
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


def _read_environment(environ: Mapping[str, str], values: _Values) -> None:
    for name, text in environ.items():
        if name in _VARIABLES:
            written = "…" if _VARIABLES[name] in _SECRETS else shown(text)
            values.given[_VARIABLES[name]] = _Given(text.strip(), f"{name}={written}")
        elif name.startswith("YASDG_") and name != "YASDG_CONFIG":
            # The value is not repeated: what we do not know might be a password.
            hint = did_you_mean(name, [*_VARIABLES, "YASDG_CONFIG"])
            values.problems.append(f"{shown(name)}: unknown variable{hint}")


def _read_file(path: Path, name: str, values: _Values) -> None:
    try:
        text = read_text(path, name)
    except ConfigurationError as error:
        values.problems += error.problems
        return
    headers: set[str] = set()
    for header, content in _parse(text, name, values.problems):
        section = _section(header, name, values, header in headers)
        headers.add(header)
        if section is None:
            continue
        known = _rules_of(section)
        for key, text in content.items():
            value = text.strip()  # it may begin on the next line
            place = f"{name}: [{section}] {shown(key)}"
            if key in known:
                written = "…" if (section, key) in _SECRETS else shown(value)
                values.given[section, key] = _Given(value, f"{place} = {written}")
            elif _is_day(section, key):
                try:
                    _DAY.read(key)
                except Expected as error:
                    values.problems.append(f"{place}: expected {error}")
                else:
                    values.given[section, key] = _Given(value, f"{place} = {shown(value)}")
            else:
                homes = [f"[{other}]" for other, keys in _RULES.items() if key in keys and other not in _GENERAL]
                home = f"; it belongs in {' or '.join(homes)}" if homes and section in _RULES else ""
                values.problems.append(f"{place}: unknown key{home or did_you_mean(key, known)}")


def _section(header: str, file: str, values: _Values, again: bool) -> str | None:
    """Return the section of a header; None if there is no such. `again`: the same one stood there before."""
    if header in _RULES:
        return header
    place = f"{file}: [{shown(header)}]"
    kind, *words = header.split() or [""]
    if kind not in _NAMED:
        known = {each: f"[{each}]" for each in _RULES} | {each: f"[{each} name]" for each in _NAMED}
        hint = did_you_mean(kind, known, known)
        values.problems.append(f"{place}: unknown section{hint}")
        return None
    try:
        section = f"{kind} {_NAME.read(' '.join(words))}"
    except Expected as error:
        values.problems.append(f"{place}: expected {error} behind {kind}")
        return None
    if section in values.named and not again:
        values.problems.append(f"{place} stands here a second time")
    values.named[section] = f"{file}: [{section}] "
    return section


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
            problems.append(
                f"{name}:{error.lineno}: {_shown_line(lines[error.lineno - 1])}: expected a [SECTION] first"
            )
            lines[error.lineno - 1] = ""
        except configparser.ParsingError as error:
            for at in [at for at, _ in error.errors] or [getattr(error, "lineno", 1)]:
                problems.append(f"{name}:{at}: {_shown_line(lines[at - 1])}: expected key = value")
                lines[at - 1] = ""
        else:
            return [(_original(section), dict(parser.items(section))) for section in parser.sections()]
    return []


def _shown_line(line: str) -> str:
    """Return a line that cannot be read, fit for a terminal; nothing of one that may hold a secret."""
    return "…" if any(key in line.lower() for _, key in _SECRETS) else shown(line)


def _original(section: str) -> str:
    return section.partition("\0")[0]


def _check_together(settings: Settings, values: _Values) -> None:
    """What must hold between values that are each right by themselves."""
    sales, pace = settings.sales, ("max_sale_freq", "min_sale_freq")
    if values.all_read("SALES", *pace):
        if sales.min_sale_freq > sales.max_sale_freq:
            both = f"{sales.min_sale_freq:g} and {sales.max_sale_freq:g}"
            values.refuse("SALES", pace, f"expected min_sale_freq to be at most max_sale_freq; they are {both}")
        elif sales.mean_seconds_between_sales < FASTEST_PACE * (1 - 1e-9):  # sums of decimals are inexact
            least = f"{FASTEST_PACE:f} seconds"
            values.refuse("SALES", pace, f"expected a mean of min_sale_freq and max_sale_freq of at least {least}")

    # Kafka takes names that differ in nothing but "." and "_" for the same, and refuses the second one.
    seen: dict[str, str] = {}
    for key in _RULES["KAFKA"]:
        if key.startswith("topic_") and values.all_read("KAFKA", key):
            other = seen.setdefault(getattr(settings.kafka, key).replace(".", "_"), key)
            if other != key:
                why = f"expected {key} and {other} to differ in more than dots and underscores"
                values.refuse("KAFKA", (key, other), why)

    if values.all_read("KAFKA", "bootstrap_servers", "auth_method"):
        _check_login(settings.kafka, values)

    clock = settings.clock
    if values.all_read("CLOCK", "start", "speed") and clock.start is None and clock.speed and clock.speed > 1:
        why = "a speed above 1 needs a start in the past, such as start = 30d, or its sales would be of the future"
        values.refuse("CLOCK", ("speed",), why)
    if isinstance(clock.start, datetime) and isinstance(clock.end, datetime) and clock.end <= clock.start:
        values.refuse("CLOCK", ("end",), f"expected an end after the start, {clock.start}")

    if values.all_read("HOURS", "every_day", *WEEKDAYS):
        _check_hours(settings, values)

    web = settings.web
    if values.all_read("WEB", "host", "token") and not is_open_to(web.host, web.token):
        values.refuse("WEB", ("host",), f"expected 127.0.0.1, or a token as well: {NO_TOKEN}")

    suppliers: dict[str, str] = {}
    for supplier in settings.suppliers:
        for category in supplier.categories:
            other = suppliers.setdefault(category, supplier.name)
            if other != supplier.name:
                why = f"expected categories of no other supplier; {shown(category)} is one of [SUPPLIER {other}]"
                values.refuse(f"SUPPLIER {supplier.name}", ("categories",), why)

    together = sum(getattr(settings.faults, kind) for kind in FAULTS)
    if values.all_read("FAULTS", *FAULTS) and together > 1:
        why = f"expected {', '.join(FAULTS)} to be at most 1 together, since a message has one fault"
        values.refuse("FAULTS", FAULTS, f"{why}; they are {together}")

    form = settings.format
    if form.value != "json" and values.all_read("FORMAT", "value", "registry", "time"):
        if not form.registry:
            values.refuse("FORMAT", ("value",), "expected a registry as well, such as registry = http://localhost:8081")
        if form.time != "sql":
            values.refuse("FORMAT", ("time",), f"expected no time beside {form.value}, which has a type for times")
        if settings.faults.any:
            values.refuse("FORMAT", ("value",), "expected json beside [FAULTS], which damage text")


_NEEDED = {
    "sasl_plain": ("sasl_username", "sasl_password"),
    "sasl_scram": ("sasl_username", "sasl_password"),
    "sasl_oauthbearer": (
        "sasl_oauthbearer_token_endpoint_url", "sasl_oauthbearer_client_id", "sasl_oauthbearer_client_secret",
    ),
    "aws_msk_iam": ("aws_region",),
}  # fmt: skip
"""Keys without which there is no login, by auth_method."""


def _check_login(kafka: KafkaSettings, values: _Values) -> None:
    method = kafka.auth_method
    if kafka.embedded and method != "plaintext":
        why = "the embedded broker asks nobody who they are. Name your cluster in [KAFKA] bootstrap_servers"
        values.refuse("KAFKA", ("auth_method",), f"expected plaintext: {why}")
    for key in _NEEDED.get(method, ()):
        by_file = f"{key}_file" if ("KAFKA", key) in _SECRETS else key
        if not getattr(kafka, key) and not getattr(kafka, by_file) and values.all_read("KAFKA", key, by_file):
            elsewhere = f", better in YASDG_KAFKA_{key.upper()} or in the file that {by_file} names"
            expected = key + (elsewhere if by_file != key else "")
            values.refuse("KAFKA", ("auth_method",), f"expected {expected} as well")
    for section, key in sorted(_SECRETS):
        if section == "KAFKA" and getattr(kafka, key) and getattr(kafka, f"{key}_file"):
            values.refuse("KAFKA", (key,), f"expected either {key} or {key}_file, not both")
    if kafka.ssl_key_file and not kafka.ssl_cert_file and values.all_read("KAFKA", "ssl_cert_file"):
        values.refuse("KAFKA", ("ssl_key_file",), "expected ssl_cert_file as well, the certificate that it belongs to")
    if method == "aws_msk_iam" and kafka.sasl_protocol == "sasl_plaintext":
        values.refuse("KAFKA", ("sasl_protocol",), "expected sasl_ssl: Amazon MSK takes IAM through TLS alone")


def _check_hours(settings: Settings, values: _Values) -> None:
    week = settings.hours.week
    if not any(week):
        values.refuse("HOURS", (*WEEKDAYS, "every_day"), "expected hours on at least one weekday")
        return
    told = False
    for day, spans in enumerate(week):
        next_day = (day + 1) % 7
        if spans and week[next_day] and spans[-1][1] - rules.DAY > week[next_day][0][0]:
            keys = [key for key in (WEEKDAYS[day], WEEKDAYS[next_day], "every_day") if ("HOURS", key) in values.given]
            if keys[0] != "every_day" or not told:  # of that one it is the same on all days
                told = told or keys[0] == "every_day"
                until, since = clock_text(spans[-1][1]), clock_text(week[next_day][0][0])
                closes = f"the hours of {WEEKDAYS[day]} to end before {WEEKDAYS[next_day]} opens at {since}"
                values.refuse("HOURS", keys, f"expected {closes}, not at {until}")

    if values.all_read("VOLUME", "every_day", *WEEKDAYS):
        curve = [factor for factors in settings.volume.week for factor in factors]
        open_hours = (
            hour
            for day, spans in enumerate(week)
            for start, end in spans
            for hour in range((rules.DAY * day + start) // 60, (rules.DAY * day + end - 1) // 60 + 1)
        )
        if not any(curve[hour % len(curve)] for hour in open_hours):
            why = "expected a number above 0 in at least one hour of the week in which the shop is open"
            values.refuse("VOLUME", (*WEEKDAYS, "every_day"), why)


# --- What others ask of the settings ---------------------------------------------------------------------------------

NO_TOKEN = "others may ask a server that this machine is not alone to reach, so set [WEB] token, or YASDG_WEB_TOKEN"


def is_open_to(host: str, token: str) -> bool:
    """Tell whether a web server may listen on an address: without a token on this machine's own alone."""
    return bool(token) or rules.is_loopback(host)


class _Product(Protocol):
    @property
    def product_id(self) -> str: ...
    @property
    def category(self) -> str: ...


def check_products(settings: Settings, products: Iterable[_Product]) -> list[str]:
    """Say what incidents and suppliers name that the catalog does not have, each with its section and key."""
    names_products = any(each.products for each in settings.incidents)
    ids: dict[str, str] = {}
    categories: dict[str, str] = {}
    for product in products:  # there may be a million of them
        if names_products:
            ids[product.product_id] = product.product_id
        if product.category not in categories:
            categories[product.category] = shown(product.category)
    scopes = [(f"[SUPPLIER {each.name}] categories", each.categories, categories) for each in settings.suppliers]
    for each in settings.incidents:
        scopes.append((f"[INCIDENT {each.name}] categories", each.categories, categories))
        scopes.append((f"[INCIDENT {each.name}] products", each.products, ids))
    return [
        f"{place}: {shown(name)} is not in the catalog of products{did_you_mean(name, known, known)}"
        for place, names, known in scopes
        for name in names
        if name not in known
    ]


def texts(settings: Settings) -> dict[str, str]:
    """Return what the stream is a function of, beside products and time, by "SECTION.key".

    Settings that mean the same have the same texts, whatever was written.
    """
    hours, volume, clock = settings.hours, settings.volume, settings.clock
    dates = {str(day): spans for day, spans in sorted(hours.dates)}
    opening = {**dict(zip(WEEKDAYS, hours.week, strict=True)), "on_holidays": hours.on_holidays, **dates}
    sections: dict[str, dict[str, Any]] = {
        "SALES": _fields(settings.sales, without=("products", "number_of_sales")),
        "INVENTORY": _fields(settings.inventory),
        "CLOCK": {
            "start": "now" if clock.start is None else clock.start,
            "speed": "max" if clock.speed is None else clock.speed,
            "time_zone": clock.time_zone,
        },
        "HOURS": {"holidays": hours.holidays, **{key: _spans(spans) for key, spans in opening.items()}},
        "VOLUME": {
            **dict(zip(WEEKDAYS, volume.week, strict=True)), "months": volume.months, "growth": volume.growth,
        },
        "SUPPLY": _supply(settings.supply, without=("name", "categories")),
    }  # fmt: skip
    for supplier in sorted(settings.suppliers, key=lambda each: each.name):
        sections[f"SUPPLIER {supplier.name}"] = _supply(supplier, without=("name",))
    for each in sorted(settings.incidents, key=lambda each: each.name):
        scope = {"categories": listed(sorted(each.categories)), "products": listed(sorted(each.products))}
        sections[f"INCIDENT {each.name}"] = _fields(each, without=("name",)) | scope
    if settings.faults.any:  # a shop without is the one it was before there were any
        sections["FAULTS"] = _fields(settings.faults)
    if (form := settings.format).value != "json" or form.time != "sql":  # likewise
        sections["FORMAT"] = _fields(form, without=("registry",))
    return {f"{section}.{key}": _text(value) for section, keys in sections.items() for key, value in keys.items()}


def _fields(settings: Any, without: Sequence[str] = ()) -> dict[str, Any]:
    return {key.name: getattr(settings, key.name) for key in fields(settings) if key.name not in without}


def _supply(supplier: SupplierSettings, without: Sequence[str]) -> dict[str, Any]:
    days = [WEEKDAYS[day] for day in sorted(supplier.delivery_days)]
    meant = {"delivery_days": days, "categories": listed(sorted(supplier.categories))}
    return {key: meant.get(key, value) for key, value in _fields(supplier, without).items()}


def _spans(spans: Iterable[Span]) -> list[str]:
    return [span_text(span) for span in spans] or ["closed"]


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case timedelta():
            return _text(value.total_seconds())
        case Decimal():
            return f"{value.normalize():f}"  # .10 is .1
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))  # 8.0 is 8
        case tuple() | list():
            return ", ".join(_text(each) for each in value)
        case _:
            return str(value)


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
