"""What is asked for in an address is read with care, and what is wrong is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from yasdg_app.messages.times import event_time, time_text
from yasdg_app.web.query_params import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    InvalidQueryError,
    check_names,
    read_choice,
    read_page,
    read_through,
)

MINUTE = 60_000_000
LAST = 4_102_444_800_000_000  # 2100


def refused(field: str, question: object) -> str:
    with pytest.raises(InvalidQueryError) as caught:
        question()  # type: ignore[operator]
    text = str(caught.value)
    assert text.startswith(f"{field}: ")
    assert text.isprintable()
    return text


def test_a_part_of_a_long_answer() -> None:
    assert read_page({}, ["CS01"], by_product=True) == (DEFAULT_LIMIT, None)
    assert read_page({"limit": str(MAX_LIMIT), "after": "CS01"}, ["CS01"], by_product=True) == (MAX_LIMIT, "CS01")


@pytest.mark.parametrize("limit", ["0", "-1", "+1", str(MAX_LIMIT + 1), "1.0", "", " 1", "1_0", "٣", "9" * 5000, "\n"])
def test_a_limit_is_a_whole_number_that_is_not_too_large(limit: str) -> None:
    refused("limit", lambda: read_page({"limit": limit}, [], by_product=True))


def test_what_is_not_there_is_not_gone_on_after() -> None:
    refused("after", lambda: read_page({"after": "\x1b[31m"}, ["CS01"], by_product=True))


@given(st.integers(0, LAST // MINUTE))
def test_a_minute_is_known_as_it_stands_in_messages_and_shorter(minute: int) -> None:
    text = time_text(minute * MINUTE)
    for written in (text, text[:19], text[:16], text[:16].replace(" ", "T"), text[:19].replace(" ", "T") + "Z"):
        assert read_through({"through": written}) == event_time(text)


@given(st.text(max_size=30) | st.sampled_from(["2026-11-26 13:45:01", "2026-13-26 13:45", "2026-11-26 13:45+01:00"]))
def test_anything_else_is_no_minute(text: str) -> None:
    refused("through", lambda: read_through({"through": text}))


def test_a_minute_may_be_left_out() -> None:
    assert read_through({}) is None


def test_words_and_fields_are_those_that_there_are() -> None:
    assert read_choice({"by": "product"}, "by", ("product",), "product") == "product"
    assert "expected product" in refused("by", lambda: read_choice({"by": "Product"}, "by", ("product",), "product"))
    check_names({"a": "1"}, "a", "b")
    assert refused("c\\n", lambda: check_names({"c\n": ""}, "a", "b")).endswith("unknown field; expected a, b")
    refused("d", lambda: check_names({"d": ""}))


@pytest.mark.parametrize("text", ["0001-01-01 00:00", "1969-12-31 23:59", "2200-01-01 00:00", "9999-12-31 23:59"])
def test_a_minute_that_no_shop_has_is_refused(text: str) -> None:
    refused("through", lambda: read_through({"through": text}))


def test_a_field_comes_once() -> None:
    query: MultiDict[str] = MultiDict([("limit", "1"), ("limit", "2")])
    assert refused("limit", lambda: check_names(query, "limit")).endswith("expected once, not several times")


def test_a_key_may_be_empty_where_one_is() -> None:
    assert read_page({"after": ""}, ["", "CS01"], by_product=False).after == ""
    assert read_page({"after": ""}, ["CS01"], by_product=True).after is None


def test_an_id_may_be_in_another_normal_form_and_a_category_may_not() -> None:
    assert read_page({"after": "e\u0301 1"}, ["\xe9 1"], by_product=True).after == "\xe9 1"
    assert read_page({"after": "e\u0301"}, ["e\u0301"], by_product=False).after == "e\u0301"
    refused("after", lambda: read_page({"after": "e\u0301"}, ["\xe9"], by_product=False))
