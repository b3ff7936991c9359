"""What is on the topics is, name by name and byte by byte, what it was: other programs read it, and older workers.

Everything on the right-hand side is written out here. Whoever renames a field, a header, a key or a topic in Python
changes what readers of the stream get, and finds it out here. Purchases: tests/test_golden.py; the opening:
tests/cluster_state/test_manifest_record.py; Avro and Protobuf: tests/messages/formats/test_schemas.py.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from faust.types import TP
from support.fakes import open_shop

from yasdg_app.app import load
from yasdg_app.cluster_state.bootstrap import topics_of
from yasdg_app.cluster_state.control_records import end_record, gap_record, incident_record
from yasdg_app.config import catalog
from yasdg_app.config.settings import FaultSettings, KafkaSettings, SalesSettings, Settings
from yasdg_app.kafka.batch_reader import Unparsed
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.kafka.topics import specs
from yasdg_app.messages.decoders import InvalidMessageError, read_level, read_lost_sale, read_purchase
from yasdg_app.messages.encoders import (
    LostSaleEncoder,
    PurchaseEncoder,
    encode_fault,
    encode_level,
    encode_restock,
    product_json,
)
from yasdg_app.messages.ids import default_partition
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.reference import announcement, encode
from yasdg_app.pipeline import shelf_snapshots as shelves
from yasdg_app.pipeline.dead_letters import dead_letter
from yasdg_app.pipeline.faulty_channel import FaultyChannel
from yasdg_app.pipeline.foreign_log import foreign_reason
from yasdg_app.pipeline.shelf_snapshots import ShelfSnapshots
from yasdg_app.shop.faults import Faults
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.plan import Gap
from yasdg_app.shop.sales import LostSale
from yasdg_app.shop.shelf import Restock, Shelf

PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")
AT = 1_780_272_060_000_000  # 2026-06-01 00:01:00
MINUTE = 60_000_000
STRIKE = Incident(
    "strike", "supply", AT, AT + 60 * MINUTE, MINUTE, 2 * MINUTE, frozenset({"Superfoods", "Classic Smoothies"}),
    frozenset({"CS02", "CS01"}), 0.5, 0,
)  # fmt: skip
WITH_FAULTS = Settings(faults=FaultSettings(dropped=Decimal("0.1")))


# --- Topics, and who reads them -------------------------------------------------------------------------------------

DELETED = {"cleanup.policy": "delete", "retention.ms": "-1"}
TABLE = {
    "cleanup.policy": "compact",
    "segment.bytes": "8388608",
    "min.cleanable.dirty.ratio": "0.2",
    "message.timestamp.type": "CreateTime",
}


def test_topics() -> None:
    assert [(spec.name, spec.partitions, spec.config) for spec in specs(WITH_FAULTS)] == [
        ("demo.products", 1, {"cleanup.policy": "compact"}),
        ("demo.purchases", 8, DELETED),
        ("demo.stockings", 8, DELETED),
        ("demo.lost_sales", 8, DELETED),
        ("demo.incidents", 1, DELETED),
        ("demo.dead_letters", 8, DELETED | {"max.message.bytes": "2097152"}),
        ("yasdg-opening", 1, DELETED),
        ("yasdg-control", 1, DELETED | {"message.timestamp.type": "LogAppendTime"}),
        ("yasdg-inventory-changelog", 8, TABLE),
        ("yasdg-shelves", 8, TABLE),
        ("demo.dirty_purchases", 8, DELETED),
        ("demo.faults", 8, DELETED),
    ]


def test_topics_by_the_keys_of_the_configuration() -> None:
    assert topics_of(WITH_FAULTS) == {
        "topic_products": "demo.products",
        "topic_purchases": "demo.purchases",
        "topic_stockings": "demo.stockings",
        "topic_lost_sales": "demo.lost_sales",
        "topic_incidents": "demo.incidents",
        "topic_dead_letters": "demo.dead_letters",
        "topic_dirty": "demo.dirty_purchases",
        "topic_faults": "demo.faults",
    }
    assert KafkaSettings().application_id == "yasdg"


def test_the_group_and_the_changelog_that_faust_makes_of_the_name() -> None:
    app, pipeline = load()
    name = app.shop.settings.kafka.application_id
    assert app.conf.id == name  # the consumer group
    assert pipeline.inventory.changelog_topic.get_topic_name() == f"{name}-inventory-changelog"
    assert [agent.channel.get_topic_name() for agent in app.agents.values()] == [
        app.shop.settings.kafka.topic_purchases,
        app.shop.settings.kafka.topic_lost_sales,
    ]


def test_partitions_of_products() -> None:
    assert {each.product_id: default_partition(each.product_id, 8) for each in PRODUCTS} == {
        "CS01": 4, "CS02": 6, "CS03": 2, "CS04": 0, "CS05": 1, "CS06": 6, "CS07": 5, "CS08": 1, "CS09": 7, "CS10": 3,
        "CS11": 4, "SF01": 1, "SF02": 5, "SF03": 0, "SF04": 7, "SF05": 7, "SF06": 1, "SF07": 2, "SC01": 3, "SC02": 4,
        "SC03": 6, "SC04": 0, "SC05": 0, "IS01": 5, "IS02": 5, "IS03": 1, "IS04": 2,
    }  # fmt: skip


# --- Messages ---------------------------------------------------------------------------------------------------------

PURCHASE = (
    b'{"transaction_time":"2026-06-01 00:01:00.000000","product_id":"CS01","price":4.99,"quantity":2,"is_member":true,'
    b'"member_discount":0.1,"add_supplements":true,"supplement_price":1.99,"total_purchase":12.56,'
    b'"transaction_id":"CS01-000042","total_cost":4.0,"promotion_discount":0.0,"substituted_from":null}'
)
LOST = (
    b'{"event_time":"2026-06-01 00:01:00.000000","product_id":"CS01","quantity":2,"value":11.31,"reason":"held_up",'
    b'"level":1,"promised":"2026-06-01 00:02:00.000000","incident":"strike","substitute":"CS02",'
    b'"lost_sale_id":"CS01-L000003"}'
)


def test_a_purchase() -> None:
    assert PurchaseEncoder(PRODUCTS, SalesSettings()).one((0, 7, 0, -1), 42, AT) == PURCHASE


def test_a_lost_sale() -> None:
    lost = LostSale(0, 3, AT, 7, 1_000, 1, AT + MINUTE, "strike", 1)
    assert list(LostSaleEncoder(PRODUCTS, SalesSettings()).encode([lost])) == [(b"CS01", LOST, AT // 1000)]


def test_a_product() -> None:
    assert product_json(PRODUCTS[0]) == (
        b'{"product_id":"CS01","category":"Classic Smoothies","item":"Sunrise Sunset","size":"24 oz.","price":4.99,'
        b'"inventory":75,"contains_fruit":true,"contains_veggies":false,"contains_nuts":false,'
        b'"contains_caffeine":false,"range_weight":6,"cost":1.5}'
    )


def test_a_restock() -> None:
    assert encode_restock("CS01", Restock(7, AT, 4, 15)) == (
        b'{"event_time":"2026-06-01 00:01:00.000000","product_id":"CS01","existing_level":4,"stock_quantity":15,'
        b'"new_level":19,"stocking_id":"CS01-R000007"}'
    )


def test_an_announcement() -> None:
    assert encode(announcement(AT, "start", STRIKE)) == (
        b'{"event_time":"2026-06-01 00:01:00.000000","incident":"strike","kind":"supply","phase":"start",'
        b'"start":"2026-06-01 00:01:00.000000","end":"2026-06-01 01:01:00.000000","ramp_up":60.0,"ramp_down":120.0,'
        b'"factor":0.5,"discount":0.0,"categories":["Classic Smoothies","Superfoods"],"products":["CS01","CS02"]}'
    )


def test_a_fault() -> None:
    assert encode_fault(AT, "CS01", 42, "late", AT + 1_500_000) == (
        b'{"event_time":"2026-06-01 00:01:00.000000","product_id":"CS01","transaction_id":"CS01-000042","kind":"late",'
        b'"released_at":"2026-06-01 00:01:01.500000","delay":1.5,"fault_id":"CS01-F000042"}'
    )


# --- Control records --------------------------------------------------------------------------------------------------


def test_an_incident_on_the_control_topic() -> None:
    row = incident_record(STRIKE)
    assert (row.key, row.value) == (
        b"incident/strike",
        b'{"name":"strike","kind":"supply","start":"2026-06-01 00:01:00.000000","end":"2026-06-01 01:01:00.000000",'
        b'"ramp_up":60000000,"ramp_down":120000000,"categories":["Classic Smoothies","Superfoods"],'
        b'"products":["CS01","CS02"],"factor":0.5,"discount":0}',
    )


def test_an_ending_on_the_control_topic() -> None:
    row = end_record("strike", AT)
    assert (row.key, row.value) == (b"end/strike", b'{"end":"2026-06-01 00:01:00.000000"}')


def test_a_gap_on_the_control_topic() -> None:
    row = gap_record(Gap(AT, AT + MINUTE))
    assert (row.key, row.value) == (
        b"gap/2026-06-01 00:01:00.000000/2026-06-01 00:02:00.000000",
        b'{"after":"2026-06-01 00:01:00.000000","until":"2026-06-01 00:02:00.000000"}',
    )


# --- The changelog, and the shelves -----------------------------------------------------------------------------------

LEVEL = (
    b'{"product_id":"CS01","level":74,"initial":75,"sales":1,"sold":2,"stockings":3,"restocked":4,"revenue_cents":499,'
    b'"cost_cents":150,"last_sale":"2026-06-01 00:01:00.000000","offset":7,"stocking_offset":8,"on_order":15,'
    b'"ordered_at":"a","promised":"b","margin_cents":349,"lost_sales":9,"lost":10,"lost_cents":11,"substituted":12,'
    b'"last_lost":"c","lost_offset":13}'
)


def test_a_row_of_the_changelog() -> None:
    row = InventoryLevel(
        product_id="CS01", level=74, initial=75, sales=1, sold=2, stockings=3, restocked=4, revenue_cents=499,
        cost_cents=150, last_sale="2026-06-01 00:01:00.000000", offset=7, stocking_offset=8, on_order=15,
        ordered_at="a", promised="b", margin_cents=349, lost_sales=9, lost=10, lost_cents=11, substituted=12,
        last_lost="c", lost_offset=13,
    )  # fmt: skip
    assert encode_level(row) == LEVEL
    assert read_level(LEVEL) == row


async def test_a_record_of_the_shelves(monkeypatch: pytest.MonkeyPatch) -> None:
    appended: list[tuple[str, int, int, list[ProducerRecord]]] = []

    class Producer:
        async def append(
            self, topic: str, partition: int, number: int, rows: list[ProducerRecord], allowed: Any
        ) -> None:
            appended.append((topic, partition, number, rows))

    shelf = Shelf(PRODUCTS[0], 75, 74, 1, 2, 3, 4, 15, AT)
    till: Any = SimpleNamespace(customers_served=0, shelves_watermark=AT, shelves=[shelf])
    shop, nothing = open_shop(producer=Producer()), cast(Any, None)
    monkeypatch.setattr(shelves.jumps, "record_time", lambda: 5)
    snapshots = ShelfSnapshots(shop, nothing, nothing)
    snapshots._counts[4] = 9
    await snapshots.write_if_due(4, till, lambda: True)
    till.customers_served = 50_000
    await snapshots.write_if_due(4, till, lambda: True)
    ((name, partition, number, (row,)),) = appended
    assert (name, partition, number, row.key) == (f"{shop.settings.kafka.application_id}-shelves", 4, 9, b"1-0")
    assert row.value == (
        b"\x84\xa7through\xcf\x00\x06S%\xe3\xbdg\x00\xa5place\x00\xa6pieces\x01\xa7shelves"
        b"\x81\xa4CS01\x98KJ\x01\x02\x03\x04\x0f\xcf\x00\x06S%\xe3\xbdg\x00"
    )
    assert msgspec.msgpack.decode(row.value) == {
        "through": AT, "place": 0, "pieces": 1, "shelves": {"CS01": [75, 74, 1, 2, 3, 4, 15, AT]},
    }  # fmt: skip


# --- Headers ----------------------------------------------------------------------------------------------------------


def message(**of: Any) -> Any:
    return SimpleNamespace(
        **({"offset": 5, "timestamp": AT // 1000, "key": b"CS01", "value": b"v", "headers": ()} | of)
    )


def test_headers_of_a_dead_letter() -> None:
    original = message(headers=[("h", b"x"), ("reason", None)])
    row = dead_letter(TP("demo.purchases", 3), original, "why", {"demo.lost_sales": 9}, 1_000)
    assert (row.key, row.value) == (b"CS01", b"v")
    assert list(row.headers) == [
        ("reason", b"why"),
        ("topic", b"demo.purchases"),
        ("partition", b"3"),
        ("offset", b"5"),
        ("buried", b'{"demo.lost_sales":9,"demo.purchases":5}'),
        ("original.h", b"x"),
        ("original.reason", b""),
    ]


def test_headers_of_a_dead_letter_that_was_cut() -> None:
    row = dead_letter(TP("demo.purchases", 3), message(value=b"v" * 2_000), "why", {}, 1_000)
    assert dict(row.headers)["original.size"] == b"2004"


@pytest.mark.parametrize("kind", ["late", "out_of_order", "duplicate", "corrupt", "dropped"])
def test_headers_of_a_sale_that_has_a_fault(kind: str) -> None:
    channel = FaultyChannel(Faults.of(replace(FaultSettings(), **{kind: Decimal(1)}), 42))
    channel.take([message(value=PURCHASE)])
    (told,), delivered = channel.arrived(2**60)
    assert (told.key, msgspec.json.decode(told.value or b"")["kind"]) == (b"CS01", kind)
    its = ("yasdg-fault", kind.encode()), ("yasdg-fault-id", b"CS01-F000042")
    assert [tuple(row.headers) for row in delivered] == {
        "duplicate": [(), its],
        "corrupt": [(*its, ("yasdg-transaction-time", b"2026-06-01 00:01:00.000000"))],
        "dropped": [],
    }.get(kind, [its])


# --- Why a message is a dead letter -----------------------------------------------------------------------------------

OUT_OF_RANGE = "expected a time from 1970 on, a quantity up to 4503599627370496, and amounts up to 35184372088832"
READ: dict[str, tuple[Callable[..., Any], bytes]] = {
    "purchase": (read_purchase, PURCHASE),
    "lost sale": (read_lost_sale, LOST),
}


@pytest.mark.parametrize(
    ("what", "changed", "reason"),
    [
        ("purchase", {"product_id": "X"}, "unknown product"),
        ("purchase", {"quantity": 0}, "quantity below 1"),
        ("purchase", {"transaction_time": "2026-06-01T00:00:00Z"}, "transaction_time with a time zone"),
        ("purchase", {"transaction_time": "1960-01-01 00:00:00"}, OUT_OF_RANGE),
        ("purchase", {"product_id": "CS02"}, "sales of this product belong into partition 6"),
        ("purchase", {"transaction_id": "CS01-42"}, "transaction_id is not the product's id and a number"),
        ("purchase", {"quantity": "1"}, "Expected `int`, got `str` - at `$.quantity`"),
        ("purchase", {"total_purchase": "1"}, "Expected `float`, got `str` - at `$.total_purchase`"),
        ("purchase", {"total_cost": "1"}, "Expected `float | null`, got `str` - at `$.total_cost`"),
        ("lost sale", {"product_id": "CS02"}, "unknown product, or one of another partition"),
        ("lost sale", {"lost_sale_id": "CS01-3"}, "lost_sale_id is not the product's id and a number"),
        ("lost sale", {"quantity": 0}, "quantity below 1, or event_time with a time zone"),
        ("lost sale", {"quantity": 2**53}, OUT_OF_RANGE),
        ("lost sale", {"value": "1"}, "Expected `float`, got `str` - at `$.value`"),
        ("lost sale", {"substitute": 1}, "Expected `str | null`, got `int` - at `$.substitute`"),
    ],
)
def test_reasons(what: str, changed: dict[str, Any], reason: str) -> None:
    read, value = READ[what]
    with pytest.raises(InvalidMessageError) as error:
        read(msgspec.json.encode(msgspec.json.decode(value) | changed), 4, {"CS01": 4, "CS02": 6}.get)
    assert str(error.value) == reason


@pytest.mark.parametrize("what", READ)
def test_reasons_of_what_cannot_be_read(what: str) -> None:
    read, _ = READ[what]
    first = {"purchase": "transaction_time", "lost sale": "event_time"}[what]
    for value, reason in (
        (None, "Input data was truncated"),
        (b"{}", f"Object missing required field `{first}`"),
        (b"x", "JSON is malformed: invalid character (byte 0)"),
    ):
        with pytest.raises(InvalidMessageError) as error:
            read(value, 4, {}.get)
        assert str(error.value) == reason


def test_reasons_of_what_another_producer_wrote() -> None:
    assert foreign_reason(message()) == "written by another producer"
    assert foreign_reason(Unparsed(0, 0, "a batch of more than 100000 records")) == (
        "written by another producer: a batch of more than 100000 records"
    )
