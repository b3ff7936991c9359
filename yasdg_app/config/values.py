"""Values while they are parsed from texts to settings, with every problem found so far."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from yasdg_app.config.rules import InvalidValueError
from yasdg_app.config.sections import rules_of


@dataclass(frozen=True, slots=True)
class GivenValue:
    """A value as written in the configuration; `place` says where, in words that begin a problem."""

    text: str
    place: str


@dataclass(slots=True)
class ParsedValues:
    """Values while they are parsed: the texts given, the values read from them, and the problems found."""

    problems: list[str] = field(default_factory=list)
    given: dict[tuple[str, str], GivenValue] = field(default_factory=dict)
    """By section and key."""
    named: dict[str, str] = field(default_factory=dict)
    """The repeated sections [KIND name], each with the prefix of problems with its keys."""
    read: defaultdict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    notes: dict[tuple[str, str], str] = field(default_factory=dict)
    """By section and key: what was understood in another way than it is written, on one line."""
    unread: set[tuple[str, str]] = field(default_factory=set)
    """Section and key of values that could not be read and are therefore not compared with others."""

    def parse(self) -> None:
        for (section, key), value in self.given.items():
            rules_here = rules_of(section)
            rule = rules_here["every_day"] if is_date_key(section, key) else rules_here[key]
            try:
                self.read[section][key] = rule.read(value.text)
            except InvalidValueError as error:
                self.problems.append(f"{value.place}: expected {error}")
                self.unread.add((section, key))

    def all_read(self, section: str, *keys: str) -> bool:
        return self.unread.isdisjoint((section, key) for key in keys)

    def refuse(self, section: str, keys: Iterable[str], why: str) -> None:
        """Add a problem at the first given key. At least one is given, because the defaults agree with each other."""
        place = next(self.given[section, key].place for key in keys if (section, key) in self.given)
        self.problems.append(f"{place}: {why}")

    def require(self, section: str, key: str, expected: str = "") -> None:
        """Add a problem if the key is missing; `expected`: by default what the key's rule expects."""
        if (section, key) not in self.given:
            expected = expected or rules_of(section)[key].expected
            self.problems.append(f"{self.named[section]}{key}: missing; expected {expected}")


def is_date_key(section: str, key: str) -> bool:
    """Return whether the key is meant to be a calendar date: [HOURS] may have any number of them."""
    return section == "HOURS" and key[:1].isdigit()
