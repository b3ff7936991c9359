"""The messages on the topics: their fields, in the seed's order and then ours, and their fast encoding.

The records are what Faust's commands show and what readers of the stream may use as models; the functions below them
make the same bytes faster. Amounts are integer cents inside, and numbers with two decimals at most on the wire.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

import faust
import msgspec
import orjson
from aiokafka.partitioner import murmur2
from msgspec import Meta

from yasdg_app.config import catalog
from yasdg_app.config.settings import SalesSettings
from yasdg_app.errors import YasdgError
from yasdg_app.kafka.decoding import UnreadableError, decoded
from yasdg_app.shop import shelf, till
from yasdg_app.shop.customer_behaviour import WAYS, line_of, terms_of
from yasdg_app.shop.incidents import Incident
from yasdg_app.shop.price import TEN_THOUSAND, Line, Terms
from yasdg_app.shop.till import Sales

SECOND = 1_000_000  # microseconds
EPOCH = datetime(1970, 1, 1)
NUMBER = re.compile("[0-9]{6,18}")
MAX_QUANTITY = 2**52  # units of a sale, as exact in an array of floats as here
MAX_AMOUNT = 2**45  # of a sale, in the currency of its prices: exact in cents, too
MOST_PREPARED = 50_000  # kinds of purchases that an encoder keeps prepared: a big catalog has millions of them


class Product(faust.Record, serializer="json"):
    """A product of the shop, on `demo.products`. Key: product_id."""

    product_id: str
    category: str
    item: str
    size: str
    price: float
    inventory: int
    contains_fruit: bool
    contains_veggies: bool
    contains_nuts: bool
    contains_caffeine: bool
    range_weight: float
    cost: float | None = None


class Purchase(faust.Record, serializer="json"):
    """A sale, on `demo.purchases`. Key: product_id. `transaction_id` CS01-000042 is the 42nd sale of CS01.

    ``total_purchase = quantity × (price + supplement_price) × (1 − member_discount) × (1 − promotion_discount)``, and
    its margin is ``total_purchase − total_cost``.
    """

    transaction_time: str
    product_id: str
    price: float
    quantity: int
    is_member: bool
    member_discount: float
    add_supplements: bool
    supplement_price: float
    total_purchase: float
    transaction_id: str
    total_cost: float | None = None  # of its goods and supplements to the shop; null where the catalog does not say
    promotion_discount: float = 0.0
    substituted_from: str | None = None  # product_id of what the customer had asked for, and there was too little of


class LostSale(faust.Record, serializer="json"):
    """A customer who found too little on the shelf, on `demo.lost_sales`. Key: product_id.

    `lost_sale_id` CS01-L000003 is the third one of CS01. ``demand = sold − sold instead of others + lost``.
    """

    event_time: str
    product_id: str
    quantity: int  # wanted
    value: float  # what the purchase would have been worth
    reason: str  # one of `REASONS`
    level: int  # units that were left
    promised: str | None  # event time at which more was to come
    incident: str | None  # what holds it up, once it is late
    substitute: str | None  # product_id of what the customer took instead
    lost_sale_id: str


class Announcement(faust.Record, serializer="json"):
    """That an incident begins or ends, on `demo.incidents`. Key: its name."""

    event_time: str
    incident: str
    kind: str
    phase: str  # start or end
    start: str
    end: str  # as planned when it starts
    ramp_up: float  # seconds until it has its full effect
    ramp_down: float  # seconds in which the effect fades
    factor: float  # on demand; of kind supply: on the speed of deliveries
    discount: float
    categories: list[str]
    products: list[str]  # neither these nor categories: all products


REASONS = ("sold_out", "too_few", "held_up")
"""Nothing was left; less than was wanted; either, while a delivery is late because of an incident."""


class Stocking(faust.Record, serializer="json"):
    """A restock, on `demo.stockings`. Key: product_id. `stocking_id` CS01-R000007 is the 7th restock of CS01."""

    event_time: str
    product_id: str
    existing_level: int
    stock_quantity: int
    new_level: int
    stocking_id: str


class Fault(faust.Record, serializer="json"):
    """What a flawed network did to a sale, on `demo.faults`. Key: product_id.

    `fault_id` CS01-F000042 is the fault of the 42nd sale of CS01. Kinds: see `faults.KINDS`.
    """

    event_time: str  # of the sale
    product_id: str
    transaction_id: str
    kind: str
    released_at: str | None  # event time at which it arrives on `demo.dirty_purchases`; null: it never does
    delay: float  # seconds from one to the other
    fault_id: str


FAULT, FAULT_ID, FAULT_TIME = "yasdg-fault", "yasdg-fault-id", "yasdg-transaction-time"
"""Headers of a message on `demo.dirty_purchases` that has a fault: its kind, its fault_id, and of one that is corrupt
the time of the sale. Of a duplicate the second copy has them."""


class ToldFault(msgspec.Struct, frozen=True):
    """The fields of a fault that say where it stands among others."""

    event_time: datetime
    product_id: str
    kind: str
    released_at: datetime | None
    fault_id: str


class ToldStocking(msgspec.Struct, frozen=True):
    """The fields of a restock that tell it from others, checked as they are read."""

    product_id: str
    stocking_id: str


class InventoryLevel(msgspec.Struct, gc=False):
    """What the inventory table holds of a product; at any time ``initial + restocked - sold == level``."""

    product_id: str
    level: int
    initial: int
    sales: int  # number of sales applied, which is the number of the last one
    sold: int
    stockings: int
    restocked: int
    revenue_cents: int
    cost_cents: int
    last_sale: str  # event time of the last sale
    offset: int  # of the last sale in its partition of the purchases topic
    stocking_offset: int = -1  # in the stockings topic; the last restock stands there or behind it
    on_order: int = 0  # units that the supplier has not delivered yet
    ordered_at: str = ""  # event time from which their lead time runs
    promised: str = ""  # event time at which they were to come; an incident may make it later
    margin_cents: int = 0  # revenue less cost
    lost_sales: int = 0  # number of lost sales applied, which is the number of the last one
    lost: int = 0  # units that were asked for in vain
    lost_cents: int = 0  # what they would have brought
    substituted: int = 0  # units that were asked for in vain, and another product was taken instead
    last_lost: str = ""  # event time of the last lost sale
    lost_offset: int = -1  # of the last lost sale in its partition of the lost sales topic

    def asdict(self) -> dict[str, Any]:
        """Return the fields by name, in the order of the JSON."""
        return msgspec.structs.asdict(self)


class Turned(msgspec.Struct, frozen=True):
    """The fields of a lost sale that the books need, checked as they are read."""

    event_time: datetime
    product_id: str
    quantity: int
    value: float
    substitute: str | None
    lost_sale_id: str


Write = Callable[[bytes], bytes]
"""Turns a message as it is made here into the format of the topics."""

HomeOf = Callable[[str], int | None]
"""Returns the partition of a product, by its id; None if there is no such product."""


class NoPurchaseError(YasdgError):
    """A message is no purchase of this shop, or no lost sale; the text says why."""


class Sold(msgspec.Struct, frozen=True):
    """The fields of a purchase that the books need, checked as they are read."""

    transaction_time: datetime
    product_id: str
    quantity: int
    total_purchase: float
    transaction_id: str
    total_cost: float | None = None


class SoldHere(Sold, frozen=True, gc=False):
    """A purchase with which nothing is wrong as far as it can be told without knowing the shop."""

    transaction_time: Annotated[datetime, Meta(tz=False)]
    quantity: Annotated[int, Meta(ge=1)]


class TurnedHere(Turned, frozen=True, gc=False):
    """A lost sale with which nothing is wrong as far as it can be told without knowing the shop."""

    event_time: Annotated[datetime, Meta(tz=False)]
    quantity: Annotated[int, Meta(ge=1)]


_read_turned = msgspec.json.Decoder(Turned).decode
_read_sold = msgspec.json.Decoder(Sold).decode
read_sold: Callable[[bytes], Sold] = msgspec.json.Decoder(SoldHere).decode
read_turned: Callable[[bytes], Turned] = msgspec.json.Decoder(TurnedHere).decode
read_fault = msgspec.json.Decoder(ToldFault).decode
read_stocking = msgspec.json.Decoder(ToldStocking).decode
read_level = msgspec.json.Decoder(InventoryLevel).decode  # what Faust itself once wrote has a field more: left out
encode_level = msgspec.json.Encoder().encode


def time_text(at: int) -> str:
    """Return an event time (microseconds since 1970, UTC) as `YYYY-MM-DD HH:MM:SS.ffffff`, always with six digits."""
    seconds, microseconds = divmod(at, SECOND)
    return f"{_seconds_text(seconds)}.{microseconds:06d}"


@lru_cache(maxsize=4096)
def _seconds_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def event_time(text: str) -> int:
    """Return the microseconds since 1970 of a time made by `time_text`."""
    return microseconds(datetime.fromisoformat(text))


def microseconds(moment: datetime) -> int:
    """Return an event time as microseconds since 1970."""
    passed = moment - EPOCH
    return (passed.days * 86_400 + passed.seconds) * SECOND + passed.microseconds


def home(product_id: str, partitions: int) -> int:
    """Return the partition of a product's messages, as Kafka's default partitioner has it."""
    return int((murmur2(product_id.encode()) & 0x7FFFFFFF) % partitions)


def transaction_id(product_id: str, number: int) -> str:
    """Return the id of the `number`-th sale of a product."""
    return f"{product_id}-{number:06d}"


def lost_sale_id(product_id: str, number: int) -> str:
    """Return the id of the `number`-th lost sale of a product."""
    return f"{product_id}-L{number:06d}"


def fault_id(product_id: str, number: int) -> str:
    """Return the id of the fault of the `number`-th sale of a product."""
    return f"{product_id}-F{number:06d}"


def amount(cents: int) -> float:
    """Return cents as the number that stands in a message."""
    return cents / 100


def product(of: catalog.Product) -> Product:
    """Return the message that tells of a product."""
    return Product(**_product_fields(of))


def product_json(of: catalog.Product) -> bytes:
    """Return the JSON of the message that tells of a product; for a million of them a record each takes too long."""
    return orjson.dumps(_product_fields(of))


def _product_fields(of: catalog.Product) -> dict[str, Any]:
    return {
        "product_id": of.product_id,
        "category": of.category,
        "item": of.item,
        "size": of.size,
        "price": amount(of.price_cents),
        "inventory": of.inventory,
        "contains_fruit": of.contains_fruit,
        "contains_veggies": of.contains_veggies,
        "contains_nuts": of.contains_nuts,
        "contains_caffeine": of.contains_caffeine,
        "range_weight": int(of.range_weight) if of.range_weight == int(of.range_weight) else of.range_weight,
        "cost": None if of.cost_cents is None else amount(of.cost_cents),
    }


def purchase(at: int, number: int, line: Line, instead_of: str | None = None) -> Purchase:
    """Return the message that tells of one sale: the plain way, and the reference of `PurchaseEncoder`."""
    return Purchase(
        transaction_time=time_text(at),
        product_id=line.product.product_id,
        price=amount(line.product.price_cents),
        quantity=line.quantity,
        is_member=line.is_member,
        member_discount=line.member_discount / TEN_THOUSAND,
        add_supplements=line.add_supplements,
        supplement_price=amount(line.supplement_cents),
        total_purchase=amount(line.total_cents),
        transaction_id=transaction_id(line.product.product_id, number),
        total_cost=None if line.cost_cents is None else amount(line.cost_cents),
        promotion_discount=line.promotion / TEN_THOUSAND,
        substituted_from=instead_of,
    )


def reason(lost: till.LostSale) -> str:
    """Return why a sale was lost; one of `REASONS`."""
    return "held_up" if lost.held_up_by else "too_few" if lost.level else "sold_out"


def lost_sale(products: Sequence[catalog.Product], lost: till.LostSale, sales: SalesSettings) -> LostSale:
    """Return the message that tells of a lost sale: the plain way, and the reference of `LostSaleEncoder`.

    `products`: those of the till.
    """
    of = products[lost.product]
    line = line_of(of, lost.way, lost.promotion, sales)
    return LostSale(
        event_time=time_text(lost.at),
        product_id=of.product_id,
        quantity=line.quantity,
        value=amount(line.total_cents),
        reason=reason(lost),
        level=lost.level,
        promised=None if lost.promised == shelf.NEVER else time_text(lost.promised),
        incident=lost.held_up_by,
        substitute=None if lost.substitute == till.NOBODY else products[lost.substitute].product_id,
        lost_sale_id=lost_sale_id(of.product_id, lost.number),
    )


def stocking(product_id: str, restock: shelf.Stocking) -> Stocking:
    """Return the message that tells of one restock: the plain way, and the reference of `encode_stocking`."""
    return Stocking(
        event_time=time_text(restock.at),
        product_id=product_id,
        existing_level=restock.existing_level,
        stock_quantity=restock.stock_quantity,
        new_level=restock.new_level,
        stocking_id=f"{product_id}-R{restock.number:06d}",
    )


def encode_stocking(product_id: str, restock: shelf.Stocking) -> bytes:
    """Return the JSON of one restock: that of `stocking`, in a fraction of the time."""
    return (
        f'{{"event_time":"{time_text(restock.at)}","product_id":"{product_id}",'
        f'"existing_level":{restock.existing_level},"stock_quantity":{restock.stock_quantity},'
        f'"new_level":{restock.new_level},"stocking_id":"{product_id}-R{restock.number:06d}"}}'
    ).encode()


def fault(sold_at: int, product_id: str, number: int, kind: str, released_at: int | None) -> Fault:
    """Return the message that tells of one sale's fault: the plain way, and the reference of `encode_fault`."""
    return Fault(
        event_time=time_text(sold_at),
        product_id=product_id,
        transaction_id=transaction_id(product_id, number),
        kind=kind,
        released_at=None if released_at is None else time_text(released_at),
        delay=0.0 if released_at is None else (released_at - sold_at) / SECOND,
        fault_id=fault_id(product_id, number),
    )


