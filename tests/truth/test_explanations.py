"""What is named as the reason of a difference is certain."""

from yasdg_app.shop.faults import DROPPED, DUPLICATE, LATE, NONE
from yasdg_app.truth.compare_sums import MAX_FAULTS_COMBINED, Event, _reasons


def sale(event_id: str, revenue: int, fault: int = NONE, counted: int = 1) -> Event:
    return Event(event_id, fault, counted, {"sales": 1, "revenue": revenue})


def off(sales: int, revenue: int) -> dict[str, int]:
    return {"sales": sales, "revenue": revenue}


CAME_LATE = "late on the dirty topic"
WRONG = [("wrong", [], "")]


def test_one_sale_is_named_if_no_other_of_its_window_is_like_it() -> None:
    here = [sale("A", 5), sale("B", 7), sale("C", 7)]
    assert _reasons(off(-1, -5), here) == [("missing", ["A"], "")]
    assert _reasons(off(1, 5), here) == [("double", ["A"], "")]
    assert _reasons(off(-1, -7), here) == [("missing", [], "one of B, C")]
    assert _reasons(off(-1, -6), here) == WRONG
    assert _reasons(off(-2, -12), here) == WRONG


def test_faults_are_named_if_they_bring_the_difference_in_one_way_only() -> None:
    here = [sale("A", 5, LATE), sale("B", 7, LATE), sale("C", 7, LATE), sale("D", 20, DUPLICATE), sale("E", 4)]
    assert _reasons(off(-1, -5), here) == [("late", ["A"], CAME_LATE)]
    assert _reasons(off(-1, -7), here) == [("late", [], f"one of B ({CAME_LATE}), C ({CAME_LATE})")]
    assert _reasons(off(-2, -14), here) == [("late", ["B", "C"], CAME_LATE)]
    assert _reasons(off(0, 15), here) == [("late", ["A"], CAME_LATE), ("double", ["D"], "duplicate")]
    assert _reasons(off(-1, -4), here) == [("missing", ["E"], "")]  # that is no fault of the channel


def test_no_fault_is_named_if_a_plain_sale_may_be_what_is_missing() -> None:
    late, plain = sale("A", 5, LATE), [sale(event_id, 5) for event_id in "BCDE"]
    assert _reasons(off(-1, -5), [late, *plain]) == [("missing", [], f"one of A ({CAME_LATE}), B, C, D, E")]
    twice = sale("T", 9, DUPLICATE)
    assert _reasons(off(1, 9), [twice, sale("U", 9)]) == [("double", [], "one of T (duplicate), U")]
    # Nor where it takes several of them.
    other = sale("L", 7, LATE)
    assert _reasons(off(-2, -12), [late, other]) == [("late", ["A", "L"], CAME_LATE)]
    assert _reasons(off(-2, -12), [late, other, plain[0]]) == [
        ("wrong", [], f"some of A ({CAME_LATE}), L ({CAME_LATE}), B")
    ]


def test_late_and_dropped_ones_that_bring_the_same_are_missing_both() -> None:
    here = [sale("A", 5, LATE), sale("B", 5, DROPPED)]
    assert _reasons(off(-1, -5), here) == [("missing", [], f"one of A ({CAME_LATE}), B (dropped)")]


def test_of_many_faults_it_is_one_or_all_of_a_kind() -> None:
    late = [sale(f"L{n:02d}", n, LATE) for n in range(MAX_FAULTS_COMBINED + 1)]
    twice = [sale("D", 100, DUPLICATE)]
    total = sum(range(MAX_FAULTS_COMBINED + 1))
    assert _reasons(off(-len(late), -total), late + twice) == [("late", [each.event_id for each in late], CAME_LATE)]
    assert _reasons(off(1, 100), late + twice) == [("double", ["D"], "duplicate")]
    assert _reasons(off(-1, -1), late + twice) == [("late", ["L01"], CAME_LATE)]
    assert _reasons(off(-2, -3), late + twice) == WRONG


def test_of_what_an_engine_need_not_see_only_what_it_saw_is_named() -> None:
    """With an allowed lateness, what came too late is not counted, and what was dropped cannot be."""
    here = [sale("A", 5, LATE, counted=0), sale("B", 5, DROPPED, counted=0), sale("C", 8, DUPLICATE, counted=2)]
    assert _reasons(off(1, 5), here) == [("late", ["A"], "counted, although it arrived too late")]
    assert _reasons(off(-1, -8), here) == [("missing", ["C"], "counted once, but it arrived twice")]
    assert _reasons(off(-1, -5), here) == WRONG
