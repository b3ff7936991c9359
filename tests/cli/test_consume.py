"""`yasdg consume` shows any message as one line that is fit for a terminal."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.cli.consume import TOPICS, line

ITEMS = {"CS01": "Sunrise Sunset"}
MESSAGES: dict[str, dict[str, Any]] = {
    "products": {"product_id": "CS01", "item": "Sunrise Sunset", "size": "24 oz.", "price": 4.99},
    "purchases": {
        "transaction_time": "2026-11-24 17:13:47.000001",
        "product_id": "CS01",
        "quantity": 2,
        "is_member": True,
        "add_supplements": True,
        "total_purchase": 12.96,
    },
    "stockings": {
        "event_time": "2026-11-24 17:13:47.000001",
        "product_id": "CS01",
        "existing_level": 9,
        "stock_quantity": 15,
        "new_level": 24,
    },
    "lost_sales": {
        "event_time": "2026-11-24 17:13:47.000001",
        "product_id": "CS01",
        "quantity": 2,
        "value": 9.98,
        "reason": "too_few",
        "level": 1,
        "incident": None,
        "substitute": "CS02",
    },
    "incidents": {
        "event_time": "2026-11-24 17:13:00.000000",
        "incident": "sale",
        "kind": "promotion",
        "phase": "start",
        "factor": 2.5,
        "discount": 0.2,
    },
    "faults": {
        "event_time": "2026-11-24 17:13:47.000001",
        "product_id": "CS01",
        "transaction_id": "CS01-000042",
        "kind": "out_of_order",
        "released_at": "2026-11-24 17:13:49.500001",
        "delay": 2.5,
    },
}
MESSAGES["dirty"] = MESSAGES["purchases"]
LINES = {
    "products": "CS01  Sunrise Sunset, 24 oz.  4.99",
    "purchases": "2026-11-24 17:13:47  CS01  2 × Sunrise Sunset with supplements, member  12.96",
    "stockings": "2026-11-24 17:13:47  CS01  Sunrise Sunset restocked: 9 + 15 = 24",
    "lost_sales": "2026-11-24 17:13:47  CS01  Sunrise Sunset wanted 2 (9.98): only 1 left; took CS02 instead",
    "incidents": "2026-11-24 17:13:00  sale (promotion × 2.5, 20% off) begins",
    "faults": "2026-11-24 17:13:47  CS01  Sunrise Sunset CS01-000042 is out of order, arrives 2026-11-24 17:13:49",
}
LINES["dirty"] = LINES["purchases"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("what", TOPICS)
def test_a_message_is_a_line_of_its_own_fields(what: str) -> None:
    assert line(what, json.dumps(MESSAGES[what]).encode(), ITEMS) == LINES[what]


def test_a_product_that_the_catalog_does_not_have_is_shown_by_its_id() -> None:
    assert "2 × CS01 " in line("purchases", json.dumps(MESSAGES["purchases"]).encode(), {})


@pytest.mark.parametrize("value", [None, b"", b"no JSON", b"\xff", b"[1]", b"{}", b"[" * 100_000])
def test_a_message_that_cannot_be_read_is_shown_as_it_is(value: bytes | None) -> None:
    assert line("purchases", value, ITEMS).startswith(f"not read: {value!r}"[:900])


@pytest.mark.parametrize("what", TOPICS)
@given(data=st.data())
def test_whatever_a_field_holds_there_is_one_printable_line(what: str, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(list(MESSAGES[what])))
    value = json.dumps({**MESSAGES[what], field: data.draw(ANYTHING)}).encode()
    assert line(what, value, ITEMS).isprintable()


@given(st.sampled_from(list(TOPICS)), st.binary())
def test_whatever_the_bytes_are_there_is_one_printable_line(what: str, value: bytes) -> None:
    assert line(what, value, ITEMS).isprintable()
