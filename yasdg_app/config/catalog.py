"""Reads a catalog, such as products.csv, into the shop's products.

The file has one product per line; docs/catalog.md describes its columns. This module must not know how products are
sold: it reads, validates, and adds up the weights.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from yasdg_app.config.catalog_text import BLANKS, SEPARATORS, Separator, SeparatorError, decode, find_separator, rows
from yasdg_app.config.rules import InvalidValueError, Rule, money, normalized_id, number, suggestion, whole
from yasdg_app.config.settings import LARGEST_QUANTITY
from yasdg_app.errors import ConfigurationError
from yasdg_app.text import printable, printable_path

MOST_PROBLEMS = 100
"""Problems reported one by one; of the rest only the count: a wrong separator in a million lines is one mistake."""

# C0, DEL and C1, line and paragraph separators, and characters that reverse the writing direction. They can forge log
# lines, and PostgreSQL does not accept NUL.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
MAX_ID_CHARACTERS = 64
_NOT_IDS = (".", "..")  # browsers and HTTP clients remove them from paths such as /inventory/../
_DECIMAL_COMMA = re.compile("[0-9]*,[0-9]{1,2}")
_THOUSANDS = re.compile(r",[0-9]{3}(?![0-9])|[0-9][.,'’\s][0-9]+[.,'’\s][0-9]")
"""A comma before three digits, or two separators between digits."""
_BOOLEANS = {"TRUE": True, "1": True, "FALSE": False, "0": False}


class CatalogError(ConfigurationError):
    """The product catalog is invalid."""


@dataclass(frozen=True, slots=True)
class Product:
    """One line of the catalog."""

    product_id: str
    """1 to 64 printable characters, in normal form C."""
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
    other_group: int | None = None
    """The supplement group, if the file gives another one than the id implies."""

    @property
    def weight(self) -> int | float:
        """Relative frequency with which customers ask for the product."""
        return self.category_weight * self.item_weight

    @property
    def supplement_group(self) -> int:
        """1 or 2: how often customers add supplements; 0: they never do."""
        return _group_of(self.product_id) if self.other_group is None else self.other_group


def _group_of(product_id: str) -> int:
    """Return the supplement group that an id implies: 1 for Superfoods and Supercharged, 2 for all others."""
    return 1 if product_id.startswith(("SF", "SC")) else 2


TEXTS = ("category", "item", "size")
"""Product fields that hold free text."""


def fingerprinted(products: Sequence[Product]) -> Iterator[dict[str, Any]]:
    """Yield what identifies a catalog: the fields of each product, with its texts as written in the file.

    Early versions did not strip blanks. A shop opened by one of them can continue with the same file, because the texts
    are hashed with their blanks. If two categories differ only in blanks, stripping them makes it a different shop, so
    the stripped texts are hashed instead.
    """
    names = [each.name for each in fields(Product) if each.name not in ("written", "other_group")]
    here = {product.category for product in products}
    as_written = len({product.category if product.written is None else product.written[0] for product in products})
    for product in products:
        told = {name: getattr(product, name) for name in names}
        if product.written is not None and as_written == len(here):
            told |= zip(TEXTS, product.written, strict=True)
        if product.other_group is not None:  # the fingerprint of catalogs without the column is as before it existed
            told["supplement_group"] = product.other_group
        yield told


def _parse_id(text: str) -> str:
    written = text.strip(BLANKS)
    if not written.isprintable():  # the normal form may have fewer characters, and is printable if this text is
        at = next(place for place, character in enumerate(written) if not character.isprintable())
        raise InvalidValueError(f"{_ID.expected}: remove U+{ord(written[at]):04X} at character {at + 1}")
    product_id = normalized_id(written)
    if len(product_id) > MAX_ID_CHARACTERS:
        raise InvalidValueError(f"{_ID.expected}; it has {len(product_id)}")
    if not product_id or product_id in _NOT_IDS:
        raise ValueError
    return product_id


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


def _parse_group(text: str) -> int | None:
    if text not in ("0", "1", "2", ""):
        raise ValueError
    return int(text) if text else None


def _with_decimal_comma(rule: Rule[Any], separator: str) -> Rule[Any]:
    """Return a rule for amounts that accepts 4,99 where it can mean nothing else.

    Between commas it may be two cells that were to be quoted, and 1,234 may be 1234.
    """

    def parse(text: str) -> Any:
        if "," not in text:
            return rule.parse(text)
        if separator == ",":
            why = "a decimal comma needs another separator between the columns, such as semicolons"
            raise InvalidValueError(f"{rule.expected}, with a decimal point: {why}")
        if not _DECIMAL_COMMA.fullmatch(text.strip(BLANKS)):
            why = ", without separators between thousands" if _THOUSANDS.search(text) else ""
            raise InvalidValueError(f"{rule.expected}{why}")
        return rule.parse(text.replace(",", "."))

    return Rule(parse, rule.expected)


# The id is the key of every message and part of every transaction_id. What is printable depends on Python's version of
# Unicode, but for characters that have been assigned neither that nor their normal form changes.
_ID = Rule(_parse_id, f"1 to {MAX_ID_CHARACTERS} printable characters other than . and ..")
_TEXT = _stripped(Rule(_parse_text, "a text"))
_MONEY = _stripped(money())
_PRICE = Rule(lambda text: int(_MONEY.parse(text) * 100), _MONEY.expected)
_COST = Rule(lambda text: _PRICE.parse(text) if text.strip(BLANKS) else None, f"nothing, or {_MONEY.expected}")
_INVENTORY = _stripped(whole(LARGEST_QUANTITY, 10**9, f", because one sale takes up to {LARGEST_QUANTITY}"))
_BOOLEAN = Rule(_parse_boolean, "TRUE, FALSE, 1 or 0")
_WEIGHT = _stripped(number(1_000_000))  # so the weights of a million products add up to less than 2**63
_GROUP = _stripped(Rule(_parse_group, "0, 1, 2 or nothing"))

# In the order of Product's fields, of which range_weight and written are added. The file may have its columns in any
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
    "SupplementGroup": _GROUP,
}
_AMOUNTS = ("Price", "COGS")
DEFAULTS = {
    "Category": "Products",
    "Size": "",
    "COGS": "",
    "Inventory": "50",
    "ContainsFruit": "FALSE",
    "ContainsVeggies": "FALSE",
    "ContainsNuts": "FALSE",
    "ContainsCaffeine": "FALSE",
    "_CatWeight": "1",
    "_ItemWeight": "1",
    "SupplementGroup": "",
}
"""What a missing column is read as, in each row. A column that is not listed is required."""
REQUIRED = tuple(name for name in _COLUMNS if name not in DEFAULTS)
_NEVER_MISSED = ("COGS", "SupplementGroup")
"""Files without these have always been accepted, whatever other columns they have."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of one file. A missing optional column has a position after those of the file; see `_columns`."""

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
    problems = _Problems(name)
    try:
        data = io.BytesIO(decode(path.read_bytes(), name))
        separator = find_separator(data, [column.lower() for column in REQUIRED])
    except OSError as error:
        raise CatalogError([f"{name}: cannot be read: {error.strerror or error}"]) from None
    except SeparatorError as error:
        raise CatalogError([f"{name}:{error.line}: {error}"]) from None
    except ConfigurationError as error:
        raise CatalogError(error.problems) from None
    products = tuple(_products(data, separator, problems))
    problems.raise_if_any()
    if not products:
        problems.add(None, "expected at least one product below the header")
    elif products[-1].range_weight == 0:
        problems.add(None, "_CatWeight × _ItemWeight is 0 for every product: expected at least one above 0")
    problems.raise_if_any()
    return products