def encode_fault(sold_at: int, product_id: str, number: int, kind: str, released_at: int | None) -> bytes:
    """Return the JSON of one fault: that of `fault`, in a fraction of the time."""
    released = "null" if released_at is None else f'"{time_text(released_at)}"'
    delay = 0.0 if released_at is None else (released_at - sold_at) / SECOND
    return (
        f'{{"event_time":"{time_text(sold_at)}","product_id":"{product_id}",'
        f'"transaction_id":"{transaction_id(product_id, number)}","kind":"{kind}","released_at":{released},'
        f'"delay":{orjson.dumps(delay).decode()},"fault_id":"{fault_id(product_id, number)}"}}'
    ).encode()


def announcement(at: int, phase: str, incident: Incident) -> Announcement:
    """Return the message that tells of the start or the end of an incident."""
    return Announcement(
        event_time=time_text(at),
        incident=incident.name,
        kind=incident.kind,
        phase=phase,
        start=time_text(incident.start),
        end=time_text(incident.planned if phase == "start" else incident.end),
        ramp_up=incident.ramp_up / SECOND,
        ramp_down=incident.ramp_down / SECOND,
        factor=float(incident.factor),
        discount=incident.discount / TEN_THOUSAND,
        categories=sorted(incident.categories),
        products=sorted(incident.products),
    )


