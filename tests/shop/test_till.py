"""A till makes the same sales however it is asked, from wherever it goes on; and everybody who comes is accounted for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shops import (
    AT_ONCE,
    BY_ID,
    DAY,
    HOUR,
    MINUTE,
    OPENED,
    PRODUCTS,
    SLOW,
    Table,
    Told,
    World,
    arrivals,
    copies,
    encoded,
    messages,
    parts,
    serve,
    told,
    wall,
    worlds,
)

from yasdg_app import catalog
from yasdg_app.settings import IncidentSettings, SalesSettings, Settings
from yasdg_app.shop.customer import line_of
from yasdg_app.shop.incidents import Incident
from yasdg_app.shop.plan import Gap, Plan
from yasdg_app.shop.shelf import NEVER, Shelf
from yasdg_app.shop.till import LastSale, Place, Served, Start, Till, behind

SMOOTHIES = catalog.load(Path(__file__).parents[2] / "products.csv")
SETTINGS = Settings()
PLAN = Plan.of(SETTINGS, SMOOTHIES, OPENED)
SUBSTITUTION, NO_SUBSTITUTION = st.sampled_from([5, 10]), st.just(0)
FEW = settings(max_examples=60)


# --- The default shop -----------------------------------------------------------------------------------------------


def test_sales_come_at_the_configured_rate() -> None:
    sales = serve(Till(PLAN, SMOOTHIES), OPENED + 24 * HOUR).sales
    expected = 24 * 3600 / SETTINGS.sales.mean_seconds_between_sales
    assert abs(len(sales) - expected) < 5 * expected**0.5


def test_numbers_are_contiguous_and_times_increase_within_a_product() -> None:
    sales = serve(Till(PLAN, SMOOTHIES), OPENED + 24 * HOUR).sales
    for product in SMOOTHIES:
        own = [sale for sale in sales if sale.product_id == product.product_id]
        assert [sale.number for sale in own] == list(range(1, len(own) + 1))
        assert np.all(np.diff([sale.at for sale in own]) > 0)


@pytest.mark.parametrize("sold", [1, 2, 500, 1799])
def test_a_till_goes_on_behind_the_last_sale(sold: int) -> None:
    whole = serve(Till(PLAN, SMOOTHIES), OPENED + 2 * HOUR).sales
    before = whole[:sold]
    shelves = {product.product_id: Shelf.of(product) for product in SMOOTHIES}
    for sale in before:
        shelves[sale.product_id].sell(sale.quantity, sale.at, PLAN.supply)
    numbers = {sale.product_id: sale.number for sale in before}
    again = Till(PLAN, SMOOTHIES, Start(before[-1].place, shelves, numbers))
    assert serve(again, OPENED + 2 * HOUR).sales == whole[sold:]


# --- However it is asked --------------------------------------------------------------------------------------------


@FEW
@given(worlds(), st.data())
def test_the_length_of_a_tick_changes_nothing(world: World, data: st.DataObject) -> None:
    length = world.until - OPENED
    at_once = world.whole()
    till, in_ticks = world.till(), Told([], [])
    ticks = data.draw(st.lists(st.integers(0, length), max_size=25).map(sorted))
    for tick in (*ticks, length):
        now = serve(till, OPENED + tick)
        assert all(OPENED <= row.at <= OPENED + tick for row in (*now.sales, *now.lost))
        in_ticks += now
    assert in_ticks == at_once


@FEW
@given(worlds(), parts())
def test_products_sold_apart_make_the_same_sales_as_together(world: World, apart: list[tuple[str, ...]]) -> None:
    together = world.whole()
    shared = [world.whole(products) for products in apart]
    for products, own in zip(apart, shared, strict=True):
        assert own == together.of(products)  # in the same order, and of no other product
    assert sum(shared, Told([], [])).in_order() == together.in_order()


@FEW
@given(worlds())
def test_sales_and_lost_sales_are_numbered_in_order_of_time(world: World) -> None:
    whole = world.whole()
    for rows in (whole.sales, whole.lost):
        assert [row.place for row in rows] == sorted(row.place for row in rows)
        for product_id in BY_ID:
            own = [row for row in rows if row.product_id == product_id]
            assert [row.number for row in own] == list(range(1, len(own) + 1))


# --- From wherever it goes on ---------------------------------------------------------------------------------------


def cuts(data: st.DataObject, whole: Told) -> tuple[int, int]:
    """How many sales and lost sales stand in the logs: lost sales are appended first, those of a block together."""
    sales = data.draw(st.integers(0, len(whole.sales)), label="sales")
    last = whole.sales[sales - 1].place if sales else None
    least = sum(1 for lost in whole.lost if last is not None and lost.place <= last)
    return sales, data.draw(st.integers(least, len(whole.lost)), label="lost sales")


def table_of(world: World, products: tuple[str, ...], whole: Told, sales: int, lost: int) -> Table:
    purchases, lost_sales = encoded(world.till(products), Told(whole.sales[:sales], whole.lost[:lost]))
    return Table(world.plan).apply(messages(purchases), messages(lost_sales))


@settings(max_examples=100)
@given(worlds(NO_SUBSTITUTION), parts(), st.data())
def test_a_till_goes_on_from_the_table_wherever_the_logs_end(
    world: World, apart: list[tuple[str, ...]], data: st.DataObject
) -> None:
    products = data.draw(st.sampled_from(apart))
    whole = world.whole(products)
    for _ in range(3):
        sales, lost = cuts(data, whole)
        start = table_of(world, products, whole, sales, lost).start()
        rest = serve(world.till(products, start), world.until)
        assert rest == Told(whole.sales[sales:], whole.lost[lost:])


@settings(max_examples=100)
@given(worlds(SUBSTITUTION), parts(), st.data())
def test_with_substitution_it_goes_on_from_shelves_that_were_kept(
    world: World, apart: list[tuple[str, ...]], data: st.DataObject
) -> None:
    products = data.draw(st.sampled_from(apart))
    first = world.till(products)
    whole, kept = Told([], []), [(0, 0, Place(OPENED, ""), dict[str, Shelf]())]
    for tick in (*data.draw(st.lists(st.integers(0, world.until - OPENED), max_size=6).map(sorted)), None):
        until = world.until if tick is None else OPENED + tick
        while first.through < until:
            whole += told(first, first.ring_up(until))
            if first.served and first.through_all is not None:
                kept.append((len(whole.sales), len(whole.lost), behind(first.through_all), copies(first)))
    for _ in range(3):
        sales, lost = cuts(data, whole)
        usable = [each for each in kept if each[0] <= sales and each[1] <= lost]
        _, _, after, shelves = data.draw(st.sampled_from(usable), label="kept")
        start = table_of(world, products, whole, sales, lost).start((after, shelves))
        rest = serve(world.till(products, start), world.until)
        assert rest == Told(whole.sales[sales:], whole.lost[lost:])


@FEW
@given(worlds(), st.data())
def test_what_a_till_is_given_to_go_on_from_stays_as_it_is(world: World, data: st.DataObject) -> None:
    shelves = {product.product_id: Shelf.of(product) for product in PRODUCTS}
    before = {product_id: replace(shelf) for product_id, shelf in shelves.items()}
    serve(world.till(start=Start(Place(OPENED, ""), shelves)), world.until)
    assert shelves == before


# --- Everybody is accounted for -------------------------------------------------------------------------------------


@FEW
@given(worlds(supply=SLOW))
def test_whoever_comes_buys_it_or_something_else_or_is_lost(world: World) -> None:
    whole, demand = world.whole(), arrivals(world)
    as_wanted = [(sale.at, sale.product_id, sale.way) for sale in whole.sales if sale.asked == sale.product_id]
    lost = [(lost.at, lost.product_id, lost.way) for lost in whole.lost]
    assert sorted(as_wanted + lost) == demand
    instead = [(s.at, s.asked, s.way, s.product_id) for s in whole.sales if s.asked != s.product_id]
    turned_away = [(lost.at, lost.product_id, lost.way, lost.substitute) for lost in whole.lost if lost.substitute]
    assert instead == turned_away
    for product_id in BY_ID:  # in units, as it is written in the documents
        sold = sum(sale.quantity for sale in whole.sales if sale.product_id == product_id)
        from_others = sum(s.quantity for s in whole.sales if s.product_id == product_id != s.asked)
        missed = sum(one.quantity for one in whole.lost if one.product_id == product_id)
        assert sold - from_others + missed == sum((way >> 2) + 1 for _, asked, way in demand if asked == product_id)


@FEW
@given(worlds(st.just(10), supply=SLOW))
def test_another_is_taken_from_beside_and_only_if_there_is_enough(world: World) -> None:
    for sale in world.whole().sales:
        assert BY_ID[sale.asked].category == BY_ID[sale.product_id].category
    assert not any(lost.substitute for lost in world.whole().lost if lost.product_id == "XX01")


@FEW
@given(worlds(supply=SLOW))
def test_a_customer_is_lost_when_there_is_too_little_and_only_then(world: World) -> None:
    whole = world.whole()
    shelves = {product.product_id: Shelf.of(product) for product in PRODUCTS}
    for row in sorted([*whole.sales, *whole.lost], key=lambda row: (row.place, hasattr(row, "asked"))):
        shelf = shelves[row.product_id]
        for stocking in shelf.receive(row.at, world.plan.supply):
            assert stocking.at <= row.at
        if hasattr(row, "asked"):
            assert shelf.level >= row.quantity
            shelf.sell(row.quantity, row.at, world.plan.supply)
            assert shelf.sales == row.number
        else:
            assert row.level == shelf.level < row.quantity
            assert (row.due, row.held_up_by) == (shelf.due, shelf.held_up_by)
            assert row.due > row.at
        assert shelf.initial + shelf.restocked - shelf.sold == shelf.level >= 0


@FEW
@given(worlds(supply=SLOW))
def test_restocks_come_when_they_are_due_and_never_before(world: World) -> None:
    """Each from what was sold alone: the level, the order, and when that comes."""
    plan = world.plan
    whole = world.whole()
    table = Table(plan).apply(messages(encoded(world.till(), whole)[0]))
    for product in PRODUCTS:
        restocks = [restock.stocking for restock in table.restocks if restock.product_id == product.product_id]
        sales = [sale for sale in whole.sales if sale.product_id == product.product_id]
        level, ordered_at, outstanding = product.inventory, 0, 0
        # A restock comes before who comes at its time, unless it was that sale that ordered it.
        events = sorted(
            [(sale.at, 1, sale) for sale in sales]
            + [(each.at, 0, each) for each in restocks if each.number == 1 or True],
            key=lambda event: event[:2],
        )
        pending = list(events)
        number = 0
        while pending:
            at, is_sale, event = pending.pop(0)
            if is_sale:
                level -= event.quantity
                if level <= plan.supply.min_inventory and not outstanding:
                    outstanding, ordered_at = plan.supply.restock_amount, at
            else:
                if not outstanding or (at, None) != (plan.supply.delivery(product, number + 1, ordered_at)[0], None):
                    # It was ordered by the sale of its very microsecond.
                    assert pending
                    assert pending[0][:2] == (at, 1)
                    pending.insert(1, (at, 0, event))
                    continue
                number += 1
                assert at >= ordered_at
                assert (event.number, event.existing_level) == (number, level)
                assert 1 <= event.stock_quantity <= outstanding
                level += event.stock_quantity
                outstanding -= event.stock_quantity
                if not outstanding and at > ordered_at and level <= plan.supply.min_inventory:
                    outstanding = plan.supply.restock_amount
                ordered_at = at
            assert level >= 0


@FEW
@given(worlds(supply=AT_ONCE).filter(lambda world: not any(each.kind == "supply" for each in world.settings.incidents)))
def test_without_lead_times_nothing_is_lost_and_restocks_are_the_seeds(world: World) -> None:
    whole = world.whole()
    assert whole.lost == []
    table = Table(world.plan).apply(messages(encoded(world.till(), whole)[0]))
    rule, levels, wanted = world.settings.inventory, {each.product_id: each.inventory for each in PRODUCTS}, []
    for sale in whole.sales:
        levels[sale.product_id] -= sale.quantity
        level = levels[sale.product_id]
        if level <= rule.min_inventory:
            levels[sale.product_id] += rule.restock_amount
            wanted.append((sale.product_id, sale.at, level, rule.restock_amount, level + rule.restock_amount))
    assert wanted == [
        (each.product_id, each.stocking.at, each.stocking.existing_level, each.stocking.stock_quantity,
         each.stocking.new_level) for each in table.restocks
    ]  # fmt: skip
