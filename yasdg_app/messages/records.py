"""The messages on the topics: the fields of the original generator in its order, then those of YASDG.

`faust models` lists these records, and readers of the stream may use them as models. Times are text, UTC; amounts are
in the shop's currency and have at most two decimals.
"""

from typing import Any

import faust
import msgspec


class ProductMessage(faust.Record, serializer="json"):
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
    total_cost: float | None = None  # cost of goods and supplements to the shop; null if the catalog has no cost
    promotion_discount: float = 0.0
    substituted_from: str | None = None  # product_id that the customer wanted and that was out of stock


class LostSaleMessage(faust.Record, serializer="json"):
    """A customer who found too little on the shelf, on `demo.lost_sales`. Key: product_id.

    `lost_sale_id` CS01-L000003 is the third lost sale of CS01. ``demand = sold − sold as a substitute + lost``.
    """

    event_time: str
    product_id: str
    quantity: int  # wanted
    value: float  # total that the purchase would have had
    reason: str  # one of `REASONS`
    level: int  # units that were left
    promised: str | None  # event time at which the next delivery was promised; null: nothing is on order
    incident: str | None  # name of the incident that delays this delivery, once it is late
    substitute: str | None  # product_id that the customer bought instead
    lost_sale_id: str


class Announcement(faust.Record, serializer="json"):
    """The start or the end of an incident, on `demo.incidents`. Key: the name of the incident."""

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
    products: list[str]  # if both lists are empty: all products


REASONS = ("sold_out", "too_few", "held_up")
"""Nothing was left; less than wanted was left; either of these while an incident delays a delivery."""


class Stocking(faust.Record, serializer="json"):
    """A restock, on `demo.stockings`. Key: product_id. `stocking_id` CS01-R000007 is the 7th restock of CS01."""

    event_time: str
    product_id: str
    existing_level: int
    stock_quantity: int
    new_level: int
    stocking_id: str


class Fault(faust.Record, serializer="json"):
    """A fault that was injected into the delivery of a sale, on `demo.faults`. Key: product_id.

    `fault_id` CS01-F000042 is the fault of the 42nd sale of CS01. Kinds: `shop.faults.KINDS`.
    """

    event_time: str  # of the sale
    product_id: str
    transaction_id: str
    kind: str
    released_at: str | None  # event time at which it arrives on `demo.dirty_purchases`; null: it never does
    delay: float  # seconds from event_time to released_at
    fault_id: str


FAULT_HEADER, FAULT_ID_HEADER, FAULT_TIME_HEADER = "yasdg-fault", "yasdg-fault-id", "yasdg-transaction-time"
"""Headers of a message on `demo.dirty_purchases` that has a fault: its kind, its fault_id and, if it is corrupt, the
time of the sale. Of a duplicate, only the second copy has them."""


class InventoryLevel(msgspec.Struct, gc=False):
    """A product's row in the inventory table; at any time ``initial + restocked - sold == level``."""

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
    stocking_offset: int = -1  # in the stockings topic; the last restock is there or later
    on_order: int = 0  # units that the supplier has not delivered yet
    ordered_at: str = ""  # event time at which their lead time starts
    promised: str = ""  # event time at which they were promised; an incident may delay them
    margin_cents: int = 0  # revenue minus cost
    lost_sales: int = 0  # number of lost sales applied, which is the number of the last one
    lost: int = 0  # units that were demanded and not available
    lost_cents: int = 0  # revenue that they would have brought
    substituted: int = 0  # units not available for which customers took another product
    last_lost: str = ""  # event time of the last lost sale
    lost_offset: int = -1  # of the last lost sale in its partition of the lost sales topic

    def asdict(self) -> dict[str, Any]:
        """Return the fields by name, in the order of the JSON."""
        return msgspec.structs.asdict(self)
