"""Reads an engine's output: CSV, JSON lines or Parquet, one file or a folder of parts, batch by batch."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from yasdg_app.errors import YasdgError
from yasdg_app.text import printable

KINDS = ("csv", "json", "parquet")
SUFFIXES = {
    ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
PACKED = (".gz", ".zst", ".bz2", ".lz4")
NOTHING = ("", "null", "NULL", "\\N")
BATCH_ROWS = 65_536  # rows
READ_BYTES = 2**24  # bytes
JSON_HEAD_LINES = 10_000  # JSON lines that are read to find the columns
NAMES = ("transaction_id", "product_id", "category", "substituted_from")
"""Columns of names: a text such as NULL may be a name, so it is not read as a null, as it is in numeric columns."""


class FileError(YasdgError):
    """An engine's output cannot be read."""


class EngineBatch(NamedTuple):
    """Some rows: Arrow arrays by the names of the requested columns."""

    columns: dict[str, Any]
    rows: int
    unreadable: Sequence[str] = ()  # places of rows that cannot be read, with the reason


class Source:
    """A file, or a folder with the parts of one, as Spark writes it.

    Parameters
    ----------
    path
        Path of the file or folder.
    kind
        One of KINDS; None: by the name.

    Attributes
    ----------
    seen
        Names of all columns found so far: any JSON line may add new ones.
    """

    def __init__(self, path: Path, kind: str | None) -> None:
        self._path = path
        self._parts = self._found(path)
        self._kind = kind or self._kind_of(self._parts[0])
        self.seen: dict[str, None] = {}

    @staticmethod
    def _found(path: Path) -> list[Path]:
        if not path.exists():
            raise FileError(f"{_named(path)}: file not found")
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise FileError(f"{_named(path)}: expected a file or a folder, since it is read more than once")
        inside = (part for part in path.rglob("*") if part.is_file())
        hidden = (".", "_")
        parts = [part for part in inside if not any(n.startswith(hidden) for n in part.relative_to(path).parts)]
        if not parts:
            raise FileError(f"{_named(path)}: the folder contains no file")
        return sorted(parts)

    @staticmethod
    def _kind_of(part: Path) -> str:
        suffixes = [suffix for suffix in part.suffixes if suffix.lower() not in PACKED]
        kind = SUFFIXES.get(suffixes[-1].lower()) if suffixes else None
        if kind is None:
            raise FileError(f"{_named(part)}: the format is not clear from the name. Set --format {', '.join(KINDS)}")
        return kind

    def columns(self) -> list[str]:
        """Return the names of the columns of all parts; of JSON lines, those of the first lines. Raises FileError."""
        for part in self._parts:
            try:
                self.seen |= dict.fromkeys(self._columns(part))
            except _reading_errors() as error:
                raise FileError(f"{_named(part)}: {_why(error)}") from None
        return list(self.seen)

    def batches(self, wanted: Sequence[str]) -> Iterator[EngineBatch]:
        """Yield all rows; `wanted`: names of columns. Raises FileError."""
        for part in self._parts:
            where = _named(part) if len(self._parts) > 1 else ""
            batches = self._batches(part, wanted)
            while True:
                try:
                    batch = next(batches, None)
                except _reading_errors() as error:
                    raise FileError(f"{_named(part)}: {_why(error)}") from None
                if batch is None:
                    break
                unreadable = [f"{where} {each}".strip() for each in batch.unreadable]
                yield EngineBatch(_all_of(wanted, batch), batch.rows, unreadable)

    def _batches(self, part: Path, wanted: Sequence[str]) -> Iterator[EngineBatch]:
        if self._kind == "json":
            return _json(part, wanted, self.seen)
        names = self._columns(part)
        twice = sorted(name for name, count in Counter(names).items() if count > 1 and name in wanted)
        if twice:
            raise FileError(f"{_named(part)}: the column {printable(', '.join(twice))} occurs more than once")
        return (_csv if self._kind == "csv" else _parquet)(part, wanted)

    def _columns(self, part: Path) -> list[str]:
        if self._kind == "parquet":
            from pyarrow import parquet

            return list(parquet.read_schema(part).names)
        lines = (line for piece in _pieces(part) for line in piece)
        if self._kind == "csv":
            return _head(lines)
        # Some engines omit nulls, so the first line alone is not enough.
        return list(dict.fromkeys(name for line in islice(lines, JSON_HEAD_LINES) for name in _object(line) or ()))


