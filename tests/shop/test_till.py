"""A till makes the same sales however it is asked, from wherever it goes on; whoever comes is accounted for."""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.properties import examples
from support.small_shops import (
    AT_ONCE,
    BY_ID,
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
    record,
    serve,
    told,
    world_of,
    worlds,
)

from yasdg_app.cluster_state.control_records import end_record, incident_record, read_control
from yasdg_app.config import catalog
from yasdg_app.config.settings import InventorySettings, SalesSettings, Settings, SupplierSettings
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.plan import Gap, Plan
from yasdg_app.shop.sale_limit import SaleLimit
from yasdg_app.shop.sales import EventCursor, cursor_after
from yasdg_app.shop.shelf import END_OF_TIME, Shelf
from yasdg_app.shop.till import ResumePoint, Till

SMOOTHIES = catalog.load(Path(__file__).parents[2] / "products.csv")
SETTINGS = Settings()
PLAN = Plan.of(SETTINGS, SMOOTHIES, OPENED)
SUBSTITUTION, NO_SUBSTITUTION = st.sampled_from([5, 10]), st.just(0)
UP_TO_TWO = st.sampled_from([(), (1,), (1, 2)])  # of which all PRODUCTS have enough
FEW = settings(max_examples=examples(60))


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
    again = Till(PLAN, SMOOTHIES, ResumePoint(before[-1].place, shelves, numbers))
    assert serve(again, OPENED + 2 * HOUR).sales == whole[sold:]


# --- Quantities -----------------------------------------------------------------------------------------------------


def plan_with(**sales: Any) -> Plan:
    return Plan.of(replace(SETTINGS, sales=SalesSettings(**sales)), SMOOTHIES, OPENED)


@pytest.mark.parametrize(("of_ten", "weights"), [(8, (4, 1)), (2.5, (1, 3)), (8.3, (83, 17)), (0, (0, 1))])
def test_two_weights_make_the_sales_of_their_share_of_ten(of_ten: float, weights: tuple[int, ...]) -> None:
    plans = plan_with(quantity_one_freq=of_ten), plan_with(quantities=weights)
    one, other = (encoded(till, serve(till, OPENED + 24 * HOUR)) for till in (Till(plan, SMOOTHIES) for plan in plans))
    assert one == other


def test_quantities_come_in_their_proportions_and_change_nothing_else() -> None:
    weights = (80, 0, 14, 3, 2, 1)
    usual, several = (
        serve(Till(plan, SMOOTHIES), OPENED + 96 * HOUR).sales for plan in (PLAN, plan_with(quantities=weights))
    )
    assert [(sale.at, sale.product_id, sale.option & 3) for sale in usual] == [
        (sale.at, sale.product_id, sale.option & 3) for sale in several
    ]
    counts, count = Counter(sale.quantity for sale in several), len(several)
    for quantity, weight in enumerate(weights, 1):
        assert abs(counts[quantity] - count * weight / 100) <= 5 * (count * weight / 100) ** 0.5
    assert sum(counts.values()) == sum(counts[quantity] for quantity in range(1, 7)) == count
    assert abs(several_mean(counts) - plan_with(quantities=weights).sales.mean_quantity) < 0.03


def several_mean(counts: Counter[int]) -> float:
    return sum(quantity * count for quantity, count in counts.items()) / counts.total()


def stocked(world: World) -> Plan:
    """The plan of a shop that begins with enough of everything for the largest sale, as every catalog must."""
    largest = world.settings.sales.largest_quantity
    products = [replace(each, inventory=max(each.inventory, largest)) for each in PRODUCTS]
    return Plan.of(world.settings, products, OPENED)


@FEW
@given(worlds())
def test_nobody_is_lost_while_nothing_is_on_order(world: World) -> None:
    """So a lost sale need not order anything."""
    plan = stocked(world)
    till = Till(plan, plan.products)
    assert all(lost.promised != END_OF_TIME for lost in serve(till, world.until).lost)
    for shelf in till.shelves:
        assert shelf.on_order or shelf.level >= plan.sales.largest_quantity


@FEW
@given(worlds(NO_SUBSTITUTION, supply=AT_ONCE, with_incidents=False))
def test_nobody_is_lost_where_orders_arrive_at_once(world: World) -> None:
    plan = stocked(world)
    assert not serve(Till(plan, plan.products), world.until).lost


# --- However it is asked --------------------------------------------------------------------------------------------


