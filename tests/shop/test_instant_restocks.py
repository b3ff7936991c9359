"""Many sales in one go leave a shelf as one after the other does."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.small_shops import OPENED, PRODUCTS

from yasdg_app.config.settings import InventorySettings, Settings
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.shelf import Shelf, instant_restocks


@given(
    st.integers(2, 8), st.lists(st.integers(1, 8), min_size=1, max_size=200), st.integers(0, 40), st.integers(0, 40),
    st.integers(1, 30),
)  # fmt: skip
def test_instant_restocks_are_those_of_one_sale_after_the_other(
    largest: int, wanted: list[int], minimum: int, amount: int, above: int
) -> None:
    quantities, minimum, amount = [min(each, largest) for each in wanted], minimum + largest - 1, amount + largest
    inventory = InventorySettings(min_inventory=minimum, restock_amount=amount)
    supply = Plan.of(replace(Settings(), inventory=inventory), PRODUCTS, OPENED).supply
    product = replace(PRODUCTS[0], inventory=minimum + above)
    assert supply.is_instant(product)
    shelf, levels, came_at = Shelf.of(product), [], []
    for at, quantity in enumerate(quantities, OPENED):
        came = shelf.sell(quantity, at, supply)
        levels.append(shelf.level)
        came_at += [(one.at - OPENED, one.existing_level) for one in came]
    sold = np.cumsum(quantities)
    restocks = instant_restocks(np.full(len(sold), product.inventory), sold, supply)
    assert (product.inventory - sold + restocks * amount).tolist() == levels
    came = np.flatnonzero(np.diff(restocks, prepend=0))
    assert [(int(row), levels[row] - amount) for row in came] == came_at
    assert restocks[-1] == shelf.restocks
