"""Values on their way from text to settings, with every problem found so far."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from yasdg_app.config.rules import InvalidValueError
from yasdg_app.config.sections import rules_of


@dataclass(frozen=True, slots=True)
class GivenValue:
    """A value as somebody wrote it: `place` is where, in words that begin a problem."""

    text: str
    place: str


@dataclass(slots=True)
class ParsedValues:
    """Values on their way into the settings: what somebody wrote, what it means, and what is wrong with it."""

    problems: list[str] = field(default_factory=list)
    given: dict[tuple[str, str], GivenValue] = field(default_factory=dict)
    """By section and key."""
    named: dict[str, str] = field(default_factory=dict)
    """The sections [KIND name], and how a problem with one of their keys begins."""
    read: defaultdict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    unread: set[tuple[str, str]] = field(default_factory=set)
    """Section and key of what could not be read, and is not compared with anything."""

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
        """At the first of the keys that somebody wrote. There is one, because the defaults agree with each other."""
        place = next(self.given[section, key].place for key in keys if (section, key) in self.given)
        self.problems.append(f"{place}: {why}")

    def require(self, section: str, key: str, expected: str = "") -> None:
        """Without `expected`, what the key's rule expects."""
        if (section, key) not in self.given:
            expected = expected or rules_of(section)[key].expected
            self.problems.append(f"{self.named[section]}{key}: missing; expected {expected}")


def is_date_key(section: str, key: str) -> bool:
    """Whether the key is a day of the calendar, or meant to be: in [HOURS] any number of them may stand."""
    return section == "HOURS" and key[:1].isdigit()
