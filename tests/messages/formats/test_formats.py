"""A message is the same in every format: what is written can be read back, by us and by whoever reads the topics."""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import golden
from oracles.meaning import meaning
from support import readers

from yasdg_app.config import catalog
from yasdg_app.config.settings import FormatSettings, KafkaSettings, SalesSettings
from yasdg_app.errors import ConfigurationError
from yasdg_app.messages import encoders, reference
from yasdg_app.messages.formats import (
    UNREADABLE_VALUE,
    YIELD_AFTER_MESSAGES,
    ConvertedFormat,
    Format,
    format_of,
    original_of,
    schemas,
)
from yasdg_app.messages.formats.bulk_decoder import MAX_LEARNED_MESSAGES, BulkPurchaseDecoder
from yasdg_app.messages.reference import encode
from yasdg_app.messages.times import event_time
from yasdg_app.shop.customer_behaviour import line_of
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.sales import NO_PRODUCT, LostSale
from yasdg_app.shop.shelf import END_OF_TIME, Restock

PROJECT = Path(__file__).parents[3]
PRODUCTS = catalog.load(PROJECT / "products.csv")
SALES = SalesSettings()
# Of the years that a shop can be of.
TIMES = st.integers(*(event_time(f"{year}-01-01") for year in (1971, 2199)))
PLACES, COUNTS = st.integers(0, len(PRODUCTS) - 1), st.integers(1, 10**9)
NAMES = st.from_regex("[a-zA-Z0-9_-]{1,40}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
SHARES = st.integers(0, 10_000)
CENTS = st.integers(0, 99_999_999_999)


@lru_cache
def form(name: str) -> Format:
    return readers.form_named(name)


@st.composite
def products(draw: st.DrawFn) -> bytes:
    product = replace(
        PRODUCTS[draw(PLACES)],
        item=draw(TEXTS),
        price_cents=draw(CENTS),
        cost_cents=draw(st.none() | CENTS),
        inventory=draw(COUNTS),
        range_weight=draw(st.integers(0, 10**9) | st.floats(0, 1e9)),
    )
    return encoders.product_json(product)


@st.composite
def purchases(draw: st.DrawFn) -> bytes:
    line = line_of(PRODUCTS[draw(PLACES)], draw(st.integers(0, 7)), draw(SHARES), SALES)
    line = line._replace(total_cents=draw(CENTS), cost_cents=draw(st.none() | CENTS), member_discount=draw(SHARES))
    return encode(reference.purchase(draw(TIMES), draw(COUNTS), line, draw(st.none() | NAMES)))


@st.composite
def lost_sales(draw: st.DrawFn) -> bytes:
    one = LostSale(
        draw(PLACES), draw(COUNTS), draw(TIMES), draw(st.integers(0, 7)), draw(SHARES), draw(st.integers(0, 1)),
        draw(TIMES | st.just(END_OF_TIME)), draw(st.none() | NAMES), draw(PLACES | st.just(NO_PRODUCT)),
    )  # fmt: skip
    return encode(reference.lost_sale(PRODUCTS, one, SALES))


@st.composite
def stockings(draw: st.DrawFn) -> bytes:
    restock = Restock(draw(COUNTS), draw(TIMES), draw(st.integers(-10, 10**9)), draw(COUNTS))
    return encode(reference.stocking(PRODUCTS[draw(PLACES)].product_id, restock))


@st.composite
def incidents(draw: st.DrawFn) -> bytes:
    start, end, planned = draw(TIMES), draw(TIMES), draw(st.none() | TIMES)
    ramps, names = st.integers(0, 10**12), st.frozensets(TEXTS, max_size=3)
    factor = draw(st.floats(0, 100))
    scope = draw(names), draw(names)
    one = Incident(draw(NAMES), "custom", start, end, draw(ramps), draw(ramps), *scope, factor, draw(SHARES), planned)
    return encode(reference.announcement(draw(TIMES), draw(st.sampled_from(["start", "end"])), one))


@st.composite
def faults(draw: st.DrawFn) -> bytes:
    sold_at = draw(TIMES)
    return encoders.encode_fault(sold_at, "CS01", draw(COUNTS), "late", draw(st.none() | st.just(sold_at + 7)))


MESSAGES = {
    "products": products(), "purchases": purchases(), "lost_sales": lost_sales(), "stockings": stockings(),
    "incidents": incidents(), "faults": faults(),
}  # fmt: skip
ALL = [(name, what) for name in readers.NAMES for what in MESSAGES if name in readers.TIMES or what != "faults"]


# --- What is written is read again ---


@pytest.mark.parametrize(("name", "what"), ALL)
@given(data=st.data())
def test_what_is_written_can_be_read_back(name: str, what: str, data: st.DataObject) -> None:
    message = data.draw(MESSAGES[what])
    written = form(name).write(what, message)
    (read,) = readers.read_back(form(name), what, written)
    assert json.loads(read or b"") == json.loads(message)
    if what != "products":  # whose weight is 6 or 6.0
        assert read == message
    assert form(name).write(what, message) == written  # and the same bytes each time


def test_by_default_nothing_is_done() -> None:
    message, default = golden.purchases()[0], form("sql")
    assert default.writer("purchases") is None
    assert default.write("purchases", message) is message
    read = readers.messages([message])
    assert asyncio.run(default.plain("purchases", read)) is read


@pytest.mark.parametrize("time", readers.TIMES)
def test_json_has_times_as_they_are_configured(time: str) -> None:
    assert [form(time).write("purchases", line) for line in golden.purchases()] == golden.purchases(time)


def test_every_time_of_a_message_is_turned() -> None:
    lost = LostSale(0, 3, 60_000_000, 7, 1_000, 1, 120_000_007, "strike", 1)
    message = encode(reference.lost_sale(PRODUCTS, lost, SALES))
    told = {time: json.loads(form(time).write("lost_sales", message)) for time in readers.TIMES}
    assert {time: (each["event_time"], each["promised"]) for time, each in told.items()} == {
        "sql": ("1970-01-01 00:01:00.000000", "1970-01-01 00:02:00.000007"),
        "iso-z": ("1970-01-01T00:01:00.000000Z", "1970-01-01T00:02:00.000007Z"),
        "epoch_ms": (60_000, 120_000),
        "epoch_us": (60_000_000, 120_000_007),
    }
    # Behind all others, and only where the time itself is not exact.
    assert list(told["epoch_ms"])[-2:] == ["event_time_us", "promised_us"]
    assert (told["epoch_ms"]["event_time_us"], told["epoch_ms"]["promised_us"]) == (60_000_000, 120_000_007)
    assert told["epoch_us"].keys() == told["sql"].keys()


# --- Many at once ---


@st.composite
def flawed(draw: st.DrawFn, written: bytes) -> bytes:
    """A message, or one in which some bytes are others, or missing."""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(written)))
        written = written[:at] + draw(st.binary(max_size=2)) + written[at + draw(st.integers(0, 2)) :]
    return written


