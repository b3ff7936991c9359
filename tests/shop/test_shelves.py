"""Customers who are served in columns are served as if one came after the other."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.properties import examples
from support.small_shops import AT_ONCE, HOUR, OPENED, SLOW, Told, World, serve, worlds

from yasdg_app.config import catalog
from yasdg_app.config.settings import InventorySettings, Settings, SupplierSettings
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sales import EventCursor
from yasdg_app.shop.shelf import Shelf
from yasdg_app.shop.supply import Supply
from yasdg_app.shop.till import ResumePoint, Till

SMOOTHIES = catalog.load(Path(__file__).parents[2] / "products.csv")
NO_SUBSTITUTION = st.just(0)


@st.composite
def some_instant(draw: st.DrawFn) -> World:
    """A shop in which all that is ordered is there at once, but for one category maybe."""
    world = draw(worlds(NO_SUBSTITUTION, AT_ONCE))
    if draw(st.booleans()):
        slow = replace(draw(SLOW), name="other", categories=("Superfoods",))
        world = replace(world, settings=replace(world.settings, suppliers=(slow,)))
    return world


def served(till: Till, until: int) -> tuple[Told, list[Shelf]]:
    """What is told, and the shelves behind it; of what is not on order nobody has to know when it was ordered."""
    told = serve(till, until)
    return told, [shelf if shelf.on_order else replace(shelf, ordered_at=0) for shelf in till.shelves]


@settings(max_examples=examples(150))
@given(some_instant() | worlds(NO_SUBSTITUTION), st.data())
def test_in_columns_or_one_by_one_the_stream_and_the_shelves_are_the_same(world: World, data: st.DataObject) -> None:
    parting = data.draw(st.integers(OPENED, world.until))
    in_columns, one_by_one = world.till(), world.till()
    for until in (parting, world.until):
        found = served(in_columns, until)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Supply, "is_instant", lambda *_: False)
            one_by_one.replan(world.plan)
            assert served(one_by_one, until) == found
        one_by_one.replan(world.plan)  # from here to where it is patched again nothing is served


def one_by_one_counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the customers who are served one by one from now on, by block."""
    counts: list[int] = []
    serve_one_by_one: Callable[..., None] = Till._serve_one_by_one

    def counted(till: Till, rows: object, *arguments: object) -> None:
        counts.append(len(rows))  # type: ignore[arg-type]
        serve_one_by_one(till, rows, *arguments)

    monkeypatch.setattr(Till, "_serve_one_by_one", counted)
    return counts


def test_in_the_default_shop_nobody_is_served_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, till = one_by_one_counts(monkeypatch), Till(Plan.of(Settings(), SMOOTHIES, OPENED), SMOOTHIES)
    assert len(serve(till, OPENED + 24 * HOUR).sales) > 10_000
    assert counts == []


def test_a_shelf_that_begins_at_its_minimum_is_served_by_hand_until_it_is_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = max(product.inventory for product in SMOOTHIES)
    shop = Settings(inventory=InventorySettings(min_inventory=most, restock_amount=2 * most))
    counts, till = one_by_one_counts(monkeypatch), Till(Plan.of(shop, SMOOTHIES, OPENED), SMOOTHIES)
    serve(till, OPENED + 24 * HOUR)
    first = sum(counts)
    assert first >= len(SMOOTHIES)
    serve(till, OPENED + 48 * HOUR)
    assert sum(counts) == first


def test_where_deliveries_take_time_everybody_is_served_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Settings(supply=SupplierSettings(lead_time=(timedelta(minutes=1),) * 3))
    counts, till = one_by_one_counts(monkeypatch), Till(Plan.of(shop, SMOOTHIES, OPENED), SMOOTHIES)
    serve(till, OPENED + HOUR)
    assert sum(counts) == till.customers_served > 0


def test_a_till_goes_on_from_what_is_on_order_and_from_what_is_not() -> None:
    plan, shelves = Plan.of(Settings(), SMOOTHIES, OPENED), {each.product_id: Shelf.of(each) for each in SMOOTHIES}
    ordered, sold = list(shelves.values())[:2]
    ordered.on_order, ordered.ordered_at = 15, OPENED
    sold.sell(1, OPENED, plan.supply)
    till = Till(plan, SMOOTHIES, ResumePoint(EventCursor(OPENED, ""), shelves))
    ordered.update_eta(plan.supply)
    found = {shelf.product.product_id: shelf for shelf in till.shelves}
    assert found == shelves
    assert found[sold.product.product_id] is not sold
