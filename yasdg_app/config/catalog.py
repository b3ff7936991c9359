"""Reads products.csv into the shop's products.

The file has one product per line; docs and the seed's README describe its columns. This module must not know how
products are sold: it reads, validates, and adds up the weights.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from yasdg_app.config.files import read_text
from yasdg_app.config.rules import InvalidValueError, Rule, money, number, whole
from yasdg_app.config.settings import LARGEST_QUANTITY
from yasdg_app.errors import ConfigurationError
from yasdg_app.text import printable, printable_path

MOST_PROBLEMS = 100
"""Problems reported one by one; of the rest only the count: a wrong separator in a million lines is one mistake."""

BLANKS = "\t\n\v\f\r \xa0\u1680\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
"""Stripped from every cell: white space, no-break spaces (also those of other scripts), byte order marks."""

# C0, DEL and C1, line and paragraph separators, and characters that reverse the writing direction. They can forge log
# lines, and PostgreSQL does not accept NUL.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_PRODUCT_ID = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_BOOLEANS = {"TRUE": True, "1": True, "FALSE": False, "0": False}


class CatalogError(ConfigurationError):
    """The product catalog is invalid."""


@dataclass(frozen=True, slots=True)
class Product:
    """One line of the catalog."""

    product_id: str
    category: str
    item: str
    """The name that customers use."""
    size: str
    price_cents: int
    """Price of one unit without supplements, in cents."""
    cost_cents: int | None
    """Cost of one unit to the shop, in cents; None if the catalog does not give it."""
    inventory: int
    """Units on the shelf when the shop opens for the first time."""
    contains_fruit: bool
    contains_veggies: bool
    contains_nuts: bool
    contains_caffeine: bool
    category_weight: int | float
    item_weight: int | float
    range_weight: int | float
    """Sum of the weights of this product and of all products above it in the file."""
    written: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    """TEXTS as written in the file, if blanks were stripped from them; used only by the fingerprint."""

    @property
    def weight(self) -> int | float:
        """Relative frequency with which customers ask for the product."""
        return self.category_weight * self.item_weight

    @property
    def supplement_group(self) -> int:
        """1 for Superfoods and Supercharged, whose customers buy supplements more often; 2 for all others."""
        return 1 if self.product_id.startswith(("SF", "SC")) else 2


TEXTS = ("category", "item", "size")
"""Product fields that hold free text."""


def fingerprinted(products: Sequence[Product]) -> Iterator[dict[str, Any]]:
    """Yield what identifies a catalog: the fields of each product, with its texts as written in the file.

    Early versions did not strip blanks. A shop opened by one of them can continue with the same file, because the texts
    are hashed with their blanks. If two categories differ only in blanks, stripping them makes it a different shop, so
    the stripped texts are hashed instead.
    """
    names = [each.name for each in fields(Product) if each.name != "written"]
    here = {product.category for product in products}
    as_written = len({product.category if product.written is None else product.written[0] for product in products})
    for product in products:
        told = {name: getattr(product, name) for name in names}
        if product.written is not None and as_written == len(here):
            told |= zip(TEXTS, product.written, strict=True)
        yield told


def _parse_id(text: str) -> str:
    if not _PRODUCT_ID.fullmatch(text):
        raise ValueError
    return text


def _parse_text(text: str) -> str:
    found = _CONTROL.search(text)
    if found:
        place = f"U+{ord(found[0]):04X} at character {found.start() + 1}"
        raise InvalidValueError(f"a text without control characters: remove {place}")
    return text


def _parse_boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip(BLANKS).upper()]
    except KeyError:
        raise ValueError from None


def _stripped(rule: Rule[Any]) -> Rule[Any]:
    return Rule(lambda text: rule.parse(text.strip(BLANKS)), rule.expected)


# The id is the key of every message and part of every transaction_id, so it must survive all tools unchanged.
_ID = Rule(lambda text: _parse_id(text.strip(BLANKS)), "1 to 64 letters, digits, underscores, dots or hyphens")
_TEXT = _stripped(Rule(_parse_text, "a text"))
_MONEY = _stripped(money())
_PRICE = Rule(lambda text: int(_MONEY.parse(text) * 100), _MONEY.expected)
_COST = Rule(lambda text: _PRICE.parse(text) if text.strip(BLANKS) else None, f"nothing, or {_MONEY.expected}")
_INVENTORY = _stripped(whole(LARGEST_QUANTITY, 10**9, f", because one sale takes up to {LARGEST_QUANTITY}"))
_BOOLEAN = Rule(_parse_boolean, "TRUE, FALSE, 1 or 0")
_WEIGHT = _stripped(number(1_000_000))  # so the weights of a million products add up to less than 2**63

# In the order of Product's fields; the last field, range_weight, is computed. The file may have its columns in any
# order and may have more of them: columns not listed here (_TotalWeight, _RangeWeight, personal notes) are ignored.
_COLUMNS: dict[str, Rule[Any]] = {
    "ID": _ID,
    "Category": _TEXT,
    "Item": _TEXT,
    "Size": _TEXT,
    "Price": _PRICE,
    "COGS": _COST,
    "Inventory": _INVENTORY,
    "ContainsFruit": _BOOLEAN,
    "ContainsVeggies": _BOOLEAN,
    "ContainsNuts": _BOOLEAN,
    "ContainsCaffeine": _BOOLEAN,
    "_CatWeight": _WEIGHT,
    "_ItemWeight": _WEIGHT,
}
_OPTIONAL = {"COGS"}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of one file. A missing optional column has the position after all others."""

    name: str
    position: int
    parse: Callable[[str], Any]
    expected: str