@FEW
@given(worlds(), st.data())
def test_the_length_of_a_tick_changes_nothing_and_computing_ahead_neither(world: World, data: st.DataObject) -> None:
    length = world.until - OPENED
    at_once = world.whole()
    till, in_ticks = world.till(), Told([], [])
    ticks = data.draw(st.lists(st.integers(0, length), max_size=25).map(sorted))
    for tick in (*ticks, length):
        if data.draw(st.booleans(), label="ahead"):
            till.prepare(OPENED + data.draw(st.integers(tick, length), label="up to"))
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


@settings(max_examples=examples(100))
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


@settings(max_examples=examples(100))
@given(worlds(SUBSTITUTION), parts(), st.data())
def test_with_substitution_it_goes_on_from_shelves_that_were_kept(
    world: World, apart: list[tuple[str, ...]], data: st.DataObject
) -> None:
    products = data.draw(st.sampled_from(apart))
    first = world.till(products)
    whole, kept = Told([], []), [(0, 0, EventCursor(OPENED, ""), dict[str, Shelf]())]
    for tick in (*data.draw(st.lists(st.integers(0, world.until - OPENED), max_size=6).map(sorted)), None):
        until = world.until if tick is None else OPENED + tick
        while first.watermark < until:
            whole += told(first, first.generate_until(until))
            if first.customers_served and first.shelves_watermark is not None:
                kept.append((len(whole.sales), len(whole.lost), cursor_after(first.shelves_watermark), copies(first)))
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
    serve(world.till(start=ResumePoint(EventCursor(OPENED, ""), shelves)), world.until)
    assert shelves == before


# --- Everybody is accounted for -------------------------------------------------------------------------------------


@FEW
@given(worlds(supply=SLOW))
def test_whoever_comes_buys_it_or_something_else_or_is_lost(world: World) -> None:
    whole, demand = world.whole(), arrivals(world.plan, world.until)
    as_wanted = [(sale.at, sale.product_id, sale.option) for sale in whole.sales if sale.asked == sale.product_id]
    lost = [(lost.at, lost.product_id, lost.option) for lost in whole.lost]
    assert sorted(as_wanted + lost) == demand
    instead = [(s.at, s.asked, s.option, s.product_id) for s in whole.sales if s.asked != s.product_id]
    turned_away = [(lost.at, lost.product_id, lost.option, lost.substitute) for lost in whole.lost if lost.substitute]
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
        for restock in shelf.receive(row.at, world.plan.supply):
            assert restock.at <= row.at
        if hasattr(row, "asked"):
            assert shelf.level >= row.quantity
            shelf.sell(row.quantity, row.at, world.plan.supply)
            assert shelf.sales == row.number
        else:
            assert row.level == shelf.level < row.quantity
            assert (row.promised, row.delayed_by) == shelf.backorder_info(row.at)
            assert shelf.due > row.at
        assert shelf.initial + shelf.restocked - shelf.sold == shelf.level >= 0


@FEW
@given(worlds(supply=SLOW))
def test_an_order_comes_when_it_is_due_and_the_next_is_made_when_all_of_it_is_there(world: World) -> None:
    supply, whole = world.plan.supply, world.whole()
    table, purchases = Table(world.plan), messages(encoded(world.till(), whole)[0])
    levels, orders = {each.product_id: each.inventory for each in PRODUCTS}, dict.fromkeys(BY_ID, (0, 0))
    numbers = dict.fromkeys(BY_ID, 0)
    for sale, message in zip(whole.sales, purchases, strict=True):
        its, told_before, is_sold = sale.product_id, len(table.restocks), False
        for restock in (*(each.restock for each in table.apply([message]).restocks[told_before:]), None):
            if not is_sold and (restock is None or restock.existing_level != levels[its]):
                levels[its], is_sold = levels[its] - sale.quantity, True
                if levels[its] <= supply.min_inventory and not orders[its][0]:
                    orders[its] = supply.restock_amount, sale.at
            if restock is None:
                continue
            outstanding, ordered_at = orders[its]
            assert restock.at == supply.delivery(BY_ID[its], restock.number, ordered_at)[0] >= ordered_at
            assert restock.at <= sale.at
            assert (restock.number, restock.existing_level) == (numbers[its] + 1, levels[its])
            assert 1 <= restock.stock_quantity <= outstanding
            numbers[its], levels[its] = restock.number, restock.new_level
            outstanding -= restock.stock_quantity
            if not outstanding and restock.at > ordered_at and levels[its] <= supply.min_inventory:
                outstanding = supply.restock_amount
            orders[its] = outstanding, restock.at
        assert is_sold
        assert levels[its] >= 0
        assert levels[its] == table[its].level


