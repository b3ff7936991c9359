"""The shop's clock never shows a time that has not come, and never goes back."""

from fractions import Fraction
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.shop.clock import Clock

SECOND = 1_000_000
YEAR = 31_557_600 * SECOND
STARTED = 1_790_000_000 * SECOND
PASSED = st.integers(0, 30 * YEAR)
SPEEDS = st.floats(1e-3, 1e6)


def clocks(speeds: st.SearchStrategy[float | None] = st.none() | SPEEDS) -> st.SearchStrategy[Clock]:  # noqa: B008
    return st.builds(lambda back, speed: Clock(STARTED - back, STARTED, speed), PASSED, speeds)


@given(clocks(), PASSED, PASSED)
def test_it_never_goes_back_and_is_never_ahead_of_now(clock: Clock, one: int, other: int) -> None:
    earlier, later = sorted((STARTED + one, STARTED + other))
    assert clock.at(earlier) <= clock.at(later) <= later
    assert clock.at(earlier) >= clock.start


@given(clocks(SPEEDS))
def test_it_begins_at_the_shops_first_moment(clock: Clock) -> None:
    assert clock.at(STARTED) == clock.start


@given(clocks(st.floats(1.001, 1e6)), PASSED)
def test_one_that_is_faster_reaches_now_and_stays_with_it(clock: Clock, more: int) -> None:
    back = STARTED - clock.start
    assert clock.speed is not None
    reached = STARTED + ceil(back / (Fraction(clock.speed) - 1))
    for now in (reached, reached + 1, reached + 1 + more):
        assert clock.at(now) == now
        assert clock.pace(now) == 1.0


@given(clocks(st.floats(1.001, 1e6)), st.floats(0, 0.999))
def test_until_then_it_passes_at_its_speed(clock: Clock, share: float) -> None:
    assert clock.speed is not None
    now = STARTED + int((STARTED - clock.start) / (clock.speed - 1) * share)
    if clock.at(now) < now:
        assert clock.pace(now) == clock.speed
        assert abs(clock.at(now + SECOND) - min(now + SECOND, clock.at(now) + clock.speed * SECOND)) <= 2


@given(PASSED, PASSED)
def test_without_a_speed_it_is_now_from_the_beginning(back: int, passed: int) -> None:
    clock = Clock(STARTED - back, STARTED)
    assert clock.at(STARTED + passed) == STARTED + passed
    assert clock.pace(STARTED + passed) == 1.0