class _Problems:
    """Collects the problems of one file, in bounded space."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._first: list[str] = []
        self._more = 0

    def add(self, line: int | None, text: str) -> None:
        if len(self._first) < MOST_PROBLEMS:
            self._first.append(f"{self._name}:{line}: {text}" if line else f"{self._name}: {text}")
        else:
            self._more += 1

    def raise_if_any(self) -> None:
        if self._first:
            more = [f"{self._name}: and {self._more} more problems"] if self._more else []
            raise CatalogError(self._first + more)


def load(path: Path) -> tuple[Product, ...]:
    """Return the products of the file, in file order: at least one, and at least one with a weight above 0.

    Raises CatalogError, which lists every problem found.
    """
    name = printable_path(path.absolute(), Path.cwd())
    try:
        # Encoded as UTF-8 again, because a StringIO takes four bytes per character.
        data = io.BytesIO(read_text(path, name).encode())
    except ConfigurationError as error:
        raise CatalogError(error.problems) from None
    problems = _Problems(name)
    products = tuple(_products(io.TextIOWrapper(data, "utf-8", newline=""), problems))
    problems.raise_if_any()
    if not products:
        problems.add(None, "expected at least one product below the header")
    elif products[-1].range_weight == 0:
        problems.add(None, "_CatWeight × _ItemWeight is 0 for every product: expected at least one above 0")
    problems.raise_if_any()
    return products


def _products(file: TextIO, problems: _Problems) -> Iterator[Product]:
    """Yield the products of all valid lines; add what is wrong with the other lines to `problems`."""
    rows = _rows(file, problems)
    header_line, header = next(rows, (None, []))
    if not header:
        problems.add(None, "empty: expected a header and at least one product")
        return
    separator = next((each for each in _SEPARATORS if len(header) == 1 and each in header[0]), "")
    if separator:
        found = _SEPARATORS[separator]
        problems.add(header_line, f"its columns have {found} between them: expected commas. Save it as CSV with commas")
        return
    columns = _columns(header_line, header, problems)
    texts = [column.position for column in columns if column.name.lower() in TEXTS]
    id_position = next((column.position for column in columns if column.name == "ID"), None)
    range_weight: int | float = 0
    lines: dict[str, int] = {}  # line on which each id was first seen
    for line, row in rows:
        if len(row) != len(header):
            problems.add(line, f"cells = {len(row)}: expected {len(header)}, as in the header")
            continue
        row.append("")  # the cell of a missing optional column
        try:
            values = [column.parse(row[column.position]) for column in columns]
        except ValueError:
            values = []
            for column in columns:
                _try(column, row[column.position], line, problems)
        product_id = "" if id_position is None else row[id_position].strip(BLANKS)
        if product_id:
            first = lines.setdefault(product_id, line)
            if first != line:
                problems.add(line, f"ID = {printable(product_id)}: expected another id than line {first}")
        if len(values) == len(_COLUMNS):
            range_weight += values[-2] * values[-1]
            values.append(range_weight)
            written = tuple(row[position] for position in texts)
            values.append(None if written == tuple(values[1:4]) else written)
            yield Product(*values)


def _try(column: _Column, cell: str, line: int, problems: _Problems) -> None:
    try:
        column.parse(cell)
    except InvalidValueError as error:
        problems.add(line, f"{column.name} = {printable(cell)}: expected {error}")
    except ValueError:
        problems.add(line, f"{column.name} = {printable(cell)}: expected {column.expected}")


def _rows(file: TextIO, problems: _Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, with the line on which it begins."""
    reader = csv.reader(file, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(line, f"not CSV: {error}")
            continue
        if any(cell.strip(BLANKS) for cell in row):  # spreadsheets often end a file with rows of commas only
            yield line, row


def _columns(line: int | None, header: list[str], problems: _Problems) -> list[_Column]:
    """Return the columns to read, in the order of Product's fields. Report missing required columns and skip them."""
    names = [name.strip(BLANKS) for name in header]
    columns = []
    for name, rule in _COLUMNS.items():
        here = [position for position, each in enumerate(names) if each == name]
        # If several names differ only in case, the exact spelling wins; the others are extra columns.
        here = here or [position for position, each in enumerate(names) if each.casefold() == name.casefold()]
        if not here and name not in _OPTIONAL:
            problems.add(line, f"column {name} is missing")
            continue
        if len(here) > 1:
            problems.add(line, f"column {name}: found {len(here)} times")
        position = here[0] if here else len(names)
        # Most columns have few distinct values. Caching them lets a million lines load in seconds, and equal values
        # share one object.
        parse = rule.parse if name == "ID" else lru_cache(maxsize=1024)(rule.parse)
        columns.append(_Column(name, position, parse, rule.expected))
    return columns