@FEW
@given(
    worlds(supply=AT_ONCE, quantities=UP_TO_TWO).filter(
        lambda world: not any(each.kind == "supply" for each in world.settings.incidents)
    )
)
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
        (each.product_id, each.restock.at, each.restock.existing_level, each.restock.stock_quantity,
         each.restock.new_level) for each in table.restocks
    ]  # fmt: skip


# --- Promotions -----------------------------------------------------------------------------------------------------


@FEW
@given(worlds(supply=AT_ONCE | SLOW))
def test_a_discount_is_on_every_sale_of_its_scope_and_time_and_on_no_other(world: World) -> None:
    whole, sales = world.whole(), world.plan.sales
    happened = world.plan.incidents.between(OPENED, world.until)
    for row, message in zip(whole.sales, encoded(world.till(), whole)[0], strict=True):
        product = BY_ID[row.product_id]
        left = Decimal(1)
        for each in happened:
            if each.start <= row.at < each.end and each.concerns(product):
                left *= 1 - Decimal(each.discount) / 10_000
        discount = (1 - left).quantize(Decimal("0.0001"), ROUND_HALF_UP)
        assert row.promotion == discount * 10_000
        sale = json.loads(message)
        assert Decimal(str(sale["promotion_discount"])) == discount
        supplement = sales.supplements_cost if sale["add_supplements"] else 0
        member = sales.club_member_discount if sale["is_member"] else 0
        total = sale["quantity"] * (Decimal(product.price_cents) / 100 + supplement) * (1 - member) * (1 - discount)
        assert Decimal(str(sale["total_purchase"])) == total.quantize(Decimal("0.01"), ROUND_HALF_UP)
        assert sale["total_cost"] == sale["quantity"] * (150 + (50 if sale["add_supplements"] else 0)) / 100


# --- What is said while it runs -------------------------------------------------------------------------------------


@st.composite
def live(draw: st.DrawFn, world: World) -> Incident:
    """An incident that begins within the stretch or behind it."""
    first, last = OPENED // MINUTE + 1, world.until // MINUTE + 1
    start = draw(st.integers(first, last)) * MINUTE
    minutes = draw(st.integers(1, last - first + 1))
    kind, factor, discount = draw(
        st.sampled_from([("storm", 0.3, 0), ("viral", 4.0, 0), ("promotion", 2.5, 1500), ("supply", 0.0, 0),
                         ("supply", 0.25, 0), ("supply", 3.0, 0)])
    )  # fmt: skip
    longest = 0 if kind == "supply" else min(minutes, 60)
    ramp_up = draw(st.integers(0, longest))
    ramp_down = draw(st.integers(0, longest - ramp_up))
    scope = draw(st.sampled_from([frozenset[str](), frozenset({"Classics"})]))
    return Incident(
        "live", kind, start, start + minutes * MINUTE, ramp_up * MINUTE, ramp_down * MINUTE, scope, frozenset(), factor,
        discount,
    )  # fmt: skip


def go_on(world: World, before: Plan, after: Plan, at: int) -> Told:
    """What a till tells that learns of another plan when it has served everybody up to `at`."""
    till = Till(before, PRODUCTS)
    so_far = serve(till, at)
    till.replan(after)
    return so_far + serve(till, world.until)


@settings(max_examples=examples(100))
@given(worlds(), st.data())
def test_an_incident_that_is_set_in_time_does_what_it_had_done_if_known_before(
    world: World, data: st.DataObject
) -> None:
    incident = data.draw(live(world))
    until = data.draw(st.integers(OPENED, min(incident.start - 1, world.until)))
    plan = world.plan.with_control([incident], [])
    assert go_on(world, world.plan, plan, until) == serve(Till(plan, PRODUCTS), world.until)