def _products(data: io.BytesIO, separator: Separator, problems: _Problems) -> Iterator[Product]:
    """Yield the products of all valid lines; add what is wrong with the other lines to `problems`."""
    lines = _valid_rows(data, separator, problems)
    header_line, header = next(lines, (None, []))
    if not header:
        problems.add(None, "empty: expected a header and at least one product")
        return
    columns, missing = _columns(header_line, header, separator.character, problems)
    texts = [column.position for column in columns if column.name.lower() in TEXTS]
    id_position = next((column.position for column in columns if column.name == "ID"), None)
    range_weight: int | float = 0
    seen: dict[str, int] = {}  # line on which each id was first seen; there may be a million
    respelled: dict[str, str] = {}  # ids that were not in their normal form there, as written
    for line, row in lines:
        if len(row) != len(header):
            problems.add(line, f"cells = {len(row)}: expected {len(header)}, as in the header")
            continue
        row += missing
        try:
            values = [column.parse(row[column.position]) for column in columns]
        except ValueError:
            values = []
            for column in columns:
                _try(column, row[column.position], line, problems)
        if id_position is not None and (written_id := row[id_position].strip(BLANKS)):
            product_id = normalized_id(written_id)
            first = seen.setdefault(product_id, line)
            if first == line:
                if written_id != product_id:
                    respelled[product_id] = written_id
            else:
                other = respelled.get(product_id, product_id) != written_id
                how = " (the same letters, composed of other characters)" if other else ""
                problems.add(line, f"ID = {printable(product_id)}: expected another id than line {first}{how}")
        if len(values) == len(_COLUMNS):
            *values, group = values
            range_weight += values[-2] * values[-1]
            values.append(range_weight)
            written = tuple(row[position] for position in texts)
            values.append(None if written == tuple(values[1:4]) else written)
            values.append(None if group == _group_of(values[0]) else group)
            yield Product(*values)


