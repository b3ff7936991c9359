"""Rules for numbers, amounts of money and shares."""

import math
import re
from decimal import Decimal

from yasdg_app.config.rules.base import Rule, require

MAX_WEIGHT = 1_000_000
"""The highest weight of an hour or a month."""

# Python's own int() and float() also accept "1_000", "nan", "infinity" and digits of other scripts: these do not.
_WHOLE = re.compile(r"[0-9]+")
DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_NUMBER = re.compile(rf"({DECIMAL.pattern})([eE][+-]?[0-9]+)?")
COMMA_OR_BLANK = re.compile(r"\s*,\s*|\s+")


def whole(low: int, high: int, note: str = "") -> Rule[int]:
    """A whole number from `low` to `high`, both included; `note` is added to the expectation."""

    def parse(text: str) -> int:
        require(_WHOLE.fullmatch(text))
        value = int(text)
        require(low <= value <= high)
        return value

    return Rule(parse, f"a whole number from {low} to {high}{note}")


def number(high: int) -> Rule[int | float]:
    """A finite number from 0 to `high`, both included; what is written as a whole number stays an int."""

    def parse(text: str) -> int | float:
        require(_NUMBER.fullmatch(text))
        value = int(text) if _WHOLE.fullmatch(text) else float(text)
        require(value <= high)
        return value

    return Rule(parse, f"a number from 0 to {high}")


def growth() -> Rule[float]:
    """A share by which something grows or, below 0, shrinks, but not to nothing."""

    def parse(text: str) -> float:
        require(_NUMBER.fullmatch(text.removeprefix("-")))
        value = float(text)
        require(-1 < value <= 10)
        return value + 0.0  # -0 is 0

    return Rule(parse, "a number above -1, up to 10, such as .1 for 10 % a year")


def numbers(count: int, each: str, *, all_zero: bool = True) -> Rule[tuple[float, ...]]:
    """So many weights between commas or blanks; `each` says what each is for, `all_zero` whether all may be 0."""
    weight = number(MAX_WEIGHT)
    expected = f"{count} numbers from 0 to {MAX_WEIGHT}, {each}"

    def parse(text: str) -> tuple[float, ...]:
        values = tuple(float(weight.parse(part)) for part in COMMA_OR_BLANK.split(text))
        require(len(values) == count, f"{expected}; there {'is' if len(values) == 1 else 'are'} {len(values)}")
        require(all_zero or any(values), f"{expected}, not all of them 0")
        return values

    return Rule(parse, expected)


def seconds(*, above_zero: bool) -> Rule[float]:
    """A finite length of time in seconds."""

    def parse(text: str) -> float:
        require(_NUMBER.fullmatch(text))
        value = float(text)
        require(math.isfinite(value) and (value > 0 or not above_zero))
        return value

    return Rule(parse, "a number of seconds above 0" if above_zero else "a number of seconds of at least 0")


def speed() -> Rule[float | None]:
    """How many times faster than time; None: at once."""

    def parse(text: str) -> float | None:
        if text.lower() == "max":
            return None
        require(_NUMBER.fullmatch(text))
        value = float(text)
        require(math.isfinite(value) and value > 0)
        return value

    return Rule(parse, "max, or a number above 0 such as 60")


def _decimal(text: str, places: int) -> Decimal:
    require(DECIMAL.fullmatch(text) and len(text.partition(".")[2]) <= places)
    return Decimal(text)


def money() -> Rule[Decimal]:
    """An amount of money, in the shop's currency, exact to the cent."""

    def parse(text: str) -> Decimal:
        value = _decimal(text, 2)
        # Keeps quantity × cents × ten-thousandths of discount exact in 64 bits, of whole numbers or of floats.
        require(value < 1_000_000_000)
        return value

    return Rule(parse, "an amount of money of at least 0 with at most two decimals, below 1000000000")


def share(*, below_one: bool = False, of_a_million: bool = False) -> Rule[Decimal]:
    """A share, exact to the hundredth of a percent, or to one of a million."""
    places, words = (6, "six") if of_a_million else (4, "four")

    def parse(text: str) -> Decimal:
        value = _decimal(text, places)
        require(value < 1 if below_one else value <= 1)
        return value

    high = "below 1" if below_one else "to 1"
    return Rule(parse, f"a share from 0 {high} with at most {words} decimals, such as .10")