def receipt(sale: Mapping[str, Any], item: str) -> str:
    """Return a purchase as a line for people: its time, product, and what was paid."""
    extras = (" with supplements" if sale["add_supplements"] else "") + (", member" if sale["is_member"] else "")
    if sale.get("promotion_discount"):
        extras += f", {sale['promotion_discount']:.0%} off"
    if sale.get("substituted_from"):
        extras += f", instead of {sale['substituted_from']}"
    return (
        f"{sale['transaction_time'][:19]}  {sale['product_id']}  {sale['quantity']} × {item}{extras}  "
        f"{sale['total_purchase']:.2f}"
    )


def stocking_number(product_id: str, stocking_id: str) -> int | None:
    """Return which of its product's restocks an id names; None if it is no such id."""
    number = stocking_id.removeprefix(f"{product_id}-R")
    return int(number) if NUMBER.fullmatch(number) and stocking_id == f"{product_id}-R{int(number):06d}" else None


def fault_number(product_id: str, text: str) -> int:
    """Return which of its product's sales a fault_id names. Raises ValueError if it is no such id."""
    number = int(text.removeprefix(f"{product_id}-F"))
    if text != fault_id(product_id, number):
        raise ValueError(text)
    return number


def sale_number(product_id: str, text: str) -> int | None:
    """Return which of its product's sales a transaction_id names; None if it is no such id."""
    number = text.removeprefix(f"{product_id}-")
    return int(number) if NUMBER.fullmatch(number) and text == transaction_id(product_id, int(number)) else None


