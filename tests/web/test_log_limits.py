"""What strangers can bring about is told once in a while, and nothing of it is lost from the count."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.web.log_limits import SECONDS, Seldom, since


@given(st.lists(st.floats(0, 3 * SECONDS)))
def test_messages_are_seldom_and_all_are_counted(pauses: list[float]) -> None:
    now = 0.0
    seldom, told = Seldom(lambda: now), []
    for pause in pauses:
        now += pause
        if (left_out := seldom.due()) is not None:
            told.append((now, left_out))
    assert all(later - earlier >= SECONDS for (earlier, _), (later, _) in itertools.pairwise(told))
    assert len(told) + sum(left_out for _, left_out in told) <= len(pauses)
    if pauses:
        assert told[0][1] == 0


def test_the_number_of_those_left_out_is_told() -> None:
    assert since(0) == ""
    assert "3 more" in since(3)
