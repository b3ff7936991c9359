"""A dead letter holds the foreign message as it was, with the reason and its position."""

import json
from types import SimpleNamespace

from faust.types import TP

from yasdg_app.kafka.topic_policies import MAX_DEAD_LETTER_BYTES
from yasdg_app.pipeline.dead_letters import CUT_LETTER_BYTES, dead_letter

PURCHASES, LOST_SALES = TP("demo.purchases", 0), TP("demo.lost_sales", 0)


def test_a_dead_letter_keeps_key_and_headers_of_the_original() -> None:
    message = SimpleNamespace(offset=5, key=b"k", value=b"v", headers=[("offset", b"77"), ("buried", b"{}")])
    letter = dead_letter(PURCHASES, message, "why", {LOST_SALES.topic: 3}, 1_000)
    assert (letter.key, letter.value) == (b"k", b"v")
    headers = dict(letter.headers)
    assert headers["offset"] == b"5"
    assert json.loads(headers["buried"]) == {PURCHASES.topic: 5, LOST_SALES.topic: 3}
    assert (headers["original.offset"], headers["original.buried"]) == (b"77", b"{}")


def test_a_dead_letter_of_nothing_has_no_key_and_no_value() -> None:
    letter = dead_letter(PURCHASES, SimpleNamespace(offset=5, key=None, value=None, headers=()), "why", {}, 1_000)
    assert (letter.key, letter.value) == (None, None)


def test_a_dead_letter_of_a_message_that_is_too_long_is_cut_and_says_so() -> None:
    long = SimpleNamespace(offset=5, key=b"k" * 10**6, value=b"v" * 10**6, headers=[("h", b"x" * 10**6)])
    letter = dead_letter(PURCHASES, long, "why", {}, MAX_DEAD_LETTER_BYTES)
    assert len(letter.key or b"") + len(letter.value or b"") == CUT_LETTER_BYTES
    assert int(dict(letter.headers)["original.size"]) > 3 * 10**6
    assert "original.h" not in dict(letter.headers)