def read_purchase(value: bytes | None, partition: int, home_of: HomeOf) -> tuple[Sold, int]:
    """Return a purchase and its number among those of its product.

    Parameters
    ----------
    value
        The message.
    partition
        Where it stands.
    home_of
        Returns where the purchases of a product belong, by product_id; None if there is no such product.

    Raises
    ------
    NoPurchaseError
        If it is none.
    """
    try:
        sale = decoded(_read_sold, value)
    except UnreadableError as error:
        raise NoPurchaseError(str(error)) from error
    home = home_of(sale.product_id)
    if home is None:
        raise NoPurchaseError("unknown product")
    if sale.quantity < 1:
        raise NoPurchaseError("quantity below 1")
    if sale.transaction_time.tzinfo is not None:
        raise NoPurchaseError("transaction_time with a time zone")
    _check_range(sale.transaction_time, sale.quantity, sale.total_purchase, sale.total_cost or 0.0)
    if partition != home:
        raise NoPurchaseError(f"sales of this product belong into partition {home}")
    number = sale_number(sale.product_id, sale.transaction_id)
    if number is None:
        raise NoPurchaseError("transaction_id is not the product's id and a number")
    return sale, number


def read_lost_sale(value: bytes | None, partition: int, home_of: HomeOf) -> tuple[Turned, int]:
    """Return a lost sale and its number among those of its product; as `read_purchase`."""
    try:
        lost = decoded(_read_turned, value)
    except UnreadableError as error:
        raise NoPurchaseError(str(error)) from error
    if home_of(lost.product_id) != partition:
        raise NoPurchaseError("unknown product, or one of another partition")
    number = lost.lost_sale_id.removeprefix(f"{lost.product_id}-L")
    if not NUMBER.fullmatch(number) or lost.lost_sale_id != lost_sale_id(lost.product_id, int(number)):
        raise NoPurchaseError("lost_sale_id is not the product's id and a number")
    if lost.quantity < 1 or lost.event_time.tzinfo is not None:
        raise NoPurchaseError("quantity below 1, or event_time with a time zone")
    _check_range(lost.event_time, lost.quantity, lost.value)
    return lost, int(number)


