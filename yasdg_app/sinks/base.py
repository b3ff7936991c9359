"""What a datastore keeps of a product, which of two rows is the newer one, and what any datastore can do.

A row says of which sale its level is: the number of the product's last sale, which only grows, and the level is a
function of it. A shop that is opened anew begins to count again, so a row also says when its shop was opened. Whoever
writes, and in whatever order, the row with the later opening and the higher number stays. Pure, but for the protocol.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from yasdg_app.errors import YasdgError

TABLE = "inventory"
"""Name of the table, where the address does not say it."""
CONNECT = 3.0
"""Seconds in which a datastore has to take a connection."""
PATIENCE = 10.0
"""Seconds in which it has to answer."""


class Level(NamedTuple):
    """The level of a product, as a row of the datastore; its fields are the columns, in their order."""

    product_id: str
    item: str  # these three as the catalog has them
    category: str
    price_cents: int  # the column is the price, in the currency of the shop
    level: int
    sales: int  # number of the sale that the level is of; 0: none was sold yet
    last_sale: str  # event time of that sale, YYYY-MM-DD HH:MM:SS.ffffff, UTC; "" if there was none
    shop_opened: str  # time when the shop was opened whose sales these are, likewise

    @property
    def place(self) -> tuple[str, int]:
        """What decides which row of a product is the newer one."""
        return self.shop_opened, self.sales


COLUMNS = ("product_id", "item", "category", "price", "level", "sales", "last_sale", "shop_opened")

NEWER_STAYS = f"""
ON CONFLICT (product_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])}
WHERE (excluded.shop_opened, excluded.sales) >= (stored.shop_opened, stored.sales)"""
"""The end of an INSERT in SQL into the table AS stored: `Level.place` decides which row stays."""


class DatastoreError(YasdgError):
    """The datastore does not answer, or not as it should: it is to be tried again. The text says why, in a line."""


class DatastoreRefusedError(DatastoreError):
    """The datastore answers, and will not have us: trying again does not help until somebody mends it."""


class Datastore(Protocol):
    """A table of levels somewhere. Used by one task at a time."""

    name: str
    """What it is and where, for people; without a password."""
    batch: int
    """So many rows are written in one go, at most."""

    async def open(self) -> bool:
        """Connect if we are not connected, and make the table if there is none.

        Tell whether rows that were written before may be gone: the connection is a new one, and whoever answers may
        have been restored from a backup, or be a copy that lacks the last of them. Raises DatastoreError.
        """

    async def read(self, product_ids: Sequence[str]) -> dict[str, Level]:
        """Return the rows of these products that are there. Raises DatastoreError."""

    async def write(self, levels: Sequence[Level]) -> None:
        """Write rows of different products, each unless a newer one is there. Raises DatastoreError.

        After an error some of them may be there.
        """

    async def close(self) -> None:
        """Let the connection go. Raises nothing, and may be called again."""


class Compared(NamedTuple):
    """What rows come to that were compared with those stored."""

    to_write: list[Level]  # missing there, older there, or of the same sale and different
    others: list[str]  # when the shops were opened, later than ours, whose rows are there instead


def read_level(columns: Iterable[object]) -> Level:
    """Return the row that stands in the columns; what somebody put there that cannot be is -1 or empty."""
    product_id, item, category, price, level, sales, last_sale, shop_opened = columns
    return Level(
        product_id=_text(product_id),
        item=_text(item),
        category=_text(category),
        price_cents=_whole(price, 100),
        level=_whole(level),
        sales=_whole(sales),
        last_sale=_text(last_sale),
        shop_opened=_text(shop_opened),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any, times: int = 1) -> int:
    try:
        return round(Decimal(value) * times)
    except (ArithmeticError, TypeError, ValueError):
        return -1


def compare(levels: Iterable[Level], stored: Mapping[str, Level]) -> Compared:
    """Compare rows with those that the datastore has; what is equal there needs no write."""
    compared = Compared([], [])
    for level in levels:
        there = stored.get(level.product_id)
        if there is None or (there.place <= level.place and there != level):
            compared.to_write.append(level)
        elif there.shop_opened > level.shop_opened:
            compared.others.append(there.shop_opened)
    return compared


def check_columns(there: Mapping[str, tuple[str, bool]], kinds: Iterable[str]) -> None:
    """See that the columns that are there are ours: the kind of each, and whether it is the key.

    `kinds`: of ours, in their order, as the datastore calls them. Raises DatastoreRefusedError.
    """
    expected = {name: (kind, name == "product_id") for name, kind in zip(COLUMNS, kinds, strict=True)}
    wrong = [name for name, what in expected.items() if there.get(name) != what]
    if wrong:
        raise DatastoreRefusedError(
            f"there is another table {TABLE}, in which these are missing or of another kind: {', '.join(wrong)}. "
            "Expected none, or one that YASDG made"
        )


def reason(error: BaseException) -> str:
    """Return what an error says, in one line and without a full stop; its kind if it says nothing."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
