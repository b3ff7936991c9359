"""The settings: frozen dataclasses, one for each section of config/configuration.ini.

Each key is described once: one line of a dataclass has its type, its default and the rule that reads it. `ini.load`
makes them from the file and the environment. This file must not know what the settings are used for: it imports no
Faust and no Kafka, and opens no file.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from yasdg_app.config import rules
from yasdg_app.config.rules import Rule, Span

T = TypeVar("T")

LARGEST_QUANTITY = 2
"""The most units that one sale takes. Stock never falls below zero as long as no shelf is ever left with fewer."""

MIN_SECONDS_BETWEEN_SALES = 0.000_002
"""The mean at the highest rate allowed, 500,000 sales a second."""


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
    """Copies of a topic on an existing cluster; the embedded broker, being one, keeps one whatever is set here."""
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
        """Over the whole shop; from `MIN_SECONDS_BETWEEN_SALES` up."""
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
MAX_DURATION = rules.MAX_DURATION
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
    """The share that arrives twice, one right after the other."""
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
