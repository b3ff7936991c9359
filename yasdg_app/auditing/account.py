"""What an audit reads, and the account that it keeps of each product: all that it remembers of a log."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from yasdg_app.auditing.report import Finding, Report
from yasdg_app.reading import Message

NEVER = datetime.min


class Sale(msgspec.Struct, gc=False):
    """A purchase, all of it."""

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


class Restock(msgspec.Struct, gc=False):
    """A message on the stockings topic, all of it."""

    event_time: datetime
    product_id: str
    existing_level: int
    stock_quantity: int
    new_level: int
    stocking_id: str


class Product(msgspec.Struct):
    """What an audit needs of a product."""

    product_id: str
    price: float
    inventory: int
    cost: float | None = None


read_sale = msgspec.json.Decoder(Sale).decode
read_restock = msgspec.json.Decoder(Restock).decode
_read_product = msgspec.json.Decoder(Product).decode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


class Told(NamedTuple):
    """A restock that stands in the log."""

    at: datetime
    number: int
    levels: tuple[int, int, int]  # before, added, after
    offset: int


class Gap(NamedTuple):
    """Sales that are missing where they ought to stand."""

    first: int
    last: int
    offset: int  # of the sale behind them


@dataclass(slots=True)
class Account:
    """What is known of one product, after the sales that were looked at."""

    product: Product
    key: bytes
    level: int
    number: int = 0  # of the last sale
    at: datetime = NEVER
    offset: int = -1
    sold: int = 0
    revenue_cents: int = 0
    stockings: int = 0  # number of the last restock
    restocked: int = 0
    certain: bool = True  # False: something is off, so the level is not known until the next restock tells it
    ways: dict[tuple[Any, ...], int] = field(default_factory=dict)  # to buy it, known to be right, and their cents
    told: deque[Told] = field(default_factory=deque)  # restocks that were read, whose sales were not
    owed: deque[Told] = field(default_factory=deque)  # restocks as they ought to be, and the offsets of their sales
    gaps: list[Gap] = field(default_factory=list)
    row: Mapping[str, Any] | None = None  # of the workers' table
    row_number: int = 0  # of sales in it

    @classmethod
    def of(cls, product: Product) -> "Account":
        """Open the account of a product."""
        return cls(product, product.product_id.encode(), product.inventory)


def read_products(records: Iterable[Message], topic: str, report: Report) -> dict[str, Product]:
    """Return the products that the products topic tells of, by id."""
    products: dict[str, Product] = {}
    values: dict[str, bytes | None] = {}
    for record in records:
        try:
            product = _read_product(record.value or b"")
        except UNREADABLE as error:
            report.add(Finding("unreadable", topic, 0, record.offset, str(error)))
            continue
        before = products.get(product.product_id)
        if before is not None and (record.value == values[product.product_id] or product != before):
            what = "double product" if product == before else "changed product"
            report.add(Finding(what, topic, 0, record.offset, product.product_id))
        values[product.product_id] = record.value
        products[product.product_id] = product
    report.products = len(products)
    return products
