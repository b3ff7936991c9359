"""Encodes many purchases at once: as lines of JSON, or as the records of Kafka batches, in any format.

Apart from its time and number, a purchase has one of a few contents, each prepared once. The prepared bytes are joined,
and all times and numbers are written over them in one pass. `PurchaseEncoder.encode` is the reference, one purchase at
a time: the bytes are equal.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from yasdg_app.config import catalog
from yasdg_app.config.settings import SalesSettings
from yasdg_app.kafka.batch_writer import Bytes, Ints, Records, put_varints, varint, varint_sizes
from yasdg_app.messages.encoders import MAX_PREPARED_KINDS, PurchaseEncoder
from yasdg_app.messages.formats import Format
from yasdg_app.messages.formats.times import digits
from yasdg_app.messages.ids import json_text, transaction_id
from yasdg_app.shop.customer_behaviour import purchase_options
from yasdg_app.shop.price import BASIS_POINTS
from yasdg_app.shop.sales import Sales

RECORDS_BYTES = 1_000_000  # in a batch, before it is compressed; a topic takes 1 MB at most by default

_DIGITS = 6  # of a number, at least
_MOST_DIGITS = 18
_EXACT = 3  # digits more of a time in microseconds than of one in milliseconds
_TENS = 10 ** np.arange(_DIGITS, _MOST_DIGITS + 1, dtype=np.int64)
_GAPS = [bytes(size) for size in range(32)]
_MOST_BEFORE = 20  # bytes of a record before its key
_VARINTS = [varint(size) for size in range(2048)]  # of lengths: a purchase with the longest ids has some 1,200 bytes
_NO_HEADERS = varint(0)


class BulkEncoder:
    """Encodes the sales of a till.

    Parameters
    ----------
    products
        Those of the till.
    sales
        How they are sold.
    form
        The format to encode in; None: the default. Its times take one byte more from some date on, once in
        centuries; prepared bytes hold for one size of times.
    """

    # Prepared contents: the index of each kind of purchase in the lists that follow, by the code of the kind.
    _kinds: dict[int, int]
    _records_by_kind: list[bytes]  # from the key on to the end of a Kafka record
    _lines: list[bytes]  # only once lines were requested
    _sizes: Ints  # of the records
    _values_at: Ints  # where the value begins in the record
    _numbers_at: Ints  # where the number begins in the value

    def __init__(self, products: Sequence[catalog.Product], sales: SalesSettings, form: Format | None = None) -> None:
        form = form or Format()
        self._plain = PurchaseEncoder(products, sales, form.writer("purchases"))
        self._layout = form.layout
        self._is_json = form.is_json
        self._size = 0  # of the times of what is prepared
        self._products = products
        self._options = purchase_options(sales)
        # Products that the customer may have wanted instead, and none; without substitution always none.
        self._others = len(products) + 1 if sales.substitution_freq else 1
        self._forget()

    def lines(self, sales: Sales) -> bytearray:
        """Return the messages of sales as lines of JSON."""
        parts = [self._lines_of(some, size) for some, size in self._of_one_size(sales)]
        return parts[0] if len(parts) == 1 else bytearray().join(parts)

    def _lines_of(self, sales: Sales, size: int) -> bytearray:
        kinds = self._kinds_of(sales, size)
        self._make_lines()
        lines = self._lines
        data = bytearray().join([lines[kind] for kind in kinds.tolist()])
        starts = _starts(self._sizes[kinds] - self._values_at[kinds])  # a line has an end as a record has
        self._write(data, starts, kinds, sales, size)
        return data

    def records(self, sales: Sales) -> Iterator[Records]:
        """Yield the records of sales, as many at a time as go into one batch."""
        for some, size in self._of_one_size(sales):
            kinds = self._kinds_of(some, size)
            through = np.cumsum(self._sizes[kinds] + _MOST_BEFORE)
            first = 0
            while first < len(kinds):
                before = int(through[first - 1]) if first else 0
                end = max(first + 1, int(np.searchsorted(through, before + RECORDS_BYTES, side="right")))
                yield self._records(some[first:end], kinds[first:end], size)
                first = end

    def _of_one_size(self, sales: Sales) -> Iterator[tuple[Sales, int]]:
        """Yield sales whose times take as many bytes, and how many; these are all, but once in centuries."""
        size_of, first = self._layout.size, 0
        while first < len(sales):
            size, end = size_of(int(sales.at[first])), len(sales)
            if size_of(int(sales.at[-1])) != size:
                end = bisect_right(sales.at, size, first, key=lambda at: size_of(int(at)))
            yield sales[first:end], size
            first = end

    def _records(self, sales: Sales, kinds: Ints, size: int) -> Records:
        times, sizes = sales.at // 1000, self._sizes[kinds]
        # Times within a batch count from its first; sales are in order, so none is before it.
        since, position = times - times[0], np.arange(len(kinds), dtype=np.int64)
        since_sizes, position_sizes = varint_sizes(since), varint_sizes(position)
        body = 1 + since_sizes + position_sizes + sizes  # the attributes take a byte
        body_sizes = varint_sizes(body)
        before = body_sizes + 1 + since_sizes + position_sizes
        records = self._records_by_kind
        parts: list[bytes] = [b""] * (2 * len(kinds))
        parts[0::2] = [_GAPS[gap] for gap in before.tolist()]
        parts[1::2] = [records[kind] for kind in kinds.tolist()]
        data = bytearray().join(parts)
        into = np.frombuffer(data, np.uint8)
        starts = _starts(before + sizes)
        put_varints(into, starts, body, body_sizes)
        put_varints(into, starts + body_sizes + 1, since, since_sizes)
        put_varints(into, starts + body_sizes + 1 + since_sizes, position, position_sizes)
        values = starts + before + self._values_at[kinds]
        self._write(data, values, kinds, sales, size)
        return Records(len(kinds), int(times[0]), int(times[-1]), data)

    def _write(self, data: bytearray, values: Ints, kinds: Ints, sales: Sales, size: int) -> None:
        """Write times and numbers into messages that begin at `values`."""
        layout, numbers = self._layout, values + self._numbers_at[kinds]
        _windows(data, size)[values + layout.before] = layout.texts(sales.at, size)
        if not layout.exact:
            exactly, lengths = size + _EXACT, self._sizes[kinds] - self._values_at[kinds] - len(_NO_HEADERS)
            _windows(data, exactly)[values + lengths - 1 - exactly] = digits(sales.at, exactly)
        widths = _digits(sales.number)
        for width in range(int(widths.min()), int(widths.max()) + 1):
            mine = widths == width
            _windows(data, width)[numbers[mine]] = digits(sales.number[mine], width)

    def _kinds_of(self, sales: Sales, size: int) -> Ints:
        """Return the index of each sale's kind in the lists of kinds. `size`: bytes of the times."""
        code = (sales.product * self._options + sales.option) * (BASIS_POINTS + 1) + sales.promotion
        code = (code * self._others + (sales.requested_product + 1)) * (_MOST_DIGITS + 1) + _digits(sales.number)
        if size != self._size:
            self._forget()
            self._size = size
        codes: list[int] = code.tolist()
        try:
            return np.fromiter(map(self._kinds.__getitem__, codes), np.int64, len(codes))
        except KeyError:
            self._learn(code, sales)
            return np.fromiter(map(self._kinds.__getitem__, codes), np.int64, len(codes))

    def _learn(self, code: Ints, sales: Sales) -> None:
        """Prepare what is not prepared yet."""
        if len(self._kinds) >= MAX_PREPARED_KINDS:
            self._forget()
        codes, rows = np.unique(code, return_index=True)
        columns = (sales.product, sales.option, sales.promotion, sales.requested_product)
        kinds = zip(*(column[rows].tolist() for column in columns), strict=True)
        widths = _digits(sales.number[rows]).tolist()
        places: list[tuple[int, int, int]] = []
        at = int(sales.at[0])
        for each, kind, width in zip(codes.tolist(), kinds, widths, strict=True):
            if each not in self._kinds:
                self._kinds[each] = len(self._kinds)
                places.append(self._prepare(kind, width, at))
        sizes, values_at, numbers_at = np.array(places, dtype=np.int64).T
        self._sizes = np.concatenate((self._sizes, sizes))
        self._values_at = np.concatenate((self._values_at, values_at))
        self._numbers_at = np.concatenate((self._numbers_at, numbers_at))

    def _prepare(self, kind: tuple[int, int, int, int], width: int, at: int) -> tuple[int, int, int]:
        """Prepare the content of a kind; return the size of its record, and where value and number begin.

        Its time and its number are some that take as many bytes. Nothing before the transaction_id reads like it: the
        product_id before it is shorter, and preceded by what no id has.
        """
        product_id = self._products[kind[0]].product_id
        number = 10 ** (width - 1) if width > _DIGITS else 0
        key, value = product_id.encode(), self._plain.one(kind, number, at)
        head = _VARINTS[len(key)] + key + _VARINTS[len(value)]
        self._records_by_kind.append(head + value + _NO_HEADERS)
        name = transaction_id(json_text(product_id) if self._is_json else product_id, number).encode()
        number_at = value.index(name, self._layout.before) + len(name) - width
        return len(head) + len(value) + len(_NO_HEADERS), len(head), number_at

    def _make_lines(self) -> None:
        """Make the lines of prepared contents that have none yet."""
        new = slice(len(self._lines), None)
        for record, value_at in zip(self._records_by_kind[new], self._values_at[new].tolist(), strict=True):
            self._lines.append(record[value_at : -len(_NO_HEADERS)] + b"\n")

    def _forget(self) -> None:
        self._kinds, self._records_by_kind, self._lines = {}, [], []
        self._sizes = self._values_at = self._numbers_at = np.empty(0, dtype=np.int64)


def _starts(sizes: Ints) -> Ints:
    starts: Ints = np.cumsum(sizes) - sizes
    return starts


def _windows(data: bytearray, size: int) -> Bytes:
    """Return a view of `size` bytes at each offset."""
    return np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), size, writeable=True)


def _digits(numbers: Ints) -> Ints:
    """Return the number of digits that each number is written with."""
    longer = int(np.searchsorted(_TENS, numbers.max(), side="right"))
    widths = np.full(len(numbers), _DIGITS, dtype=np.int64)
    for ten in _TENS[:longer]:
        widths += numbers >= ten
    return widths