def is_in_range(at: datetime, quantity: int, *amounts: float) -> bool:
    """Tell whether a sale is of a time and a size that the table can hold."""
    return at >= EPOCH and quantity <= MAX_QUANTITY and all(abs(each) <= MAX_AMOUNT for each in amounts)


def _check_range(at: datetime, quantity: int, *amounts: float) -> None:
    if not is_in_range(at, quantity, *amounts):
        raise NoPurchaseError(
            f"expected a time from 1970 on, a quantity up to {MAX_QUANTITY}, and amounts up to {MAX_AMOUNT}"
        )


def encode(record: faust.Record) -> bytes:
    """Return the JSON of a message."""
    return orjson.dumps(record.asdict())


class PurchaseEncoder:
    """Encodes the sales of a till: beside time and number, a purchase says one of a few things, prepared once.

    `write`: into which format; None: as they are.
    """

    def __init__(self, products: Sequence[catalog.Product], sales: SalesSettings, write: Write | None = None) -> None:
        self._write = write
        self._products = products
        self._sales = sales
        self._keys = [product.product_id.encode() for product in products]
        self._ways = [(terms, _way_text(terms)) for terms in (terms_of(way, sales) for way in range(WAYS))]
        self._prepared: dict[tuple[int, int, int, int], tuple[str, str]] = {}

    def encode(self, sales: Sales) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield key, value and Kafka timestamp (milliseconds of event time) of each sale, in order."""
        columns = (sales.product, sales.way, sales.promotion, sales.instead_of)
        kinds = zip(*(column.tolist() for column in columns), strict=True)
        for kind, number, at in zip(kinds, sales.number.tolist(), sales.at.tolist(), strict=True):
            middle, end = self._prepared.get(kind) or self._keep(kind)
            value = f'{{"transaction_time":"{time_text(at)}{middle}{number:06d}{end}'.encode()
            yield self._keys[kind[0]], value if self._write is None else self._write(value), at // 1000

    def one(self, kind: tuple[int, int, int, int], number: int, at: int) -> bytes:
        """Return the value of one sale; `kind`: see `prepare`."""
        middle, end = self.prepare(kind)
        value = f'{{"transaction_time":"{time_text(at)}{middle}{number:06d}{end}'.encode()
        return value if self._write is None else self._write(value)

    def _keep(self, kind: tuple[int, int, int, int]) -> tuple[str, str]:
        if len(self._prepared) >= MOST_PREPARED:
            self._prepared.clear()
        self._prepared[kind] = self.prepare(kind)
        return self._prepared[kind]

    def prepare(self, kind: tuple[int, int, int, int]) -> tuple[str, str]:
        """Return what a purchase says between its time and its number, and behind them.

        `kind`: place of the product, way to buy, promotion in ten-thousandths, place of what had been asked for.
        """
        place, way, promotion, instead_of = kind
        product = self._products[place]
        product_id, (terms, text) = product.product_id, self._ways[way]
        total, cost = terms.total_cents(product, promotion), terms.cost_cents(product)
        return (
            f'","product_id":"{product_id}","price":{product.price_cents / 100!r},{text}'
            f'"total_purchase":{total / 100!r},"transaction_id":"{product_id}-',
            f'","total_cost":{"null" if cost is None else repr(cost / 100)},'
            f'"promotion_discount":{promotion / TEN_THOUSAND!r},"substituted_from":'
            + ("null}" if instead_of == till.NOBODY else f'"{self._products[instead_of].product_id}"}}'),
        )


def _way_text(terms: Terms) -> str:
    """Return what a purchase says of the way to buy, the product's price apart."""
    told = {
        "quantity": terms.quantity,
        "is_member": terms.is_member,
        "member_discount": terms.member_discount / TEN_THOUSAND,
        "add_supplements": terms.add_supplements,
        "supplement_price": amount(terms.supplement_cents),
    }
    return orjson.dumps(told).decode()[1:-1] + ","


