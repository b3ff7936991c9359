"""What a datastore stores of a product, which of two rows is newer, and the interface of all datastores.

A row identifies the sale to which its level belongs by the number of the product's last sale. This number only grows,
and the level is a function of it. A shop that is started over counts from the beginning again, so a row also has the
time when its shop was opened. Whichever worker writes, and in whatever order, the row with the later opening and the
higher number is kept. This module is pure, except for the protocol.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from yasdg_app.errors import YasdgError

TABLE = "inventory"
"""Name of the table, unless the address specifies it."""
CONNECT_TIMEOUT_SECONDS = 3.0
"""Timeout for connecting to a datastore, in seconds."""
RESPONSE_TIMEOUT_SECONDS = 10.0
"""Timeout for a response of a datastore, in seconds."""


class StoredLevel(NamedTuple):
    """The level of a product, as a row of the datastore; the fields are its columns, in order."""

    product_id: str
    item: str  # this and the next two as in the catalog
    category: str
    price_cents: int  # the column is the price, in the shop's currency
    level: int
    sales: int  # number of the sale that the level belongs to; 0: none yet
    last_sale: str  # event time of that sale, YYYY-MM-DD HH:MM:SS.ffffff, UTC; "" if there is none
    shop_opened: str  # time when the shop of these sales was opened, same format

    @property
    def version(self) -> tuple[str, int]:
        """Decides which of two rows of a product is newer: the larger value."""
        return self.shop_opened, self.sales


COLUMNS = ("product_id", "item", "category", "price", "level", "sales", "last_sale", "shop_opened")

NEWER_STAYS = f"""
ON CONFLICT (product_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])}
WHERE (excluded.shop_opened, excluded.sales) >= (stored.shop_opened, stored.sales)"""
"""The end of an INSERT in SQL into the table AS stored; `StoredLevel.version` decides which row is kept."""


class DatastoreError(YasdgError):
    """The datastore does not answer, or not as expected: retry the operation. The text says why, in one line."""


class DatastoreRefusedError(DatastoreError):
    """The datastore refuses access or has another schema: retrying does not help until the cause is fixed."""


class Datastore(Protocol):
    """A table of levels. Used by one task at a time."""

    name: str
    """Kind and location for display, without a password."""
    batch: int
    """Highest number of rows written at once."""

    async def open(self) -> bool:
        """Connect unless already connected, and create the table if there is none.

        Return whether rows written before may be lost: the connection is new, and the server may have been restored
        from a backup, or be a replica that lacks the latest rows. Raises DatastoreError.
        """

    async def read(self, product_ids: Sequence[str]) -> dict[str, StoredLevel]:
        """Return the existing rows of these products. Raises DatastoreError."""

    async def write(self, levels: Sequence[StoredLevel]) -> None:
        """Write rows of different products, each unless a newer one exists. Raises DatastoreError.

        After an error, some of the rows may have been written.
        """

    async def close(self) -> None:
        """Close the connection. Raises nothing, and may be called again."""


class Comparison(NamedTuple):
    """The result of comparing rows with those stored."""

    to_write: list[StoredLevel]  # missing in the store, older there, or of the same sale and different
    others: list[str]  # opening times, later than ours, of the shops whose rows are stored instead


def read_level(columns: Iterable[object]) -> StoredLevel:
    """Return the row in the columns; values that are invalid, written by other programs, are read as -1 or empty."""
    product_id, item, category, price, level, sales, last_sale, shop_opened = columns
    return StoredLevel(
        product_id=_text(product_id),
        item=_text(item),
        category=_text(category),
        price_cents=_integer(price, 100),
        level=_integer(level),
        sales=_integer(sales),
        last_sale=_text(last_sale),
        shop_opened=_text(shop_opened),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _integer(value: object, factor: int = 1) -> int:
    if not isinstance(value, (int, float, str, Decimal)):
        return -1
    try:
        return round(Decimal(value) * factor)
    except (ArithmeticError, ValueError):
        return -1


def compare(levels: Iterable[StoredLevel], stored: Mapping[str, StoredLevel]) -> Comparison:
    """Compare rows with those in the datastore; equal rows need no write."""
    comparison = Comparison([], [])
    for level in levels:
        stored_level = stored.get(level.product_id)
        if stored_level is None or (stored_level.version <= level.version and stored_level != level):
            comparison.to_write.append(level)
        elif stored_level.shop_opened > level.shop_opened:
            comparison.others.append(stored_level.shop_opened)
    return comparison


def check_columns(existing: Mapping[str, tuple[str, bool]], kinds: Iterable[str]) -> None:
    """Check that an existing table has our columns: the type of each, and whether it is the key.

    `kinds`: our column types, in order, as the datastore names them. Raises DatastoreRefusedError.
    """
    expected = {name: (kind, name == "product_id") for name, kind in zip(COLUMNS, kinds, strict=True)}
    wrong = [name for name, what in expected.items() if existing.get(name) != what]
    if wrong:
        raise DatastoreRefusedError(
            f"there is another table {TABLE}, in which these are missing or of another kind: {', '.join(wrong)}. "
            "Expected none, or one that YASDG made"
        )


def reason(error: BaseException) -> str:
    """Return the text of an error on one line, without a full stop; its class name if it has no text."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
