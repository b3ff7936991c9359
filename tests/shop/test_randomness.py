"""A draw is the same however it is made."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.shop.randomness import uniform, uniforms

KEYS = st.integers(0, 2**64 - 1)
PLACES = st.integers(0, 2**62)


@given(KEYS, st.lists(PLACES, min_size=1, max_size=20))
def test_a_single_draw_is_that_of_many(key: int, places: list[int]) -> None:
    many = uniforms(np.array([key], dtype=np.uint64), np.array(places, dtype=np.int64))
    assert [uniform(key, place) for place in places] == many.tolist()
    assert all(0.0 <= number < 1.0 for number in many)
