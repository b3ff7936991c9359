"""Strict parsing of query parameters: an invalid parameter is named, and nothing is guessed. Pure."""

import re
from collections import Counter
from collections.abc import Container, Mapping
from typing import NamedTuple, NoReturn

from yasdg_app.config.rules import normalized_id
from yasdg_app.errors import YasdgError
from yasdg_app.messages.times import event_time
from yasdg_app.text import printable
from yasdg_app.truth.offline_stream import FOREVER

DEFAULT_LIMIT, MAX_LIMIT = 1_000, 10_000
"""Rows of a response."""
GROUPINGS = ("product", "category")

_MINUTE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2})(?::00(?:\.0{1,6})?)?Z?")


class InvalidQueryError(YasdgError):
    """A query parameter is invalid; the message begins with its name."""


class PageParams(NamedTuple):
    """A page of a long response: at most `limit` rows, those after the key `after`; None: from the first row on."""

    limit: int
    after: str | None


def check_names(query: Mapping[str, str], *known: str) -> None:
    """Raise InvalidQueryError if a parameter is unknown, or occurs more than once."""
    if len(set(query)) < len(query):
        twice = next(field for field, times in Counter(list(query)).items() if times > 1)
        raise InvalidQueryError(f"{printable(twice)}: expected once, not several times")
    for field in query:
        if field not in known:
            expected = f"expected {', '.join(known)}" if known else "expected none"
            raise InvalidQueryError(f"{printable(field)}: unknown field; {expected}")


def read_page(query: Mapping[str, str], keys: Container[str], *, by_product: bool) -> PageParams:
    """Return the page that is requested by `limit` and `after`.

    Parameters
    ----------
    query
        The parameters of the query.
    keys
        The keys of all possible rows.
    by_product
        Whether they are ids of products, which may be written in another normal form.

    Raises
    ------
    InvalidQueryError
        The limit is out of range, or no row has the key.
    """
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_LIMIT):
        raise InvalidQueryError(f"limit: expected a whole number from 1 to {MAX_LIMIT}")
    after = query.get("after")
    if after is not None and by_product:
        after = normalized_id(after)
    if after == "" and after not in keys:
        after = None  # a key can be empty, such as a category's name; otherwise an empty value means no value
    if after is not None and after not in keys:
        raise InvalidQueryError("after: expected an existing key, such as the one in `next`")
    return PageParams(int(text), after)


def read_choice(query: Mapping[str, str], field: str, known: Container[str], words: str) -> str:
    """Return the value of a parameter that must be one of `known`. `words` lists them. Raises InvalidQueryError."""
    value = query.get(field, "")
    if value not in known:
        raise InvalidQueryError(f"{field}: expected {words}")
    return value


def read_through(query: Mapping[str, str]) -> int | None:
    """Return `through`, the end of a window, in microseconds of event time; None if it is absent.

    Raises
    ------
    InvalidQueryError
        It is not a whole minute from 1970 to 2199.
    """
    text = query.get("through")
    if text is None:
        return None
    found = _MINUTE.fullmatch(text)
    try:
        at = event_time(f"{found[1]} {found[2]}") if found else _reject_through()
    except ValueError:
        return _reject_through()
    return at if 0 <= at <= FOREVER else _reject_through()


def _reject_through() -> NoReturn:
    raise InvalidQueryError(
        "through: expected a whole minute of event time (UTC) such as 2026-11-26 13:45, from 1970 to 2199"
    )