class LostSaleEncoder:
    """Encodes the lost sales of a till, as fast as its sales: in a crisis there are more of them.

    `write`: into which format; None: as they are.
    """

    def __init__(self, products: Sequence[catalog.Product], sales: SalesSettings, write: Write | None = None) -> None:
        self._write = write
        self._products = products
        self._sales = sales
        self._ids = [product.product_id for product in products]
        self._prepared: dict[tuple[int, int, int], str] = {}  # by product, way to buy and promotion

    def encode(self, lost: Sequence[till.LostSale]) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield key, value and Kafka timestamp (milliseconds of event time) of each lost sale, in order."""
        for one in lost:
            product_id = self._ids[one.product]
            kind = one.product, one.way, one.promotion
            middle = self._prepared.get(kind) or self._prepare(kind)
            promised = "null" if one.promised == shelf.NEVER else f'"{time_text(one.promised)}"'
            incident = "null" if one.held_up_by is None else f'"{one.held_up_by}"'
            substitute = "null" if one.substitute == till.NOBODY else f'"{self._ids[one.substitute]}"'
            text = (
                f'{{"event_time":"{time_text(one.at)}",{middle}"reason":"{reason(one)}","level":{one.level},"promised":{promised},'
                f'"incident":{incident},"substitute":{substitute},"lost_sale_id":"{product_id}-L{one.number:06d}"}}'
            )
            value = text.encode()
            yield product_id.encode(), value if self._write is None else self._write(value), one.at // 1000

    def _prepare(self, kind: tuple[int, int, int]) -> str:
        if len(self._prepared) >= MOST_PREPARED:
            self._prepared.clear()
        place, way, promotion = kind
        line = line_of(self._products[place], way, promotion, self._sales)
        told = {"product_id": self._ids[place], "quantity": line.quantity, "value": amount(line.total_cents)}
        self._prepared[kind] = orjson.dumps(told).decode()[1:-1] + ","
        return self._prepared[kind]
