"""100,000 purchases of a fixed seed: what analysts may rely on, and the same bytes however the work is shared."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka.partitioner import murmur2
from scipy.stats import chisquare

from yasdg_app.config import catalog
from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import SalesSettings, Settings
from yasdg_app.messages.encoders import PurchaseEncoder
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sale_limit import SaleLimit
from yasdg_app.shop.till import Till

COUNT = 100_000
OPENED = 1_700_000_000_000_000
SALES = SalesSettings(seed=42, min_sale_freq=0.01, max_sale_freq=0.03)
PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")
BY_ID = {product.product_id: product for product in PRODUCTS}
PLAN = Plan.of(Settings(sales=SALES), PRODUCTS, OPENED)

Message = tuple[bytes, bytes]  # key and value


def produce(products: Sequence[Product], last: SaleLimit) -> list[Message]:
    """What one till writes until the last sale."""
    assert last.cursor is not None
    till = Till(PLAN, products)
    encoder = PurchaseEncoder(till.products, SALES)
    messages: list[Message] = []
    while till.watermark < last.cursor.at:
        served = last.without_later(till, till.generate_until(last.cursor.at))
        assert not served.lost
        messages += [(key, value) for key, value, _ in encoder.encode(served.sales)]
    return messages


@pytest.fixture(scope="module")
def last() -> SaleLimit:
    last = SaleLimit(PLAN, COUNT)
    far = OPENED + 10**12
    while last.cursor is None:
        last.look(far)
    return last


@pytest.fixture(scope="module")
def messages(last: SaleLimit) -> list[Message]:
    return produce(PRODUCTS, last)


@pytest.fixture(scope="module")
def purchases(messages: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value in messages]


def in_order(messages: Iterable[Message]) -> list[Message]:
    return sorted(messages, key=lambda message: (message[0], json.loads(message[1])["transaction_id"]))


def p_value(seen: Sequence[int], weights: Sequence[float]) -> float:
    total = sum(seen)
    return float(chisquare(seen, [weight / sum(weights) * total for weight in weights]).pvalue)


def share_p_value(seen: Sequence[bool], share: float) -> float:
    return p_value([sum(seen), len(seen) - sum(seen)], [share, 1 - share])


def test_there_are_as_many_as_were_asked_for(messages: list[Message]) -> None:
    assert len(messages) == COUNT


@pytest.mark.parametrize("partitions", [4, 16])
def test_the_bytes_do_not_depend_on_the_number_of_partitions(
    partitions: int, messages: list[Message], last: SaleLimit
) -> None:
    shared: list[Message] = []
    for partition in range(partitions):
        own = [p for p in PRODUCTS if (murmur2(p.product_id.encode()) & 0x7FFFFFFF) % partitions == partition]
        shared += produce(own, last) if own else []
    assert in_order(shared) == in_order(messages)


def test_every_total_is_right_to_the_cent(purchases: list[dict[str, Any]]) -> None:
    for sale in purchases:
        price = Decimal(BY_ID[sale["product_id"]].price_cents) / 100
        supplement = SALES.supplements_cost if sale["add_supplements"] else Decimal(0)
        discount = SALES.club_member_discount if sale["is_member"] else Decimal(0)
        assert Decimal(str(sale["price"])) == price
        assert Decimal(str(sale["supplement_price"])) == supplement
        assert Decimal(str(sale["member_discount"])) == discount
        total = (sale["quantity"] * (price + supplement) * (1 - discount)).quantize(Decimal("0.01"), ROUND_HALF_UP)
        assert Decimal(str(sale["total_purchase"])) == total


def test_numbers_are_contiguous(purchases: list[dict[str, Any]]) -> None:
    numbers: Counter[str] = Counter()
    for sale in purchases:
        numbers[sale["product_id"]] += 1
        assert sale["transaction_id"] == f"{sale['product_id']}-{numbers[sale['product_id']]:06d}"


def test_products_sell_by_their_weight(purchases: list[dict[str, Any]]) -> None:
    seen = Counter(sale["product_id"] for sale in purchases)
    p = p_value([seen[product.product_id] for product in PRODUCTS], [product.weight for product in PRODUCTS])
    assert p > 0.001


def test_eight_of_ten_buy_one(purchases: list[dict[str, Any]]) -> None:
    assert {sale["quantity"] for sale in purchases} == {1, 2}
    assert share_p_value([sale["quantity"] == 1 for sale in purchases], 0.8) > 0.001


def test_three_of_ten_are_members(purchases: list[dict[str, Any]]) -> None:
    assert share_p_value([sale["is_member"] for sale in purchases], 0.3) > 0.001


@pytest.mark.parametrize(("groups", "share"), [(("SF", "SC"), 0.5), (("CS", "IS"), 0.2)])
def test_supplements_go_by_the_group_of_the_product(
    groups: tuple[str, ...], share: float, purchases: list[dict[str, Any]]
) -> None:
    seen = [sale["add_supplements"] for sale in purchases if sale["product_id"].startswith(groups)]
    assert share_p_value(seen, share) > 0.001


def test_products_of_the_group_0_never_have_supplements() -> None:
    products = [replace(each, other_group=0) if each.product_id < "IS" else each for each in PRODUCTS]
    sales = replace(SALES, add_supp_freq_group1=10, add_supp_freq_group2=10)
    till = Till(Plan.of(Settings(sales=sales), products, OPENED), products)
    told = till.generate_until(OPENED + 60_000_000).sales
    groups = np.array([product.supplement_group for product in till.products])[told.product]
    assert set(groups.tolist()) == {0, 1, 2}
    assert ((told.option & 1) == (groups > 0)).all()
