"""The messages that an audit reads, and the account it keeps for each product: all that it remembers of a log."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from yasdg_app.audit.report import AuditFinding, AuditReport
from yasdg_app.config import catalog
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.kafka.decoding import UNREADABLE, reason_of
from yasdg_app.kafka.reader import Message
from yasdg_app.messages.reference import amount
from yasdg_app.messages.times import time_text
from yasdg_app.shop import shelf
from yasdg_app.shop.shelf import Restock, Shelf

BEGINNING_OF_TIME = datetime.min
END_OF_TIME = datetime.max
EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
LAST_MICROSECOND = (END_OF_TIME - EPOCH) // MICROSECOND
NO_LEVEL = -(2**62)  # below every level that a sale can leave


class AuditedSale(msgspec.Struct, gc=False):
    """A purchase with all of its fields."""

    transaction_time: datetime
    product_id: str
    price: float
    quantity: int
    is_member: bool
    member_discount: float
    add_supplements: bool
    supplement_price: float
    total_purchase: float
    transaction_id: str
    total_cost: float | None
    promotion_discount: float
    substituted_from: str | None


class AuditedLostSale(msgspec.Struct, gc=False):
    """A message on the lost sales topic with all of its fields."""

    event_time: datetime
    product_id: str
    quantity: int
    value: float
    reason: str
    level: int
    promised: datetime | None
    incident: str | None
    substitute: str | None
    lost_sale_id: str


class AuditedRestock(msgspec.Struct, gc=False):
    """A message on the stockings topic with all of its fields."""

    event_time: datetime
    product_id: str
    existing_level: int
    stock_quantity: int
    new_level: int
    stocking_id: str


class AuditedProduct(msgspec.Struct):
    """The fields that an audit needs from a message on the products topic."""

    product_id: str
    price: float
    inventory: int
    cost: float | None = None


read_sale = msgspec.json.Decoder(AuditedSale).decode
read_lost = msgspec.json.Decoder(AuditedLostSale).decode
read_restock = msgspec.json.Decoder(AuditedRestock).decode
_read_product = msgspec.json.Decoder(AuditedProduct).decode

Find = Callable[[str, str, int, str], None]
"""Records a finding in the partition being audited: kind, topic, offset, text."""


class Topics(NamedTuple):
    """Names of the topics."""

    products: str
    purchases: str
    stockings: str
    lost_sales: str
    incidents: str
    dead_letters: str

    @classmethod
    def of(cls, kafka: KafkaSettings) -> "Topics":
        """Return the configured names."""
        return cls(*(getattr(kafka, f"topic_{name}") for name in cls._fields))

    @property
    def partitioned(self) -> tuple[str, ...]:
        """The topics with several partitions."""
        return self.purchases, self.stockings, self.lost_sales, self.dead_letters

    @property
    def copied(self) -> tuple[str, ...]:
        """The topics whose foreign messages are copied to the dead letters; on other topics they are ignored."""
        return self.purchases, self.lost_sales


class Deleted(NamedTuple):
    """What was deleted at the start of a partition."""

    first: int  # first offset that is still there
    number: int | None  # of the shop's messages before it; None if no remaining batch says so

    @property
    def text(self) -> str:
        """Description of what was deleted."""
        what = "messages" if self.number is None else f"{self.number} messages of the shop"
        return f"{what} at the beginning, before offset {self.first}, were deleted and cannot be audited"


class PublishedRestock(NamedTuple):
    """A restock that is in the log, or should be."""

    at: datetime
    number: int
    levels: tuple[int, int, int]  # before, added, after
    offset: int  # if expected: that of the sale that follows it
    place: int = 0  # position among the restocks read from the partition


class PendingLostSale(NamedTuple):
    """A lost sale that was read but not yet compared with the shelf."""

    at: datetime
    lost: AuditedLostSale
    offset: int


class MissingSales(NamedTuple):
    """Sales that are missing from the log."""

    first: int
    last: int
    offset: int  # of the sale after them


@dataclass(slots=True)
class WorkerTableRow:
    """The row of a product in the workers' table."""

    fields: Mapping[str, Any]
    sales: int
    lost_sales: int

    def differences(self, log: Mapping[str, Any]) -> str:
        """Return how the table differs from the log; an empty text if it does not."""
        fields = self.fields
        return "; ".join(f"{name} is {fields.get(name)}, not {v}" for name, v in log.items() if fields.get(name) != v)


