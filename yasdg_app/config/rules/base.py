"""What a rule is, and the error that it raises."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class InvalidValueError(ValueError):
    """`str()` is what was expected of this very text, where that can be said better than for all texts alike."""


@dataclass(frozen=True, slots=True)
class Rule(Generic[T_co]):
    """`parse` makes a value of a text or raises ValueError; then the person is told "expected `expected`"."""

    parse: Callable[[str], T_co]
    expected: str

    def read(self, text: str) -> T_co:
        """Return the value of a text. Raises InvalidValueError."""
        try:
            return self.parse(text)
        except InvalidValueError:
            raise
        except (ValueError, OverflowError):
            raise InvalidValueError(self.expected) from None


def require(condition: object, otherwise: str = "") -> None:
    """`otherwise`: what is expected, if not what the rule expects of any text."""
    if not condition:
        raise InvalidValueError(otherwise) if otherwise else ValueError
