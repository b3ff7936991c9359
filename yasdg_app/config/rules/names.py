"""Rules for names, words, texts and paths."""

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from yasdg_app.config.rules.base import InvalidValueError, Rule, require
from yasdg_app.config.rules.suggestions import did_you_mean

_KAFKA_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,40}")
_PAIR = re.compile(r"([A-Za-z]+) *= *([!-+\--~]+)")
_LINE_ENDS = re.compile(r"\s*[\r\n]+\s*")


def kafka_name(longest: int, what: str) -> Rule[str]:
    """Return the rule for a name that Apache Kafka accepts, of at most `longest` characters."""

    def parse(text: str) -> str:
        require(_KAFKA_NAME.fullmatch(text) and len(text) <= longest and text not in (".", ".."))
        return text

    return Rule(parse, f"{what} of 1 to {longest} letters, digits, dots, underscores or hyphens")


def is_name(text: str) -> bool:
    """Return whether a text is a valid name of a supplier or an incident."""
    return _NAME.fullmatch(text) is not None


def name() -> Rule[str]:
    """Return the rule for the name of a supplier or an incident, which occurs in headers, URLs and message keys."""

    def parse(text: str) -> str:
        require(is_name(text))
        return text

    return Rule(parse, "a name of 1 to 40 letters, digits, underscores or hyphens")


def names(what: str) -> Rule[tuple[str, ...]]:
    """Return the rule for one or more names, separated by commas, without duplicates; see `listed`."""

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


def product_ids() -> Rule[tuple[str, ...]]:
    """Return the rule for one or more ids of products; as `names`."""
    rule = names("ids of products")
    return Rule(lambda text: tuple(dict.fromkeys(map(normalized_id, rule.parse(text)))), rule.expected)


def normalized_id(text: str) -> str:
    """Return a product id as the catalog has it: in Unicode's normal form C, in which é is one character, not two."""
    return text if text.isascii() else normalize("NFC", text)


def listed(names: Iterable[str]) -> str:
    """Return names as `names` reads them: separated by commas, quoted if they contain a comma or begin with a quote."""
    return ", ".join(
        '"' + name.replace('"', '""') + '"' if "," in name or name.startswith('"') else name for name in names
    )


def choice(*known: str) -> Rule[str]:
    """Return the rule for one of a few words."""
    expected = f"{', '.join(known[:-1])} or {known[-1]}"

    def parse(text: str) -> str:
        word = text.lower()
        require(word in known, f"{expected}{did_you_mean(word, known, cut_short=True)}")
        return word

    return Rule(parse, expected)


def path() -> Rule[Path]:
    """Return the rule for a path on this machine; ~ is the home folder."""

    def parse(text: str) -> Path:
        require(text and text.isprintable())
        return Path(os.path.expanduser(text))

    return Rule(parse, "a path")


def path_if_any() -> Rule[Path | None]:
    """Return the rule for a path on this machine, or nothing."""
    some = path()
    return Rule(lambda text: some.parse(text) if text else None, "a path, or nothing")


def line() -> Rule[str]:
    """Return the rule for any text on one line, or nothing."""

    def parse(text: str) -> str:
        require(text.isprintable())
        return text

    return Rule(parse, "a text on one line, or nothing")


def pairs() -> Rule[tuple[tuple[str, str], ...]]:
    """Return the rule for pairs of name and value, or nothing."""

    def parse(text: str) -> tuple[tuple[str, str], ...]:
        found = [_PAIR.fullmatch(part.strip()) for part in text.split(",")] if text else []
        require(all(found))
        return tuple((pair[1], pair[2]) for pair in found if pair)

    return Rule(parse, "nothing, or name=value[, name=value]")
