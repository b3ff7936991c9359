"""Who comes is drawn for many products and cells at once; each of them as if it were the only one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.properties import examples

from yasdg_app.shop.demand import (
    MAX_PRODUCT_CUSTOMERS_PER_CELL,
    MAX_SHOP_CUSTOMERS_PER_CELL,
    MINUTE,
    TimeGrid,
    arrivals,
    candidate_cells,
    concatenate_cells,
)
from yasdg_app.shop.randomness import exponentials, key, keys, keys_of_cells

SEEDS = st.integers(0, 2**64 - 1)
EXPECTED = st.sampled_from([0.0, 1e-9, 0.001, 0.3, 1.0, 2.5, 9.0, 60.0, 400.0])


def one_by_one(seed: int, product_id: str, grid: TimeGrid, cell: int, expected: float) -> list[tuple[int, int]]:
    """Event time and place of all who come in a cell, as the documents say: nothing is done for many at once."""
    its_key = keys_of_cells(key(seed, product_id, "arrival"), np.array([cell]))
    found: list[float] = []
    position = 0.0
    while True:
        position += float(exponentials(its_key, np.array([len(found)]))[0])
        if not position <= expected:
            break
        found.append(position)
    start, end = grid.start(cell), grid.start(cell + 1)
    came, before = list[int](), start - 1
    for index, position in enumerate(found):
        before = max(before + 1, start + int(position / expected * (end - start)))
        came.append(min(before, end - len(found) + index))
    return [(at, index) for index, at in enumerate(came)]


@settings(max_examples=examples(150))
@given(SEEDS, st.integers(0, 14), st.integers(0, 10**6), st.data())
def test_each_product_and_cell_is_as_if_it_were_the_only_one(
    seed: int, halvings: int, first: int, data: st.DataObject
) -> None:
    grid, ids = TimeGrid(halvings), [f"P{place}" for place in range(data.draw(st.integers(1, 6)))]
    numbers = first + np.array(sorted(data.draw(st.sets(st.integers(0, 30), min_size=1, max_size=4))))
    row = st.lists(EXPECTED, min_size=len(numbers), max_size=len(numbers))
    expected = np.array(data.draw(st.lists(row, min_size=len(ids), max_size=len(ids))))
    cut = data.draw(st.integers(0, len(ids)))
    parts = [
        candidate_cells(start, keys(seed, ids[start:end], "arrival"), numbers, expected[start:end])
        for start, end in ((0, cut), (cut, len(ids)))
    ]
    came = arrivals(concatenate_cells(parts), grid)
    rows = came.rows
    found = zip(rows.product[came.row].tolist(), rows.cell[came.row].tolist(), came.at.tolist(), came.index.tolist(),
                strict=True)  # fmt: skip
    assert list(found) == [
        (product, cell, at, index)
        for product, product_id in enumerate(ids)
        for place, cell in enumerate(numbers.tolist())
        for at, index in one_by_one(seed, product_id, grid, cell, float(expected[product, place]))
    ]


def test_where_hardly_anybody_comes_nobody_is_missed() -> None:
    ids, numbers = [f"P{place}" for place in range(200)], np.arange(500)
    expected = np.full((len(ids), len(numbers)), 0.01)
    rows = candidate_cells(0, keys(1, ids, "arrival"), numbers, expected)
    came = arrivals(rows, TimeGrid(0))
    every = keys_of_cells(keys(1, ids, "arrival")[:, None], numbers)
    first = exponentials(every, np.zeros(1, dtype=np.int64))
    assert np.count_nonzero(first <= expected) == np.count_nonzero(came.index == 0)
    assert len(rows.key) < 1.01 * np.count_nonzero(first <= expected) + 20
    assert abs(len(came.at) - 1000) < 5 * math.sqrt(1000)


def test_keys_of_many_are_those_of_each() -> None:
    assert keys(42, ["a", "Z.-9"], "arrival").tolist() == [key(42, each, "arrival") for each in ("a", "Z.-9")]


@pytest.mark.parametrize("busiest", [0.001, 1.0, 16.7, 1e3, 1e6])
@pytest.mark.parametrize("products", [1, 27, 100, 10_000, 1_000_000])
def test_cells_are_as_long_as_their_customers_allow(busiest: float, products: int) -> None:
    grid = TimeGrid.for_rates(busiest, busiest * products)
    assert busiest * grid.seconds <= MAX_PRODUCT_CUSTOMERS_PER_CELL
    assert busiest * products * grid.seconds <= MAX_SHOP_CUSTOMERS_PER_CELL
    if grid.halvings:
        longer = 2 * grid.seconds
        assert (
            busiest * longer > MAX_PRODUCT_CUSTOMERS_PER_CELL
            or busiest * products * longer > MAX_SHOP_CUSTOMERS_PER_CELL
        )
    # With few products their number makes no difference.
    if products <= MAX_SHOP_CUSTOMERS_PER_CELL / MAX_PRODUCT_CUSTOMERS_PER_CELL:
        assert grid == TimeGrid.for_rates(busiest, 0.0)
    assert grid.start(1 << grid.halvings) == MINUTE
