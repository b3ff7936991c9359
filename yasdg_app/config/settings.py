"""The settings: frozen dataclasses, one for each section of config/configuration.ini.

Each key is described once: one line of a dataclass holds its type, its default and the rule that parses it. `ini.load`
builds the dataclasses from the file and the environment. This module must not know what the settings are used for: it
imports neither Faust nor Kafka, and opens no file.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from yasdg_app.config import rules
from yasdg_app.config.rules import Rule, Span

T = TypeVar("T")

LARGEST_QUANTITY = 2
"""The most units that one sale takes without [SALES] quantities. Every shop's shelves hold at least this many."""

MAX_QUANTITIES = 8
"""The most units that [SALES] quantities allows in one sale."""

OUT_OF = 10
"""Frequencies in the configuration are chances out of ten, as in the seed."""

MIN_SECONDS_BETWEEN_SALES = 0.000_002
"""The lowest mean allowed, in seconds: 500,000 sales per second."""


def _key(default: T, rule: Rule[T], *, secret: bool = False) -> T:
    """Return a key of the configuration file as a dataclass field; a secret value is never shown."""
    return field(default=default, repr=not secret, metadata={"rule": rule, "secret": secret})


AUTH_METHODS = ("plaintext", "ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer", "aws_msk_iam")
"""How a client authenticates. All methods but plaintext use TLS, unless `sasl_protocol` says otherwise."""


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """[KAFKA]: the brokers, the names used on them, and authentication."""

    bootstrap_servers: str = _key("embedded", rules.servers())
    """`embedded`: Apache Kafka started on this machine; otherwise `host:port[,host:port]`, each with its port."""
    embedded_port: int = _key(9092, rules.whole(1, 65535))
    """The port on this machine on which the embedded broker listens."""
    data_dir: Path = _key(Path(".yasdg"), rules.path())
    """Folder for what the embedded broker and the workers keep on disk; absolute after `load`."""
    application_id: str = _key("yasdg", rules.kafka_name(200, "a name"))
    """Workers with the same id share the work."""
    topic_products: str = _key("demo.products", rules.kafka_name(249, "a topic name"))
    topic_purchases: str = _key("demo.purchases", rules.kafka_name(249, "a topic name"))
    topic_stockings: str = _key("demo.stockings", rules.kafka_name(249, "a topic name"))
    topic_lost_sales: str = _key("demo.lost_sales", rules.kafka_name(249, "a topic name"))
    topic_incidents: str = _key("demo.incidents", rules.kafka_name(249, "a topic name"))
    topic_dead_letters: str = _key("demo.dead_letters", rules.kafka_name(249, "a topic name"))
    topic_dirty: str = _key("demo.dirty_purchases", rules.kafka_name(249, "a topic name"))
    """Exists only with [FAULTS], as does `topic_faults`."""
    topic_faults: str = _key("demo.faults", rules.kafka_name(249, "a topic name"))
    partitions: int = _key(8, rules.whole(1, 1024))
    """Partitions of every topic, and so the highest number of workers that share the work."""
    replication_factor: int = _key(1, rules.whole(1, 9))
    """Copies of a topic on an existing cluster; the embedded broker always keeps one."""
    auth_method: str = _key("plaintext", rules.choice(*AUTH_METHODS))
    """How the worker authenticates to the cluster; one of AUTH_METHODS."""
    ssl_ca_file: Path | None = _key(None, rules.path_if_any())
    """CA certificates that verify the brokers, PEM; None: those this machine trusts. Absolute after `load`."""
    ssl_cert_file: Path | None = _key(None, rules.path_if_any())
    """Client certificate, PEM; None: the client sends none."""
    ssl_key_file: Path | None = _key(None, rules.path_if_any())
    """Private key of the client certificate, PEM; None: it is in `ssl_cert_file`."""
    ssl_key_password: str = _key("", rules.line(), secret=True)
    ssl_key_password_file: Path | None = _key(None, rules.path_if_any())
    sasl_protocol: str = _key("sasl_ssl", rules.choice("sasl_ssl", "sasl_plaintext"))
    """Whether SASL uses TLS (`sasl_ssl`), or clear text that anyone on the network can read (`sasl_plaintext`)."""
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
    """Extensions sent to the cluster with the token, by name."""
    aws_region: str = _key("", rules.line())
    aws_profile: str = _key("", rules.line())
    """Profile of the AWS credentials on this machine; empty: AWS's default credential chain."""
    aws_role_arn: str = _key("", rules.line())
    """Role to assume with those credentials; empty: none."""

    @property
    def embedded(self) -> bool:
        """Whether YASDG runs the broker itself."""
        return self.bootstrap_servers == "embedded"


