"""What was ordered comes after its lead time, on a day of delivery, and not while nothing can; some of it at least."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_shops import (
    BY_ID,
    DAY,
    HOUR,
    MINUTE,
    OPENED,
    PRODUCTS,
    SECOND,
    SLOW,
    World,
    suppliers,
    world_of,
    worlds,
)

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import ClockSettings, SalesSettings, Settings, SupplierSettings
from yasdg_app.shop.incident import Incident

PRODUCT = BY_ID["CS01"]
NUMBERS, ORDERED = st.integers(1, 10**6), st.integers(OPENED, OPENED + 9 * DAY)
SOME = st.sampled_from(PRODUCTS)


def supplier_of(world: World, category: str) -> SupplierSettings:
    return next((each for each in world.settings.suppliers if category in each.categories), world.settings.supply)


def lead_times(seconds: tuple[int, int, int], count: int = 4000) -> list[int]:
    lead_time = tuple(timedelta(seconds=each) for each in seconds)
    supply = world_of(Settings(supply=SupplierSettings(lead_time=lead_time)), DAY).plan.supply
    return [supply.delivery(PRODUCT, number, OPENED)[0] - OPENED for number in range(1, count + 1)]


@given(worlds(), SOME, NUMBERS, ORDERED)
def test_a_delivery_comes_after_its_lead_time_on_a_day_of_delivery(
    world: World, product: Product, number: int, ordered_at: int
) -> None:
    plan = world.plan
    due, _ = plan.supply.delivery(product, number, ordered_at)
    supplier = supplier_of(world, product.category)
    assert due >= ordered_at + supplier.lead_time[0] // timedelta(microseconds=1)  # none is faster than it should be
    assert plan.calendar.weekday(due) in supplier.delivery_days
    for incident in plan.incidents.between(due, due + 1):
        assert not (incident.is_supply and incident.factor == 0.0 and incident.concerns(product))


@given(worlds(with_incidents=False), SOME, NUMBERS, ORDERED)
def test_without_incidents_it_comes_on_the_first_day_of_delivery_and_nothing_holds_it_up(
    world: World, product: Product, number: int, ordered_at: int
) -> None:
    due, delayed_by = world.plan.supply.delivery(product, number, ordered_at)
    supplier = supplier_of(world, product.category)
    least, _, longest = (each // timedelta(microseconds=1) for each in supplier.lead_time)
    assert delayed_by is None
    if len(supplier.delivery_days) == 7:
        assert ordered_at + least <= due <= ordered_at + longest
        return
    calendar, before = world.plan.calendar, due - 1
    while before > ordered_at + longest:  # from the end of the lead time on, it was no such day
        assert calendar.weekday(before) not in supplier.delivery_days
        before -= 12 * HOUR


@given(worlds(), SOME, NUMBERS, ORDERED, st.integers(0, 3 * DAY), st.integers(0, 30_000))
def test_what_is_held_up_comes_later_than_it_should(
    world: World, product: Product, number: int, ordered_at: int, start: int, length: int
) -> None:
    begin = (ordered_at + start) // MINUTE * MINUTE
    stop = Incident("stop", "supply", begin, begin + length * MINUTE, 0, 0, frozenset(), frozenset(), 0.0, 0)
    in_time, by = world.plan.supply.delivery(product, number, ordered_at)
    stopped = world.plan.with_control([stop], []).supply
    due, delayed_by = stopped.delivery(product, number, ordered_at)
    assert due >= in_time
    in_force = {incident.name for incident in world.plan.incidents.between(ordered_at, due + 1) if incident.is_supply}
    if due > stopped.promised(product, number, ordered_at):
        assert delayed_by in {"stop", *in_force}
    else:
        assert delayed_by is None
    if stop.start > in_time or stop.start == stop.end:
        assert (due, delayed_by) == (in_time, by)
    else:
        assert not stop.start <= due < stop.end


@given(worlds(), SOME, NUMBERS, ORDERED, st.integers(0, DAY))
def test_what_is_ordered_later_does_not_come_earlier(
    world: World, product: Product, number: int, ordered_at: int, later: int
) -> None:
    supply = world.plan.supply
    assert supply.delivery(product, number, ordered_at)[0] <= supply.delivery(product, number, ordered_at + later)[0]


def test_lead_times_are_of_the_triangular_distribution() -> None:
    seen = np.array(lead_times((600, 900, 7200))) / SECOND
    assert seen.min() >= 600
    assert seen.max() <= 7200
    assert seen.mean() == pytest.approx((600 + 900 + 7200) / 3, rel=0.02)
    variance = (600**2 + 900**2 + 7200**2 - 600 * 900 - 600 * 7200 - 900 * 7200) / 18
    assert seen.std() == pytest.approx(variance**0.5, rel=0.03)
    assert np.mean(seen < 900) == pytest.approx((900 - 600) / (7200 - 600), abs=0.01)
    assert set(lead_times((60, 60, 60), 20)) == {60 * SECOND}
    assert set(lead_times((0, 0, 0), 20)) == {0}
    assert max(lead_times((600, 7200, 7200))) <= 7200 * SECOND  # the most frequent one may be the longest


def test_days_of_delivery_are_those_of_the_shops_clock() -> None:
    settings = Settings(clock=ClockSettings(time_zone="Asia/Kathmandu"), supply=SupplierSettings(delivery_days=(5,)))
    due, _ = world_of(settings, DAY).plan.supply.delivery(PRODUCT, 1, OPENED)
    assert due == (OPENED // DAY + 1) * DAY - 5 * HOUR - 45 * MINUTE  # Saturday begins at 18:15 UTC


@given(worlds(), SOME, NUMBERS, st.integers(1, 10**9))
def test_a_delivery_brings_one_unit_at_least_and_no_more_than_was_ordered(
    world: World, product: Product, number: int, outstanding: int
) -> None:
    brought = world.plan.supply.delivered_quantity(product, number, outstanding)
    assert 1 <= brought <= outstanding
    if not supplier_of(world, product.category).partial_freq:
        assert brought == outstanding


@pytest.mark.parametrize("freq", [0, 3, 10])
def test_so_many_of_ten_deliveries_are_partial(freq: int) -> None:
    supply = world_of(Settings(supply=SupplierSettings(partial_freq=freq)), DAY).plan.supply
    brought = [supply.delivered_quantity(PRODUCT, number, 100) for number in range(1, 4001)]
    assert np.mean([each < 100 for each in brought]) == pytest.approx(freq / 10, abs=0.025)
    if freq == 10:
        assert np.mean(brought) == pytest.approx(50, rel=0.03)
        assert set(brought) == set(range(1, 100))


@given(suppliers(), SLOW, NUMBERS)
def test_a_supplier_supplies_its_categories_and_another_all_else(
    one: SupplierSettings, other: SupplierSettings, number: int
) -> None:
    special = SupplierSettings("special", ("Classics",), other.lead_time, other.delivery_days, other.partial_freq)
    both = world_of(Settings(supply=one, suppliers=(special,)), DAY).plan.supply
    alone = {"Classics": world_of(Settings(supply=other), DAY).plan.supply}
    everywhere_else = world_of(Settings(supply=one), DAY).plan.supply
    for product in PRODUCTS:
        its = alone.get(product.category, everywhere_else)
        assert both.delivery(product, number, OPENED) == its.delivery(product, number, OPENED)
        assert both.delivered_quantity(product, number, 50) == its.delivered_quantity(product, number, 50)


@given(st.integers(0, 2**64 - 1))
def test_the_seed_decides(seed: int) -> None:
    lead_time = (timedelta(0), timedelta(hours=1), timedelta(days=1))
    one, same, other = (
        world_of(
            Settings(sales=SalesSettings(seed=each), supply=SupplierSettings(lead_time=lead_time)), DAY
        ).plan.supply
        for each in (seed, seed, seed ^ 1)
    )
    assert one.delivery(PRODUCT, 1, OPENED) == same.delivery(PRODUCT, 1, OPENED) != other.delivery(PRODUCT, 1, OPENED)
