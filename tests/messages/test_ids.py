"""Whatever the ids of the products are, each message is read back as it was written, by every reader."""

import asyncio
import csv
import io
import json
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import example, given
from hypothesis import strategies as st
from support import readers
from support.product_ids import ODD, product_ids

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import SalesSettings
from yasdg_app.kafka.batch_writer import batch
from yasdg_app.messages import decoders, encoders, ids, reference
from yasdg_app.messages.bulk_encoder import BulkEncoder
from yasdg_app.messages.encoders import LostSaleEncoder, PurchaseEncoder
from yasdg_app.messages.formats import Format
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.times import event_time
from yasdg_app.shop.customer_behaviour import line_of
from yasdg_app.shop.sales import NO_PRODUCT, LostSale, Sales
from yasdg_app.shop.shelf import Restock
from yasdg_app.truth import tables

SETTINGS = SalesSettings(substitution_freq=5)
AT = event_time("2026-06-01 12:34:56.789012")
NUMBERS = (1, 42, 999_999, 1_000_000, 12_345_678)
some_ids = st.lists(product_ids(), min_size=2, max_size=3, unique=True)
# Ids that contain each other, or that look like the numbers behind them.
ALIKE = (
    ["A", "A-000001", "A-000042"],
    ["\\", '"', '\\"'],
    ["a", "a-", "a-L"],
    ['","product_id":"', "x"],
    ["é", "é" * 64],
)


def made(product_id: str, price: int = 499) -> Product:
    return Product(product_id, "Books", "Emma", "", price, 150, 75, *(False,) * 4, 1, 1, 1)


def sales_of(products: list[Product]) -> Sales:
    """Sales of all products, with numbers of all lengths, for themselves and for each other."""
    rows = [
        (place, number, 0, number % 8, 0, other)
        for place in range(len(products))
        for other in (NO_PRODUCT, (place + 1) % len(products))
        for number in NUMBERS
    ]
    columns = [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)]
    columns[2] = AT + np.arange(len(rows)) * 1_000_003
    return Sales(*columns)


@lru_cache
def form(name: str) -> Format:
    return readers.form_named(name)


def with_examples(test: Any) -> Any:
    for each in ALIKE:
        test = example(names=list(each))(test)
    return test


@with_examples
@given(names=some_ids)
def test_the_fast_encoders_make_the_plain_bytes(names: list[str]) -> None:
    products = [made(each) for each in names]
    sales = sales_of(products)
    told = list(PurchaseEncoder(products, SETTINGS).encode(sales))
    for row, (key, value, _) in enumerate(told):
        product, asked = products[sales.product[row]], int(sales.requested_product[row])
        line = line_of(product, int(sales.option[row]), 0, SETTINGS)
        instead_of = None if asked == NO_PRODUCT else names[asked]
        plain = reference.purchase(int(sales.at[row]), int(sales.number[row]), line, instead_of)
        assert (key, value) == (product.product_id.encode(), reference.encode(plain))
        sale, number = decoders.read_purchase(value, 3, lambda _: 3)
        assert (sale.product_id, number) == (product.product_id, int(sales.number[row]))
    lost = [LostSale(0, 7, AT, 3, 0, 1, AT, None, 1), LostSale(1, 1_234_567, AT, 3, 0, 1, AT, "strike", NO_PRODUCT)]
    for one, (key, value, _) in zip(lost, LostSaleEncoder(products, SETTINGS).encode(lost), strict=True):
        assert (key, value) == (
            names[one.product].encode(),
            reference.encode(reference.lost_sale(products, one, SETTINGS)),
        )
        found, number = decoders.read_lost_sale(value, 3, lambda _: 3)
        assert (found.product_id, number) == (names[one.product], one.number)
    for product_id in names:
        restock = Restock(1_234_567, AT, 4, 15)
        encoded = encoders.encode_restock(product_id, restock)
        assert encoded == reference.encode(reference.stocking(product_id, restock))
        key = decoders.read_restock_key(encoded)
        assert ids.restock_number(key.product_id, key.stocking_id) == 1_234_567
        fault = encoders.encode_fault(AT, product_id, 42, "late", AT + 7)
        assert fault == reference.encode(reference.fault(AT, product_id, 42, "late", AT + 7))
        read = decoders.read_fault_key(fault)
        assert ids.fault_number(read.product_id, read.fault_id) == 42
        assert ids.sale_number(product_id, json.loads(fault)["transaction_id"]) == 42
        level = InventoryLevel(product_id, *range(5, 13), last_sale="", offset=-1)
        assert decoders.read_level(encoders.encode_level(level)) == level
        assert json.loads(encoders.product_json(made(product_id)))["product_id"] == product_id


