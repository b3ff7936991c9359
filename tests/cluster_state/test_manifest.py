"""Openings: what they say the stream is made from, and what is taken for one."""

import asyncio
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from yasdg_app.cluster_state import bootstrap, claims, manifest
from yasdg_app.cluster_state.manifest import ShopManifest, differences, read_manifest
from yasdg_app.config import catalog, fingerprint
from yasdg_app.config.fingerprint import fingerprint_of
from yasdg_app.config.settings import FormatSettings, Settings
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.messages import encoders, reference, times
from yasdg_app.messages.formats import Format
from yasdg_app.messages.formats.errors import RegistryError
from yasdg_app.shop.clock import Clock

PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")
UNHASHED = ("written", "other_group")  # fields of products that are None in all of these


@pytest.mark.parametrize("piece", [1, 10, 27, 10_000])
def test_the_digest_of_the_catalog_is_that_of_all_products_in_one_piece(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "PRODUCTS_PER_CHUNK", piece)
    fields = [{key: value for key, value in asdict(product).items() if key not in UNHASHED} for product in PRODUCTS]
    whole = sha256(repr(fields).encode()).hexdigest()
    assert fingerprint_of(Settings(), PRODUCTS)["products"] == whole[:16]


def test_blanks_that_are_stripped_now_leave_a_shop_of_before_the_one_that_it_is(tmp_path: Path) -> None:
    """The digests are those that the version before had of the same files, whose texts it took as they are."""
    header, *rows = (Path(__file__).parents[2] / "products.csv").read_text().splitlines()

    def digest(*lines: str) -> str:
        (tmp_path / "products.csv").write_text("\n".join([header, *lines]))
        told = fingerprint_of(Settings(), catalog.load(tmp_path / "products.csv"))["products"]
        assert isinstance(told, str)
        return told

    def of_before(*lines: str) -> str:
        whole = [*catalog.fingerprinted(PRODUCTS[: len(lines)])]
        for product, line in zip(whole, lines, strict=True):
            product |= dict(zip(catalog.TEXTS, line.split(",")[1:4], strict=True))
        return sha256(repr(whole).encode()).hexdigest()[:16]

    plain = rows[:3]
    blanks = [line.replace(",Classic Smoothies,", ", Classic Smoothies\xa0,") for line in plain]
    assert digest(*plain) == of_before(*plain)
    assert digest(*blanks) == of_before(*blanks) != digest(*plain)
    # Two categories that are one now: another shop, and no other digest than without the blanks.
    assert digest(*blanks[:1], *plain[1:]) == digest(*plain)


def test_products_are_told_the_same_with_and_without_a_record() -> None:
    for product in PRODUCTS:
        assert encoders.product_json(product) == reference.encode(reference.product(product))


def opened_with(**made_from: str) -> ShopManifest:
    return ShopManifest(Clock(0, 0, None), 7, {"SALES.seed": "42", **made_from})


