"""The messages: the fast encoding makes the bytes of the plain one."""

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app import catalog, messages
from yasdg_app.messages import PurchaseEncoder, encode, event_time, purchase, receipt, time_text
from yasdg_app.settings import SalesSettings
from yasdg_app.shop.customer import ways_to_buy
from yasdg_app.shop.till import Sales

PRODUCTS = catalog.load(Path(__file__).parents[1] / "products.csv")
SETTINGS = SalesSettings()
TIMES = st.integers(0, 4_000_000_000_000_000)


@given(st.integers(0, len(PRODUCTS) - 1), st.integers(0, 7), st.integers(1, 10**9), TIMES)
def test_the_fast_encoding_makes_the_plain_bytes(product: int, way: int, number: int, at: int) -> None:
    columns = (np.array([value], dtype=np.int64) for value in (product, number, at, way))
    ((key, value, timestamp),) = PurchaseEncoder(PRODUCTS, SETTINGS).encode(Sales(*columns))
    assert value == encode(purchase(at, number, ways_to_buy(PRODUCTS[product], SETTINGS)[way]))
    assert key == PRODUCTS[product].product_id.encode()
    assert timestamp == at // 1000


@given(TIMES)
def test_times_have_six_digits_and_can_be_read_back(at: int) -> None:
    assert len(time_text(at)) == len("2026-11-24 10:00:00.000000")
    assert event_time(time_text(at)) == at


def test_a_product_is_told_in_the_order_of_the_original() -> None:
    assert json.loads(encode(messages.product(PRODUCTS[0]))) == {
        "product_id": "CS01",
        "category": "Classic Smoothies",
        "item": "Sunrise Sunset",
        "size": "24 oz.",
        "price": 4.99,
        "inventory": 75,
        "contains_fruit": True,
        "contains_veggies": False,
        "contains_nuts": False,
        "contains_caffeine": False,
        "range_weight": 6,
        "cost": 1.5,
    }


def test_a_receipt_is_one_line() -> None:
    sold = purchase(0, 1, ways_to_buy(PRODUCTS[0], SETTINGS)[7]).asdict()
    assert receipt(sold, "Sunrise Sunset") == (
        "1970-01-01 00:00:00  CS01  2 × Sunrise Sunset with supplements, member  12.56"
    )
