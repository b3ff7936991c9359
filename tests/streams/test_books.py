"""The books: every purchase counts once, a gap stops everything, and what is no purchase is put aside with a reason."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app import catalog
from yasdg_app.messages import InventoryLevel
from yasdg_app.settings import InventorySettings
from yasdg_app.streams.books import Books, BooksError, Folded

PRODUCTS = {product.product_id: product for product in catalog.load(Path(__file__).parents[2] / "products.csv")}
PARTITION = TP("purchases", 0)
HOMES = {product_id: 0 if product_id.startswith("CS") else 1 for product_id in PRODUCTS}
BOOKS = Books(PRODUCTS, InventorySettings(), HOMES)


def sale(number: int, quantity: int = 1, product_id: str = "CS01", **fields: Any) -> bytes:
    purchase = {
        "transaction_time": f"2026-11-24 10:00:{number % 60:02d}.000000",
        "product_id": product_id,
        "quantity": quantity,
        "total_purchase": 4.99 * quantity,
        "transaction_id": f"{product_id}-{number:06d}",
    }
    return json.dumps(purchase | fields).encode()


def messages(*values: bytes | None, first: int = 0) -> list[Any]:
    return [SimpleNamespace(offset=first + i, value=value) for i, value in enumerate(values)]


def fold(table: dict[str, InventoryLevel], chunk: list[Any]) -> Folded:
    folded = BOOKS.fold(PARTITION, chunk, table.get)
    table |= {level.product_id: level for level in folded.levels}
    return folded


@given(st.lists(st.integers(1, 2), max_size=120), st.integers(1, 50))
def test_levels_and_restocks_do_not_depend_on_the_chunks(quantities: list[int], size: int) -> None:
    values = [sale(number, quantity) for number, quantity in enumerate(quantities, 1)]
    whole: dict[str, InventoryLevel] = {}
    at_once = fold(whole, messages(*values)).restocks
    table: dict[str, InventoryLevel] = {}
    in_chunks = []
    for start in range(0, len(values), size):
        in_chunks += fold(table, messages(*values[start : start + size], first=start)).restocks
    assert {key: level.asdict() for key, level in table.items()} == {key: row.asdict() for key, row in whole.items()}
    assert in_chunks == at_once
    for level in table.values():
        assert level.initial + level.restocked - level.sold == level.level >= 0


def test_what_was_seen_before_changes_nothing() -> None:
    table: dict[str, InventoryLevel] = {}
    chunk = messages(sale(1), sale(2))
    fold(table, chunk)
    again = fold(table, chunk)
    assert (again.restocks, again.levels) == ([], [])  # nor is it written again


def test_a_gap_stops_with_its_place() -> None:
    with pytest.raises(BooksError, match="purchases, partition 0, offset 1: sale CS01-000003 follows sale 1"):
        fold({}, messages(sale(1), sale(3)))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "truncated"),
        (b"", "truncated"),
        (b"no JSON", "JSON"),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
        (b"[]", "Expected `object`"),
        (b'{"product_id": "CS01"}', "missing required field"),
        (sale(2, product_id="CS99"), "unknown product"),
        (sale(2, product_id="SF01"), "belong into partition 1"),
        (sale(2, quantity=0), "quantity"),
        (sale(2, transaction_time="2026-11-24 10:00:00+01:00"), "time zone"),
        (sale(2, transaction_time="yesterday"), "transaction_time"),
        (sale(2, transaction_id="CS01-2"), "transaction_id"),
        (sale(2, transaction_id="CS01-٠٠٠٠٠٢"), "transaction_id"),
        (sale(2, transaction_id="CS01-" + "9" * 5000), "transaction_id"),
        (sale(2, total_purchase="much"), "total_purchase"),
        (sale(2).replace(b"4.99", b"1e400"), ""),
    ],
)
def test_what_is_no_purchase_is_put_aside_and_the_rest_goes_on(value: bytes | None, reason: str) -> None:
    table: dict[str, InventoryLevel] = {}
    folded = fold(table, messages(sale(1), value, sale(2)))
    ((message, why),) = folded.dead_letters
    assert message.offset == 1
    assert reason.lower() in why.lower()
    assert table["CS01"].sales == 2


def test_the_highest_offset_is_written_last() -> None:
    chunk = messages(sale(1, product_id="CS02"), sale(1), sale(2, product_id="CS02"))
    levels = BOOKS.fold(PARTITION, chunk, {}.get).levels
    assert [level.offset for level in levels] == [1, 2]
