"""Rules for numbers, amounts of money and shares."""

import math
import re
from decimal import Decimal
from fractions import Fraction

from yasdg_app.config.rules.base import Rule, require

MAX_WEIGHT = 1_000_000
"""The highest weight of an hour or a month."""

# Python's int() and float() also accept "1_000", "nan", "infinity" and digits of other scripts. These patterns do not.
_WHOLE = re.compile(r"[0-9]+")
DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_NUMBER = re.compile(rf"({DECIMAL.pattern})([eE][+-]?[0-9]+)?")
COMMA_OR_BLANK = re.compile(r"\s*,\s*|\s+")
_BARE_COMMA = re.compile("[0-9],[0-9]")


def whole(low: int, high: int, note: str = "") -> Rule[int]:
    """Return the rule for an integer from `low` to `high`, both included; `note` is appended to the expectation."""

    def parse(text: str) -> int:
        require(_WHOLE.fullmatch(text))
        value = int(text)
        require(low <= value <= high)
        return value

    return Rule(parse, f"a whole number from {low} to {high}{note}")


def number(high: int) -> Rule[int | float]:
    """Return the rule for a finite number from 0 to `high`, both included; an integer stays an int."""

    def parse(text: str) -> int | float:
        require(_NUMBER.fullmatch(text))
        value = int(text) if _WHOLE.fullmatch(text) else float(text)
        require(value <= high)
        return value

    return Rule(parse, f"a number from 0 to {high}")


def growth() -> Rule[float]:
    """Return the rule for a growth rate: a share above -1 (shrinking, but not to nothing) and up to 10."""

    def parse(text: str) -> float:
        require(_NUMBER.fullmatch(text.removeprefix("-")))
        value = float(text)
        require(-1 < value <= 10)
        return value + 0.0  # -0 is 0

    return Rule(parse, "a number above -1, up to 10, such as .1 for 10 % a year")


def numbers(count: int, each: str, *, all_zero: bool = True) -> Rule[tuple[float, ...]]:
    """Return the rule for `count` weights from 0 to MAX_WEIGHT, separated by commas or blanks.

    `each` says what a weight is for; `all_zero`: all of them may be 0.
    """
    weight = number(MAX_WEIGHT)
    expected = f"{count} numbers from 0 to {MAX_WEIGHT}, {each}"

    def parse(text: str) -> tuple[float, ...]:
        values = tuple(float(weight.parse(part)) for part in COMMA_OR_BLANK.split(text))
        require(len(values) == count, f"{expected}; there {'is' if len(values) == 1 else 'are'} {len(values)}")
        require(all_zero or any(values), f"{expected}, not all of them 0")
        return values

    return Rule(parse, expected)


def quantities(most: int) -> Rule[tuple[int, ...]]:
    """Return the rule for the weights of 1, 2, … up to `most` units, or for nothing.

    They are separated by commas or by blanks, not by both: 0,8 0,2 has decimal commas, and 8, 1,5 may have one.
    The result has the same ratios in the smallest whole numbers: equal chances are equal however they are written.
    """
    expected = (
        f"1 to {most} numbers from 0 to {MAX_WEIGHT} with at most six decimals, for sales of 1, 2, … units, the last "
        "one above 0, such as 80 15 5"
    )
    separated = "separated by blanks or by commas, not by both, and with decimal points: 0.8 0.2 or 0.8, 0.2"

    def parse(text: str) -> tuple[int, ...]:
        if not text:
            return ()
        parts = [part.strip() for part in text.split(",")] if "," in text else text.split()
        mixed = "," in text and any(len(part.split()) > 1 for part in parts)
        decimal_comma = _BARE_COMMA.search(text) and len(text.split()) > 1
        require(not mixed and not decimal_comma, f"{expected}; {separated}")
        weights = [Fraction(_decimal(part, 6)) for part in parts]
        require(len(weights) <= most, f"{expected}; there are {len(weights)}")
        require(max(weights) <= MAX_WEIGHT and weights[-1])
        common = math.lcm(*(weight.denominator for weight in weights))
        whole_weights = [int(weight * common) for weight in weights]
        divisor = math.gcd(*whole_weights)
        return tuple(weight // divisor for weight in whole_weights)

    return Rule(parse, expected)


def seconds(*, above_zero: bool) -> Rule[float]:
    """Return the rule for a finite duration in seconds, of at least 0; `above_zero`: not 0."""

    def parse(text: str) -> float:
        require(_NUMBER.fullmatch(text))
        value = float(text)
        require(math.isfinite(value) and (value > 0 or not above_zero))
        return value

    return Rule(parse, "a number of seconds above 0" if above_zero else "a number of seconds of at least 0")


def speed() -> Rule[float | None]:
    """Return the rule for a speed: how many times faster than real time event time passes; None: at once."""

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
    """Return the rule for an amount of money in the shop's currency, exact to the cent, below 1,000,000,000."""

    def parse(text: str) -> Decimal:
        value = _decimal(text, 2)
        # Keeps quantity × cents × ten-thousandths of discount exact in 64 bits, for integers and for floats.
        require(value < 1_000_000_000)
        return value

    return Rule(parse, "an amount of money of at least 0 with at most two decimals, below 1000000000")


def share(*, below_one: bool = False, of_a_million: bool = False) -> Rule[Decimal]:
    """Return the rule for a share from 0 to 1, exact to 0.0001, or to 0.000001 with `of_a_million`."""
    places, words = (6, "six") if of_a_million else (4, "four")

    def parse(text: str) -> Decimal:
        value = _decimal(text, places)
        require(value < 1 if below_one else value <= 1)
        return value

    high = "below 1" if below_one else "to 1"
    return Rule(parse, f"a share from 0 {high} with at most {words} decimals, such as .10")
