"""What `yasdg audit --table` takes from a worker, and what it says of strangers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.audit.account import Topics
from yasdg_app.audit.report import AuditError, AuditReport, ForeignMessages
from yasdg_app.audit.worker_tables import table_page
from yasdg_app.cli.audit import show

TOPICS = Topics("products", "purchases", "stockings", "lost_sales", "incidents", "dead_letters")
WORKER = "http://localhost:6066"
ROW = {"product_id": "CS01", "sales": 3, "lost_sales": 0, "level": 7}
PAGE = {"inventory": [ROW], "partitions": [0, 1], "missing": [], "next": "/inventory/?limit=1&after=CS01"}

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def test_a_worker_s_answer_is_its_rows_and_where_the_next_ones_are() -> None:
    page, rows = table_page(WORKER, json.dumps(PAGE).encode())
    assert (rows, page.partitions, page.next) == ({"CS01": ROW}, [0, 1], PAGE["next"])


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(PAGE, ANYTHING)), ANYTHING, st.sampled_from(sorted(ROW)))
def test_no_answer_to_the_question_for_the_table_ends_the_audit_otherwise_than_in_a_line(
    odd: dict[str, Any], value: Any, field: str
) -> None:
    for answer in (odd, PAGE | odd, PAGE | {"inventory": [ROW | {field: value}]}, value):
        try:
            table_page(WORKER, json.dumps(answer).encode())
        except AuditError as error:
            assert str(error).startswith(f"{WORKER} is not a worker: ")
            assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff", b"null", b'{"inventory":[{"sales":1}]}'])
def test_what_is_no_answer_of_a_worker_is_told(body: bytes) -> None:
    with pytest.raises(AuditError, match="is not a worker: "):
        table_page(WORKER, body)


@pytest.mark.parametrize("path", ["@example.org/inventory/?", "http://example.org/", "//example.org/", ".example.org/"])
def test_the_next_rows_are_asked_for_at_the_same_address(path: str) -> None:
    """The question carries our token."""
    with pytest.raises(AuditError, match="as the path of its next rows"):
        table_page(WORKER, json.dumps(PAGE | {"next": path}).encode())


@pytest.mark.parametrize(
    ("topic", "count", "put_aside", "text"),
    [
        (TOPICS.stockings, 3, 0, "3 messages of other producers were ignored"),
        (TOPICS.products, 1, 0, "1 message of other producers was ignored"),
        (TOPICS.purchases, 5, 5, "5 messages of other producers, all of them in the dead letters"),
        (TOPICS.lost_sales, 5, 2, "5 messages of other producers, 2 of them in the dead letters"),
    ],
)
def test_people_are_told_what_became_of_foreign_messages(
    capsys: pytest.CaptureFixture[str], topic: str, count: int, put_aside: int, text: str
) -> None:
    show(AuditReport(foreign={topic: ForeignMessages(count, put_aside, [(2, 7)])}), TOPICS)
    assert f"{topic}: {text} (partition 2, offset 7{' …' if count > 1 else ''})" in capsys.readouterr().out
