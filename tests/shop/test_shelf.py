"""A shelf is restocked by the seed's rule, or when its supplier comes; and its books balance."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_shops import BY_ID, HOUR, OPENED, SECOND, World, world_of, worlds

from yasdg_app.config.settings import InventorySettings, SalesSettings, Settings, SupplierSettings
from yasdg_app.shop.shelf import END_OF_TIME, Restock, Shelf
from yasdg_app.shop.supply import Supply

PRODUCT = BY_ID["CS01"]
STEPS = st.lists(st.tuples(st.integers(0, 4 * HOUR), st.integers(1, 8)), max_size=60)


def supply(hours: float = 0.0, inventory: InventorySettings = InventorySettings()) -> Supply:  # noqa: B008
    lead_time = (timedelta(hours=hours),) * 3
    return world_of(Settings(inventory=inventory, supply=SupplierSettings(lead_time=lead_time)), HOUR).plan.supply


def test_a_level_at_the_minimum_is_restocked_at_once() -> None:
    shelf, at_once = Shelf(PRODUCT, initial=12, level=12), supply()
    assert shelf.sell(1, OPENED, at_once) == ()
    assert shelf.sell(1, OPENED + 7, at_once) == [
        Restock(number=1, at=OPENED + 7, existing_level=10, stock_quantity=15)
    ]
    assert shelf.level == 25
    assert (shelf.on_order, shelf.due) == (0, END_OF_TIME)


def test_with_a_lead_time_it_is_restocked_when_that_is_over() -> None:
    shelf, slow = Shelf(PRODUCT, initial=12, level=12), supply(hours=2)
    assert not shelf.sell(2, OPENED, slow)
    assert (shelf.level, shelf.on_order, shelf.ordered_at, shelf.due) == (10, 15, OPENED, OPENED + 2 * HOUR)
    assert not shelf.sell(2, OPENED + HOUR, slow)  # nothing more is ordered
    assert (shelf.on_order, shelf.due) == (15, OPENED + 2 * HOUR)
    assert not shelf.receive(OPENED + 2 * HOUR - 1, slow)
    (restock,) = shelf.receive(OPENED + 5 * HOUR, slow)
    assert restock == Restock(number=1, at=OPENED + 2 * HOUR, existing_level=8, stock_quantity=15)
    assert restock.new_level == shelf.level == 23
    assert (shelf.on_order, shelf.due) == (0, END_OF_TIME)


def test_what_comes_to_an_empty_shelf_and_is_too_little_is_followed_by_the_next_order() -> None:
    shelf, slow = Shelf(PRODUCT, initial=2, level=2), supply(2, InventorySettings(10, 3))
    shelf.sell(2, OPENED, slow)
    restocks = shelf.receive(OPENED + 7 * HOUR, slow)
    assert [(each.at - OPENED, each.existing_level, each.stock_quantity) for each in restocks] == [
        (2 * HOUR, 0, 3),
        (4 * HOUR, 3, 3),
        (6 * HOUR, 6, 3),
    ]
    assert (shelf.level, shelf.on_order, shelf.due) == (9, 3, OPENED + 8 * HOUR)


def in_microseconds(*lead_time: int) -> SupplierSettings:
    return SupplierSettings(
        lead_time=tuple(timedelta(microseconds=each) for each in lead_time),  # type: ignore[arg-type]
        partial_freq=10,
    )


def shop_of(quantity: int, spare: int, amount: int, supplier: SupplierSettings, seed: int) -> Supply:
    return world_of(
        Settings(
            sales=SalesSettings(seed=seed, quantities=(1,) * quantity),
            inventory=InventorySettings(quantity - 1 + spare, quantity + amount), supply=supplier,
        ),
        HOUR,
    ).plan.supply  # fmt: skip


@given(
    st.integers(2, 8), st.integers(0, 10), st.integers(0, 10),
    st.sampled_from([in_microseconds(0, 1, 2), in_microseconds(0, 2, 3), in_microseconds(0, 0, 0)]),
    st.integers(0, 2**32), st.lists(st.tuples(st.integers(0, 2), st.integers(1, 8)), max_size=80),
)  # fmt: skip
def test_a_shelf_with_nothing_on_order_has_enough_for_the_largest_sale(
    quantity: int, spare: int, amount: int, supplier: SupplierSettings, seed: int, steps: list[tuple[int, int]]
) -> None:
    """Even if parts of one order come microseconds apart, with sales between them."""
    supply, at = shop_of(quantity, spare, amount, supplier, seed), OPENED
    shelf = Shelf(PRODUCT, initial=quantity, level=quantity)
    for passed, wanted in steps:
        at += passed
        shelf.receive(at, supply)
        assert shelf.on_order or shelf.level >= quantity
        if shelf.level >= min(wanted, quantity):
            shelf.sell(min(wanted, quantity), at, supply)
            assert shelf.on_order or shelf.level >= quantity
        assert shelf.due > at


@pytest.mark.parametrize(("quantity", "again"), [(2, False), (8, True)])
def test_what_is_left_of_an_order_is_followed_by_the_next_one_if_it_is_too_little_for_a_sale(
    quantity: int, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With sales of up to two units it is never too little."""
    found, orders_again = set[tuple[bool, bool]](), Supply.orders_again

    def noted(supply: Supply, level: int, took_time: bool) -> bool:
        found.add((took_time, orders_again(supply, level, took_time)))
        return orders_again(supply, level, took_time)

    monkeypatch.setattr(Supply, "orders_again", noted)
    for seed in range(200):
        supply, shelf = shop_of(quantity, 0, 4, in_microseconds(0, 1, 2), seed), Shelf(PRODUCT, quantity, quantity)
        for at in range(OPENED, OPENED + 40):
            shelf.receive(at, supply)
            if shelf.level:
                shelf.sell(min(shelf.level, quantity), at, supply)
    assert ((False, True) in found) == again
    assert (False, False) in found


