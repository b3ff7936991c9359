"""What a stream is made from is told the same, however many products there are."""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import pytest

from yasdg_app import catalog, messages, opening
from yasdg_app.settings import Settings
from yasdg_app.shop.clock import Clock

PRODUCTS = catalog.load(Path(__file__).parents[1] / "products.csv")


@pytest.mark.parametrize("piece", [1, 10, 27, 10_000])
def test_the_digest_of_the_catalog_is_that_of_all_products_in_one_piece(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "PIECE", piece)
    whole = sha256(repr([asdict(product) for product in PRODUCTS]).encode()).hexdigest()
    assert opening.what_it_is_made_from(Settings(), PRODUCTS)["products"] == whole[:16]


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
