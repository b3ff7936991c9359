"""Sums over windows: the simulation's, whatever the window, whatever the shop."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.simulation import Stream, simulate
from support.scenario_plans import DAY, HOUR, MINUTE, SECOND, plan_of
from support.small_shops import OPENED, World, world_of, worlds

from yasdg_app.config.settings import InventorySettings, SalesSettings, Settings
from yasdg_app.messages.times import event_time
from yasdg_app.shop.plan import Plan
from yasdg_app.truth.events import COSTED, COUNTED
from yasdg_app.truth.tumbling import Span
from yasdg_app.truth.windows import Keys, aggregates, sorted_products

SHOPS = {
    "seed": ("2026-06-01", 1), "week": ("2026-06-02", 2), "supply-crisis": ("2026-04-06", 12), "year": ("2026-06-05", 2)
}  # fmt: skip


@lru_cache
def shop(name: str) -> tuple[Plan, int, Stream]:
    start, days = SHOPS[name]
    plan = plan_of(name, start)
    until = plan.opened_at + days * DAY
    return plan, until, simulate(plan, until - 1)


Row = dict[str, int]


def by_hand(plan: Plan, stream: Stream, by: str, span: Span) -> dict[tuple[int, str], Row]:
    """What messages come to, one after the other, without a column."""
    key = {each.product_id: each.product_id if by == "product" else each.category for each in plan.products}
    events = [*_counted(stream, key)]
    rows: dict[tuple[int, str], Row] = defaultdict(lambda: defaultdict(int))
    for at, name, adds in events:
        if span.begin <= at < span.end:
            window = span.begin if span.window is None else at // span.window * span.window
            for column, value in adds.items():
                rows[window, name][column] += value
    for (window, name), row in rows.items():
        end = span.end if span.window is None else window + span.window
        level = sum(each.inventory for each in plan.products if key[each.product_id] == name)
        for at, other, adds in events:
            if other == name and at < min(end, span.end):
                level += adds.get("restocked_units", 0) - adds.get("units", 0)
        row["closing_stock"] = level
    return {where: dict(row) for where, row in rows.items()}


def _counted(stream: Stream, key: dict[str, str]) -> Iterator[tuple[int, str, Row]]:
    for value in stream.purchases:
        sale = json.loads(value)
        paid, cost = round(sale["total_purchase"] * 100), sale["total_cost"]
        full = sale["quantity"] * round((sale["price"] + sale["supplement_price"]) * 100)
        adds = dict(
            sales=1, units=sale["quantity"], revenue=paid, discount=full - paid, members=int(sale["is_member"]),
            supplements=int(sale["add_supplements"]), cost=0 if cost is None else round(cost * 100),
            costed=int(cost is not None),
        )  # fmt: skip
        yield event_time(sale["transaction_time"]), key[sale["product_id"]], adds
    for value in stream.stockings:
        restock = json.loads(value)
        adds = dict(restocks=1, restocked_units=restock["stock_quantity"])
        yield event_time(restock["event_time"]), key[restock["product_id"]], adds
    for value in stream.lost_sales:
        lost = json.loads(value)
        yield event_time(lost["event_time"]), key[lost["product_id"]], dict(lost_sales=1, lost_units=lost["quantity"])


def summed(plan: Plan, by: str, span: Span, until: int) -> dict[tuple[int, str], Row]:
    keys, found = Keys(sorted_products(plan), by), {}
    order: list[tuple[int, str]] = []
    for rows, _ in aggregates(plan, keys, span, until):
        starts = span.edges(rows.number)[0].tolist()
        for place, (start, key) in enumerate(zip(starts, rows.key.tolist(), strict=True)):
            row = {name: int(rows.column(name)[place]) for name in (*COUNTED, "closing_stock")}
            order.append((start, keys.names[key]))
            found[order[-1]] = {name: value for name, value in row.items() if value or name == "closing_stock"}
    assert order == sorted(set(order))
    return found


def nonzero(rows: dict[tuple[int, str], Row]) -> dict[tuple[int, str], Row]:
    return {
        where: {name: value for name, value in row.items() if value or name == "closing_stock"}
        for where, row in rows.items()
    }


@pytest.mark.parametrize("by", ["product", "category"])
@pytest.mark.parametrize("window", [HOUR, DAY, None])
@pytest.mark.parametrize("name", SHOPS)
def test_rows_are_what_the_messages_come_to(name: str, window: int | None, by: str) -> None:
    plan, until, stream = shop(name)
    span = Span(plan.opened_at + 90 * MINUTE + 1, until - 7 * HOUR, window)
    assert summed(plan, by, span, until - 1) == nonzero(by_hand(plan, stream, by, span))


@pytest.mark.parametrize("name", SHOPS)
def test_windows_of_any_length_add_up_to_the_same(name: str) -> None:
    plan, until, stream = shop(name)
    wanted: dict[str, int] = defaultdict(int)
    for _, _, adds in _counted(stream, {each.product_id: "" for each in plan.products}):
        for column, value in adds.items():
            wanted[column] += value
    assert wanted["sales"] == len(stream.purchases) > 500
    for window in (7 * SECOND, MINUTE, 37 * MINUTE, HOUR, 5 * HOUR, DAY, None):
        for by in ("product", "category"):
            total: dict[str, int] = defaultdict(int)
            for row in summed(plan, by, Span(plan.opened_at, until, window), until - 1).values():
                for column, value in row.items():
                    total[column] += value
            total.pop("closing_stock")
            assert total == wanted, window


def test_each_scenario_has_something_of_its_own() -> None:
    assert not shop("seed")[2].lost_sales
    for name in ("week", "supply-crisis", "year"):
        assert shop(name)[2].lost_sales
        assert shop(name)[2].stockings


@given(
    worlds(), st.sampled_from([SECOND, 13 * SECOND, MINUTE, HOUR, DAY, None]), st.sampled_from(["product", "category"])
)
def test_so_it_is_in_any_shop(world: World, window: int | None, by: str) -> None:
    span = Span(OPENED, world.until + 1, window)
    stream = simulate(world.plan, world.until)
    assert summed(world.plan, by, span, world.until) == nonzero(by_hand(world.plan, stream, by, span))


def test_a_shop_of_so_many_sales_is_summed_up_to_the_last_of_them() -> None:
    plan = plan_of("week", "2026-06-02", SALES_NUMBER_OF_SALES="3000")
    rows = summed(plan, "product", Span(plan.opened_at, plan.opened_at + 9 * DAY, MINUTE), plan.opened_at + 9 * DAY)
    assert sum(row.get("sales", 0) for row in rows.values()) == 3000


def test_a_restock_counts_when_it_came_even_if_the_sale_that_tells_of_it_is_beyond_the_span() -> None:
    plan, until, stream = shop("supply-crisis")
    restocks = [json.loads(value) for value in stream.stockings]
    sales = [json.loads(value) for value in stream.purchases]

    def told_at(restock: dict[str, Any]) -> int:
        event_id = [s for s in sales if s["product_id"] == restock["product_id"]]
        return min(
            event_time(s["transaction_time"]) for s in event_id if s["transaction_time"] >= restock["event_time"]
        )

    late = next(r for r in restocks if told_at(r) - event_time(r["event_time"]) > HOUR)
    end = event_time(late["event_time"]) + 1
    rows = summed(plan, "product", Span(plan.opened_at, end, MINUTE), until - 1)
    window = event_time(late["event_time"]) // MINUTE * MINUTE
    assert rows[window, late["product_id"]]["restocks"] == 1
    # In a shop that closes before that sale, nobody ever hears of it.
    rows = summed(plan, "product", Span(plan.opened_at, end, MINUTE), told_at(late) - 1)
    assert "restocks" not in rows.get((window, late["product_id"]), {})


def test_where_no_cost_is_known_it_is_said_of_how_many_sales_it_is() -> None:
    plan = plan_of("week", "2026-06-02")
    products = [replace(each, cost_cents=None if each.product_id == "CS01" else 100) for each in plan.products]
    rows = summed(
        replace(plan, products=tuple(products)),
        "product",
        Span(plan.opened_at, plan.opened_at + DAY, DAY),
        plan.opened_at + DAY,
    )
    assert {name for (_, name), row in rows.items() if not row.get(COSTED)} == {"CS01"}
    assert all(row["sales"] == row[COSTED] for (_, name), row in rows.items() if name != "CS01")
    assert "cost" not in next(row for (_, name), row in rows.items() if name == "CS01")


def test_a_span_begins_and_ends_to_the_microsecond() -> None:
    plan, until, stream = shop("week")
    times = [event_time(json.loads(value)["transaction_time"]) for value in stream.purchases]
    begin, end = times[2_000], times[5_000]
    for window in (MINUTE, None):
        span = Span(begin, end, window)
        rows = summed(plan, "product", span, until - 1)
        assert rows == nonzero(by_hand(plan, stream, "product", span))
        assert sum(row.get("sales", 0) for row in rows.values()) == sum(begin <= at < end for at in times) >= 3_000


def test_a_shelf_that_begins_far_below_its_minimum_is_filled_up_sale_by_sale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yasdg_app.shop.till.CUSTOMERS_PER_BLOCK", 60)  # it takes a few blocks
    settings = Settings(
        sales=SalesSettings(min_sale_freq=0.0, max_sale_freq=2.0), inventory=InventorySettings(40, 2),
    )  # fmt: skip
    world = world_of(settings, HOUR)
    stream, span = simulate(world.plan, world.until), Span(OPENED, world.until + 1, MINUTE)
    assert summed(world.plan, "product", span, world.until) == nonzero(by_hand(world.plan, stream, "product", span))
