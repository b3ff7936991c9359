"""What strangers can bring about is told once in a while, and nothing of it is lost from the count."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.web.log_limits import MIN_INTERVAL_SECONDS, LogLimiter, suppressed_note


@given(st.lists(st.floats(0, 3 * MIN_INTERVAL_SECONDS)))
def test_messages_are_seldom_and_all_are_counted(pauses: list[float]) -> None:
    now = 0.0
    limiter, told = LogLimiter(lambda: now), []
    for pause in pauses:
        now += pause
        if (suppressed := limiter.request()) is not None:
            told.append((now, suppressed))
    assert all(later - earlier >= MIN_INTERVAL_SECONDS for (earlier, _), (later, _) in itertools.pairwise(told))
    assert len(told) + sum(suppressed for _, suppressed in told) <= len(pauses)
    if pauses:
        assert told[0][1] == 0


def test_the_number_of_those_suppressed_is_told() -> None:
    assert suppressed_note(0) == ""
    assert "3 more" in suppressed_note(3)
