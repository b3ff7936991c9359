"""Keys and values of the original generator's configuration files that YASDG spells differently.

`translate` replaces them by ours, and adds a note for each. Only a file may have them; YASDG_ variables may not, and
override them as they override other keys of a file.
The original counts differently in some versions, which can be seen in this module alone.
"""

from collections.abc import Callable, Collection

from yasdg_app.config import rules
from yasdg_app.config.rules import InvalidValueError, Rule
from yasdg_app.config.values import GivenValue, ParsedValues

LINES = 30  # the original's item_quantity_one_freq is of 30 lines, and in some versions quantity_one_freq is
LINES_OF_THREE = 1  # of 30: tested before the number
TRANSACTIONS = 20  # transaction_quantity_one_item_freq is of 20 transactions
TRANSACTIONS_OF_THREE = 2  # of 20: likewise
OURS = 10  # quantity_one_freq is of 10 sales

TOPIC = ("KAFKA", "topic_inventories")
METHOD = ("KAFKA", "auth_method")
ONE_LINE = ("SALES", "transaction_quantity_one_item_freq")
ONE_UNIT = ("SALES", "item_quantity_one_freq")
STOCKINGS = ("KAFKA", "topic_stockings")
QUANTITY = ("SALES", "quantity_one_freq")
QUANTITIES = ("SALES", "quantities")

KEYS = (TOPIC, ONE_LINE, ONE_UNIT)
"""Section and key of what only the original has."""

METHODS = {"no_auth": "plaintext", "iam": "aws_msk_iam"}
"""The original's names of methods, with ours. Every version that has them counts quantity_one_freq of 30."""

_OF_LINES, _OF_TRANSACTIONS = rules.whole(0, LINES), rules.whole(0, TRANSACTIONS)
_ABOVE_OURS = rules.whole(OURS + 1, LINES)


def translate(values: ParsedValues, overridden: Collection[tuple[str, str]] = ()) -> None:
    """Replace the original's keys and values among those of a file by ours, with a note for each.

    `overridden`: the keys that a variable sets. What would be read as one of them is dropped, valid or not.
    """
    if QUANTITIES in values.given and not values.given[QUANTITIES].text:
        del values.given[QUANTITIES]  # it says nothing, as our own file does
    _rename(TOPIC, (STOCKINGS,), values, overridden, _topic)
    method = _translate_method(values)
    _rename(ONE_UNIT, (QUANTITY, QUANTITIES), values, overridden, _item_quantity)
    if QUANTITY not in overridden:
        _translate_quantity(values, method)
    _ignore_transactions(values)


def _rename(
    theirs: tuple[str, str],
    ours: tuple[tuple[str, str], ...],
    values: ParsedValues,
    overridden: Collection[tuple[str, str]],
    translated: Callable[[GivenValue, ParsedValues], None],
) -> None:
    given = values.given.pop(theirs, None)
    if given is None or any(key in overridden for key in ours):
        return
    other = next((values.given[key] for key in ours if key in values.given), None)
    if other is not None:
        values.problems.append(f"{given.place}: the same setting as {other.place}; expected only one of them")
        return
    translated(given, values)


def _topic(given: GivenValue, values: ParsedValues) -> None:
    values.given[STOCKINGS] = given
    values.notes[STOCKINGS] = f"{given.place}: read as topic_stockings; the messages are YASDG's restocks"


def _translate_method(values: ParsedValues) -> str:
    """Translate auth_method; return the name if it shows that quantity_one_freq is of 30, else ""."""
    given = values.given.get(METHOD)
    method = given.text.lower() if given else ""
    if given is None or method not in METHODS:
        return ""
    values.given[METHOD] = GivenValue(METHODS[method], given.place)
    values.notes[METHOD] = f"{given.place}: read as auth_method = {METHODS[method]}"
    return method


def _item_quantity(given: GivenValue, values: ParsedValues) -> None:
    number = _read(_OF_LINES, given, values)
    if number is not None:
        _set_quantities(given, number, f"{LINES} lines", values)


def _translate_quantity(values: ParsedValues, method: str) -> None:
    given = values.given.get(QUANTITY)
    if given is None or QUANTITIES in values.given:
        return
    if method:
        number = _read(_OF_LINES, given, values)
        if number is None:
            del values.given[QUANTITY]
            return
        _set_quantities(
            given, number, f"{LINES} sales, as in the original's versions with auth_method = {method}", values
        )
        return
    try:
        number = _ABOVE_OURS.read(given.text)
    except InvalidValueError:
        return  # ours, or an error to be reported as one of ours
    _set_quantities(
        given, number, f"{LINES} sales, as in some versions of the original, because it is above {OURS}", values
    )


def _set_quantities(given: GivenValue, number: int, scale: str, values: ParsedValues) -> None:
    """Set the quantities of the original: one of LINES has three units, `number` of the others one, the rest two."""
    values.given.pop(QUANTITY, None)
    others = LINES - LINES_OF_THREE
    one = min(number, others)
    text = f"{one} {others - one} {LINES_OF_THREE}"
    values.given[QUANTITIES] = GivenValue(text, given.place)
    values.notes[QUANTITIES] = f"{given.place}: out of {scale}; read as quantities = {text}"


def _ignore_transactions(values: ParsedValues) -> None:
    given = values.given.pop(ONE_LINE, None)
    number = None if given is None else _read(_OF_TRANSACTIONS, given, values)
    if given is not None and number is not None:
        several = f"{max(TRANSACTIONS - number, TRANSACTIONS_OF_THREE)} of {TRANSACTIONS} have two or three"
        values.notes[ONE_LINE] = f"{given.place}: not used yet. Every order has one line; in the original, {several}"


def _read(rule: Rule[int], given: GivenValue, values: ParsedValues) -> int | None:
    """Return the value; None after adding a problem."""
    try:
        return rule.read(given.text)
    except InvalidValueError as error:
        values.problems.append(f"{given.place}: expected {error}")
        return None
