"""Many purchases in one go: the bytes of the plain way, one purchase after the other, whatever they are."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st
from support import readers

from yasdg_app.config import catalog
from yasdg_app.config.settings import MAX_QUANTITIES, SalesSettings
from yasdg_app.kafka.batch_writer import batch
from yasdg_app.messages import bulk_encoder as encoding
from yasdg_app.messages.bulk_encoder import BulkEncoder
from yasdg_app.messages.encoders import PurchaseEncoder
from yasdg_app.messages.formats import Format
from yasdg_app.shop.customer_behaviour import purchase_options
from yasdg_app.shop.sales import NO_PRODUCT, Sales

PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")
SETTINGS = SalesSettings(substitution_freq=5, quantities=(1,) * MAX_QUANTITIES)
PLACES = st.integers(0, len(PRODUCTS) - 1)
YEAR_1971 = 31_536_000_000_000  # from which on a shop can be
YEAR_9999 = 253_402_300_799_999_999
OPTIONS = st.integers(0, purchase_options(SETTINGS) - 1)
STEPS = st.integers(0, 3) | st.integers(0, 10**6) | st.integers(0, 10**11) | st.integers(0, 10**15)
PROMOTIONS = st.just(0) | st.integers(0, 10_000)  # several incidents together may leave nothing to pay
NUMBERS = st.integers(1, 2_000_000) | st.integers(1, 10**18 - 1)


@st.composite
def many_sales(draw: st.DrawFn) -> Sales:
    rows = draw(
        st.lists(
            st.tuples(PLACES, NUMBERS, STEPS, OPTIONS, PROMOTIONS, st.just(NO_PRODUCT) | PLACES),
            min_size=1,
            max_size=30,
        )
    )  # fmt: skip
    columns = [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)]
    columns[2] = np.minimum(np.cumsum(columns[2]), YEAR_9999 - YEAR_1971)  # in order
    return Sales(*columns)


def plain(sales: Sales, form: Format | None = None) -> list[tuple[bytes, bytes, int]]:
    write = None if form is None else form.writer("purchases")
    return list(PurchaseEncoder(PRODUCTS, SETTINGS, write).encode(sales))


@lru_cache
def form(name: str) -> Format:
    return readers.form_named(name)


def read(batches: list[bytes]) -> list[Any]:
    """What aiokafka's own parser makes of record batches."""
    found, records = [], MemoryRecords(b"".join(batches))
    while records.has_next():
        one: Any = records.next_batch()
        assert one.validate_crc()
        found.append((one.producer_id, one.producer_epoch, one.base_sequence, list(one)))
    return found


@given(st.lists(many_sales(), min_size=1, max_size=3))
def test_lines_are_the_plain_messages(blocks: list[Sales]) -> None:
    encoder = BulkEncoder(PRODUCTS, SETTINGS)
    for sales in blocks:
        lines = encoder.lines(sales)
        assert bytes(lines).splitlines() == [value for _, value, _ in plain(sales)]
        assert lines.endswith(b"\n")


@given(many_sales())
def test_batches_hold_the_plain_messages(sales: Sales) -> None:
    made = list(BulkEncoder(PRODUCTS, SETTINGS).records(sales))
    ((producer, epoch, number, records),) = read([batch(some, 41, 7, 0) for some in made])
    assert (producer, epoch, number) == (7, 0, 41)
    assert [(one.key, one.value, one.timestamp) for one in records] == plain(sales)
    assert [(one.offset, list(one.headers)) for one in records] == [(place, []) for place in range(len(records))]


@pytest.mark.parametrize("name", readers.NAMES)
@given(blocks=st.lists(many_sales(), min_size=1, max_size=3))
def test_in_every_format_many_at_once_are_the_plain_messages(name: str, blocks: list[Sales]) -> None:
    encoder = BulkEncoder(PRODUCTS, SETTINGS, form(name))
    for block in blocks:
        sales = replace(block, at=block.at + YEAR_1971)
        wanted = plain(sales, form(name))
        if name in readers.TIMES:
            assert bytes(encoder.lines(sales)).splitlines() == [value for _, value, _ in wanted]
        found = [one for *_, some in read([batch(some, 0, 7, 0) for some in encoder.records(sales)]) for one in some]
        assert [(one.key, one.value, one.timestamp) for one in found] == wanted


def test_batches_are_as_large_as_a_topic_takes_and_no_larger() -> None:
    count = 10_000
    sales = Sales(
        np.arange(count) % len(PRODUCTS), np.arange(1, count + 1), np.arange(count) * 1_000_003, np.arange(count) % 8,
        np.zeros(count, dtype=np.int64), np.full(count, NO_PRODUCT),
    )  # fmt: skip
    made = list(BulkEncoder(PRODUCTS, SETTINGS).records(sales))
    assert all(encoding.RECORDS_BYTES * 0.95 < len(some.data) <= encoding.RECORDS_BYTES for some in made[:-1])
    found = [records for *_, records in read([batch(some, 0, 7, 0) for some in made])]
    for some, records in zip(made, found, strict=True):
        assert (some.first, some.last) == (records[0].timestamp, records[-1].timestamp)
    rows = [(one.key, one.value, one.timestamp) for records in found for one in records]
    assert rows == plain(sales)


def test_of_a_large_catalog_no_more_is_kept_prepared_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_PREPARED_KINDS", 20)
    encoder = BulkEncoder(PRODUCTS, SETTINGS)
    for way in range(8):
        count = len(PRODUCTS)
        nothing = np.zeros(count, dtype=np.int64)
        sales = Sales(np.arange(count), nothing + 5, nothing + way, nothing + way, nothing, nothing + NO_PRODUCT)
        assert bytes(encoder.lines(sales)).splitlines() == [value for _, value, _ in plain(sales)]
        assert len(encoder._kinds) <= count


def test_what_is_prepared_is_what_was_sold_and_no_more_for_larger_quantities() -> None:
    nothing = np.zeros(16, dtype=np.int64)
    options = np.arange(16, dtype=np.int64) % 8  # one and two units
    sales = Sales(nothing, np.arange(1, 17), nothing + 5, options, nothing, nothing + NO_PRODUCT)
    for weights in ((), (1,) * MAX_QUANTITIES):
        encoder = BulkEncoder(PRODUCTS, SalesSettings(quantities=weights))
        encoder.lines(sales)
        assert len(encoder._kinds) == 8


def test_of_nothing_there_is_nothing() -> None:
    nobody = Sales(*(np.empty(0, dtype=np.int64) for _ in range(6)))
    encoder = BulkEncoder(PRODUCTS, SETTINGS)
    assert (encoder.lines(nobody), list(encoder.records(nobody))) == (b"", [])
