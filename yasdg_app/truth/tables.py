"""The truth as a table: CSV, JSON lines or Parquet. Amounts are decimals with two digits in every format."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import orjson

from yasdg_app.messages.reference import amount
from yasdg_app.messages.times import time_text
from yasdg_app.shop.demand import Ints
from yasdg_app.truth.events import COSTED, COUNTED, MONEY
from yasdg_app.truth.tumbling import Span
from yasdg_app.truth.windows import Keys, SumRows

VALUES = (*(name for name in COUNTED if name != COSTED), "closing_stock")
"""Columns after the window and the key."""

ROW_GROUP_ROWS = 100_000  # rows of a row group of Parquet
DIGITS = 18  # of an amount in Parquet: DuckDB keeps it in 64 bits
SPECIAL = frozenset(',"\r\n')  # characters that need quotes in CSV


class Table(Protocol):
    """Converts rows to the bytes of a file."""

    def rows(self, rows: SumRows) -> bytes:
        """Return the bytes to write next."""

    def end(self) -> bytes:
        """Return the last bytes to write."""


class _Text:
    """A table of text lines."""

    def __init__(self, keys: Keys, span: Span) -> None:
        self._keys, self._span = keys, span

    def end(self) -> bytes:
        return b""

    def _columns(self, rows: SumRows, money: Callable[[int], Any], none: Any) -> Iterator[list[Any]]:
        start, end = self._span.edges(rows.number)
        for edge in (start, end):
            each, of = np.unique(edge, return_inverse=True)  # many rows share a window
            texts = [time_text(at) for at in each.tolist()]
            yield [texts[place] for place in of.tolist()]
        yield rows.key.tolist()
        for name in VALUES:
            values: list[Any] = rows.column(name).tolist()
            if name in MONEY:
                values = [money(value) for value in values]
            if name == "cost":
                for row in np.flatnonzero(no_cost(rows)).tolist():
                    values[row] = none
            yield values


class Csv(_Text):
    """Comma-separated lines, after one with the names of the columns."""

    def __init__(self, keys: Keys, span: Span) -> None:
        super().__init__(keys, span)
        self._names = [_quoted(name) for name in keys.names]
        self._head = ",".join(("window_start", "window_end", keys.column, *VALUES)) + "\n"

    def rows(self, rows: SumRows) -> bytes:
        names = self._names
        head, self._head = self._head, ""
        columns = self._columns(rows, _decimal, "")
        lines = (
            f"{start},{end},{names[key]},{','.join(map(str, values))}\n"
            for start, end, key, *values in zip(*columns, strict=True)
        )
        return (head + "".join(lines)).encode()


class JsonLines(_Text):
    """One JSON object per line."""

    def rows(self, rows: SumRows) -> bytes:
        names, columns = self._keys.names, ("window_start", "window_end", self._keys.column, *VALUES)
        lines = (
            orjson.dumps(dict(zip(columns, (start, end, names[key], *values), strict=True)))
            for start, end, key, *values in zip(*self._columns(rows, amount, None), strict=True)
        )
        return b"".join(line + b"\n" for line in lines)


class Parquet:
    """Columns: times are timestamps in UTC, amounts decimals."""

    def __init__(self, keys: Keys, span: Span) -> None:
        import pyarrow as pa  # importing it takes a second, and only this needs it
        from pyarrow import parquet

        self._pa, self._keys, self._span = pa, keys, span
        time = pa.timestamp("us", tz="UTC")
        kinds = [pa.decimal128(DIGITS, 2) if name in MONEY else pa.int64() for name in VALUES]
        fields = zip(
            ("window_start", "window_end", keys.column, *VALUES), (time, time, pa.string(), *kinds), strict=True
        )
        self._schema = pa.schema([pa.field(name, kind, nullable=name == "cost") for name, kind in fields])
        self._names = pa.array(keys.names, pa.string())
        self._bytes = _Bytes()
        self._writer = parquet.ParquetWriter(self._bytes, self._schema)
        self._waiting: list[Any] = []
        self._count = 0

    def rows(self, rows: SumRows) -> bytes:
        if len(rows):
            self._waiting.append(self._table(rows))
            self._count += len(rows)
        if self._count >= ROW_GROUP_ROWS:
            self._flush()
        return self._bytes.taken()

    def end(self) -> bytes:
        self._flush()
        self._writer.close()
        return self._bytes.taken()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(self._pa.concat_tables(self._waiting), row_group_size=ROW_GROUP_ROWS)
        self._waiting, self._count = [], 0

    def _table(self, rows: SumRows) -> Any:
        pa = self._pa
        start, end = (pa.array(edge).cast(self._schema.field(0).type) for edge in self._span.edges(rows.number))
        columns = [start, end, self._names.take(pa.array(rows.key))]
        for name in VALUES:
            values = rows.column(name)
            if name in MONEY:
                columns.append(self._decimals(values, ~no_cost(rows) if name == "cost" else None))
            else:
                columns.append(pa.array(np.ascontiguousarray(values)))
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _decimals(self, cents: Ints, there: Any) -> Any:
        """Return cents as decimals: 128-bit numbers, lower half first."""
        pa = self._pa
        halves = np.stack([cents, cents >> 63], axis=1).astype("<i8")
        mask = None if there is None else pa.py_buffer(np.packbits(there, bitorder="little").tobytes())
        kind = pa.decimal128(DIGITS, 2)
        return pa.Array.from_buffers(kind, len(cents), [mask, pa.py_buffer(halves.tobytes())])


class _Bytes:
    """A file for the Parquet writer; what was written can be taken out."""

    closed = False

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


FORMATS: dict[str, Callable[[Keys, Span], Table]] = {"csv": Csv, "json": JsonLines, "parquet": Parquet}


def no_cost(rows: SumRows) -> Any:
    """Return for each row whether its cost is unknown: none of its sales has one. Rows without sales cost nothing."""
    return (rows.column(COSTED) == 0) & (rows.column("sales") > 0)


def _decimal(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if SPECIAL & set(text) else text
