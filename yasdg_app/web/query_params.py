"""What somebody asks for in an address, read with care: a field that is wrong is named, nothing is guessed. Pure."""

import re
from collections import Counter
from collections.abc import Container, Mapping
from typing import NamedTuple, NoReturn

from yasdg_app.config.settings import shown
from yasdg_app.errors import YasdgError
from yasdg_app.messages.times import event_time
from yasdg_app.truth.offline_stream import FOREVER

USUAL_LIMIT, MOST = 1_000, 10_000  # rows of an answer
BY = ("product", "category")

_MINUTE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2})(?::00(?:\.0{1,6})?)?Z?")


class BadQuestionError(YasdgError):
    """What was asked for cannot be answered; the text begins with the field that is wrong."""


class Page(NamedTuple):
    """A part of a long answer: so many rows at most, those behind the one with a key; None: from the first on."""

    limit: int
    after: str | None


def only(query: Mapping[str, str], *known: str) -> None:
    """Raise BadQuestionError if somebody asks for something that there is not."""
    if len(set(query)) < len(query):
        twice = next(field for field, times in Counter(list(query)).items() if times > 1)
        raise BadQuestionError(f"{shown(twice)}: expected once, not several times")
    for field in query:
        if field not in known:
            expected = f"expected {', '.join(known)}" if known else "expected none"
            raise BadQuestionError(f"{shown(field)}: unknown field; {expected}")


def page(query: Mapping[str, str], keys: Container[str]) -> Page:
    """Return which part is asked for. `keys`: those of all rows that there may be."""
    text = query.get("limit", str(USUAL_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST):
        raise BadQuestionError(f"limit: expected a whole number from 1 to {MOST}")
    after = query.get("after")
    if after == "" and after not in keys:
        after = None  # a key may be empty, such as a category's name; where none is, nothing is asked for
    if after is not None and after not in keys:
        raise BadQuestionError("after: expected a key that occurs, as `next` has it")
    return Page(int(text), after)


def choice(query: Mapping[str, str], field: str, known: Container[str], words: str) -> str:
    """Return one of a few words."""
    value = query.get(field, "")
    if value not in known:
        raise BadQuestionError(f"{field}: expected {words}")
    return value


def through(query: Mapping[str, str]) -> int | None:
    """Return the event time up to which sales are asked for, None if that is left to us."""
    text = query.get("through")
    if text is None:
        return None
    found = _MINUTE.fullmatch(text)
    try:
        at = event_time(f"{found[1]} {found[2]}") if found else _refuse()
    except ValueError:
        return _refuse()
    return at if 0 <= at <= FOREVER else _refuse()


def _refuse() -> NoReturn:
    raise BadQuestionError(
        "through: expected a whole minute of event time (UTC) such as 2026-11-26 13:45, from 1970 to 2199"
    )
