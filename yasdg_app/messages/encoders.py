"""Messages as JSON, faster than the records of `reference`, with the same bytes."""

from collections.abc import Callable, Iterator, Sequence

import msgspec
import orjson

from yasdg_app.config import catalog
from yasdg_app.config.settings import SalesSettings
from yasdg_app.messages.ids import fault_id, json_text, transaction_id
from yasdg_app.messages.reference import _product_fields, amount, reason
from yasdg_app.messages.times import SECOND, time_text
from yasdg_app.shop import shelf
from yasdg_app.shop.customer_behaviour import line_of, purchase_options, terms_of
from yasdg_app.shop.price import BASIS_POINTS, Terms
from yasdg_app.shop.sales import NO_PRODUCT, LostSale, Sales

MAX_PREPARED_KINDS = 50_000  # kinds of purchases that an encoder keeps prepared: a big catalog has millions of them
Write = Callable[[bytes], bytes]
"""Turns a message as it is made here into the format of the topics."""
encode_level = msgspec.json.Encoder().encode


def product_json(of: catalog.Product) -> bytes:
    """Return the JSON of the message of a product, faster than through a record: there may be a million."""
    return orjson.dumps(_product_fields(of))


def encode_restock(product_id: str, restock: shelf.Restock) -> bytes:
    """Return the JSON of a restock: the bytes of `reference.stocking`, in a fraction of the time."""
    product_id = json_text(product_id)
    return (
        f'{{"event_time":"{time_text(restock.at)}","product_id":"{product_id}",'
        f'"existing_level":{restock.existing_level},"stock_quantity":{restock.stock_quantity},'
        f'"new_level":{restock.new_level},"stocking_id":"{product_id}-R{restock.number:06d}"}}'
    ).encode()


def encode_fault(sold_at: int, product_id: str, number: int, kind: str, released_at: int | None) -> bytes:
    """Return the JSON of a fault: the bytes of `reference.fault`, in a fraction of the time."""
    product_id = json_text(product_id)
    released = "null" if released_at is None else f'"{time_text(released_at)}"'
    delay = 0.0 if released_at is None else (released_at - sold_at) / SECOND
    return (
        f'{{"event_time":"{time_text(sold_at)}","product_id":"{product_id}",'
        f'"transaction_id":"{transaction_id(product_id, number)}","kind":"{kind}","released_at":{released},'
        f'"delay":{orjson.dumps(delay).decode()},"fault_id":"{fault_id(product_id, number)}"}}'
    ).encode()


class PurchaseEncoder:
    """Encodes the sales of a till. Apart from time and number a purchase has one of a few contents, prepared once.

    `write`: converts to another format; None: the default format.
    """

    def __init__(self, products: Sequence[catalog.Product], sales: SalesSettings, write: Write | None = None) -> None:
        self._write = write
        self._products = products
        self._sales = sales
        self._keys = [product.product_id.encode() for product in products]
        self._ways = [
            (terms, _option_text(terms)) for terms in (terms_of(way, sales) for way in range(purchase_options(sales)))
        ]
        self._prepared: dict[tuple[int, int, int, int], tuple[str, str]] = {}

    def encode(self, sales: Sales) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield key, value and Kafka timestamp (milliseconds of event time) of each sale, in order."""
        columns = (sales.product, sales.option, sales.promotion, sales.requested_product)
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
        if len(self._prepared) >= MAX_PREPARED_KINDS:
            self._prepared.clear()
        self._prepared[kind] = self.prepare(kind)
        return self._prepared[kind]

    def prepare(self, kind: tuple[int, int, int, int]) -> tuple[str, str]:
        """Return the text of a purchase between its time and number, and after the number.

        `kind`: place of the product, way to buy, promotion in ten-thousandths, place of what had been asked for.
        """
        place, way, promotion, instead_of = kind
        product = self._products[place]
        product_id, (terms, text) = json_text(product.product_id), self._ways[way]
        total, cost = terms.total_cents(product, promotion), terms.cost_cents(product)
        return (
            f'","product_id":"{product_id}","price":{product.price_cents / 100!r},{text}'
            f'"total_purchase":{total / 100!r},"transaction_id":"{product_id}-',
            f'","total_cost":{"null" if cost is None else repr(cost / 100)},'
            f'"promotion_discount":{promotion / BASIS_POINTS!r},"substituted_from":'
            + ("null}" if instead_of == NO_PRODUCT else f'"{json_text(self._products[instead_of].product_id)}"}}'),
        )


def _option_text(terms: Terms) -> str:
    """Return the text of a purchase that depends on the purchase option alone."""
    told = {
        "quantity": terms.quantity,
        "is_member": terms.is_member,
        "member_discount": terms.member_discount / BASIS_POINTS,
        "add_supplements": terms.add_supplements,
        "supplement_price": amount(terms.supplement_cents),
    }
    return orjson.dumps(told).decode()[1:-1] + ","


class LostSaleEncoder:
    """Encodes the lost sales of a till, as fast as its sales: in a crisis there are more of them.

    `write`: converts to another format; None: the default format.
    """

    def __init__(self, products: Sequence[catalog.Product], sales: SalesSettings, write: Write | None = None) -> None:
        self._write = write
        self._products = products
        self._sales = sales
        self._keys = [product.product_id.encode() for product in products]
        self._ids = [json_text(product.product_id) for product in products]
        self._prepared: dict[tuple[int, int, int], str] = {}  # by product, way to buy and promotion

    def encode(self, lost: Sequence[LostSale]) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield key, value and Kafka timestamp (milliseconds of event time) of each lost sale, in order."""
        for one in lost:
            product_id = self._ids[one.product]
            kind = one.product, one.option, one.promotion
            middle = self._prepared.get(kind) or self._prepare(kind)
            promised = "null" if one.promised == shelf.END_OF_TIME else f'"{time_text(one.promised)}"'
            incident = "null" if one.delayed_by is None else f'"{one.delayed_by}"'
            substitute = "null" if one.substitute == NO_PRODUCT else f'"{self._ids[one.substitute]}"'
            text = (
                f'{{"event_time":"{time_text(one.at)}",{middle}"reason":"{reason(one)}","level":{one.level},"promised":{promised},'
                f'"incident":{incident},"substitute":{substitute},"lost_sale_id":"{product_id}-L{one.number:06d}"}}'
            )
            value = text.encode()
            yield self._keys[one.product], value if self._write is None else self._write(value), one.at // 1000

    def _prepare(self, kind: tuple[int, int, int]) -> str:
        if len(self._prepared) >= MAX_PREPARED_KINDS:
            self._prepared.clear()
        place, way, promotion = kind
        line = line_of(self._products[place], way, promotion, self._sales)
        told = {
            "product_id": self._products[place].product_id,
            "quantity": line.quantity,
            "value": amount(line.total_cents),
        }
        self._prepared[kind] = orjson.dumps(told).decode()[1:-1] + ","
        return self._prepared[kind]