@pytest.mark.parametrize("name", [name for name in readers.NAMES if name != "sql"])
@given(data=st.data())
def test_many_purchases_at_once_are_read_as_one_after_the_other(name: str, data: st.DataObject) -> None:
    one = form(name)
    assert isinstance(one, ConvertedFormat)
    few = data.draw(st.lists(purchases(), min_size=1, max_size=3))
    told = data.draw(st.lists(st.sampled_from(few), min_size=1, max_size=12))
    values = [data.draw(flawed(one.write("purchases", each))) for each in told]
    read = readers.messages(values)
    for message, each in zip(read, told, strict=True):
        its = json.loads(each)["product_id"].encode()
        message.key = data.draw(st.just(its) | st.sampled_from([None, b"", its[:-1], b"2", its + b"-000001"]))
    wanted = []
    asyncio.run(one.learn(read))
    for value in values:
        try:
            wanted.append(one.read("purchases", value))
        except ValueError:
            wanted.append(UNREADABLE_VALUE)
    found = asyncio.run(one.plain("purchases", read))
    assert [message.value for message in found] == wanted
    assert [(message.key, message.offset) for message in found] == [(message.key, message.offset) for message in read]


@pytest.mark.parametrize("name", readers.REGISTERED)
def test_a_number_that_is_longer_than_it_says_is_none(name: str) -> None:
    right = form(name).write("purchases", golden.purchases()[0])
    read = readers.messages([right, right.replace(b"-000001", b"-0000010")])
    for message in read:
        message.key = b"IS03"
    values = [message.value for message in asyncio.run(form(name).plain("purchases", read))]
    assert values == [golden.purchases()[0], UNREADABLE_VALUE]