def _reading_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of the CSV, JSON and Parquet readers for damaged files and files of another kind."""
    import pyarrow as pa

    others = OSError, ValueError, EOFError, LookupError, TypeError, NotImplementedError, OverflowError, MemoryError
    return (pa.ArrowException, csv.Error, *others)


def _named(path: Path) -> str:
    return printable(str(path), 4096)


def _why(error: Exception) -> str:
    lines = str(getattr(error, "strerror", None) or error).splitlines()
    return printable(lines[0] if lines else type(error).__name__, 500)


def _all_of(wanted: Sequence[str], batch: EngineBatch) -> dict[str, Any]:
    """Return all requested columns: nulls where a part lacks a column that other parts have."""
    import pyarrow as pa

    return {name: batch.columns[name] if name in batch.columns else pa.nulls(batch.rows) for name in wanted}


def _pieces(part: Path) -> Iterator[list[bytes]]:
    """Yield the lines of a file, many at a time."""
    import pyarrow as pa

    rest = b""
    with pa.input_stream(str(part), compression="detect") as stream:
        while data := stream.read(READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            yield lines
    if rest:
        yield [rest]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _json(part: Path, wanted: Sequence[str], seen: dict[str, None]) -> Iterator[EngineBatch]:
    import pyarrow as pa

    number = 0
    for piece in _pieces(part):
        for start in range(0, len(piece), BATCH_ROWS):
            objects, unreadable = [], []
            for line in piece[start : start + BATCH_ROWS]:
                number += 1
                found = _object(line)
                if found is not None:
                    objects.append(found)
                    if not found.keys() <= seen.keys():
                        seen |= dict.fromkeys(found)
                elif line.strip():
                    unreadable.append(f"line {number}: {line[:80].decode(errors='replace')!r}")
            columns = {}
            for name in wanted:
                values = [each.get(name) for each in objects]
                try:
                    columns[name] = pa.array(values)
                except (pa.ArrowException, OverflowError):  # numbers and texts mixed, or a number too large
                    columns[name] = pa.array([None if value is None else str(value) for value in values])
            yield EngineBatch(columns, len(objects), unreadable)


def _head(lines: Iterator[bytes]) -> list[str]:
    """Return the column names: the first line that is not empty, or several lines if a quoted name spans them."""
    texts = (f"{line.decode('utf-8-sig', 'replace').rstrip(chr(13))}\n" for line in lines)
    return next(csv.reader(dropwhile(lambda text: not text.strip(), texts)), [])


def _csv(part: Path, wanted: Sequence[str]) -> Iterator[EngineBatch]:
    import pyarrow as pa
    from pyarrow import csv as arrow

    unreadable: list[str] = []

    def note(row: Any) -> str:
        unreadable.append(f"line {row.number or '?'}: {row.text[:80]!r}")
        return "skip"

    lines = (line for piece in _pieces(part) for line in piece)
    names = _head(lines)
    if not names:
        return
    here = [name for name in wanted if name in names]
    if not here:
        raise FileError(f"{_named(part)}: its first line has none of the columns {', '.join(wanted)}")
    if not any(map(bytes.strip, lines)):
        return  # no rows
    # As text: the column defines the type, not the first values.
    options = arrow.ConvertOptions(
        column_types=dict.fromkeys(here, pa.binary()), include_columns=here, strings_can_be_null=False,
    )  # fmt: skip
    with (
        pa.input_stream(str(part), compression="detect") as file,
        arrow.open_csv(
            _Utf8(file),
            read_options=arrow.ReadOptions(use_threads=False),
            parse_options=arrow.ParseOptions(invalid_row_handler=note, newlines_in_values=True),
            convert_options=options,
        ) as reader,
    ):
        for batch in reader:
            columns = {
                name: _decoded(column if name in NAMES else _with_nulls(column))
                for name, column in zip(here, batch.columns, strict=True)
            }
            yield EngineBatch(columns, batch.num_rows, tuple(unreadable))
            unreadable.clear()
    if unreadable:
        yield EngineBatch({}, 0, tuple(unreadable))


class _Utf8(io.RawIOBase):
    """The bytes of a file as UTF-8: each invalid byte is read as U+FFFD, so that only its row differs."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size or size < 0:
            data = self._file.read(max(size, READ_BYTES) if size >= 0 else None)
            self._rest += self._decode(data, not data).encode()
            if not data:
                break
        end = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:end], self._rest[end:]
        return data


def _with_nulls(column: Any) -> Any:
    """Return CSV bytes with nulls for empty fields and for the texts that engines write for a null."""
    import pyarrow as pa
    from pyarrow import compute

    nothing = compute.is_in(column, pa.array([each.encode() for each in NOTHING]))
    return compute.if_else(nothing, pa.scalar(None, pa.binary()), column)


def _decoded(column: Any) -> Any:
    """Return bytes as texts; invalid UTF-8 is marked, so that only its row differs."""
    import pyarrow as pa

    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if value is None else value.decode(errors="replace") for value in column.to_pylist()]
        return pa.array(texts, pa.string())


def _parquet(part: Path, wanted: Sequence[str]) -> Iterator[EngineBatch]:
    from pyarrow import parquet

    with parquet.ParquetFile(part) as file:
        here = [name for name in wanted if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH_ROWS, columns=here):
            columns = {name: _plain(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
            yield EngineBatch(columns, batch.num_rows)


def _plain(column: Any) -> Any:
    """Return a Parquet column without its dictionary, and with texts as UTF-8."""
    import pyarrow as pa

    if hasattr(column, "dictionary_decode"):
        column = column.dictionary_decode()
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return _decoded(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            return _decoded(column.cast(pa.binary()))
    return column
