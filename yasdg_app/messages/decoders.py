"""Reading messages: the fields that the inventory needs, checked as they are read."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.decoding import UnreadableError, decoded
from yasdg_app.messages.ids import NUMBER, lost_sale_id, sale_number
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.times import EPOCH

MAX_QUANTITY = 2**52  # units of a sale, as exact in an array of floats as here
MAX_AMOUNT = 2**45  # of a sale, in the currency of its prices: exact in cents, too


class FaultKey(msgspec.Struct, frozen=True):
    """The fields of a fault that determine its position among others."""

    event_time: datetime
    product_id: str
    kind: str
    released_at: datetime | None
    fault_id: str


class RestockKey(msgspec.Struct, frozen=True):
    """The fields that identify a restock, checked as they are read."""

    product_id: str
    stocking_id: str


class LostSaleEvent(msgspec.Struct, frozen=True):
    """The fields of a lost sale that the inventory needs, checked as they are read."""

    event_time: datetime
    product_id: str
    quantity: int
    value: float
    substitute: str | None
    lost_sale_id: str


PartitionOf = Callable[[str], int | None]
"""Returns the partition of a product, by its id; None if there is no such product."""


class InvalidMessageError(YasdgError):
    """A message is not a purchase, or not a lost sale, of this shop; the text gives the reason."""


class SaleEvent(msgspec.Struct, frozen=True):
    """The fields of a purchase that the inventory needs, checked as they are read."""

    transaction_time: datetime
    product_id: str
    quantity: int
    total_purchase: float
    transaction_id: str
    total_cost: float | None = None


class ValidSale(SaleEvent, frozen=True, gc=False):
    """A purchase that passes all checks that do not depend on the shop."""

    transaction_time: Annotated[datetime, Meta(tz=False)]
    quantity: Annotated[int, Meta(ge=1)]


class ValidLostSale(LostSaleEvent, frozen=True, gc=False):
    """A lost sale that passes all checks that do not depend on the shop."""

    event_time: Annotated[datetime, Meta(tz=False)]
    quantity: Annotated[int, Meta(ge=1)]


_read_lost_sale_event = msgspec.json.Decoder(LostSaleEvent).decode
_read_sale_event = msgspec.json.Decoder(SaleEvent).decode
read_valid_sale: Callable[[bytes], SaleEvent] = msgspec.json.Decoder(ValidSale).decode
read_valid_lost_sale: Callable[[bytes], LostSaleEvent] = msgspec.json.Decoder(ValidLostSale).decode
read_fault_key = msgspec.json.Decoder(FaultKey).decode
read_restock_key = msgspec.json.Decoder(RestockKey).decode
read_level = msgspec.json.Decoder(InventoryLevel).decode  # what Faust itself once wrote has a field more: left out


def read_purchase(
    value: bytes | None, partition: int, partition_of: PartitionOf, largest_quantity: int = MAX_QUANTITY
) -> tuple[SaleEvent, int]:
    """Return a purchase and its number among those of its product.

    Parameters
    ----------
    value
        The message.
    partition
        The partition that it was read from.
    partition_of
        Returns the partition of a product, by product_id; None if there is no such product.
    largest_quantity
        The most units that one sale of this shop takes.

    Raises
    ------
    InvalidMessageError
        If it is not a purchase of this shop.
    """
    try:
        sale = decoded(_read_sale_event, value)
    except UnreadableError as error:
        raise InvalidMessageError(str(error)) from error
    expected_partition = partition_of(sale.product_id)
    if expected_partition is None:
        raise InvalidMessageError("unknown product")
    _check_quantity(sale.quantity, largest_quantity)
    if sale.transaction_time.tzinfo is not None:
        raise InvalidMessageError("transaction_time with a time zone")
    _check_range(sale.transaction_time, sale.quantity, sale.total_purchase, sale.total_cost or 0.0)
    if partition != expected_partition:
        raise InvalidMessageError(f"sales of this product belong into partition {expected_partition}")
    number = sale_number(sale.product_id, sale.transaction_id)
    if number is None:
        raise InvalidMessageError("transaction_id is not the product's id and a number")
    return sale, number


def read_lost_sale(
    value: bytes | None, partition: int, partition_of: PartitionOf, largest_quantity: int = MAX_QUANTITY
) -> tuple[LostSaleEvent, int]:
    """Return a lost sale and its number among those of its product; as `read_purchase`."""
    try:
        lost = decoded(_read_lost_sale_event, value)
    except UnreadableError as error:
        raise InvalidMessageError(str(error)) from error
    if partition_of(lost.product_id) != partition:
        raise InvalidMessageError("unknown product, or one of another partition")
    number = lost.lost_sale_id.removeprefix(f"{lost.product_id}-L")
    if not NUMBER.fullmatch(number) or lost.lost_sale_id != lost_sale_id(lost.product_id, int(number)):
        raise InvalidMessageError("lost_sale_id is not the product's id and a number")
    if lost.quantity < 1 or lost.event_time.tzinfo is not None:
        raise InvalidMessageError("quantity below 1, or event_time with a time zone")
    _check_quantity(lost.quantity, largest_quantity)
    _check_range(lost.event_time, lost.quantity, lost.value)
    return lost, int(number)


def _check_quantity(quantity: int, largest: int) -> None:
    if quantity < 1:
        raise InvalidMessageError("quantity below 1")
    if largest < quantity <= MAX_QUANTITY:  # a larger one is reported with all that is out of range
        raise InvalidMessageError(f"quantity {quantity}, more than this shop sells at once ({largest})")


def is_in_range(at: datetime, quantity: int, *amounts: float) -> bool:
    """Tell whether a sale is of a time and a size that the table can hold."""
    return at >= EPOCH and quantity <= MAX_QUANTITY and all(abs(each) <= MAX_AMOUNT for each in amounts)


def _check_range(at: datetime, quantity: int, *amounts: float) -> None:
    if not is_in_range(at, quantity, *amounts):
        raise InvalidMessageError(
            f"expected a time from 1970 on, a quantity up to {MAX_QUANTITY}, and amounts up to {MAX_AMOUNT}"
        )
