"""Rules for names, words, texts and paths."""

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path

from yasdg_app.config.rules.base import InvalidValueError, Rule, require
from yasdg_app.config.rules.suggestions import did_you_mean

_KAFKA_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,40}")
_PAIR = re.compile(r"([A-Za-z]+) *= *([!-+\--~]+)")
_LINE_ENDS = re.compile(r"\s*[\r\n]+\s*")


def kafka_name(longest: int, what: str) -> Rule[str]:
    """A name that Apache Kafka takes."""

    def parse(text: str) -> str:
        require(_KAFKA_NAME.fullmatch(text) and len(text) <= longest and text not in (".", ".."))
        return text

    return Rule(parse, f"{what} of 1 to {longest} letters, digits, dots, underscores or hyphens")


def is_name(text: str) -> bool:
    """Tell whether a text may be the name of a supplier or an incident."""
    return _NAME.fullmatch(text) is not None


def name() -> Rule[str]:
    """The name of a supplier or an incident: in headers, addresses of the web, and keys of messages."""

    def parse(text: str) -> str:
        require(is_name(text))
        return text

    return Rule(parse, "a name of 1 to 40 letters, digits, underscores or hyphens")


def names(what: str) -> Rule[tuple[str, ...]]:
    """One or more of something that has a name, between commas, each of them once; see `listed`."""

    def parse(text: str) -> tuple[str, ...]:
        line = _LINE_ENDS.sub(" ", text.strip())
        try:
            parts = next(csv.reader([line], skipinitialspace=True, strict=True), [])
        except csv.Error:
            raise InvalidValueError(f'{expected}; quotes around a whole name, such as "Shakes, Malts & More"') from None
        values = [part.strip() for part in parts]
        require(values and all(values))
        return tuple(dict.fromkeys(values))

    expected = f"{what} with commas between them"
    return Rule(parse, expected)


def listed(names: Iterable[str]) -> str:
    """Return names as `names` reads them: with commas between them, in quotes where a name could be taken for more."""
    return ", ".join(
        '"' + name.replace('"', '""') + '"' if "," in name or name.startswith('"') else name for name in names
    )


def choice(*known: str) -> Rule[str]:
    """One of a few words."""
    expected = f"{', '.join(known[:-1])} or {known[-1]}"

    def parse(text: str) -> str:
        word = text.lower()
        require(word in known, f"{expected}{did_you_mean(word, known, cut_short=True)}")
        return word

    return Rule(parse, expected)


def path() -> Rule[Path]:
    """A path of this machine; ~ is the home folder."""

    def parse(text: str) -> Path:
        require(text and text.isprintable())
        return Path(os.path.expanduser(text))

    return Rule(parse, "a path")


def path_if_any() -> Rule[Path | None]:
    """A path of this machine, or none."""
    some = path()
    return Rule(lambda text: some.parse(text) if text else None, "a path, or nothing")


def line() -> Rule[str]:
    """A text as it is, on one line; or none."""

    def parse(text: str) -> str:
        require(text.isprintable())
        return text

    return Rule(parse, "a text on one line, or nothing")


def pairs() -> Rule[tuple[tuple[str, str], ...]]:
    """Names and their values; or none."""

    def parse(text: str) -> tuple[tuple[str, str], ...]:
        found = [_PAIR.fullmatch(part.strip()) for part in text.split(",")] if text else []
        require(all(found))
        return tuple((pair[1], pair[2]) for pair in found if pair)

    return Rule(parse, "nothing, or name=value[, name=value]")