def _try(column: _Column, cell: str, line: int, problems: _Problems) -> None:
    try:
        column.parse(cell)
    except InvalidValueError as error:
        problems.add(line, f"{column.name} = {printable(cell)}: expected {error}")
    except ValueError:
        problems.add(line, f"{column.name} = {printable(cell)}: expected {column.expected}")


def _valid_rows(data: io.BytesIO, separator: Separator, problems: _Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a file from the header on, with their lines; report what is not CSV."""
    for number_of_row, (line, row) in enumerate(rows(data, separator.character)):
        if isinstance(row, csv.Error):
            problems.add(line, f"not CSV: {row}")
        elif number_of_row or not separator.has_line:
            yield line, row


def _columns(
    line: int | None, header: list[str], separator: str, problems: _Problems
) -> tuple[list[_Column], list[str]]:
    """Return the columns to read, in the order of Product's fields, and the cells to append to each row.

    A missing optional column is read from a cell that is appended to each row, with its default. Missing required
    columns are reported and skipped.
    """
    names = [name.strip(BLANKS) for name in header]
    ours = {name.casefold() for name in _COLUMNS}
    others = [name for name in names if name.casefold() not in ours]
    columns: list[_Column] = []
    missing: list[str] = []
    for name, rule in _COLUMNS.items():
        here = [position for position, each in enumerate(names) if each == name]
        # If several names differ only in case, the exact spelling wins; the others are extra columns.
        here = here or [position for position, each in enumerate(names) if each.casefold() == name.casefold()]
        if not here:
            found = suggestion(name, others)
            if name in REQUIRED:
                between = f" (there are {SEPARATORS[separator]} between the columns)" if separator != "," else ""
                hint = "" if found is None else f"; did you mean {printable(found)}?"
                problems.add(line, f"column {name} is missing{between}{hint}")
                continue
            if found is not None and name not in _NEVER_MISSED:
                problems.add(line, f"column {printable(found)}: unknown; did you mean {name}?")
            missing.append(DEFAULTS[name])
        elif len(here) > 1:
            problems.add(line, f"column {name}: found {len(here)} times")
        position = here[0] if here else len(names) + len(missing) - 1
        own = _with_decimal_comma(rule, separator) if name in _AMOUNTS else rule
        # Most columns have few distinct values. Caching them lets a million lines load in seconds, and equal values
        # share one object.
        parse = own.parse if name == "ID" else lru_cache(maxsize=1024)(own.parse)
        columns.append(_Column(name, position, parse, own.expected))
    return columns, missing
