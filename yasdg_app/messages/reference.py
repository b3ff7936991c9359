"""Messages made from what the simulation yields, one at a time: the reference of every faster encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import faust
import orjson

from yasdg_app.config import catalog
from yasdg_app.config.settings import SalesSettings
from yasdg_app.messages.ids import fault_id, lost_sale_id, transaction_id
from yasdg_app.messages.records import Announcement, Fault, LostSaleMessage, ProductMessage, Purchase, Stocking
from yasdg_app.messages.times import SECOND, time_text
from yasdg_app.shop import sales as shop_sales
from yasdg_app.shop import shelf
from yasdg_app.shop.customer_behaviour import line_of
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.price import BASIS_POINTS, Line


def amount(cents: int) -> float:
    """Return cents as the decimal number in a message."""
    return cents / 100


def product(of: catalog.Product) -> ProductMessage:
    """Return the message of a product."""
    return ProductMessage(**_product_fields(of))


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
    """Return the message of a sale; the reference implementation of `PurchaseEncoder`."""
    return Purchase(
        transaction_time=time_text(at),
        product_id=line.product.product_id,
        price=amount(line.product.price_cents),
        quantity=line.quantity,
        is_member=line.is_member,
        member_discount=line.member_discount / BASIS_POINTS,
        add_supplements=line.add_supplements,
        supplement_price=amount(line.supplement_cents),
        total_purchase=amount(line.total_cents),
        transaction_id=transaction_id(line.product.product_id, number),
        total_cost=None if line.cost_cents is None else amount(line.cost_cents),
        promotion_discount=line.promotion / BASIS_POINTS,
        substituted_from=instead_of,
    )


def reason(lost: shop_sales.LostSale) -> str:
    """Return why a sale was lost; one of `REASONS`."""
    return "held_up" if lost.delayed_by else "too_few" if lost.level else "sold_out"


def lost_sale(products: Sequence[catalog.Product], lost: shop_sales.LostSale, sales: SalesSettings) -> LostSaleMessage:
    """Return the message of a lost sale; the reference implementation of `LostSaleEncoder`.

    `products`: those of the till.
    """
    of = products[lost.product]
    line = line_of(of, lost.option, lost.promotion, sales)
    return LostSaleMessage(
        event_time=time_text(lost.at),
        product_id=of.product_id,
        quantity=line.quantity,
        value=amount(line.total_cents),
        reason=reason(lost),
        level=lost.level,
        promised=None if lost.promised == shelf.END_OF_TIME else time_text(lost.promised),
        incident=lost.delayed_by,
        substitute=None if lost.substitute == shop_sales.NO_PRODUCT else products[lost.substitute].product_id,
        lost_sale_id=lost_sale_id(of.product_id, lost.number),
    )


def stocking(product_id: str, restock: shelf.Restock) -> Stocking:
    """Return the message of a restock; the reference implementation of `encode_restock`."""
    return Stocking(
        event_time=time_text(restock.at),
        product_id=product_id,
        existing_level=restock.existing_level,
        stock_quantity=restock.stock_quantity,
        new_level=restock.new_level,
        stocking_id=f"{product_id}-R{restock.number:06d}",
    )


def fault(sold_at: int, product_id: str, number: int, kind: str, released_at: int | None) -> Fault:
    """Return the message of a sale's fault; the reference implementation of `encode_fault`."""
    return Fault(
        event_time=time_text(sold_at),
        product_id=product_id,
        transaction_id=transaction_id(product_id, number),
        kind=kind,
        released_at=None if released_at is None else time_text(released_at),
        delay=0.0 if released_at is None else (released_at - sold_at) / SECOND,
        fault_id=fault_id(product_id, number),
    )


def announcement(at: int, phase: str, incident: Incident) -> Announcement:
    """Return the message that announces the start or the end of an incident."""
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
        discount=incident.discount / BASIS_POINTS,
        categories=sorted(incident.categories),
        products=sorted(incident.products),
    )


def receipt(sale: Mapping[str, Any], item: str) -> str:
    """Return a purchase as a line of text: its time, product, and the amount paid."""
    extras = (" with supplements" if sale["add_supplements"] else "") + (", member" if sale["is_member"] else "")
    if sale.get("promotion_discount"):
        extras += f", {sale['promotion_discount']:.0%} off"
    if sale.get("substituted_from"):
        extras += f", instead of {sale['substituted_from']}"
    return (
        f"{sale['transaction_time'][:19]}  {sale['product_id']}  {sale['quantity']} × {item}{extras}  "
        f"{sale['total_purchase']:.2f}"
    )


def encode(record: faust.Record) -> bytes:
    """Return the JSON of a message."""
    return orjson.dumps(record.asdict())
