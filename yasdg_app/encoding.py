"""Many purchases in one go: as lines of JSON, or as the records of batches for Kafka.

Beside its time and its number a purchase says one of a few things, prepared once; what is prepared is joined, and
times and numbers are written over it, all at once. `PurchaseEncoder.encode` is the plain way, one purchase after the
other, and the reference: the bytes are the same.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from yasdg_app import catalog
from yasdg_app.messages import MOST_PREPARED, SECOND, PurchaseEncoder, time_text
from yasdg_app.record_batches import Bytes, Ints, Records, put_varints, varint, varint_sizes
from yasdg_app.settings import SalesSettings
from yasdg_app.shop.customer import WAYS
from yasdg_app.shop.price import TEN_THOUSAND
from yasdg_app.shop.till import Sales

RECORDS_BYTES = 1_000_000  # in a batch, before it is compressed; a topic takes 1 MB at most by default

_TIME = len(time_text(0))
_TIME_PARTS = np.dtype([("day", "S10"), ("minute", "S7"), ("second", "S3"), ("milli", "S3"), ("micro", "S3")])
_MINUTES = 1440  # of a day
_MINUTE = np.array([f" {minute // 60:02d}:{minute % 60:02d}:".encode() for minute in range(_MINUTES)])
_SECOND = np.array([f"{second:02d}.".encode() for second in range(60)])
_THREE = np.array([f"{three:03d}".encode() for three in range(1000)])  # digits
_BEFORE_TIME = len('{"transaction_time":"')
_START = '{"transaction_time":"' + "0" * _TIME
_DIGITS = 6  # of a number, at least
_MOST_DIGITS = 18
_TENS = 10 ** np.arange(_DIGITS, _MOST_DIGITS + 1, dtype=np.int64)
_GAPS = [bytes(size) for size in range(32)]
_MOST_BEFORE = 20  # bytes of a record before its key
_VARINTS = [varint(size) for size in range(1024)]  # of lengths: a purchase is a third as long
_NO_HEADERS = varint(0)


class BulkEncoder:
    """Encodes the sales of a till.

    Parameters
    ----------
    products
        Those of the till.
    sales
        How they are sold.
    """

    # What is prepared: the place of each kind of purchase in the lists behind it, by all that makes a kind.
    _kinds: dict[int, int]
    _records_by_kind: list[bytes]  # from the key on to the end of a Kafka record
    _lines: list[bytes]  # as far as lines were asked for
    _sizes: Ints  # of the records
    _values_at: Ints  # where the value begins in the record
    _numbers_at: Ints  # where the number begins in the value

    def __init__(self, products: Sequence[catalog.Product], sales: SalesSettings) -> None:
        self._plain = PurchaseEncoder(products, sales)
        self._products = products
        # Products that may have been asked for, and none; where nobody takes another, it is always none.
        self._others = len(products) + 1 if sales.substitution_freq else 1
        self._forget()

    def lines(self, sales: Sales) -> bytearray:
        """Return the messages of sales as lines of JSON, each with its end."""
        if not len(sales):
            return bytearray()
        kinds, numbers = self._kinds_of(sales)
        self._make_lines()
        lines = self._lines
        data = bytearray().join([lines[kind] for kind in kinds.tolist()])
        starts = _starts(self._sizes[kinds] - self._values_at[kinds])  # a line has an end as a record has
        _write(data, starts, starts + numbers, sales)
        return data

    def records(self, sales: Sales) -> Iterator[Records]:
        """Yield the records of sales, as many at a time as go into one batch."""
        if not len(sales):
            return
        kinds, numbers = self._kinds_of(sales)
        through = np.cumsum(self._sizes[kinds] + _MOST_BEFORE)
        first = 0
        while first < len(kinds):
            before = int(through[first - 1]) if first else 0
            end = max(first + 1, int(np.searchsorted(through, before + RECORDS_BYTES, side="right")))
            yield self._records(sales[first:end], kinds[first:end], numbers[first:end])
            first = end

    def _records(self, sales: Sales, kinds: Ints, numbers: Ints) -> Records:
        times, sizes = sales.at // 1000, self._sizes[kinds]
        # Times within a batch count from its first; sales are in order, so none is before it.
        since, place = times - times[0], np.arange(len(kinds), dtype=np.int64)
        since_sizes, place_sizes = varint_sizes(since), varint_sizes(place)
        body = 1 + since_sizes + place_sizes + sizes  # the attributes take a byte
        body_sizes = varint_sizes(body)
        before = body_sizes + 1 + since_sizes + place_sizes
        records = self._records_by_kind
        parts: list[bytes] = [b""] * (2 * len(kinds))
        parts[0::2] = [_GAPS[size] for size in before.tolist()]
        parts[1::2] = [records[kind] for kind in kinds.tolist()]
        data = bytearray().join(parts)
        into = np.frombuffer(data, np.uint8)
        starts = _starts(before + sizes)
        put_varints(into, starts, body, body_sizes)
        put_varints(into, starts + body_sizes + 1, since, since_sizes)
        put_varints(into, starts + body_sizes + 1 + since_sizes, place, place_sizes)
        values = starts + before + self._values_at[kinds]
        _write(data, values, values + numbers, sales)
        return Records(len(kinds), int(times[0]), int(times[-1]), data)

    def _kinds_of(self, sales: Sales) -> tuple[Ints, Ints]:
        """Return what each sale says, as a place in the lists of kinds, and where in its message the number begins."""
        code = (sales.product * WAYS + sales.way) * (TEN_THOUSAND + 1) + sales.promotion
        code = (code * self._others + (sales.instead_of + 1)) * (_MOST_DIGITS + 1) + _digits(sales.number)
        codes: list[int] = code.tolist()
        try:
            kinds = np.fromiter(map(self._kinds.__getitem__, codes), np.int64, len(codes))
        except KeyError:
            self._learn(code, sales)
            kinds = np.fromiter(map(self._kinds.__getitem__, codes), np.int64, len(codes))
        return kinds, self._numbers_at[kinds]

    def _learn(self, code: Ints, sales: Sales) -> None:
        """Prepare what is not prepared yet."""
        if len(self._kinds) >= MOST_PREPARED:
            self._forget()
        codes, rows = np.unique(code, return_index=True)
        columns = (sales.product, sales.way, sales.promotion, sales.instead_of)
        kinds = zip(*(column[rows].tolist() for column in columns), strict=True)
        digits = _digits(sales.number[rows]).tolist()
        places: list[tuple[int, int, int]] = []
        for each, kind, width in zip(codes.tolist(), kinds, digits, strict=True):
            if each not in self._kinds:
                self._kinds[each] = len(self._kinds)
                places.append(self._prepare(kind, width))
        sizes, values_at, numbers_at = np.array(places, dtype=np.int64).T
        self._sizes = np.concatenate((self._sizes, sizes))
        self._values_at = np.concatenate((self._values_at, values_at))
        self._numbers_at = np.concatenate((self._numbers_at, numbers_at))

    def _prepare(self, kind: tuple[int, int, int, int], width: int) -> tuple[int, int, int]:
        """Prepare what a purchase says, with zeros in place of its time and number; size of its record, and places."""
        key = self._products[kind[0]].product_id.encode()
        middle, end = self._plain.prepare(kind)
        value = f"{_START}{middle}{'0' * width}{end}".encode()
        head = _VARINTS[len(key)] + key + _VARINTS[len(value)]
        self._records_by_kind.append(head + value + _NO_HEADERS)
        return len(head) + len(value) + len(_NO_HEADERS), len(head), len(_START) + len(middle)

    def _make_lines(self) -> None:
        """Make a line of what is prepared, where there is none yet."""
        new = slice(len(self._lines), None)
        for record, value_at in zip(self._records_by_kind[new], self._values_at[new].tolist(), strict=True):
            self._lines.append(record[value_at : -len(_NO_HEADERS)] + b"\n")

    def _forget(self) -> None:
        self._kinds, self._records_by_kind, self._lines = {}, [], []
        self._sizes = self._values_at = self._numbers_at = np.empty(0, dtype=np.int64)


def _starts(sizes: Ints) -> Ints:
    starts: Ints = np.cumsum(sizes) - sizes
    return starts


def _write(data: bytearray, values: Ints, numbers: Ints, sales: Sales) -> None:
    """Write times and numbers into messages that begin at `values`, and their numbers at `numbers`."""
    _windows(data, _TIME)[values + _BEFORE_TIME] = _times(sales.at)
    digits = _digits(sales.number)
    for width in range(int(digits.min()), int(digits.max()) + 1):
        mine = digits == width
        _windows(data, width)[numbers[mine]] = _texts(sales.number[mine], width)


def _windows(data: bytearray, size: int) -> Bytes:
    """Return a view of `size` bytes from each place on."""
    return np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), size, writeable=True)


def _digits(numbers: Ints) -> Ints:
    """Return how many digits each number is written with."""
    longer = int(np.searchsorted(_TENS, numbers.max(), side="right"))
    digits = np.full(len(numbers), _DIGITS, dtype=np.int64)
    for ten in _TENS[:longer]:
        digits += numbers >= ten
    return digits


def _texts(numbers: Ints, width: int) -> Bytes:
    """Return each number as `width` digits."""
    groups = -(-width // 3)
    texts = np.empty((len(numbers), groups), dtype="S3")
    rest = numbers
    for place in range(groups - 1, -1, -1):
        rest, three = np.divmod(rest, 1000)
        texts[:, place] = _THREE[three]
    return texts.view(np.uint8)[:, 3 * groups - width :]


def _times(at: Ints) -> Bytes:
    """Return event times as texts; see `time_text`."""
    seconds = at // SECOND
    minutes = seconds // 60
    micro = at - seconds * SECOND
    milli = micro // 1000
    days = minutes // _MINUTES
    texts = np.empty(len(at), dtype=_TIME_PARTS)
    texts["minute"] = _MINUTE[minutes - days * _MINUTES]
    texts["second"] = _SECOND[seconds - minutes * 60]
    texts["milli"] = _THREE[milli]
    texts["micro"] = _THREE[micro - milli * 1000]
    for day in np.unique(days).tolist():
        texts["day"][days == day] = time_text(day * _MINUTES * 60 * SECOND)[:10].encode()
    return texts.view(np.uint8).reshape(-1, _TIME)
