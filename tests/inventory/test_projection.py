"""Every purchase counts once, a gap stops everything, and a foreign message becomes a dead letter with a reason."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st
from support.properties import examples
from support.small_shops import BY_ID, OPENED, SLOW, Table, World, encoded, serve, worlds
from support.small_shops import messages as numbered

from yasdg_app.config import catalog
from yasdg_app.config.settings import SalesSettings, Settings, SupplierSettings
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import AppliedChunk, InconsistentLogError, InventoryProjection
from yasdg_app.inventory.row_updates import shelf_of
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.times import time_text
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.supply import Supply

PRODUCTS = {product.product_id: product for product in catalog.load(Path(__file__).parents[2] / "products.csv")}
PARTITION, LOST = TP("purchases", 0), TP("lost_sales", 0)
HOMES = [0 if product_id.startswith("CS") else 1 for product_id in PRODUCTS]
PROJECTION = InventoryProjection(PartitionedCatalog(tuple(PRODUCTS.values()), HOMES))
SUPPLY = Plan.of(Settings(), tuple(PRODUCTS.values()), OPENED).supply


def sale(number: int, quantity: int = 1, product_id: str = "CS01", **fields: Any) -> bytes:
    purchase = {
        "transaction_time": f"2026-11-24 10:00:{number % 60:02d}.000000",
        "product_id": product_id,
        "quantity": quantity,
        "total_purchase": 4.99 * quantity,
        "transaction_id": f"{product_id}-{number:06d}",
    }
    return json.dumps(purchase | fields).encode()


def lost(number: int, quantity: int = 1, product_id: str = "CS01", **fields: Any) -> bytes:
    message = {
        "event_time": f"2026-11-24 10:00:{number % 60:02d}.000000",
        "product_id": product_id,
        "quantity": quantity,
        "value": 4.99 * quantity,
        "substitute": None,
        "lost_sale_id": f"{product_id}-L{number:06d}",
    }
    return json.dumps(message | fields).encode()


def messages(*values: bytes | None, first: int = 0) -> list[Any]:
    return numbered(values, first)


def apply_sales(table: dict[str, InventoryLevel], chunk: list[Any]) -> AppliedChunk:
    applied = PROJECTION.apply_sales(PARTITION, chunk, table.get, SUPPLY)
    table |= {level.product_id: level for level in applied.levels}
    return applied


def apply_lost_sales(table: dict[str, InventoryLevel], chunk: list[Any]) -> AppliedChunk:
    applied = PROJECTION.apply_lost_sales(LOST, chunk, table.get, SUPPLY)
    table |= {level.product_id: level for level in applied.levels}
    return applied


@given(st.lists(st.integers(1, 2), max_size=120), st.integers(1, 50))
def test_levels_and_restocks_do_not_depend_on_the_chunks(quantities: list[int], size: int) -> None:
    values = [sale(number, quantity) for number, quantity in enumerate(quantities, 1)]
    whole: dict[str, InventoryLevel] = {}
    at_once = apply_sales(whole, messages(*values)).restocks
    table: dict[str, InventoryLevel] = {}
    in_chunks = []
    for start in range(0, len(values), size):
        in_chunks += apply_sales(table, messages(*values[start : start + size], first=start)).restocks
    assert {key: level.asdict() for key, level in table.items()} == {key: row.asdict() for key, row in whole.items()}
    assert in_chunks == at_once
    for level in table.values():
        assert level.initial + level.restocked - level.sold == level.level >= 0


def test_what_was_seen_before_changes_nothing() -> None:
    table: dict[str, InventoryLevel] = {}
    chunk = messages(sale(1), sale(2))
    apply_sales(table, chunk)
    again = apply_sales(table, chunk)
    assert (again.restocks, again.levels) == ([], [])  # nor is it written again


def test_a_gap_stops_with_its_place() -> None:
    with pytest.raises(
        InconsistentLogError, match="purchases, partition 0, offset 1: CS01-000003 follows number 1 of its"
    ):
        apply_sales({}, messages(sale(1), sale(3)))


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
        (sale(2, quantity=3), "quantity 3, more than this shop sells at once (2)"),
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
    applied = apply_sales(table, messages(sale(1), value, sale(2)))
    ((message, why),) = applied.dead_letters
    assert message.offset == 1
    assert reason.lower() in why.lower()
    assert table["CS01"].sales == 2


def test_the_highest_offset_is_written_last() -> None:
    chunk = messages(sale(1, product_id="CS02"), sale(1), sale(2, product_id="CS02"))
    levels = PROJECTION.apply_sales(PARTITION, chunk, {}.get, SUPPLY).levels
    assert [level.offset for level in levels] == [1, 2]


# --- Product by product ---------------------------------------------------------------------------------------------

IN_ORDER = ["CS01", "CS02", "CS03"]
SLOWLY = SupplierSettings(lead_time=(timedelta(0), timedelta(0), timedelta(minutes=1)))
OF_EIGHT = SalesSettings(quantities=(12, 4, 3, 2, 1, 1, 1, 2))
SUPPLIES = [
    SUPPLY,
    *(
        Plan.of(settings, tuple(PRODUCTS.values()), OPENED).supply
        for settings in (Settings(supply=SLOWLY), Settings(sales=OF_EIGHT), Settings(supply=SLOWLY, sales=OF_EIGHT))
    ),
]


def told(kind: Callable[..., bytes], data: st.DataObject, quantities: int) -> list[bytes | None]:
    """Messages of some products, each the next of its product unless it is odd, which few are."""
    numbers = dict.fromkeys(IN_ORDER, 0)
    odd = data.draw(st.sampled_from([0.0, 0.0, 0.01, 0.2]))
    random = data.draw(st.randoms(use_true_random=False))
    values: list[bytes | None] = []
    for _ in range(data.draw(st.integers(1, 150))):
        its, quantity = random.choice(IN_ORDER), random.choice([1, 1, 2, *range(3, quantities + 1)])
        number = numbers[its] = numbers[its] + 1
        value: bytes | None = kind(number, quantity, its)
        assert value is not None
        if random.random() < odd:
            kinds = [
                None, b"", b"[]", value + b"," + value, value[:-1], b" " + value + b"\n", b'{"a":"', b'"}', b"\xff",
                kind(number, 0, its), kind(number, 40, its), kind(number, 10**12, its), kind(number, 2**70, its),
                kind(number, quantity, "SF01"), kind(number, quantity, "CS99"), kind(max(number - 1, 1), quantity, its),
                value.replace(b".000000", b".000000Z"), value.replace(b"2026-11-24", b"0999-11-24"),
                value.replace(b"4.99", b"1e300"), value.replace(b"4.99", b"1e400"), value.replace(b"4.99", b"5"),
                value.replace(f"{number:06d}".encode(), f"{number}".encode()), value.replace(b"CS", b"\\u0043S"),
            ]  # fmt: skip
            value = random.choice(kinds if random.random() < 0.9 else [kind(number + 1, quantity, its)])
            if random.random() < 0.5:
                numbers[its] -= 1  # so that what follows is the next all the same
        values.append(value)
    return values


def outcome(apply: Callable[..., AppliedChunk], *arguments: Any) -> Any:
    try:
        applied = apply(*arguments)
    except InconsistentLogError as error:
        return str(error)
    return [level.asdict() for level in applied.levels], applied.restocks, applied.dead_letters


@settings(max_examples=examples(300))
@given(st.data(), st.sampled_from(SUPPLIES))
def test_what_is_folded_product_by_product_is_what_is_folded_one_by_one(data: st.DataObject, supply: Supply) -> None:
    for tp, kind, apply, one_by_one in (
        (PARTITION, sale, PROJECTION.apply_sales, PROJECTION.apply_sales_one_by_one),
        (LOST, lost, PROJECTION.apply_lost_sales, PROJECTION.apply_lost_sales_one_by_one),
    ):
        chunk, before = messages(*told(kind, data, supply.largest_quantity)), data.draw(st.integers(0, 150))
        table: dict[str, InventoryLevel] = {}
        try:
            table |= {level.product_id: level for level in one_by_one(tp, chunk[:before], {}.get, supply).levels}
        except InconsistentLogError:
            before = 0
        again = chunk[max(before - data.draw(st.sampled_from([0, 0, 0, 5])), 0) :]
        kept = {product_id: level.asdict() for product_id, level in table.items()}
        assert outcome(apply, tp, again, table.get, supply) == outcome(one_by_one, tp, again, table.get, supply)
        assert {product_id: level.asdict() for product_id, level in table.items()} == kept


@pytest.mark.parametrize("supply", SUPPLIES)
def test_an_ordinary_chunk_is_folded_product_by_product(supply: Supply) -> None:
    values = [sale(number, 1 + number % 2, its) for number in range(1, 101) for its in IN_ORDER]
    applied = PROJECTION.apply_sales_by_product(PARTITION, messages(*values), {}.get, supply)
    assert applied is not None
    assert [level.sales for level in applied.levels] == [100] * 3
    values = [lost(number, 1 + number % 2, its) for number in range(1, 101) for its in IN_ORDER]
    turned_away = PROJECTION.apply_lost_sales_by_product(LOST, messages(*values), {}.get, supply)
    assert turned_away is not None
    assert [level.lost for level in turned_away.levels] == [150] * 3


# --- Lost sales -----------------------------------------------------------------------------------------------------


def test_a_lost_sale_is_counted_and_what_was_sold_instead_is_not_lost() -> None:
    table: dict[str, InventoryLevel] = {}
    apply_sales(table, messages(sale(1)))
    apply_lost_sales(table, messages(lost(1, 2), lost(2, 1), lost(3, 2, substitute="CS02"), first=4))
    row = table["CS01"]
    assert (row.lost_sales, row.lost, row.lost_cents, row.substituted) == (3, 3, 1497, 2)
    assert (row.last_lost, row.lost_offset) == ("2026-11-24 10:00:03.000000", 6)
    assert (row.sales, row.level, row.revenue_cents, row.offset) == (1, 74, 499, 0)


def test_a_lost_sale_may_be_the_first_that_is_known_of_a_product() -> None:
    table: dict[str, InventoryLevel] = {}
    apply_lost_sales(table, messages(lost(1)))
    apply_sales(table, messages(sale(1)))
    row = table["CS01"]
    assert (row.lost_sales, row.sales, row.level, row.initial) == (1, 1, 74, 75)


def test_lost_sales_seen_before_change_nothing_and_a_gap_stops() -> None:
    table: dict[str, InventoryLevel] = {}
    chunk = messages(lost(1), lost(2))
    apply_lost_sales(table, chunk)
    assert apply_lost_sales(table, chunk).levels == []
    with pytest.raises(
        InconsistentLogError, match="lost_sales, partition 0, offset 9: CS01-L000004 follows number 2 of its"
    ):
        apply_lost_sales(table, messages(lost(4), first=9))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "truncated"),
        (b"\xff\xfe", ""),
        (b"[]", "Expected `object`"),
        (sale(2), "missing required field"),
        (lost(2, product_id="CS99"), "unknown product"),
        (lost(2, product_id="SF01"), "another partition"),
        (lost(2, quantity=0), "quantity"),
        (lost(2, quantity=3), "quantity 3, more than this shop sells at once (2)"),
        (lost(2, event_time="2026-11-24 10:00:00+01:00"), "time zone"),
        (lost(2, lost_sale_id="CS01-000002"), "lost_sale_id"),
        (lost(2, lost_sale_id="CS01-L2"), "lost_sale_id"),
        (lost(2, value=None), "value"),
    ],
)
def test_what_is_no_lost_sale_is_put_aside_and_the_rest_goes_on(value: bytes | None, reason: str) -> None:
    table: dict[str, InventoryLevel] = {}
    applied = apply_lost_sales(table, messages(lost(1), value, lost(2)))
    ((message, why),) = applied.dead_letters
    assert message.offset == 1
    assert reason.lower() in why.lower()
    assert table["CS01"].lost_sales == 2


# --- Shops of every kind --------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(worlds(supply=SLOW), st.data())
def test_rows_and_restocks_do_not_depend_on_how_the_logs_are_read(world: World, data: st.DataObject) -> None:
    """Whatever the chunks, in whatever order those of the two logs come, and if some of them come again."""
    purchases, lost_sales = (numbered(values) for values in encoded(world.till(), world.whole()))
    at_once, table = Table(world.plan).apply(purchases, lost_sales), Table(world.plan)
    sold = turned_away = 0
    while sold < len(purchases) or turned_away < len(lost_sales):
        more, more_lost, again = (data.draw(st.integers(0, 1 + len(purchases) // 4)) for _ in range(3))
        table.apply(purchases[max(sold - again, 0) : sold + more])
        table.apply(lost=lost_sales[max(turned_away - again, 0) : turned_away + more_lost])
        sold, turned_away = sold + more, turned_away + more_lost
        if not more + more_lost:
            sold += 1
            table.apply(purchases[:sold])
            turned_away += 1
            table.apply(lost=lost_sales[:turned_away])
    assert table.rows() == at_once.rows()
    assert sorted(table.restocks, key=str) == sorted(at_once.restocks, key=str)
    for product_id in BY_ID:
        assert [each for each in table.restocks if each.product_id == product_id] == [
            each for each in at_once.restocks if each.product_id == product_id
        ]


@settings(max_examples=examples(60))
@given(worlds(supply=SLOW))
def test_a_row_says_what_the_till_has_on_its_shelf(world: World) -> None:
    till, supply, grid = world.till(), world.plan.supply, world.plan.grid
    until = grid.start(grid.cell_at(world.until) + 1) - 1  # a till has served cells as a whole
    whole = serve(till, until)
    purchases, lost_sales = encoded(till, whole)
    table = Table(world.plan).apply(numbered(purchases), numbered(lost_sales))
    sales = [json.loads(value) for value in purchases]
    for shelf in till.shelves:
        product_id = shelf.product.product_id
        if product_id not in table:
            continue
        row = table[product_id]
        again = shelf_of(BY_ID[product_id], row)
        again.update_eta(supply)
        assert row.promised == (time_text(again.promised) if again.on_order else "")
        again.receive(until, supply)  # what came behind the last sale is in no row yet
        shelf.receive(until, supply)
        assert again == (shelf if shelf.on_order else replace(shelf, ordered_at=again.ordered_at))
        own = [sale for sale in sales if sale["product_id"] == product_id]
        assert row.initial + row.restocked - row.sold == row.level >= 0
        assert row.revenue_cents == sum(round(sale["total_purchase"] * 100) for sale in own)
        assert row.cost_cents == sum(round(sale["total_cost"] * 100) for sale in own)
        assert row.margin_cents == row.revenue_cents - row.cost_cents
        its = [one for one in whole.lost if one.product_id == product_id]
        assert row.lost_sales == len(its)
        assert row.lost == sum(one.quantity for one in its if not one.substitute)
        assert row.substituted == sum(one.quantity for one in its if one.substitute)