@settings(max_examples=examples(100))
@given(worlds(), st.data())
def test_so_does_one_that_is_ended_before_its_time(world: World, data: st.DataObject) -> None:
    incident = data.draw(live(world))
    end = data.draw(st.integers(incident.start // MINUTE, incident.end // MINUTE)) * MINUTE
    until = data.draw(st.integers(OPENED, max(min(end - 1, world.until), OPENED)))
    records = [record(row, OPENED - HOUR) for row in (incident_record(incident), end_record("live", end))]
    (ended,) = read_control(records, Clock(OPENED - HOUR, OPENED - HOUR, 1.0), PRODUCTS).live
    assert ended.end == end
    before, after = (world.plan.with_control([each], []) for each in (incident, ended))
    assert go_on(world, before, after, until) == serve(Till(after, PRODUCTS), world.until)


def gaps(world: World) -> st.SearchStrategy[Gap]:
    moments = st.integers(OPENED, world.until)
    return st.tuples(moments, moments).map(sorted).map(lambda both: Gap(*both))


@FEW
@given(worlds(), st.data())
def test_nobody_comes_within_a_gap_and_all_others_still_do(world: World, data: st.DataObject) -> None:
    left_out = data.draw(st.lists(gaps(world), max_size=3))
    plan = world.plan.with_control([], left_out)
    without = arrivals(plan, world.until)
    assert without == [
        each
        for each in arrivals(world.plan, world.until)
        if not any(gap.after < each[0] <= gap.until for gap in left_out)
    ]
    whole = serve(Till(plan, PRODUCTS), world.until)
    assert sorted(
        [(each.at, each.asked, each.option) for each in whole.sales]
        + [(each.at, each.product_id, each.option) for each in whole.lost if each.substitute is None]
    ) == without  # fmt: skip


@FEW
@given(worlds(), st.data())
def test_what_was_before_a_gap_stays_as_it_was(world: World, data: st.DataObject) -> None:
    gap = data.draw(gaps(world))
    plan, as_it_was = world.plan.with_control([], [gap]), world.whole()
    before = serve(Till(plan, PRODUCTS), gap.after)
    assert before == Told(
        [row for row in as_it_was.sales if row.at <= gap.after], [row for row in as_it_was.lost if row.at <= gap.after]
    )


@FEW
@given(worlds(supply=AT_ONCE, with_incidents=False, quantities=UP_TO_TWO), st.data())
def test_behind_a_gap_all_is_the_same_but_for_the_numbers(world: World, data: st.DataObject) -> None:
    gap = data.draw(gaps(world))
    with_gap = serve(Till(world.plan.with_control([], [gap]), PRODUCTS), world.until)
    missing = Counter(row.product_id for row in world.whole().sales if gap.after < row.at <= gap.until)
    assert with_gap.sales == [
        row if row.at <= gap.after else row._replace(number=row.number - missing[row.product_id])
        for row in world.whole().sales
        if row.at <= gap.after or row.at > gap.until
    ]


@settings(max_examples=examples(100))
@given(st.integers(0, 10**6), st.sampled_from(sorted(BY_ID)), st.integers(0, 20 * MINUTE))
def test_from_shelves_kept_before_a_gap_it_goes_on_behind_it(seed: int, product_id: str, after: int) -> None:
    """What was kept may have seen neighbours' customers whom the gap sends away: then it does not hold."""
    sales = SalesSettings(seed=seed, min_sale_freq=0, max_sale_freq=10, substitution_freq=10)
    scarce = Settings(
        sales=sales,
        inventory=InventorySettings(2, 6),
        supply=SupplierSettings(lead_time=(timedelta(minutes=1),) * 3),
    )
    world, gap = world_of(scarce, HOUR), Gap(OPENED + after, OPENED + after + 10 * MINUTE)
    plan, before = world.plan.with_control([], [gap]), world.till([product_id])
    so_far = serve(before, gap.after)
    if not before.customers_served or before.shelves_watermark is None:
        return
    purchases, lost_sales = encoded(before, so_far)
    table = Table(plan).apply(messages(purchases), messages(lost_sales))
    holds = plan.holds(before.shelves_watermark)
    kept = (cursor_after(before.shelves_watermark), copies(before)) if holds else (EventCursor(OPENED, ""), {})
    start, own = table.start(kept), [BY_ID[product_id]]
    assert so_far + serve(Till(plan, own, start), world.until) == serve(Till(plan, own), world.until)


# --- The last sale --------------------------------------------------------------------------------------------------


@FEW
@given(worlds(), parts(), st.data())
def test_a_run_ends_with_the_sale_of_the_given_number(
    world: World, apart: list[tuple[str, ...]], data: st.DataObject
) -> None:
    whole = world.whole()
    if not whole.sales:
        return
    count = data.draw(st.integers(1, len(whole.sales)))
    last = SaleLimit(world.plan, count)
    while last.cursor is None:
        last.look(world.until)
    assert last.cursor == whole.sales[count - 1].place
    rung_up = Told([], [])
    for products in apart:
        till = world.till(products)
        while till.watermark < last.cursor.at:
            rung_up += told(till, last.without_later(till, till.generate_until(last.cursor.at)))
    wanted = Told(whole.sales[:count], [lost for lost in whole.lost if lost.place <= last.cursor])
    assert rung_up.in_order() == wanted.in_order()
