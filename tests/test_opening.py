"""What a stream is made from is told the same, however many products there are."""

import asyncio
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from yasdg_app import catalog, messages, opening
from yasdg_app.formats import Format
from yasdg_app.formats.errors import RegistryError
from yasdg_app.settings import FormatSettings, Settings
from yasdg_app.shop.clock import Clock

PRODUCTS = catalog.load(Path(__file__).parents[1] / "products.csv")


@pytest.mark.parametrize("piece", [1, 10, 27, 10_000])
def test_the_digest_of_the_catalog_is_that_of_all_products_in_one_piece(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "PIECE", piece)
    fields = [{key: value for key, value in asdict(product).items() if key != "written"} for product in PRODUCTS]
    whole = sha256(repr(fields).encode()).hexdigest()
    assert opening.what_it_is_made_from(Settings(), PRODUCTS)["products"] == whole[:16]


def test_blanks_that_are_stripped_now_leave_a_shop_of_before_the_one_that_it_is(tmp_path: Path) -> None:
    """The digests are those that the version before had of the same files, whose texts it took as they are."""
    header, *rows = (Path(__file__).parents[1] / "products.csv").read_text().splitlines()

    def digest(*lines: str) -> str:
        (tmp_path / "products.csv").write_text("\n".join([header, *lines]))
        told = opening.what_it_is_made_from(Settings(), catalog.load(tmp_path / "products.csv"))["products"]
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
        assert messages.product_json(product) == messages.encode(messages.product(product))


def opened_with(**made_from: str) -> opening.Opening:
    return opening.Opening(Clock(0, 0, None), 7, {"SALES.seed": "42", **made_from})


def test_an_opening_that_names_no_format_is_of_the_default_one() -> None:
    now, avro = {"SALES.seed": "42"}, {"FORMAT.value": "avro", "FORMAT.time": "sql"}
    assert opening.differences(opened_with(), now) == []
    assert opening.differences(opened_with(**avro), now | avro) == []
    assert opening.differences(opened_with(), now | avro) == ["FORMAT.value was json, is avro"]
    assert opening.differences(opened_with(**avro), now) == ["FORMAT.value was avro, is json"]
    assert opening.differences(opened_with(), now | {"FORMAT.value": "json", "FORMAT.time": "iso-z"}) == [
        "FORMAT.time was sql, is iso-z"
    ]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The topic of openings."""
    log: list[Any] = []

    async def read_all(*_: Any) -> list[Any]:
        return log[:]

    async def write(*record: Any) -> None:
        log.append(SimpleNamespace(key=record[-2], value=record[-1]))

    async def new_producer_id(*_: Any) -> int:
        return 7

    for name, stand_in in (("read_all", read_all), ("_write", write), ("new_producer_id", new_producer_id)):
        monkeypatch.setattr(opening, name, stand_in)
    return log


class Refused(Format):
    """A format whose schemas the registry does not take."""

    async def open(self) -> None:
        raise RegistryError("The schema registry refuses us")


def test_a_shop_whose_schemas_are_refused_is_not_opened(log: list[Any]) -> None:
    avro = Settings(format=FormatSettings(value="avro", registry="http://registry"))
    with pytest.raises(RegistryError):
        asyncio.run(opening._agree("", avro, PRODUCTS, Refused()))
    assert log == []
    opened = asyncio.run(opening._agree("", Settings(), PRODUCTS, Format()))  # JSON, as if nothing had been
    assert opened.producer_id == 7


def test_schemas_of_another_shop_are_not_registered(log: list[Any]) -> None:
    asyncio.run(opening._agree("", Settings(), PRODUCTS, Format()))
    avro = Settings(format=FormatSettings(value="avro", registry="http://registry"))
    with pytest.raises(opening.OpeningError, match=r"FORMAT\.value was json, is avro"):
        asyncio.run(opening._agree("", avro, PRODUCTS, Refused()))
    assert len(log) == 1
