"""How messages represent times: as texts or numbers in JSON, and at which bytes of a purchase.

Internally a time is a text made by `messages.times.time_text`, or microseconds since 1970.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from yasdg_app.kafka.batch_writer import Bytes, Ints
from yasdg_app.messages.times import SECOND, event_time, time_text

Booleans = NDArray[np.bool_]

MICROSECOND_DIGITS = 16  # digits of a time in microseconds, up to the year 2286
_TIME = len(time_text(0))
_PARTS = np.dtype([("day", "S10"), ("minute", "S7"), ("second", "S3"), ("milli", "S3"), ("micro", "S3")])
_MINUTES = 1440  # of a day
_MINUTE = np.array([f" {minute // 60:02d}:{minute % 60:02d}:".encode() for minute in range(_MINUTES)])
_SECOND = np.array([f"{second:02d}.".encode() for second in range(60)])
_THREE = np.array([f"{three:03d}".encode() for three in range(1000)])  # digits
_ISO_Z = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_ISO = np.frombuffer(b"0000-00-00T00:00:00.000000Z", np.uint8)
_ISO_DIGITS = ord("0") == _ISO
_TENS = 10 ** np.arange(MICROSECOND_DIGITS - 1, -1, -1, dtype=np.int64)
_BEFORE = len('{"transaction_time":')


# --- One at a time --------------------------------------------------------------------------------------------------


class JsonTime(Protocol):
    """A representation of times in JSON."""

    exact: bool
    """Whether it has microseconds; otherwise a further field does."""

    def told(self, text: str) -> str | int:
        """Return the representation of a time; `text`: as made by `messages.times.time_text`."""

    def text(self, told: Any) -> str:
        """Return the text of a represented time, as far as it is exact. Raises ValueError if it is not a time."""


class IsoZ:
    """`2022-08-30T12:57:07.942191Z`, always with six digits."""

    exact = True

    def told(self, text: str) -> str:
        """Return the representation of a time."""
        return f"{text[:10]}T{text[11:]}Z"

    def text(self, told: Any) -> str:
        """Return the text of a represented time."""
        if not isinstance(told, str) or not _ISO_Z.fullmatch(told):
            raise ValueError(f"{told!r} is no time such as 2022-08-30T12:57:07.942191Z")
        return f"{told[:10]} {told[11:-1]}"


class Epoch:
    """A whole number of so many microseconds since 1970."""

    def __init__(self, unit: int) -> None:
        self.exact = unit == 1
        self._unit = unit

    def told(self, text: str) -> int:
        """Return the representation of a time."""
        return event_time(text) // self._unit

    def text(self, told: Any) -> str:
        """Return the text of a represented time, as far as it is exact."""
        if type(told) is not int or not 0 <= told * self._unit < 10**MICROSECOND_DIGITS:
            raise ValueError(f"{told!r} is no time since 1970")
        return time_text(told * self._unit)


EPOCH_US = Epoch(1)
JSON_TIMES: dict[str, JsonTime] = {"iso-z": IsoZ(), "epoch_ms": Epoch(1000), "epoch_us": EPOCH_US}
"""The values of [FORMAT] time besides the default."""


# --- In bulk ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimeLayout:
    """The bytes of a purchase that hold its time, so that the times of many can be written and read at once.

    Attributes
    ----------
    before
        Bytes of the message before its time.
    size
        Returns how many bytes an event time takes; never fewer for a later one.
    texts
        Returns event times that take so many bytes each.
    exact
        False: the message ends with its time in microseconds, before the last brace.
    read_size
        Bytes that the times take in all years that matter; 0: bulk decoding is not supported.
    sql
        Converts rows of such bytes to the texts of `time_text`, and tells which rows are valid times.
    """

    before: int
    size: Callable[[int], int]
    texts: Callable[[Ints, int], Bytes]
    exact: bool = True
    read_size: int = 0
    sql: Callable[[Bytes], tuple[Bytes, Booleans]] | None = None


def digits(numbers: Ints, width: int) -> Bytes:
    """Return each number as `width` digits."""
    groups = -(-width // 3)
    texts = np.empty((len(numbers), groups), dtype="S3")
    rest = numbers
    for place in range(groups - 1, -1, -1):
        rest, three = np.divmod(rest, 1000)
        texts[:, place] = _THREE[three]
    return texts.view(np.uint8)[:, 3 * groups - width :]


def _sql(at: Ints, size: int = _TIME) -> Bytes:
    """Return event times as texts; see `time_text`."""
    seconds = at // SECOND
    minutes = seconds // 60
    micro = at - seconds * SECOND
    milli = micro // 1000
    days = minutes // _MINUTES
    texts = np.empty(len(at), dtype=_PARTS)
    texts["minute"] = _MINUTE[minutes - days * _MINUTES]
    texts["second"] = _SECOND[seconds - minutes * 60]
    texts["milli"] = _THREE[milli]
    texts["micro"] = _THREE[micro - milli * 1000]
    for day in np.unique(days).tolist():
        texts["day"][days == day] = time_text(day * _MINUTES * 60 * SECOND)[:10].encode()
    return texts.view(np.uint8).reshape(-1, _TIME)


def _iso_z(at: Ints, size: int) -> Bytes:
    texts = np.empty((len(at), size), dtype=np.uint8)
    texts[:, :_TIME] = _sql(at)
    texts[:, 10], texts[:, _TIME] = ord("T"), ord("Z")
    return texts


def _of_iso_z(texts: Bytes) -> tuple[Bytes, Booleans]:
    are_digits = (texts >= ord("0")) & (texts <= ord("9"))
    are_times: Booleans = np.all(np.where(_ISO_DIGITS, are_digits, texts == _ISO), axis=1)
    sql = texts[:, :_TIME].copy()
    sql[:, 10] = ord(" ")
    return sql, are_times


def _of_epoch_us(texts: Bytes) -> tuple[Bytes, Booleans]:
    figures = texts.astype(np.int64) - ord("0")
    are_times = ((figures >= 0) & (figures <= 9)).all(axis=1) & (figures[:, 0] > 0)
    return _sql(np.where(are_times, figures @ _TENS, 0)), are_times


def _of_varints(texts: Bytes, zigzag: bool) -> tuple[Bytes, Booleans]:
    """Return the varints that use all their bytes and are not negative."""
    more = texts >= 0x80
    values = (texts.astype(np.int64) & 0x7F) @ (1 << 7 * np.arange(texts.shape[1], dtype=np.int64))
    are_times = more[:, :-1].all(axis=1) & ~more[:, -1] & (texts[:, -1] > 0)
    if zigzag:
        are_times &= values & 1 == 0
        values >>= 1
    return _sql(np.where(are_times, values, 0)), are_times


def _varints(values: Ints, size: int) -> Bytes:
    """Return numbers that are not negative as varints of `size` bytes each."""
    texts = np.empty((len(values), size), dtype=np.uint8)
    rest = values
    for place in range(size):
        texts[:, place] = (rest & 0x7F) | (0x80 if place < size - 1 else 0)
        rest = rest >> 7
    return texts


def _varint_size(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))


SQL = TimeLayout(_BEFORE + 1, lambda at: _TIME, _sql)
JSON_LAYOUTS = {
    "sql": SQL,
    "iso-z": TimeLayout(_BEFORE + 1, lambda at: _TIME + 1, _iso_z, read_size=_TIME + 1, sql=_of_iso_z),
    "epoch_ms": TimeLayout(
        _BEFORE, lambda at: len(str(at // 1000)), lambda at, size: digits(at // 1000, size), exact=False
    ),
    "epoch_us": TimeLayout(_BEFORE, lambda at: len(str(at)), digits, read_size=MICROSECOND_DIGITS, sql=_of_epoch_us),
}
"""By [FORMAT] time."""
SCHEMA_ID_BYTES = 5  # bytes of the magic byte and the schema's id
VARINT_BYTES = 8  # bytes of a varint, from 1978 in zigzag and from 1987 without, up to the year 3111
AVRO = TimeLayout(
    SCHEMA_ID_BYTES, lambda at: _varint_size(at << 1), lambda at, size: _varints(at << 1, size), read_size=VARINT_BYTES,
    sql=partial(_of_varints, zigzag=True),
)  # fmt: skip
# The message's index and the field's tag precede it.
PROTOBUF = TimeLayout(
    SCHEMA_ID_BYTES + 2, _varint_size, _varints, read_size=VARINT_BYTES, sql=partial(_of_varints, zigzag=False)
)