@pytest.mark.parametrize("name", readers.NAMES)
@with_examples
@given(names=some_ids)
def test_in_every_format_many_at_once_are_the_plain_messages(name: str, names: list[str]) -> None:
    products = [made(each) for each in names]
    sales, one = sales_of(products), form(name)
    wanted = list(PurchaseEncoder(products, SETTINGS, one.writer("purchases")).encode(sales))
    encoder = BulkEncoder(products, SETTINGS, one)
    if name in readers.TIMES:
        assert bytes(encoder.lines(sales)).split(b"\n")[:-1] == [value for _, value, _ in wanted]
    records = MemoryRecords(b"".join(batch(some, 0, 7, 0) for some in encoder.records(sales)))
    found: list[Any] = []
    while records.has_next():
        found += records.next_batch()
    assert [(each.key, each.value, each.timestamp) for each in found] == wanted
    # And back, in bulk, with no message that only the slow way can read.
    messages = [
        SimpleNamespace(offset=row, timestamp=0, key=key, value=value, headers=())
        for row, (key, value, _) in enumerate(wanted)
    ]
    plain = [value for _, value, _ in PurchaseEncoder(products, SETTINGS).encode(sales)]
    assert [message.value for message in asyncio.run(one.plain("purchases", messages))] == plain
    many = getattr(one, "_many", None)
    if many is not None:
        assert many.values(messages) == plain


@lru_cache
def confluent(name: str, what: str) -> readers.Read:
    return readers.deserialiser(name, what, f"demo.{what}", readers.client_of(form(name)))


@pytest.mark.parametrize("name", readers.REGISTERED)
@given(product_id=product_ids())
def test_other_readers_find_the_id_in_every_kind_of_message(name: str, product_id: str) -> None:
    product, one = made(product_id), form(name)
    lost = LostSale(0, 7, AT, 3, 0, 1, AT, None, NO_PRODUCT)
    told = {
        "products": encoders.product_json(product),
        "purchases": reference.encode(reference.purchase(AT, 42, line_of(product, 0, 0, SETTINGS), product_id)),
        "lost_sales": reference.encode(reference.lost_sale([product], lost, SETTINGS)),
        "stockings": encoders.encode_restock(product_id, Restock(1, AT, 4, 15)),
    }
    for what, message in told.items():
        written = one.write(what, message)
        assert confluent(name, what)(written)["product_id"] == product_id
        assert json.loads(readers.read_back(one, what, written)[0] or b"") == json.loads(message)


@given(product_id=product_ids())
def test_a_table_of_the_truth_is_csv_with_the_id(product_id: str) -> None:
    text = f"{tables._quoted(product_id)},1\n"
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == [[product_id, "1"]]


@given(one=product_ids(), other=product_ids())
def test_ids_are_in_the_order_of_their_bytes(one: str, other: str) -> None:
    """Code points are ordered as their UTF-8: so `EventCursor`, sorted keys and Kafka's keys have one order."""
    assert (one < other) == (one.encode() < other.encode())


def test_the_longest_messages_fit() -> None:
    """Each character takes four bytes, or two where it is escaped."""
    for character in "😀", '"', "\\":
        products = [replace(made(character * 64), price_cents=99_999_999_999), made(character * 63 + "x")]
        (records,) = BulkEncoder(products, SETTINGS).records(sales_of(products))
        assert records.count == 2 * 2 * len(NUMBERS)


def test_an_id_is_escaped_as_everywhere_else() -> None:
    for each in ODD:
        assert f'"{ids.json_text(each)}"'.encode() == orjson.dumps(each)
