"""Purchases and restocks of the shop that is written plainly, with the fields of ours."""

import csv
import random
from datetime import UTC, datetime
from pathlib import Path

from yasdg_app.messages.records import Purchase as Purchase
from yasdg_app.messages.records import Stocking as Stocking

with (Path(__file__).parents[2] / "products.csv").open(encoding="utf-8-sig", newline="") as file:
    PRODUCTS = [
        (row["ID"], float(row["Price"]), float(row["COGS"]), float(row["_CatWeight"]) * float(row["_ItemWeight"]))
        for row in csv.DictReader(file)
    ]
WEIGHTS = [weight for *_, weight in PRODUCTS]
numbers = dict.fromkeys((product_id for product_id, *_ in PRODUCTS), 0)


def sale(at: float) -> Purchase:
    """Somebody buys something."""
    ((product_id, price, cost, _),) = random.choices(PRODUCTS, WEIGHTS)
    quantity = 1 if random.random() < 0.8 else 2
    is_member, supplements = random.random() < 0.3, random.random() < 0.4
    supplement, discount = 1.99 if supplements else 0.0, 0.1 if is_member else 0.0
    numbers[product_id] += 1
    return Purchase(
        transaction_time=datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        product_id=product_id,
        price=price,
        quantity=quantity,
        is_member=is_member,
        member_discount=discount,
        add_supplements=supplements,
        supplement_price=supplement,
        total_purchase=round(quantity * (price + supplement) * (1 - discount), 2),
        transaction_id=f"{product_id}-{numbers[product_id]:06d}",
        total_cost=round(quantity * (cost + (0.5 if supplements else 0.0)), 2),
    )
