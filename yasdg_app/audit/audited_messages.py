"""The messages that an audit reads, with all of their fields, and how they are decoded."""

from datetime import datetime

import msgspec


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
read_product = msgspec.json.Decoder(AuditedProduct).decode
