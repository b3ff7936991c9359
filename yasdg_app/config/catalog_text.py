"""Finds the encoding of a catalog and the separator between its columns.

Only what can be read in one way is accepted. Everything else is refused with what was found and what to do. This module
must not know what the columns mean.
"""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import NamedTuple

from yasdg_app.errors import ConfigurationError
from yasdg_app.text import printable

BLANKS = "\t\n\v\f\r \xa0\u1680\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
"""Stripped from every cell: white space, no-break spaces (also those of other scripts), byte order marks."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_ANY_SEPARATOR = "commas, semicolons, tabs or vertical bars"
_AS_UTF8 = 'expected a file saved as UTF-8 (in a spreadsheet: "CSV UTF-8")'
_BINARY = {
    b"PK\x03\x04": "a ZIP file, as spreadsheets are stored (.xlsx, .ods): save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet in Excel's old format (.xls): save the sheet as CSV",
    b"\x1f\x8b": "a gzip file: unpack it",
    b"%PDF": "a PDF file: expected CSV",
}
_QUOTED = re.compile('"(?:[^"]|"")*"')
MAX_HEADER_LINES = 100  # which a quoted name may have; a quote that is not closed is reported when all is read
_SEP_LINE = re.compile(r'("?)sep=([^"\r\n]?)\1[\r\n]', re.IGNORECASE)


class SeparatorError(ConfigurationError):
    """The separator cannot be determined. Its only problem does not name the file, as `line` does not."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__([problem])
        self.line = line


class Separator(NamedTuple):
    """The separator of a file, and whether its first line says so instead of being the header: `sep=;`."""

    character: str
    has_line: bool = False


def decode(data: bytes, name: str) -> bytes:
    """Return the text of a file as UTF-8 without a byte order mark. `name`: of the file, in problems.

    Accepted are UTF-8, with or without a byte order mark, and UTF-16 with one. Raises ConfigurationError.
    """
    for magic, found in _BINARY.items():
        if data.startswith(magic):
            raise ConfigurationError([f"{name}: this is {found}"])
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # before UTF-16, whose mark it begins with
        raise ConfigurationError([f"{name}: UTF-32 text: {_AS_UTF8}"])
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16").encode()
        except UnicodeError:
            raise ConfigurationError([f"{name}: damaged UTF-16 text: {_AS_UTF8}"]) from None
    data = data.removeprefix(codecs.BOM_UTF8)
    head = data[:1000]
    if len(head) > 3 and (not any(head[1:-1:2]) or not any(head[:-1:2])):
        raise ConfigurationError([f"{name}: UTF-16 text without a byte order mark: {_AS_UTF8}"])
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line, column = data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start)
        where = f"byte 0x{data[error.start]:02X} at position {column} of the line"
        raise ConfigurationError(
            [f"{name}:{line}: not UTF-8 text ({where}; maybe Windows-1252 or Latin-1): {_AS_UTF8}"]
        ) from None
    return data


def find_separator(data: io.BytesIO, required: Collection[str]) -> Separator:
    """Return the separator of the file in `data`, which is UTF-8. Raises SeparatorError.

    A comma, if the columns `required` (in lower case) are found with it; otherwise the only one in the header.
    """
    told = _told(data)
    if told is not None:
        return told
    line, header = _header(data)
    bare = _QUOTED.sub("", header)
    found = [separator for separator in SEPARATORS if separator in bare]
    if len(found) == 1:
        return Separator(found[0])
    if "," in found:
        with suppress(csv.Error):  # it is reported when all is read
            names = {cell.strip(BLANKS).casefold() for cell in next(csv.reader([header]))}
            if names.issuperset(required):
                return Separator(",")
    if found:
        names_found = " and ".join(SEPARATORS[each] for each in found)
        why = "expected one separator; put names that contain another one in double quotes"
        raise SeparatorError(line, f"the header contains {names_found}: {why}")
    text = header.strip(BLANKS)
    if all(name in text.casefold() for name in required):
        expected = f"expected {_ANY_SEPARATOR} between the columns"
        raise SeparatorError(line, f"{printable(text)}: this is one column: {expected}")
    return Separator(",")


def rows(data: io.BytesIO, separator: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield each row that is not empty, or why it is not CSV, with the line on which it begins."""
    data.seek(0)
    text = io.TextIOWrapper(data, "utf-8", newline="")
    reader = csv.reader(text, delimiter=separator, strict=True)
    try:
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, error
                continue
            if any(cell.strip(BLANKS) for cell in row):  # spreadsheets often end a file with rows of separators only
                yield line, row
    finally:
        text.detach()  # it would close `data`


def _told(data: io.BytesIO) -> Separator | None:
    """Return the separator that a first line such as `sep=;` specifies, as spreadsheets write and read it."""
    data.seek(0)
    found = _SEP_LINE.match(data.read(16).decode(errors="replace"))
    if found is None:
        return None
    if found[2] not in SEPARATORS:
        raise SeparatorError(1, f"sep={printable(found[2])}: expected {_ANY_SEPARATOR} between the columns")
    return Separator(found[2], has_line=True)


def _header(data: io.BytesIO) -> tuple[int, str]:
    """Return the first row that has any text, unparsed, and its line; an empty text if there is none."""
    data.seek(0)
    text = io.TextIOWrapper(data, "utf-8", newline="")
    try:
        for line, first in enumerate(text, 1):
            if first.strip(BLANKS + "".join(SEPARATORS) + '"'):
                header = first
                for _ in range(MAX_HEADER_LINES):
                    if header.count('"') % 2 == 0:
                        break
                    header += text.readline()
                return line, header
        return 1, ""
    finally:
        text.detach()
