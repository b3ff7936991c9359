"""The longest ids, of 64 characters of four bytes each, exceed no limit of the cluster."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from support.product_ids import ODD

from yasdg_app.config.catalog import Product
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.producer import BATCH_BYTES, ProducerRecord, ShopProducer
from yasdg_app.messages.encoders import encode_level
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.pipeline import shelf_snapshots
from yasdg_app.pipeline.pipeline import MIN_ROW_BYTES, max_table_rows
from yasdg_app.pipeline.shelf_snapshots import ShelfSnapshots
from yasdg_app.shop.shelf import END_OF_TIME, Shelf

LONG = {"x": "plain", "é": "two bytes", "商": "three bytes", "😀": "four bytes", '"': "escaped", "\\": "escaped, too"}


def product(product_id: str) -> Product:
    return Product(product_id, "Books", "Emma", "", 499, 150, 75, *(False,) * 4, 1, 1, 1)


def ids(character: str, count: int) -> list[str]:
    return [f"{character * 59}{number:05d}" for number in range(count)]


@pytest.mark.parametrize("character", LONG)
async def test_as_many_rows_as_a_chunk_may_change_fit_into_a_batch(character: str) -> None:
    names = ids(character, 2_000)
    count, at = max_table_rows(map(product, names)), "2199-12-31 23:59:59.999999"
    assert 700 < count < BATCH_BYTES // MIN_ROW_BYTES
    records = []
    for name in names[:count]:
        row = InventoryLevel(name, *(10**9,) * 8, at, *(10**9,) * 3, at, at, *(10**9,) * 5, at, 10**9)
        records.append(ProducerRecord(name.encode(), encode_level(row), 10**13))
    producer = ShopProducer(Connection("127.0.0.1:1"), 7)
    assert len(list(producer.batches_of(0, records))) == 1
    await producer.stop()


def test_short_ids_change_no_chunk() -> None:
    assert max_table_rows([product("x" * 20), product("CS01")]) == BATCH_BYTES // 700 == max_table_rows([])
    assert max_table_rows(map(product, ODD)) < BATCH_BYTES // 700


@pytest.mark.parametrize("character", LONG)
async def test_a_snapshot_of_shelves_is_divided_into_records_that_a_topic_takes(
    character: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended: list[ProducerRecord] = []

    async def append(topic: str, partition: int, number: int, rows: list[ProducerRecord], is_owner: Any) -> None:
        appended.extend(rows)

    shelves = [Shelf(product(name), *(2**50,) * 7, END_OF_TIME) for name in ids(character, 9_000)]
    till: Any = SimpleNamespace(customers_served=0, shelves_watermark=2**50, shelves=shelves)
    producer, kafka = SimpleNamespace(append=append), SimpleNamespace(application_id="yasdg")
    shop: Any = SimpleNamespace(producer=producer, settings=SimpleNamespace(kafka=kafka))
    monkeypatch.setattr(shelf_snapshots.jumps, "record_time", lambda: 5)
    snapshots = ShelfSnapshots(shop, cast(Any, None), cast(Any, None))
    snapshots._counts[0] = 0
    await snapshots.write_if_due(0, till, lambda: True)
    till.customers_served = 50_000
    await snapshots.write_if_due(0, till, lambda: True)
    assert max(len(record.value or b"") for record in appended) < BATCH_BYTES * 0.95
    parts = [msgspec.msgpack.decode(record.value or b"") for record in appended]
    assert [(part["place"], part["pieces"]) for part in parts] == [(at, len(parts)) for at in range(len(parts))]
    assert {name for part in parts for name in part["shelves"]} == {shelf.product.product_id for shelf in shelves}
    assert len(parts) == (4 if character == "😀" else 3)
