"""A shelf is restocked by the seed's rule, and its books balance."""

from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.settings import InventorySettings
from yasdg_app.shop.shelf import Shelf, Stocking

RULE = InventorySettings()


def test_a_level_at_the_minimum_is_restocked_at_once() -> None:
    shelf = Shelf(initial=12, level=12)
    assert shelf.sell(1, 499, 150, RULE) is None
    assert shelf.sell(1, 499, 150, RULE) == Stocking(number=1, existing_level=10, stock_quantity=15)
    assert shelf.level == 25


@given(st.integers(2, 200), st.lists(st.integers(1, 2)))
def test_initial_and_restocked_less_sold_is_the_level(initial: int, quantities: list[int]) -> None:
    shelf = Shelf(initial=initial, level=initial)
    for quantity in quantities:
        shelf.sell(quantity, 0, 0, RULE)
        assert shelf.initial + shelf.restocked - shelf.sold == shelf.level >= 0
