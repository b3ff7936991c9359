"""The messages: the fast encoding makes the bytes of the plain one."""

import json
from pathlib import Path

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.config import catalog
from yasdg_app.config.settings import SalesSettings
from yasdg_app.messages import decoders, encoders, ids, records, reference
from yasdg_app.messages.encoders import LostSaleEncoder, PurchaseEncoder
from yasdg_app.messages.reference import encode, purchase, receipt
from yasdg_app.messages.times import event_time, time_text
from yasdg_app.shop.customer_behaviour import line_of
from yasdg_app.shop.sales import NO_PRODUCT, LostSale, Sales
from yasdg_app.shop.shelf import END_OF_TIME, Restock

PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")
SETTINGS = SalesSettings()
TIMES = st.integers(0, 4_000_000_000_000_000)


PLACES = st.integers(0, len(PRODUCTS) - 1)
OTHERS, WAYS, DISCOUNTS = PLACES | st.just(NO_PRODUCT), st.integers(0, 7), st.just(0) | st.integers(0, 9_999)


@st.composite
def sales(draw: st.DrawFn) -> tuple[int, ...]:
    return tuple(draw(each) for each in (PLACES, st.integers(1, 10**9), TIMES, WAYS, DISCOUNTS, OTHERS))


@given(st.lists(sales(), min_size=1, max_size=8))
def test_the_fast_encoding_makes_the_plain_bytes(rows: list[tuple[int, ...]]) -> None:
    columns = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    for row, told in zip(rows, PurchaseEncoder(PRODUCTS, SETTINGS).encode(Sales(*columns)), strict=True):
        product, number, at, way, promotion, other = row
        instead_of = None if other == NO_PRODUCT else PRODUCTS[other].product_id
        plain = purchase(at, number, line_of(PRODUCTS[product], way, promotion, SETTINGS), instead_of)
        assert told == (PRODUCTS[product].product_id.encode(), encode(plain), at // 1000)


@st.composite
def lost_sales(draw: st.DrawFn) -> LostSale:
    return LostSale(
        draw(PLACES), draw(st.integers(1, 10**9)), draw(TIMES), draw(WAYS), draw(DISCOUNTS), draw(st.integers(0, 1)),
        draw(TIMES | st.just(END_OF_TIME)), draw(st.none() | st.from_regex("[a-zA-Z0-9_-]{1,40}", fullmatch=True)),
        draw(OTHERS),
    )  # fmt: skip


@given(st.lists(lost_sales(), max_size=8))
def test_the_fast_encoding_of_lost_sales_makes_the_plain_bytes(lost: list[LostSale]) -> None:
    for one, told in zip(lost, LostSaleEncoder(PRODUCTS, SETTINGS).encode(lost), strict=True):
        plain = reference.lost_sale(PRODUCTS, one, SETTINGS)
        assert told == (PRODUCTS[one.product].product_id.encode(), encode(plain), one.at // 1000)


def test_a_lost_sale_says_why() -> None:
    one = LostSale(0, 3, 60_000_000, 7, 1_000, 1, 120_000_000, "strike", 1)
    assert json.loads(encode(reference.lost_sale(PRODUCTS, one, SETTINGS))) == {
        "event_time": "1970-01-01 00:01:00.000000",
        "product_id": "CS01",
        "quantity": 2,
        "value": 11.31,  # 2 × (4.99 + 1.99) × 0.9 × 0.9
        "reason": "held_up",
        "level": 1,
        "promised": "1970-01-01 00:02:00.000000",
        "incident": "strike",
        "substitute": "CS02",
        "lost_sale_id": "CS01-L000003",
    }
    assert [reference.reason(one._replace(delayed_by=None, level=level)) for level in (0, 1)] == ["sold_out", "too_few"]


def test_a_restock_says_what_it_changed() -> None:
    assert json.loads(encode(reference.stocking("CS01", Restock(7, 60_000_000, 4, 15)))) == {
        "event_time": "1970-01-01 00:01:00.000000",
        "product_id": "CS01",
        "existing_level": 4,
        "stock_quantity": 15,
        "new_level": 19,
        "stocking_id": "CS01-R000007",
    }


@given(PLACES, TIMES, st.integers(1, 10**9), st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_a_restock_is_encoded_as_its_record(place: int, at: int, number: int, level: int, amount: int) -> None:
    its, restock = PRODUCTS[place].product_id, Restock(number, at, level, amount)
    assert encoders.encode_restock(its, restock) == encode(reference.stocking(its, restock))


def test_a_row_that_faust_wrote_can_be_read() -> None:
    row = records.InventoryLevel("CS01", 74, 75, 1, 1, 0, 0, 499, 150, "2026-11-24 10:00:00.000000", 7)
    fields = {"__faust": {"ns": "yasdg_app.messages.records.InventoryLevel"}, **row.asdict()}
    assert decoders.read_level(json.dumps(fields).encode()) == row
    assert encoders.encode_level(row) == orjson.dumps(row.asdict())
    del fields["lost_offset"], fields["last_lost"]  # of a time before there were lost sales
    assert decoders.read_level(json.dumps(fields).encode()) == row


@given(PLACES, st.integers(1, 10**9))
def test_ids_can_be_read_back(product: int, number: int) -> None:
    its = PRODUCTS[product].product_id
    assert ids.sale_number(its, ids.transaction_id(its, number)) == number
    restock = reference.stocking(its, Restock(number, 0, 0, 1))
    assert ids.restock_number(its, restock.stocking_id) == number
    lost = LostSale(product, number, 0, 0, 0, 0, END_OF_TIME, None, NO_PRODUCT)
    ((_, value, _),) = LostSaleEncoder(PRODUCTS, SETTINGS).encode([lost])
    assert decoders.read_lost_sale(value, 0, {its: 0}.get)[1] == number


@given(TIMES)
def test_times_have_six_digits_and_can_be_read_back(at: int) -> None:
    assert len(time_text(at)) == len("2026-11-24 10:00:00.000000")
    assert event_time(time_text(at)) == at


def test_a_product_is_told_in_the_order_of_the_original() -> None:
    assert json.loads(encode(reference.product(PRODUCTS[0]))) == {
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
    sold = purchase(0, 1, line_of(PRODUCTS[0], 7, 0, SETTINGS)).asdict()
    assert receipt(sold, "Sunrise Sunset") == (
        "1970-01-01 00:00:00  CS01  2 × Sunrise Sunset with supplements, member  12.56"
    )
