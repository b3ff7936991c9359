"""The messages on the topics: their fields, in the seed's order and then ours, and their fast encoding.

The records are what Faust's commands show and what readers of the stream may use as models; the functions below them
make the same bytes faster. Amounts are integer cents inside, and numbers with two decimals at most on the wire.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import faust
import msgspec
import orjson
from aiokafka.partitioner import murmur2

from yasdg_app import catalog
from yasdg_app.errors import YasdgError
from yasdg_app.settings import SalesSettings
from yasdg_app.shop import shelf
from yasdg_app.shop.customer import ways_to_buy
from yasdg_app.shop.price import Line
from yasdg_app.shop.till import Sales

SECOND = 1_000_000  # microseconds
EPOCH = datetime(1970, 1, 1)
NUMBER = re.compile("[0-9]{6,18}")


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
    """A sale, on `demo.purchases`. Key: product_id. `transaction_id` CS01-000042 is the 42nd sale of CS01."""

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


class Stocking(faust.Record, serializer="json"):
    """A restock, on `demo.stockings`. Key: product_id. `stocking_id` CS01-R000007 is the 7th restock of CS01."""

    event_time: str
    product_id: str
    existing_level: int
    stock_quantity: int
    new_level: int
    stocking_id: str


class ToldStocking(msgspec.Struct, frozen=True):
    """The fields of a restock that tell it from others, checked as they are read."""

    product_id: str
    stocking_id: str


class InventoryLevel(faust.Record, serializer="json"):
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


class NoPurchaseError(YasdgError):
    """A message is no purchase of this shop; the text says why."""


class Sold(msgspec.Struct, frozen=True):
    """The fields of a purchase that the books need, checked as they are read."""

    transaction_time: datetime
    product_id: str
    quantity: int
    total_purchase: float
    transaction_id: str


_read_sold = msgspec.json.Decoder(Sold).decode
read_stocking = msgspec.json.Decoder(ToldStocking).decode


def time_text(at: int) -> str:
    """Return an event time (microseconds since 1970, UTC) as `YYYY-MM-DD HH:MM:SS.ffffff`, always with six digits."""
    seconds, microseconds = divmod(at, SECOND)
    return f"{_seconds_text(seconds)}.{microseconds:06d}"


@lru_cache(maxsize=4096)
def _seconds_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def event_time(text: str) -> int:
    """Return the microseconds since 1970 of a time made by `time_text`."""
    passed = datetime.fromisoformat(text) - EPOCH
    return (passed.days * 86_400 + passed.seconds) * SECOND + passed.microseconds


def home(product_id: str, partitions: int) -> int:
    """Return the partition of a product's messages, as Kafka's default partitioner has it."""
    return int((murmur2(product_id.encode()) & 0x7FFFFFFF) % partitions)


def transaction_id(product_id: str, number: int) -> str:
    """Return the id of the `number`-th sale of a product."""
    return f"{product_id}-{number:06d}"


def amount(cents: int) -> float:
    """Return cents as the number that stands in a message."""
    return cents / 100


def product(of: catalog.Product) -> Product:
    """Return the message that tells of a product."""
    return Product(
        product_id=of.product_id,
        category=of.category,
        item=of.item,
        size=of.size,
        price=amount(of.price_cents),
        inventory=of.inventory,
        contains_fruit=of.contains_fruit,
        contains_veggies=of.contains_veggies,
        contains_nuts=of.contains_nuts,
        contains_caffeine=of.contains_caffeine,
        range_weight=int(of.range_weight) if of.range_weight == int(of.range_weight) else of.range_weight,
        cost=None if of.cost_cents is None else amount(of.cost_cents),
    )


def purchase(at: int, number: int, line: Line) -> Purchase:
    """Return the message that tells of one sale: the plain way, and the reference of `PurchaseEncoder`."""
    return Purchase(
        transaction_time=time_text(at),
        product_id=line.product.product_id,
        price=amount(line.product.price_cents),
        quantity=line.quantity,
        is_member=line.is_member,
        member_discount=float(line.member_discount),
        add_supplements=line.add_supplements,
        supplement_price=amount(line.supplement_cents),
        total_purchase=amount(line.total_cents),
        transaction_id=transaction_id(line.product.product_id, number),
    )


def stocking(product_id: str, at: int, restock: shelf.Stocking) -> Stocking:
    """Return the message that tells of one restock."""
    return Stocking(
        event_time=time_text(at),
        product_id=product_id,
        existing_level=restock.existing_level,
        stock_quantity=restock.stock_quantity,
        new_level=restock.new_level,
        stocking_id=f"{product_id}-R{restock.number:06d}",
    )


def receipt(sale: Mapping[str, Any], item: str) -> str:
    """Return a purchase as a line for people: its time, product, and what was paid."""
    extras = (" with supplements" if sale["add_supplements"] else "") + (", member" if sale["is_member"] else "")
    return (
        f"{sale['transaction_time'][:19]}  {sale['product_id']}  {sale['quantity']} × {item}{extras}  "
        f"{sale['total_purchase']:.2f}"
    )


def stocking_number(product_id: str, stocking_id: str) -> int | None:
    """Return which of its product's restocks an id names; None if it is no such id."""
    number = stocking_id.removeprefix(f"{product_id}-R")
    return int(number) if NUMBER.fullmatch(number) and stocking_id == f"{product_id}-R{int(number):06d}" else None


