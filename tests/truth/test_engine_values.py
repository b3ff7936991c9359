"""What engines write, as numbers that can be compared."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from yasdg_app.messages.times import event_time
from yasdg_app.truth.engine_values import NULL, UNREADABLE, numbers, texts, times

AT = event_time("2026-06-03 12:34:56.789012")
MILLIS = AT // 1000 * 1000


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, None, -3], [10_000, NULL, -30_000]),
        ([5.99, float("nan"), None], [59_900, NULL, NULL]),
        ([2.0009, 0.121, 0.0999], [20_009, 1_210, 999]),
        ([Decimal("5.99"), None, Decimal("0.10")], [59_900, NULL, 1_000]),
        (["5.99", None, "2"], [59_900, NULL, 20_000]),
        (["5.99", "many", "  3 "], [59_900, UNREADABLE, 30_000]),
        (["true", "FALSE", "t", "null", ""], [10_000, 0, 10_000, NULL, NULL]),
        ([True, False, None], [10_000, 0, NULL]),
        ([1e300, float("inf"), 10**15], [UNREADABLE] * 3),
        ([None, None], [NULL, NULL]),
        ([0.1234], [1_234]),
    ],
)
def test_numbers(values: list[Any], wanted: list[int]) -> None:
    assert numbers(pa.array(values)).tolist() == wanted


def test_amounts_are_cents_if_they_almost_are() -> None:
    """Sums of floats are off by a little."""
    for values in (
        [5.9904, 5.9896, 5.992, None],
        ["5.9904", "5.9896", "5.992", ""],
        ["5.9904", " 5.9896", "5.992", "null"],
    ):
        assert numbers(pa.array(values), amounts=True).tolist() == [59_900, 59_900, 59_920, NULL]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (["2026-06-03 12:34:56.789012"], [AT]),
        (["2026-06-03T12:34:56.789012Z", None], [AT, NULL]),
        (["2026-06-03T14:34:56.789012+02:00"], [AT]),
        (["2026-06-03 12:34:56.789012", "2026-06-03T12:34:56.789012Z", "2026-06-03 12:34:56.789012 UTC"], [AT] * 3),
        (["2026-06-03 12:34:56.789012345"], [AT]),
        (["2026-06-03 12:34:56.789012", "noon", ""], [AT, UNREADABLE, NULL]),
        ([str(AT), str(AT // 1000), str(AT * 1000)], [AT, MILLIS, AT]),
        ([AT, None], [AT, NULL]),
        ([AT // 1000], [MILLIS]),
        ([AT // 1_000_000], [AT // 1_000_000 * 1_000_000]),
        ([AT * 1000], [AT]),
        ([AT / 1e6], [AT]),
        ([datetime(2026, 6, 3, 12, 34, 56, 789012), None], [AT, NULL]),
        ([datetime(2026, 6, 3, 12, 34, 56, 789012, tzinfo=UTC)], [AT]),
        ([date(2026, 6, 3)], [event_time("2026-06-03 00:00:00.000000")]),
        ([None], [NULL]),
        ([float("inf"), -float("inf"), 1e300, -9e10, AT / 1e6, None], [*[UNREADABLE] * 4, AT, NULL]),
        ([-(2**63), -9 * 10**10, 2], [UNREADABLE, UNREADABLE, 2_000_000]),
        (["9" * 40, "-90000000000", str(AT)], [UNREADABLE, UNREADABLE, AT]),
    ],
)
def test_times(values: list[Any], wanted: list[int]) -> None:
    assert times(pa.array(values)).tolist() == wanted


def test_a_time_in_64_bits_without_sign_may_be_too_large() -> None:
    assert times(pa.array([2**64 - 1, AT], pa.uint64())).tolist() == [UNREADABLE, AT]


def test_a_timestamp_of_any_zone_is_the_moment_that_it_is() -> None:
    there = pa.array([AT], pa.timestamp("us", tz="America/New_York"))
    assert times(there).tolist() == [AT]
    assert times(pa.array([AT * 1000], pa.timestamp("ns"))).tolist() == [AT]


def test_values_that_python_lacks_are_named_and_a_method_that_is_gone_is_a_bug() -> None:
    late = pa.array([10**9 * 86_400], pa.timestamp("s"))
    assert texts(late) == ["(a timestamp[s] that cannot be shown)"]
    with pytest.raises(AttributeError):
        texts(object())
