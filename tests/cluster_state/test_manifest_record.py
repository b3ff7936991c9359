"""The opening record is, byte for byte, what it was: a shop that was opened before goes on only with the same one.

The files in tests/data/openings are records as they are on the topic. Never write them anew to make a test pass: a
value that changes in `made_from` makes every shop that was opened before one that cannot be continued.
"""

import asyncio
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from yasdg_app.cluster_state import bootstrap
from yasdg_app.cluster_state.manifest import ShopManifest, differences, read_manifest
from yasdg_app.config import catalog
from yasdg_app.config.fingerprint import fingerprint_of
from yasdg_app.config.ini import load
from yasdg_app.config.settings import (
    FaultSettings,
    FormatSettings,
    IncidentSettings,
    KafkaSettings,
    Settings,
    SupplierSettings,
)
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.messages.formats import Format
from yasdg_app.shop.clock import Clock

PROJECT = Path(__file__).parents[2]
RECORDS = PROJECT / "tests" / "data" / "openings"
PRODUCTS = catalog.load(PROJECT / "products.csv")
NOW = 1_780_272_105_131_419  # 2026-06-01 00:01:45.131419
PLAIN = Settings()
FULL = Settings(
    kafka=KafkaSettings(application_id="other", topic_purchases="sold", partitions=3),
    suppliers=(
        SupplierSettings(
            "fruit", ("Superfoods",), (timedelta(hours=1), timedelta(hours=2), timedelta(hours=4)), (0, 3), 2.5
        ),
    ),
    incidents=(
        IncidentSettings(
            "strike", "supply", None, timedelta(days=30), timedelta(hours=3), categories=("Superfoods",), factor=0.0
        ),
        IncidentSettings("sale", "promotion", products=("CS02", "CS01"), factor=2.5, discount=Decimal("0.15")),
    ),
    faults=FaultSettings(late=Decimal("0.01"), duplicate=Decimal("0.002")),
    format=FormatSettings(value="avro", time="iso-z", registry="http://registry"),
)
SHOPS = {"plain": PLAIN, "full": FULL}


class Silent(Format):
    """A format whose registry takes everything."""

    async def open(self) -> None: ...


def record(name: str) -> bytes:
    return (RECORDS / f"{name}.json").read_bytes().strip()


@pytest.mark.parametrize("name", SHOPS)
def test_what_a_stream_is_made_from_has_the_same_names_and_values(name: str) -> None:
    assert fingerprint_of(SHOPS[name], PRODUCTS) == msgspec.json.decode(record(name))["made_from"]


@pytest.mark.parametrize("file", ["config/configuration.ini", "tests/data/original_configuration.ini"])
def test_files_of_before_are_the_same_shop(file: str) -> None:
    """The second one is the file of the original: it is slower."""
    of_file = fingerprint_of(load({"YASDG_CONFIG": str(PROJECT / file)}, PROJECT), PRODUCTS)
    expected = msgspec.json.decode(record("plain"))["made_from"]
    if "original" in file:
        expected |= {"SALES.min_sale_freq": "60", "SALES.max_sale_freq": "240"}
    assert of_file == expected


def test_the_digest_of_the_products_is_that_of_their_fields_by_name() -> None:
    """It is the first half of 16 digits of a SHA-256 of what `fingerprinted` yields: field names and types, too."""
    assert fingerprint_of(PLAIN, PRODUCTS)["products"] == "a2c0cdb473e6ae01"
    assert repr(next(catalog.fingerprinted(PRODUCTS))) == FIRST_PRODUCT


@pytest.mark.parametrize("name", SHOPS)
def test_an_opening_is_written_as_it_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[Any, ...]] = []

    async def find_manifest(*_: Any) -> ShopManifest | None:
        return read_manifest([Written(key, value) for _, _, key, value in written])

    async def write(*record: Any) -> None:
        written.append(record)

    async def new_producer_id(*_: Any) -> int:
        return 1000

    monkeypatch.setattr(bootstrap, "find_manifest", find_manifest)
    monkeypatch.setattr(bootstrap, "_write", write)
    monkeypatch.setattr(bootstrap, "new_producer_id", new_producer_id)
    monkeypatch.setattr(bootstrap.time, "time_ns", lambda: NOW * 1000)
    shop = SHOPS[name]
    asyncio.run(bootstrap._agree(Connection(""), shop, Silent(), fingerprint_of(shop, PRODUCTS)))
    ((_, topic, key, value),) = written
    application_id = {"plain": "yasdg", "full": "other"}[name]
    assert (topic, key) == (f"{application_id}-opening", application_id.encode())
    assert value == record(name)


@pytest.mark.parametrize("name", SHOPS)
def test_an_opening_of_before_is_continued(name: str) -> None:
    shop = SHOPS[name]
    found = read_manifest([Written(shop.kafka.application_id.encode(), record(name))])
    assert found is not None
    assert (found.clock, found.producer_id, found.application_id) == (
        Clock(NOW, NOW, None),
        1000,
        {"plain": "yasdg", "full": "other"}[name],
    )
    assert differences(found, fingerprint_of(shop, PRODUCTS)) == []


class Written(msgspec.Struct):
    """A record as it was read."""

    key: bytes | None
    value: bytes | None


FIRST_PRODUCT = (
    "{'product_id': 'CS01', 'category': 'Classic Smoothies', 'item': 'Sunrise Sunset', 'size': '24 oz.', "
    "'price_cents': 499, 'cost_cents': 150, 'inventory': 75, 'contains_fruit': True, 'contains_veggies': False, "
    "'contains_nuts': False, 'contains_caffeine': False, 'category_weight': 3, 'item_weight': 2, 'range_weight': 6}"
)
