"""Reads what an engine has written: CSV, lines of JSON or Parquet, one file or a folder of parts, batch by batch."""

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from yasdg_app.errors import YasdgError

KINDS = ("csv", "json", "parquet")
SUFFIXES = {
    ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
PACKED = (".gz", ".zst", ".bz2", ".lz4")
NOTHING = ("", "null", "NULL", "\\N")
BATCH = 65_536  # rows
PIECE = 2**24  # bytes
HEAD = 10_000  # lines of JSON by which is told what columns there are


class FileError(YasdgError):
    """What an engine has written cannot be read."""


class Batch(NamedTuple):
    """Some rows: Arrow arrays by the names of the columns that were asked for."""

    columns: dict[str, Any]
    rows: int
    unreadable: Sequence[str] = ()  # where rows stand that cannot be read, with the reason


class Source:
    """A file, or a folder with parts of one, as Spark writes it.

    Parameters
    ----------
    path
        Where it is.
    kind
        One of KINDS; None: by the name.
    """

    def __init__(self, path: Path, kind: str | None) -> None:
        self._path = path
        self._parts = self._found(path)
        self._kind = kind or self._kind_of(self._parts[0])
        self.size = sum(part.stat().st_size for part in self._parts)

    @staticmethod
    def _found(path: Path) -> list[Path]:
        if not path.exists():
            raise FileError(f"{path}: there is no such file")
        if not path.is_dir():
            return [path]
        inside = (part for part in path.rglob("*") if part.is_file())
        hidden = (".", "_")
        parts = [part for part in inside if not any(n.startswith(hidden) for n in part.relative_to(path).parts)]
        if not parts:
            raise FileError(f"{path}: there is no file in this folder")
        return sorted(parts)

    @staticmethod
    def _kind_of(part: Path) -> str:
        suffixes = [suffix for suffix in part.suffixes if suffix.lower() not in PACKED]
        kind = SUFFIXES.get(suffixes[-1].lower()) if suffixes else None
        if kind is None:
            raise FileError(f"{part}: the name does not tell what it is. Say --format {', '.join(KINDS)}")
        return kind

    def columns(self) -> list[str]:
        """Return the names of the columns, those of lines of JSON as the first of them have it. Raises FileError."""
        for part in self._parts:
            try:
                if found := self._columns(part):
                    return found
            except (OSError, ValueError) as error:
                raise FileError(f"{part}: {_why(error)}") from None
        return []

    def batches(self, wanted: Sequence[str]) -> Iterator[Batch]:
        """Yield all rows; `wanted`: names of columns. Raises FileError."""
        read = {"csv": _csv, "json": _json, "parquet": _parquet}[self._kind]
        for part in self._parts:
            where = str(part) if len(self._parts) > 1 else ""
            try:
                for batch in read(part, wanted):
                    unreadable = [f"{where} {each}".strip() for each in batch.unreadable]
                    yield Batch(_all_of(wanted, batch), batch.rows, unreadable)
            except (OSError, ValueError) as error:
                raise FileError(f"{part}: {_why(error)}") from None

    def _columns(self, part: Path) -> list[str]:
        if self._kind == "parquet":
            from pyarrow import parquet

            return list(parquet.read_schema(part).names)
        lines = (line for piece in _pieces(part) for line in piece)
        if self._kind == "csv":
            return _head(next(filter(bytes.strip, lines), b""))
        # Some engines leave out what is null, so the first line alone does not tell.
        return list(dict.fromkeys(name for line in islice(lines, HEAD) for name in _object(line) or ()))


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


def _all_of(wanted: Sequence[str], batch: Batch) -> dict[str, Any]:
    """Return all columns that were asked for: nulls where a part does not have one that others have."""
    import pyarrow as pa

    return {name: batch.columns[name] if name in batch.columns else pa.nulls(batch.rows) for name in wanted}


def _pieces(part: Path) -> Iterator[list[bytes]]:
    """Yield the lines of a file, many at a time."""
    import pyarrow as pa

    rest = b""
    with pa.input_stream(str(part), compression="detect") as stream:
        while data := stream.read(PIECE):
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


def _json(part: Path, wanted: Sequence[str]) -> Iterator[Batch]:
    import pyarrow as pa

    number = 0
    for piece in _pieces(part):
        for start in range(0, len(piece), BATCH):
            objects, unreadable = [], []
            for line in piece[start : start + BATCH]:
                number += 1
                found = _object(line)
                if found is not None:
                    objects.append(found)
                elif line.strip():
                    unreadable.append(f"line {number}: {line[:80].decode(errors='replace')!r}")
            columns = {}
            for name in wanted:
                values = [each.get(name) for each in objects]
                try:
                    columns[name] = pa.array(values)
                except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # a number here, a text there, or too large
                    columns[name] = pa.array([None if value is None else str(value) for value in values])
            yield Batch(columns, len(objects), unreadable)


def _head(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8-sig", "replace").rstrip("\r")]), [])


def _csv(part: Path, wanted: Sequence[str]) -> Iterator[Batch]:
    import pyarrow as pa
    from pyarrow import csv as arrow

    unreadable: list[str] = []

    def note(row: Any) -> str:
        unreadable.append(f"line {row.number or '?'}: {row.text[:80]!r}")
        return "skip"

    first = next((line for piece in _pieces(part) for line in piece if line.strip()), None)
    if first is None:
        return
    names = _head(first)
    here = [name for name in wanted if name in names]
    if not here:
        raise FileError(f"{part}: its first line has none of the columns {', '.join(wanted)}")
    # As text: what it means is told by the column, not by the look of its first values.
    options = arrow.ConvertOptions(
        column_types=dict.fromkeys(here, pa.binary()), include_columns=here, strings_can_be_null=True,
        quoted_strings_can_be_null=False, null_values=list(NOTHING),
    )  # fmt: skip
    with arrow.open_csv(
        str(part),
        read_options=arrow.ReadOptions(use_threads=False),
        parse_options=arrow.ParseOptions(invalid_row_handler=note, newlines_in_values=True),
        convert_options=options,
    ) as reader:
        for batch in reader:
            columns = dict(zip(here, map(_decoded, batch.columns), strict=True))
            yield Batch(columns, batch.num_rows, tuple(unreadable))
            unreadable.clear()
    if unreadable:
        yield Batch({}, 0, tuple(unreadable))


def _decoded(column: Any) -> Any:
    """Return bytes as texts; what is no UTF-8 is marked as such, so that only its row differs."""
    import pyarrow as pa

    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [None if value is None else value.decode(errors="replace") for value in column.to_pylist()]
        return pa.array(texts, pa.string())


def _parquet(part: Path, wanted: Sequence[str]) -> Iterator[Batch]:
    from pyarrow import parquet

    with parquet.ParquetFile(part) as file:
        here = [name for name in wanted if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH, columns=here):
            columns = {
                name: column.dictionary_decode() if hasattr(column, "dictionary_decode") else column
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
            yield Batch(columns, batch.num_rows)