@dataclass(frozen=True, slots=True)
class SalesSettings:
    """[SALES]: what is sold, how fast, and how customers behave."""

    products: Path = _key(Path("products.csv"), rules.path())
    """Path of the catalog; absolute after `load`."""
    seed: int = _key(42, rules.whole(0, 2**64 - 1))
    """The same seed, catalog and settings give the same sales."""
    min_sale_freq: float = _key(1.0, rules.seconds(above_zero=False))
    """Shortest time between two sales in seconds, over the whole shop."""
    max_sale_freq: float = _key(3.0, rules.seconds(above_zero=True))
    """Longest time between two sales in seconds, over the whole shop."""
    number_of_sales: int = _key(0, rules.whole(0, 10**18, " (0: it never ends)"))
    """Number of sales after which the shop closes; 0: never."""
    quantity_one_freq: int | float = _key(8, rules.number(10))
    """Of 10 sales, those of one unit; the others are of two. Not used with `quantities`."""
    quantities: tuple[int, ...] = _key((), rules.quantities(MAX_QUANTITIES))
    """Weights of sales of 1, 2, … units, in smallest whole numbers; (): see `quantity_one_freq`."""
    member_freq: int | float = _key(3, rules.number(10))
    """Of 10 sales, those to club members."""
    club_member_discount: Decimal = _key(Decimal("0.10"), rules.share())
    """Share of the price that members are not charged."""
    add_supp_freq_group1: int | float = _key(5, rules.number(10))
    """Of 10 sales of a product of supplement group 1, those with a supplement."""
    add_supp_freq_group2: int | float = _key(2, rules.number(10))
    """Of 10 sales of a product of supplement group 2, those with a supplement."""
    supplements_cost: Decimal = _key(Decimal("1.99"), rules.money())
    """Price of a supplement for one unit."""
    supplements_cogs: Decimal = _key(Decimal("0.50"), rules.money())
    """Cost of a supplement for one unit to the shop."""
    substitution_freq: int | float = _key(0, rules.number(10))
    """Of 10 customers who find too little of a product, those who buy another product of its category."""

    @property
    def mean_seconds_between_sales(self) -> float:
        """Mean time between two sales in seconds, over the whole shop; at least `MIN_SECONDS_BETWEEN_SALES`."""
        return self.min_sale_freq / 2 + self.max_sale_freq / 2  # halved first: the sum may overflow

    @property
    def largest_quantity(self) -> int:
        """The most units that one sale takes.

        Stock never falls below zero as long as every shelf keeps at least this many.
        """
        return len(self.quantities) or LARGEST_QUANTITY

    @property
    def quantity_thresholds(self) -> tuple[int | float, ...]:
        """Of 10 sales, those of at most 1, 2, … units, without the largest quantity."""
        if not self.quantities:
            return (self.quantity_one_freq,)
        total = sum(self.quantities)
        return tuple(OUT_OF * weights / total for weights in accumulate(self.quantities[:-1]))

    @property
    def mean_quantity(self) -> float:
        """Mean units that a customer wants."""
        return self.largest_quantity - sum(self.quantity_thresholds) / OUT_OF