def sale_number(product_id: str, text: str) -> int | None:
    """Return which of its product's sales a transaction_id names; None if it is no such id."""
    number = text.removeprefix(f"{product_id}-")
    return int(number) if NUMBER.fullmatch(number) and text == transaction_id(product_id, int(number)) else None


def read_purchase(value: bytes | None, partition: int, homes: Mapping[str, int]) -> tuple[Sold, int]:
    """Return a purchase and its number among those of its product.

    Parameters
    ----------
    value
        The message.
    partition
        Where it stands.
    homes
        Where the purchases of each product belong, by product_id.

    Raises
    ------
    NoPurchaseError
        If it is none.
    """
    try:
        sale = _read_sold(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoPurchaseError(str(error)) from error
    home = homes.get(sale.product_id)
    if home is None:
        raise NoPurchaseError("unknown product")
    if sale.quantity < 1:
        raise NoPurchaseError("quantity below 1")
    if sale.transaction_time.tzinfo is not None:
        raise NoPurchaseError("transaction_time with a time zone")
    if partition != home:
        raise NoPurchaseError(f"sales of this product belong into partition {home}")
    number = sale_number(sale.product_id, sale.transaction_id)
    if number is None:
        raise NoPurchaseError("transaction_id is not the product's id and a number")
    return sale, number


def encode(record: faust.Record) -> bytes:
    """Return the JSON of a message."""
    return orjson.dumps(record.asdict())


class PurchaseEncoder:
    """Encodes the sales of a till: between time and number, a purchase says one of a few things, prepared once."""

    def __init__(self, products: Sequence[catalog.Product], sales: SalesSettings) -> None:
        self._products = products
        self._sales = sales
        self._keys = [product.product_id.encode() for product in products]
        self._middles: list[list[str]] = [[] for _ in products]  # by way to buy; of products that were sold before

    def encode(self, sales: Sales) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield key, value and Kafka timestamp (milliseconds of event time) of each sale, in order."""
        columns = (sales.product.tolist(), sales.number.tolist(), sales.at.tolist(), sales.way.tolist())
        for place, number, at, way in zip(*columns, strict=True):
            middles = self._middles[place] or self._prepare(place)
            value = f'{{"transaction_time":"{time_text(at)}{middles[way]}{number:06d}"}}'
            yield self._keys[place], value.encode(), at // 1000

    def _prepare(self, place: int) -> list[str]:
        self._middles[place] = [_middle(line) for line in ways_to_buy(self._products[place], self._sales)]
        return self._middles[place]


def _middle(line: Line) -> str:
    """Return what stands between the time and the number in a purchase of this line."""
    whole = encode(purchase(0, 0, line)).decode()
    return whole.removeprefix('{"transaction_time":"' + time_text(0)).removesuffix('000000"}')
