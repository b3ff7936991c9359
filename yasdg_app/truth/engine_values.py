"""Converts an engine's columns to comparable integers: times in microseconds, all others in ten-thousandths.

Engines write one value in many forms: a time as text, timestamp or milliseconds, an amount as decimal, text or float.
Sums of floats are slightly off, so an amount within a tenth of a cent of a whole cent is read as that cent.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from yasdg_app.errors import RENAMED
from yasdg_app.messages.times import microseconds
from yasdg_app.shop.demand import Ints

NULL, UNREADABLE = -(2**31), -(2**31) + 1  # in place of a value; both fit into 32 bits
SCALE = 10_000
CENT = SCALE // 100
NEAR = CENT // 10
MAX_NUMBER = 9e14  # max of a number, in whole units
TRUE, FALSE = ("true", "t", "yes"), ("false", "f", "no")
SECOND = 1_000_000
FIRST, LAST = microseconds(datetime.min), microseconds(datetime.max)
OUT_OF_RANGE = LAST + 1
MICROSECONDS = {"d": 86_400 * SECOND, "s": SECOND, "ms": 1_000, "us": 1, "ns": 0}  # per unit; 0: less than one
MAX_SINCE_1970 = 9e18  # max of any unit, in 64 bits
UNITS = ((1e11, SECOND), (1e14, 1_000), (1e17, 1))
"""A numeric time below the first value is in the unit of that many microseconds; above all of them, in nanoseconds."""


def numbers(column: Any, amounts: bool = False) -> Ints:
    """Return the numbers or booleans of an Arrow array; `amounts`: they are money."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), NULL, dtype=np.int64)
    if pa.types.is_boolean(kind):
        return _scaled(_filled(column.cast(pa.int8()).cast(pa.float64())), amounts)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        try:
            return _scaled(_filled(column.cast(pa.float64(), safe=False)), amounts)
        except (pa.ArrowException, NotImplementedError):  # half-precision floats, and unusual decimals
            pass
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            return _scaled(_filled(column.cast(pa.float64())), amounts)
        except pa.ArrowInvalid:
            pass
    return np.array([_number(value, amounts) for value in _values(column)], dtype=np.int64)


def times(column: Any) -> Ints:
    """Return the event times of an Arrow array; without a time zone they are UTC."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), NULL, dtype=np.int64)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _moments(column, "d" if kind == pa.date32() else "ms" if kind == pa.date64() else kind.unit)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_epoch(_filled(column.cast(pa.float64(), safe=False)), column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        for zone in (None, "UTC"):
            try:
                return _moments(column.cast(pa.timestamp("us", tz=zone)), "us")
            except pa.ArrowInvalid:
                continue
    return np.array([_time(value) for value in _values(column)], dtype=np.int64)


def names(column: Any, places: Callable[[str], int]) -> Ints:
    """Return the codes for the texts of an Arrow array: `places` of each text."""
    return np.array(
        [NULL if value is None or value == "" else places(str(value)) for value in _values(column)], dtype=np.int64
    )


def texts(column: Any) -> list[str]:
    """Return the texts of an Arrow array; an empty text for a null."""
    return ["" if value is None else str(value) for value in _values(column)]


def _values(column: Any) -> list[Any]:
    """Return the values of an Arrow array; markers for values that Python cannot represent, such as the year 10000."""
    try:
        values: list[Any] = column.to_pylist()
    except RENAMED:  # not a value that cannot be represented
        raise
    except Exception:  # conversions to Python raise some ten exception types, depending on the column type
        return [_value(each) for each in column]
    return values


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except RENAMED:
        raise
    except Exception:
        return f"(a {scalar.type} that cannot be shown)"


def _filled(column: Any) -> Any:
    return column.fill_null(float("nan")).to_numpy(zero_copy_only=False)


def _scaled(values: Any, amounts: bool) -> Ints:
    there, fits = ~np.isnan(values), np.abs(values) < MAX_NUMBER
    whole = np.rint(np.where(fits, values, 0.0) * SCALE).astype(np.int64)
    if amounts:
        cents = np.rint(whole / CENT).astype(np.int64) * CENT
        whole = np.where(np.abs(whole - cents) <= NEAR, cents, whole)
    result: Ints = np.where(there, np.where(fits, whole, UNREADABLE), NULL)
    return result


def _number(value: Any, amounts: bool) -> int:
    text = "" if value is None else str(value).strip().lower()
    if not text or text in ("null", "nan"):
        return NULL
    try:
        number = float(text in TRUE) if text in (*TRUE, *FALSE) else float(text)
        return int(_scaled(np.array([number]), amounts)[0])
    except ValueError:
        return UNREADABLE


def _moments(column: Any, unit: str) -> Ints:
    """Return the times or dates of an Arrow array in a unit, one of MICROSECONDS."""
    import pyarrow as pa

    there = ~np.asarray(column.is_null().to_numpy(zero_copy_only=False))
    column = column.cast(pa.int32()) if pa.types.is_date32(column.type) else column
    raw = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    if each := MICROSECONDS[unit]:
        values = np.where((raw >= FIRST // each) & (raw <= LAST // each), raw * each, OUT_OF_RANGE)
    else:
        values = raw // 1_000
    fits = (values >= FIRST) & (values <= LAST)
    result: Ints = np.where(there, np.where(fits, values, UNREADABLE), NULL)
    return result


def _of_epoch(values: Any, column: Any) -> Ints:
    import pyarrow as pa

    there, fits = ~np.isnan(values), np.abs(values) < MAX_SINCE_1970
    whole = pa.types.is_integer(column.type)
    # A float has too few digits for nanoseconds, but is not used for those.
    numbers = column.fill_null(0).cast(pa.int64(), safe=False).to_numpy(zero_copy_only=False) if whole else values
    exact = np.where(fits, numbers, 0)
    large, result = np.abs(exact), exact // 1_000
    for below, unit in reversed(UNITS):
        result = np.where(large < below, exact * unit if whole else np.rint(exact * unit), result)
    fits &= (result >= FIRST) & (result <= LAST)
    return np.where(there, np.where(fits, result, UNREADABLE), NULL).astype(np.int64)


def _time(value: Any) -> int:
    text = "" if value is None else str(value).strip()
    if not text:
        return NULL
    try:
        if isinstance(value, datetime | date):
            moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        elif text.lstrip("-").isdigit():
            unit = next((unit for below, unit in UNITS if abs(int(text)) < below), 0)
            at = int(text) * unit if unit else int(text) // 1_000
            return at if FIRST <= at <= LAST else UNREADABLE
        else:
            moment = datetime.fromisoformat(text.removesuffix(" UTC"))
        return microseconds(moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None))
    except (ValueError, OverflowError):
        return UNREADABLE