@pytest.mark.parametrize("name", ["iso-z", "epoch_us", *readers.REGISTERED])
def test_next_to_all_purchases_are_read_at_once(name: str) -> None:
    one = form(name)
    read = readers.messages([one.write("purchases", line) for line in golden.purchases()])
    for message, line in zip(read, golden.purchases(), strict=True):
        message.key = json.loads(line)["product_id"].encode()
    plainly: list[bytes] = []
    reader = BulkPurchaseDecoder(lambda value: plainly.append(value) or one.read("purchases", value), one.layout)  # type: ignore[attr-defined, func-returns-value]
    for _ in range(golden.COUNT // 5 // MAX_LEARNED_MESSAGES):
        found = reader.values(read)
    assert found == golden.purchases()
    assert len(plainly) < golden.COUNT / 5


@pytest.mark.parametrize("name", ["iso-z", "epoch_ms", "epoch_us", *readers.REGISTERED])
@pytest.mark.parametrize("damaged", [False, True])
def test_others_have_their_turn_between_purchases_that_are_read_one_by_one(name: str, damaged: bool) -> None:
    one, lines = form(name), golden.purchases()[:3_000]
    read = readers.messages([one.write("purchases", line) for line in lines])
    for message, line in zip(read, lines, strict=True):
        message.key = json.loads(line)["product_id"].encode() if damaged else b"another"
        message.value += b"\0" * damaged  # none of them can be read
    since, most = 0, 0

    def counted(what: str, value: bytes) -> bytes:
        nonlocal since, most
        since += 1
        most = max(most, since)
        return plain_way(what, value)

    async def others() -> None:
        nonlocal since
        while True:
            since = 0
            await asyncio.sleep(0)

    async def read_them() -> None:
        task = asyncio.create_task(others())
        await one.plain("purchases", read)
        task.cancel()

    assert isinstance(one, ConvertedFormat)
    plain_way = one.read
    with (
        mock.patch.object(one, "read", counted),
        mock.patch.object(one, "_many", one._many and BulkPurchaseDecoder(partial(counted, "purchases"), one.layout)),
    ):
        asyncio.run(read_them())
    assert 0 < most <= YIELD_AFTER_MESSAGES + MAX_LEARNED_MESSAGES


# --- What cannot be read ---

BAD = {
    "iso-z": [
        golden.purchases("sql")[0],
        golden.purchases("iso-z")[0].replace(b"Z", b"+00:00"),
        golden.purchases("epoch_us")[0],
    ],
    "epoch_ms": [
        golden.purchases("sql")[0],
        golden.purchases("epoch_us")[0],
        golden.purchases("epoch_ms")[0].replace(b"_us", b"_them"),
        golden.purchases("epoch_ms")[0].replace(b"131419", b"132419"),
    ],
    "epoch_us": [golden.purchases("sql")[0], golden.purchases("epoch_us")[0].replace(b"419,", b"419.0,")],
    "avro": [golden.purchases()[0]],
    "protobuf": [golden.purchases()[0]],
}


@pytest.mark.parametrize("name", BAD)
@given(garbage=st.binary(max_size=60))
def test_somebody_elses_bytes_are_no_message(name: str, garbage: bytes) -> None:
    for value in (*BAD[name], None, b"", b"[]", b"7", b"\0\0\0\0\7", b"\0" + garbage):
        ((read, *_),) = [asyncio.run(form(name).plain("purchases", readers.messages([value])))]
        if read.value != UNREADABLE_VALUE:  # of garbage some is a message
            assert value == b"\0" + garbage
        else:
            message, why = original_of(read, "whatever the reader says")
            assert (message.value, message.offset) == (value, 0)
            assert why
            assert why != "whatever the reader says"


@pytest.mark.parametrize("name", readers.REGISTERED)
def test_a_part_of_a_message_or_more_than_it_is_none(name: str) -> None:
    whole = form(name).write("purchases", golden.purchases()[0])
    assert readers.read_back(form(name), "purchases", whole[:-3], whole + b"\0\0") == [
        UNREADABLE_VALUE,
        UNREADABLE_VALUE,
    ]


def test_a_message_that_is_none_in_the_default_format_stays_as_it_is() -> None:
    (message,) = readers.messages([b"hello"])
    assert original_of(message, "why") == (message, "why")


# --- Confluent's own deserialisers ---


@lru_cache
def deserialiser(name: str, what: str) -> readers.Read:
    return readers.deserialiser(name, what, f"demo.{what}", readers.client_of(form(name)))


@pytest.mark.parametrize("what", schemas.KINDS)
@pytest.mark.parametrize("name", readers.REGISTERED)
@given(data=st.data())
def test_confluents_deserialisers_read_it_to_the_cent_and_the_microsecond(
    name: str, what: str, data: st.DataObject
) -> None:
    message = data.draw(MESSAGES[what])
    read: Mapping[str, Any] = deserialiser(name, what)(form(name).write(what, message))
    wanted = meaning(what, message, name)
    assert read == wanted
    assert list(read) == list(wanted)  # in the same order


# --- Packages that may be missing ---


@pytest.mark.parametrize(
    ("value", "module"),
    [("avro", "fastavro"), ("protobuf", "google.protobuf"), ("avro", "confluent_kafka.schema_registry")],
)
def test_a_package_that_is_missing_is_named_in_one_line(
    value: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("avro", "protobuf", "registry"):
        monkeypatch.delitem(sys.modules, f"yasdg_app.messages.formats.{name}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError) as caught:
        format_of(FormatSettings(value, "http://localhost"), KafkaSettings())
    (problem,) = caught.value.problems
    assert problem.startswith(f"[FORMAT] value = {value}: the package {module}")
    assert problem.endswith('is missing: pip install "yasdg[formats]"')