@dataclass(slots=True)
class ProductAccount:
    """What is known of one product after the sales examined so far.

    Attributes
    ----------
    wake
        Event time from which something other than a sale has to be examined.
    floor
        A sale that leaves this level or less has to be examined, units.
    certain
        False: an error was found, so the level is unknown until the next restock states it.
    blind
        True: the sale before the next one is unknown, so a restock between the two may come before or after it.
    ways
        Ways to buy the product that are known to be right at the current promotion: their cents, and the goods' cost.
    came
        Deliveries on the shelf whose sale was not examined yet; the log contains them only after that sale.
    told
        Restocks that were read and whose sales were not.
    owed
        Restocks that are expected after the end of what was read.
    shift
        By how much the log numbers restocks higher than it should; this was reported.
    is_followed
        False: sales at the start were deleted, so neither the level nor the quantity on order can be known.
    """

    product: catalog.Product
    key: bytes
    shelf: Shelf
    floor: int
    wake: datetime = END_OF_TIME
    number: int = 0  # of the last sale
    at: datetime = BEGINNING_OF_TIME
    offset: int = -1
    sold: int = 0
    revenue_cents: int = 0
    cost_cents: int = 0
    certain: bool = True
    blind: bool = False
    ways: dict[tuple[Any, ...], tuple[int, int]] = field(default_factory=dict)
    came: list[Restock] = field(default_factory=list)
    told: deque[PublishedRestock] = field(default_factory=deque)
    told_number: int = 0  # of the last restock that was read
    first_told: int | None = None  # number of the first restock that was read
    owed: deque[PublishedRestock] = field(default_factory=deque)
    shift: int = 0
    is_followed: bool = True
    gaps: list[MissingSales] = field(default_factory=list)
    row: WorkerTableRow | None = None
    lost: deque[PendingLostSale] = field(default_factory=deque)
    lost_number: int = 0  # of the last lost sale that was read
    lost_at: datetime = BEGINNING_OF_TIME
    lost_offset: int = -1
    lost_units: int = 0
    lost_cents: int = 0
    substituted: int = 0  # units

    @classmethod
    def of(cls, product: catalog.Product, min_inventory: int) -> "ProductAccount":
        """Open the account of a product."""
        return cls(product, product.product_id.encode(), Shelf.of(product), min_inventory)

    def refresh(self, min_inventory: int) -> None:
        """Recompute the level that needs an examination, and the time of the next event that is not a sale."""
        if not self.is_followed:
            self.wake, self.floor = END_OF_TIME, NO_LEVEL
            return
        wakes = [BEGINNING_OF_TIME] if self.came or self.blind else []
        if self.told:
            wakes.append(self.told[0].at)
        if self.lost:
            wakes.append(self.lost[0].at)
        if self.certain and self.shelf.due != shelf.END_OF_TIME:
            wakes.append(moment(self.shelf.due))
        self.wake = min(wakes, default=END_OF_TIME)
        self.floor = (-1 if self.shelf.on_order else min_inventory) if self.certain else NO_LEVEL


def micros(at: datetime) -> int:
    """Return an event time in microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def moment(at: int) -> datetime:
    """Convert microseconds since 1970 to an event time; a time beyond the range of datetime becomes the latest."""
    return EPOCH + timedelta(microseconds=at) if at < LAST_MICROSECOND else END_OF_TIME


def text_of(at: int) -> str:
    """Return an event time in the notation of the table; beyond the range of datetime, the microseconds as a number."""
    try:
        return time_text(at)
    except UNREADABLE:
        return str(at)


def read_products(
    records: Iterable[Message], topic: str, report: AuditReport, products: Sequence[catalog.Product] = ()
) -> None:
    """Check that the products topic contains each product of the catalog once, with the catalog's values.

    If other producers have written to the topic, a product may occur again: the shop publishes it again after a foreign
    message.
    """
    may_repeat = report.foreign_in(topic).count > 0
    told: dict[str, AuditedProduct] = {}
    values: dict[str, bytes | None] = {}
    offset = 0
    for record in records:
        offset = record.offset
        try:
            product = _read_product(record.value or b"")
        except UNREADABLE as error:
            report.add(AuditFinding("unreadable", topic, 0, offset, reason_of(error)))
            continue
        before = told.get(product.product_id)
        if may_repeat and product == before:
            continue
        if before is not None and (record.value == values[product.product_id] or product != before):
            what = "double product" if product == before else "changed product"
            report.add(AuditFinding(what, topic, 0, offset, product.product_id))
        values[product.product_id] = record.value
        told[product.product_id] = product
    report.products = len(told)
    for of in products:
        cost = None if of.cost_cents is None else amount(of.cost_cents)
        if told.get(of.product_id) != AuditedProduct(of.product_id, amount(of.price_cents), of.inventory, cost):
            what = "changed product" if of.product_id in told else "missing product"
            report.add(AuditFinding(what, topic, 0, offset, f"{of.product_id} is not told of as the catalog has it"))