@dataclass(frozen=True, slots=True)
class InventorySettings:
    """[INVENTORY]: when a shelf is restocked, and by how much.

    The lowest values allowed ensure that a shelf always holds the largest quantity of one sale; with [SALES] quantities
    of more units, `checks` demands more.
    """

    min_inventory: int = _key(10, rules.whole(LARGEST_QUANTITY - 1, 10**9))
    """A sale that leaves at most this many units on the shelf triggers a restock."""
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
    """Event time of the first moment: a time on the shop's clock (naive), a duration before now, or None: now."""
    speed: float | None = _key(None, rules.speed())
    """How many times faster than real time event time passes, until it reaches the present; None: at once."""
    end: datetime | timedelta | None = _key(None, rules.moment_or_duration("never", "after the start"))
    """Event time of the shop's last moment: a time on the shop's clock, a duration after the start, or None: never."""
    time_zone: str = _key("UTC", rules.time_zone())
    """Name in the tz database of the time zone of the shop's clock."""
    on_restart: str = _key("catch_up", rules.choice("catch_up", "skip"))
    """What happens to the time in which no worker ran: `catch_up` or `skip`."""


@dataclass(frozen=True, slots=True)
class HoursSettings:
    """[HOURS]: opening hours, on the shop's clock. Spans are sorted and do not overlap; no spans: closed."""

    week: tuple[tuple[Span, ...], ...] = (ALWAYS,) * 7
    """By weekday, from Monday."""
    dates: tuple[tuple[date, tuple[Span, ...]], ...] = ()
    """Dates with their own hours, which override weekday and holiday."""
    holidays: str = ""
    """Country, or country-subdivision, whose public holidays count, such as DE or DE-BY; empty: none."""
    on_holidays: tuple[Span, ...] = ()
    """Hours on a public holiday."""


@dataclass(frozen=True, slots=True)
class VolumeSettings:
    """[VOLUME]: how demand varies by hour, season and year."""

    week: tuple[tuple[float, ...], ...] = (FLAT,) * 7
    """By weekday from Monday, 24 hours each; relative weights."""
    months: tuple[float, ...] = (1.0,) * 12
    """By month from January; relative weights."""
    growth: float = 0.0
    """Share by which demand grows in a year; above -1."""


@dataclass(frozen=True, slots=True)
class SupplierSettings:
    """[SUPPLY], and [SUPPLIER name] for the products of some categories."""

    name: str = ""
    """Empty: the default supplier, for products without a supplier of their own."""
    categories: tuple[str, ...] = _key((), rules.names("categories"))
    lead_time: tuple[timedelta, timedelta, timedelta] = _key((timedelta(0),) * 3, rules.lead_time())
    """Time from order to delivery: shortest, most frequent, longest (triangular distribution); all equal: fixed."""
    delivery_days: tuple[int, ...] = _key((0, 1, 2, 3, 4, 5, 6), rules.weekdays())
    """Weekdays (Monday is 0) with deliveries."""
    partial_freq: int | float = _key(0, rules.number(10))
    """Of 10 deliveries, those that bring only part of the outstanding units."""


INCIDENT_KINDS = {
    "storm": 0.3, "power_outage": 0.0, "promotion": 2.5, "viral": 4.0, "road_works": 0.7, "supply": 0.0, "custom": None,
}  # fmt: skip
"""Kinds of incidents with the default factor of each; None: a factor is required."""

# Limits of an incident, whatever its source: a file, a request, or a record of the control topic. A record that was
# valid once on that topic stays valid, so these limits may only be widened (pinned in test_control_limits.py).
MAX_FACTOR = 100
MAX_DISCOUNT = 9_999  # ten-thousandths of the price
MAX_DURATION = rules.MAX_DURATION
DISCOUNTED_KINDS = ("promotion", "custom")
KINDS_WITHOUT_RAMPS = ("supply",)


