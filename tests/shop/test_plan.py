"""The plan: customers come when the shop is open, as many as it says, and incidents change what they are said to."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.properties import examples
from support.small_shops import (
    BY_ID,
    DAY,
    HOUR,
    IDS,
    MINUTE,
    OPENED,
    PRODUCTS,
    Lost,
    Sale,
    Told,
    World,
    encoded,
    product,
    serve,
    wall,
    world_of,
    worlds,
)

from yasdg_app.config.catalog import Product
from yasdg_app.config.rules import Span
from yasdg_app.config.settings import (
    ClockSettings,
    HoursSettings,
    IncidentSettings,
    InventorySettings,
    SalesSettings,
    Settings,
    SupplierSettings,
    VolumeSettings,
)
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.plan import SUBSTITUTION_GROUP_SIZE, Plan
from yasdg_app.shop.till import Till

# --- Hours and volume, in ten years ---------------------------------------------------------------------------------


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca")
DAYS: tuple[tuple[Span, ...], ...] = (((480, 720), (780, 1200)),) * 4 + (((480, 1320),), ((600, 1560),), ())
RUSH = (1.0,) * 11 + (3.0, 3.0) + (1.0,) * 11
CHRISTMAS = datetime(2012, 12, 25).date()
TEN_YEARS = 22 * 166 * DAY
START = 1_262_304_000_000_000  # 2010-01-01
SIGMAS = 4


@pytest.mark.parametrize("zone", ZONES)
def test_in_ten_years_whoever_comes_comes_in_the_hours_and_as_many_as_are_expected(zone: str) -> None:
    sales = SalesSettings(min_sale_freq=0, max_sale_freq=2 * 3600)
    slow = SupplierSettings(lead_time=(timedelta(days=2),) * 3)
    hours = HoursSettings(week=DAYS, dates=((CHRISTMAS, ((600, 660),)),))
    shop = Settings(
        sales=sales,
        clock=ClockSettings(time_zone=zone),
        hours=hours,
        volume=VolumeSettings(week=(RUSH,) * 7, growth=0.05),
        supply=slow,
    )
    only = product("P1", "Only")
    plan = Plan.of(shop, (only,), START)
    till, rows, lost = Till(plan, (only,)), list[Sale | Lost](), 0
    wanted, came = np.zeros(7 * 24), np.zeros(7 * 24)
    for end in range(START + 166 * DAY, START + TEN_YEARS + 1, 166 * DAY):  # the calendar remembers as many days
        first, count = plan.grid.cell_at(till.watermark + 1), (end - till.watermark) // MINUTE
        told = serve(till, end - 1)
        lost += len(told.lost)
        rows += told.sales + told.lost
        expected = plan.expected(only, first, plan.activity(first, count))
        np.add.at(wanted, hours_of_week(plan, np.arange(first, first + count)), expected)
    assert till.watermark == START + TEN_YEARS - 1
    assert lost > 1000
    for row in rows:
        assert plan.calendar.is_open(row.at)
        local = plan.calendar.local(row.at)
        assert local.date() != CHRISTMAS or local.hour == 10
        came[local.weekday() * 24 + local.hour] += 1
    assert not came[wanted == 0].any()
    opened = wanted > 0
    assert np.count_nonzero(opened) == 4 * 11 + 14 + 16
    assert np.all(np.abs(came - wanted)[opened] < SIGMAS * wanted[opened] ** 0.5)


def hours_of_week(plan: Plan, minutes: Ints) -> Ints:
    """Which of a week's hours the clock shows: here it is set at half hours at the most."""
    halves, place = np.unique(minutes // 30, return_inverse=True)
    local = [plan.calendar.local(half * 30 * MINUTE) for half in halves.tolist()]
    return np.array([each.weekday() * 24 + each.hour for each in local])[place]


# --- Incidents, measured --------------------------------------------------------------------------------------------


BUSY = Settings(
    sales=SalesSettings(min_sale_freq=0, max_sale_freq=0.4), hours=HoursSettings(week=(((0, 1440),),) * 7)
)  # 18,000 customers an hour
AT, BEHIND = (OPENED // HOUR + 1) * HOUR, (OPENED // HOUR + 13) * HOUR
SCOPES = ({}, {"categories": ("Classics",)}, {"products": ("XX01", "SF02")})


def happening(kind: str, factor: float, **more: object) -> Settings:
    incident = IncidentSettings("it", kind, start=wall(AT), duration=timedelta(hours=12), factor=factor)
    return replace(BUSY, incidents=(replace(incident, **more),))


def concerned(shop: Settings) -> set[str]:
    (it,) = world_of(shop, DAY).plan.incidents.known()
    return {product_id for product_id in IDS if it.concerns(BY_ID[product_id])}


@pytest.fixture(scope="module")
def as_ever() -> Told:
    return world_of(BUSY, 14 * HOUR).whole()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("kind", "factor", "more"), [("storm", 0.3, {}), ("promotion", 2.5, {"discount": Decimal("0.2")})]
)
def test_a_factor_is_measured_in_its_scope_and_time_and_nothing_else_differs(
    kind: str, factor: float, more: dict[str, object], scope: dict[str, object], as_ever: Told
) -> None:
    world = world_of(happening(kind, factor, **more, **scope), 14 * HOUR)
    told, its = world.whole(), concerned(world.settings)
    assert told.lost == as_ever.lost == []
    inside = [
        [sale for sale in each.sales if sale.product_id in its and AT <= sale.at < BEHIND] for each in (told, as_ever)
    ]
    assert len(inside[1]) > 30_000
    assert len(inside[0]) / len(inside[1]) == pytest.approx(factor, rel=0.02)
    others = [each.of(set(IDS) - its) for each in (told, as_ever)]
    assert encoded(world.till(), others[0]) == encoded(world.till(), others[1])
    assert outside(told, its) == outside(as_ever, its)
    assert {sale.promotion for sale in inside[0]} == {2000 if more else 0}


def outside(told: Told, ids: set[str]) -> list[Sale]:
    """The sales of some products before and behind the incident, without their numbers."""
    return [sale._replace(number=0) for sale in told.of(ids).sales if not AT <= sale.at < BEHIND]


def test_ramps_are_measured_too() -> None:
    world = world_of(happening("viral", 4.0, ramp_up=timedelta(hours=4), ramp_down=timedelta(hours=4)), 14 * HOUR)
    told, as_ever = ([sale.at for sale in each.whole().sales] for each in (world, world_of(BUSY, 14 * HOUR)))
    for hour, share in enumerate([0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]):
        came, ever = (sum(AT + hour * HOUR <= at < AT + (hour + 1) * HOUR for at in each) for each in (told, as_ever))
        assert came / ever == pytest.approx(1 + 3 * share, rel=0.04)


def test_nobody_comes_in_a_power_outage() -> None:
    sales = world_of(happening("power_outage", 0.0), 14 * HOUR).whole().sales
    assert not any(AT <= sale.at < BEHIND for sale in sales)
    assert sales[-1].at > BEHIND


@settings(max_examples=examples(60))
@given(worlds(), st.data())
def test_what_is_expected_of_a_stretch_is_so_in_whatever_pieces_it_is_asked_for(
    world: World, data: st.DataObject
) -> None:
    plan, its = world.plan, data.draw(st.sampled_from(PRODUCTS))
    first, last = plan.grid.cell_at(OPENED), plan.grid.cell_at(world.until)
    count = last - first + 1
    whole = plan.expected(its, first, plan.activity(first, count))
    discounts = plan.discount(its, first, count)
    start = data.draw(st.integers(0, count - 1))
    length = data.draw(st.integers(1, count - start))
    piece = plan.expected(its, first + start, plan.activity(first + start, length))
    assert np.array_equal(piece, whole[start : start + length])
    discount = plan.discount(its, first + start, length)
    whole_discount = np.zeros(count, dtype=np.int64) if discounts is None else discounts
    assert np.array_equal(np.zeros(length) if discount is None else discount, whole_discount[start : start + length])


def test_products_are_asked_for_by_their_weight() -> None:
    plan = world_of(Settings(), DAY).plan
    assert sum(plan.per_second.values()) == pytest.approx(1 / SalesSettings().mean_seconds_between_sales)
    assert plan.per_second["CS02"] == pytest.approx(3 * plan.per_second["CS01"])


# --- What stands beside each other ----------------------------------------------------------------------------------


def beside(products: tuple[Product, ...], freq: int = 5) -> dict[str, list[str]]:
    plan = Plan.of(Settings(sales=SalesSettings(substitution_freq=freq)), products, OPENED)
    return {product_id: [other.product_id for other in others] for product_id, others in plan.substitutes.items()}


def test_products_of_a_category_stand_beside_each_other_in_the_order_of_the_catalog() -> None:
    assert beside(PRODUCTS) == {
        "SF02": ["SF01"], "CS02": ["CS01", "CS03"], "CS01": ["CS02", "CS03"], "CS03": ["CS02", "CS01"],
        "SF01": ["SF02"], "XX01": [],
    }  # fmt: skip
    assert beside(PRODUCTS, freq=0) == {}


@given(st.integers(1, 40))
def test_few_enough_stand_beside_each_other_and_they_do_so_mutually(count: int) -> None:
    stands = beside(tuple(product(f"P{place:02d}", "One") for place in range(count)))
    assert len(stands) == count
    for product_id, others in stands.items():
        assert len(others) < SUBSTITUTION_GROUP_SIZE
        assert all(product_id in stands[other] for other in others)


def test_stock_does_not_change_who_comes() -> None:
    plenty = replace(BUSY, inventory=InventorySettings(100, 1000))
    slow = replace(plenty, supply=SupplierSettings(lead_time=(timedelta(hours=2),) * 3))
    told, other = (world_of(each, HOUR).whole() for each in (plenty, slow))
    assert other.lost
    assert sorted((sale.at, sale.asked, sale.option) for sale in told.sales) == sorted(
        (row.at, row.product_id, row.option) for row in (*other.sales, *other.lost)
    )
