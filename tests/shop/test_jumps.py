"""A clock that jumps is not believed until it is back, or has stayed; time in which the machine sleeps is no jump."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.shop.clock import MAX_BELIEVED, MAX_STEP, SECOND, STABLE_SECONDS, JumpDetector

NOW = 1_790_000_000 * SECOND
HOUR = 3600 * SECOND
YEAR = 365 * 24 * HOUR


def looks(detector: JumpDetector, start: int, seconds: int, ahead: int = 0) -> list[bool]:
    """What is said second by second, from some second on, of a clock that is ahead of where it was."""
    return [detector.look(NOW + second * SECOND + ahead, second * SECOND) for second in range(start, start + seconds)]


def believed() -> JumpDetector:
    detector = JumpDetector()
    assert all(looks(detector, 0, 10))
    return detector


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 6 * SECOND, -20 * YEAR, 23 * HOUR])
def test_a_clock_that_was_set_is_believed_when_it_has_stayed_for_a_while(jump: int) -> None:
    detector = believed()
    told = looks(detector, 10, STABLE_SECONDS + 10, jump)
    assert told == [False] * STABLE_SECONDS + [True] * 10
    assert not detector.jump


@pytest.mark.parametrize("jump", [YEAR, 20 * YEAR, MAX_BELIEVED + MAX_STEP])
def test_a_jump_forward_by_more_than_a_day_is_never_believed(jump: int) -> None:
    detector = believed()
    assert not any(looks(detector, 10, 10 * STABLE_SECONDS, jump))
    assert detector.needs_restart
    assert detector.has_stayed
    assert detector.jump == jump
    assert all(looks(JumpDetector(), 10, 10, jump))  # a restart says that it is right


@pytest.mark.parametrize("jump", [YEAR, HOUR, -YEAR])
def test_a_clock_that_is_back_is_believed_at_once(jump: int) -> None:
    detector = believed()
    assert not any(looks(detector, 10, 5, jump))
    assert all(looks(detector, 15, 5))


@pytest.mark.parametrize("jump", [YEAR, HOUR])
def test_one_that_comes_back_before_has_not_stayed(jump: int) -> None:
    detector = believed()
    looks(detector, 10, STABLE_SECONDS, jump)
    assert not detector.has_stayed
    assert all(looks(detector, 10 + STABLE_SECONDS, 5))
    looks(detector, 15 + STABLE_SECONDS, 5, jump)
    assert not detector.has_stayed  # it counts from the new jump


def test_a_clock_that_is_set_again_and_again_is_not_believed() -> None:
    detector = believed()
    for turn in range(20):
        assert not any(looks(detector, 10 + turn * 60, 60, HOUR * (turn + 1)))


@given(st.lists(st.integers(-MAX_STEP, MAX_STEP), max_size=20))
def test_small_steps_are_fine(steps: list[int]) -> None:
    detector, ahead = believed(), 0
    for place, step in enumerate(steps):
        ahead += step
        assert all(looks(detector, 10 + place, 1, ahead))


def test_a_machine_that_sleeps_for_a_month_has_no_jump() -> None:
    """Time since boot passes meanwhile, as does the clock."""
    detector = believed()
    assert all(looks(detector, 30 * 86_400, 10))


def test_the_believed_time_goes_on_as_if_nothing_had_jumped() -> None:
    detector = believed()
    assert JumpDetector().believed(5) is None
    looks(detector, 10, 5, YEAR)
    assert detector.believed(15 * SECOND) == NOW + 15 * SECOND