@dataclass(frozen=True, slots=True)
class IncidentSettings:
    """[INCIDENT name]: an event that happens to the shop, once or repeatedly."""

    name: str
    kind: str = field(metadata={"rule": rules.choice(*INCIDENT_KINDS)})
    """One of INCIDENT_KINDS."""
    start: datetime | None = _key(None, rules.moment())
    """Start time on the shop's clock; None: the incident occurs at random times."""
    every: timedelta | None = _key(None, rules.duration(minutes=True))
    """Mean time between two random occurrences; None: the incident occurs once, at `start`."""
    duration: timedelta = _key(timedelta(hours=1), rules.duration(minutes=True))
    """Time from start to end, including ramps. Whole minutes, like all times of an incident."""
    ramp_up: timedelta = _key(timedelta(0), rules.duration(zero=True, minutes=True))
    """Time from the start until the full effect."""
    ramp_down: timedelta = _key(timedelta(0), rules.duration(zero=True, minutes=True))
    """Time before the end in which the effect fades."""
    categories: tuple[str, ...] = _key((), rules.names("categories"))
    products: tuple[str, ...] = _key((), rules.product_ids())
    """Products affected, besides those of the categories; with neither, all products are affected."""
    factor: float = _key(1.0, rules.number(MAX_FACTOR))
    """Factor on demand; for kind `supply`, on the speed of deliveries, where 0 stops them."""
    discount: Decimal = _key(Decimal(0), rules.share(below_one=True))
    """Price discount while the incident lasts, as a share with at most four decimals; not ramped."""


FAULTS = ("late", "duplicate", "dropped", "out_of_order", "corrupt")
"""What a faulty network does to a message; [FAULTS] sets the share of sales for each."""


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """[FAULTS]: network faults of sales messages; `topic_dirty` has the messages as they arrive.

    A message has at most one fault.
    """

    late: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """Share of sales that arrive late, by `late_by`."""
    duplicate: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """Share that arrives twice, one copy right after the other."""
    dropped: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """Share that never arrives."""
    out_of_order: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """Share that is delayed by up to `out_of_order_by`, so that other messages overtake it."""
    corrupt: Decimal = _key(Decimal(0), rules.share(of_a_million=True))
    """Share with an unreadable value."""
    late_by: tuple[timedelta, timedelta] = _key((timedelta(minutes=1), timedelta(minutes=10)), rules.delay())
    """Shortest and longest delay; uniformly distributed."""
    out_of_order_by: timedelta = _key(timedelta(seconds=5), rules.duration())
    """Longest delay; uniformly distributed from 0."""

    @property
    def any(self) -> bool:
        """Whether any fault is configured."""
        return any(getattr(self, kind) for kind in FAULTS)


@dataclass(frozen=True, slots=True)
class FormatSettings:
    """[FORMAT]: the message format on the public topics."""

    value: str = _key("json", rules.choice("json", "avro", "protobuf"))
    """Value format of products, purchases, stockings, lost sales and incidents."""
    registry: str = _key("", rules.address(), secret=True)
    """Schema registry for Avro and Protobuf: http(s)://[user:password@]host[:port]; empty: none."""
    time: str = _key("sql", rules.choice("sql", "iso-z", "epoch_ms", "epoch_us"))
    """How times are written in JSON."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """[WEB]: where the worker's web server listens, and which clients may use it."""

    host: str = _key("127.0.0.1", rules.host())
    """Address or name on which it listens; an IPv6 address without brackets."""
    port: int = _key(6066, rules.whole(1, 65535))
    token: str = _key("", rules.token(), secret=True)
    """Bearer token required from clients; empty: none, allowed only for a server that only this machine can reach."""


@dataclass(frozen=True, slots=True)
class DatastoreSettings:
    """[DATASTORE]: database that receives a copy of the inventory."""

    url: str = _key("", rules.datastore(), secret=True)
    """`sqlite:///file`, `postgresql://…` or `dynamodb://table`; may contain a password. Empty: none."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The complete configuration. `source` is the file it was read from; None: no file."""

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
    notes: tuple[str, ...] = ()
    """What was understood in another way than the file says it, one line each; printed at the start."""