@given(st.integers(2, 200), worlds(), STEPS)
def test_initial_and_restocked_less_sold_is_the_level(initial: int, world: World, steps: list[tuple[int, int]]) -> None:
    shelf, at, units, supply = Shelf(PRODUCT, initial, initial), OPENED, 0, world.plan.supply
    for passed, quantity in steps:
        at += passed
        came = [*shelf.receive(at, supply)]
        if shelf.level >= quantity:
            came += shelf.sell(quantity, at, supply)
            units += quantity
        assert [each.number for each in came] == list(range(shelf.restocks - len(came) + 1, shelf.restocks + 1))
        assert shelf.sold == units
        assert shelf.initial + shelf.restocked - shelf.sold == shelf.level >= 0
        assert shelf.due > at
        assert (shelf.due == END_OF_TIME) == (shelf.on_order == 0)


@given(worlds(), STEPS, st.data())
def test_it_needs_no_clock(world: World, steps: list[tuple[int, int]], data: st.DataObject) -> None:
    """It is the same however often somebody looks whether a delivery has come, and reckons when the next one does."""
    looked_at, other = Shelf.of(PRODUCT), Shelf.of(PRODUCT)
    at, supply, came, came_too = OPENED, world.plan.supply, [], []
    for passed, quantity in steps:
        for look in data.draw(st.lists(st.integers(0, passed), max_size=3).map(sorted)):
            came += looked_at.receive(at + look, supply)
            looked_at.update_eta(supply)
        at += passed
        came, came_too = [*came, *looked_at.receive(at, supply)], [*came_too, *other.receive(at, supply)]
        if other.level >= quantity:
            came += looked_at.sell(quantity, at, supply)
            came_too += other.sell(quantity, at, supply)
        assert (came, looked_at) == (came_too, other)


def test_reckoned_anew_it_expects_the_same_whatever_was_written_down() -> None:
    shelf, slow = Shelf(PRODUCT, initial=12, level=12), supply(hours=2)
    shelf.sell(2, OPENED, slow)
    again = replace(shelf, due=SECOND, delayed_by="nothing")
    again.update_eta(slow)
    assert again == shelf
