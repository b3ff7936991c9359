"""Which of two rows is the newer one, and what is to be written."""

from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.sinks.base import StoredLevel, compare

EARLY, LATE = "2026-01-01 08:00:00.000000", "2026-01-01 08:00:00.000001"


def level(sales: int, opened: str = EARLY, product_id: str = "CS01", item: str = "Sunrise Sunset") -> StoredLevel:
    """The row of a product after so many sales, as it is whoever makes it."""
    last = f"2026-01-01 09:00:{sales:02}.000000" if sales else ""
    return StoredLevel(product_id, item, "Classic Smoothies", 499, 75 - sales % 10, sales, last, opened)


def test_what_is_missing_is_written() -> None:
    assert compare([level(0), level(3, product_id="CS02")], {}).to_write == [level(0), level(3, product_id="CS02")]


def test_what_is_there_already_is_not_written() -> None:
    assert compare([level(3)], {"CS01": level(3)}) == ([], [])


def test_a_later_sale_wins_whatever_the_order() -> None:
    assert compare([level(3)], {"CS01": level(2)}).to_write == [level(3)]
    assert compare([level(2)], {"CS01": level(3)}) == ([], [])


def test_a_shop_that_was_opened_later_wins_although_it_has_sold_less() -> None:
    assert compare([level(0, LATE)], {"CS01": level(9)}).to_write == [level(0, LATE)]
    assert compare([level(9)], {"CS01": level(0, LATE)}) == ([], [LATE])


def test_what_somebody_changed_by_hand_is_put_right() -> None:
    assert compare([level(3)], {"CS01": level(3)._replace(level=7)}).to_write == [level(3)]
    assert compare([level(3)], {"CS01": level(3, item="Sunset")}).to_write == [level(3)]


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([EARLY, LATE]))))
def test_whatever_the_order_the_newest_stays(writes: list[tuple[int, str]]) -> None:
    stored: dict[str, StoredLevel] = {}
    for each in (level(*write) for write in writes):
        stored |= {level.product_id: level for level in compare([each], stored).to_write}
    newest = sorted((level(*write) for write in writes), key=lambda each: each.version)[-1:]
    assert list(stored.values()) == newest