def test_an_opening_that_names_no_format_is_of_the_default_one() -> None:
    now, avro = {"SALES.seed": "42"}, {"FORMAT.value": "avro", "FORMAT.time": "sql"}
    assert differences(opened_with(), now) == []
    assert differences(opened_with(**avro), now | avro) == []
    assert differences(opened_with(), now | avro) == ["FORMAT.value was json, is avro"]
    assert differences(opened_with(**avro), now) == ["FORMAT.value was avro, is json"]
    assert differences(opened_with(), now | {"FORMAT.value": "json", "FORMAT.time": "iso-z"}) == [
        "FORMAT.time was sql, is iso-z"
    ]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The topic of openings."""
    log: list[Any] = []

    async def find_manifest(*_: Any) -> ShopManifest | None:
        return read_manifest(log)

    async def write(*record: Any) -> None:
        log.append(SimpleNamespace(key=record[-2], value=record[-1]))

    async def new_producer_id(*_: Any) -> int:
        return 7

    for name, stand_in in (("find_manifest", find_manifest), ("_write", write), ("new_producer_id", new_producer_id)):
        monkeypatch.setattr(bootstrap, name, stand_in)
    return log


def agree(settings: Settings, form: Format) -> ShopManifest:
    return asyncio.run(bootstrap._agree(Connection(""), settings, form, fingerprint_of(settings, PRODUCTS)))


class Refused(Format):
    """A format whose schemas the registry does not take."""

    async def open(self) -> None:
        raise RegistryError("The schema registry refuses us")


def test_a_shop_whose_schemas_are_refused_is_not_opened(log: list[Any]) -> None:
    avro = Settings(format=FormatSettings(value="avro", registry="http://registry"))
    with pytest.raises(RegistryError):
        agree(avro, Refused())
    assert log == []
    opened = agree(Settings(), Format())  # JSON, as if nothing had been
    assert opened.producer_id == 7


def test_schemas_of_another_shop_are_not_registered(log: list[Any]) -> None:
    agree(Settings(), Format())
    avro = Settings(format=FormatSettings(value="avro", registry="http://registry"))
    with pytest.raises(manifest.OpeningError, match=r"FORMAT\.value was json, is avro"):
        agree(avro, Refused())
    assert len(log) == 1


# --- Records of strangers -------------------------------------------------------------------------------------------

VERSION_1 = (
    b'{"opened_at":"2026-11-24 16:20:41.123456","started":"2026-11-24 16:20:41.123456","speed":null,"producer_id":1000,'
    b'"made_from":{"SALES.seed":"42","products":"0123456789abcdef"}}'
)
"""An opening as it was written before openings named their topics."""

DEEP = b"[" * 100_000
HUGE = b"9" * 5_000
HOSTILE = [
    None,
    b"",
    b"x",
    b"null",
    b"[]",
    b"5",
    b'"opened_at"',
    b'["opened_at"]',
    b"\xff\xfe",
    b"{}",
    DEEP,
    b'{"opened_at":' + DEEP,
    b'{"a":' * 50_000,
    b'{"opened_at":5}',
    b'{"opened_at":null,"made_from":{}}',
    b'{"opened_at":"yesterday","made_from":{}}',
    b'{"opened_at":"","made_from":{}}',
    VERSION_1.replace(b"2026-11-24 16:20:41.123456", b"0000-00-00"),
    VERSION_1.replace(b"2026-11-24 16:20:41.123456", b"2026-11-24 16:20:41+01:00"),
    VERSION_1.replace(b'"started":"2026-11-24 16:20:41.123456"', b'"started":7'),
    VERSION_1.replace(b":null", b":0"),
    VERSION_1.replace(b":null", b":-1.5"),
    VERSION_1.replace(b":null", b":1e999"),
    VERSION_1.replace(b":null", b':"fast"'),
    VERSION_1.replace(b":1000", b":-1"),
    VERSION_1.replace(b":1000", b":1.5"),
    VERSION_1.replace(b":1000", b":null"),
    VERSION_1.replace(b":1000", b":18446744073709551616"),
    VERSION_1.replace(b":1000", b":" + HUGE),
    VERSION_1.replace(b'"42"', b"42"),
    VERSION_1.replace(b'"42"', DEEP),
    VERSION_1[:-1] + b',"topics":5}',
    VERSION_1[:-1] + b',"topics":{"topic_products":5}}',
    VERSION_1[:-1] + b',"partitions":-1}',
    VERSION_1[:-1] + b',"partitions":1e99}',
]


def record(value: bytes | None, key: bytes | None = b"yasdg") -> Any:
    return SimpleNamespace(key=key, value=value)


@pytest.mark.parametrize("value", HOSTILE, ids=[repr(value)[:40] for value in HOSTILE])
def test_what_is_no_opening_is_passed_over(value: bytes | None) -> None:
    assert read_manifest([record(value)]) is None
    assert read_manifest([record(value, None), record(value, b"\xff"), record(VERSION_1)]) is not None


def test_an_opening_of_before_reads_as_it_did() -> None:
    read = read_manifest([record(b"x"), record(VERSION_1), record(VERSION_1.replace(b"1000", b"2000"))])
    at = times.event_time("2026-11-24 16:20:41.123456")
    made_from = {"SALES.seed": "42", "products": "0123456789abcdef"}
    assert read == ShopManifest(Clock(at, at, None), 1000, made_from, "yasdg", {}, 0)


def test_an_opening_of_later_reads_too() -> None:
    """A version to come may say more."""
    read = read_manifest([record(VERSION_1[:-1] + b',"topics":{"topic_products":"a"},"more":[{}],"partitions":3}')])
    assert read is not None
    assert (read.topics, read.partitions) == ({"topic_products": "a"}, 3)


def test_an_opening_of_a_version_whose_stream_was_another_is_refused_with_a_way_that_destroys_nothing() -> None:
    value = b'{"opened_at":"2026-11-01 10:00:00.000000","made_from":{"seed":42},"producer_id":7}'
    with pytest.raises(manifest.OpeningError, match="an earlier version") as refused:
        read_manifest([record(value)])
    said = str(refused.value)
    assert said.index("Open a separate shop") < said.index("yasdg topics delete")


def test_what_the_stream_is_made_from_names_no_topics(log: list[Any]) -> None:
    """The fingerprint is that of the version before: an opening that names its topics is no other shop's for it."""
    agree(Settings(), Format())
    (written,) = log
    content = msgspec.json.decode(written.value)
    assert list(content) == ["opened_at", "started", "speed", "producer_id", "made_from", "topics", "partitions"]
    assert content["made_from"] == fingerprint_of(Settings(), PRODUCTS)
    assert not any("KAFKA" in key for key in content["made_from"])
    assert content["topics"]["topic_purchases"] == "demo.purchases"


# --- Whose topics they are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*HOSTILE, VERSION_1], ids=[repr(value)[:40] for value in [*HOSTILE, VERSION_1]])
def test_a_record_that_names_no_topics_claims_none(value: bytes | None) -> None:
    claim = claims.claim_of("yasdg-opening", record(value), {"demo.purchases"})
    assert claim is None or claim.topics == ()


def test_an_opening_claims_the_topics_that_it_names_on_the_topic_that_it_was_written_to() -> None:
    value = VERSION_1[:-1] + b',"topics":{"topic_products":"a","topic_purchases":"b","topic_faults":"c"}}'
    claim = claims.claim_of("yasdg-opening", record(value), {"b", "c", "d"})
    assert claim == claims.Claim("yasdg", "2026-11-24 16:20:41.123456", ("b", "c"))
    assert claims.claim_of("mirror.yasdg-opening", record(value), {"b"}) is None
    assert claims.claim_of("yasdg-opening", record(value, None), {"b"}) is None
