"""The class Rule, and the error that a rule raises."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class InvalidValueError(ValueError):
    """The text is invalid. `str()` is what was expected of it, if that is more precise than the rule's `expected`."""


@dataclass(frozen=True, slots=True)
class Rule(Generic[T_co]):
    """`parse` converts a text to a value or raises ValueError; the error message then says "expected `expected`"."""

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
    """Raise ValueError unless `condition` holds; InvalidValueError if `otherwise` says what was expected."""
    if not condition:
        raise InvalidValueError(otherwise) if otherwise else ValueError
