"""The rows and shelves that a chunk changes, as copies: the table is changed only when the chunk is published."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from operator import attrgetter

from yasdg_app.config.catalog import Product
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.times import event_time, time_text
from yasdg_app.shop.shelf import END_OF_TIME, Shelf
from yasdg_app.shop.supply import Supply

NO_OFFSET = -1

LevelOf = Callable[[str], InventoryLevel | None]
"""Returns the table's row of a product; None if it has none."""


@dataclass(slots=True)
class RowUpdate:
    """A product's table row and shelf, while a chunk is applied to them."""

    row: InventoryLevel
    shelf: Shelf
    last_offset: int = NO_OFFSET  # of the last message that was applied

    def finished_row(self) -> InventoryLevel:
        """Return the row, with the state of the shelf."""
        row, shelf = self.row, self.shelf
        row.level, row.sales, row.sold = shelf.level, shelf.sales, shelf.sold
        row.stockings, row.restocked, row.on_order = shelf.restocks, shelf.restocked, shelf.on_order
        row.ordered_at = time_text(shelf.ordered_at) if shelf.on_order else ""
        row.promised = time_text(shelf.promised) if shelf.promised != END_OF_TIME else ""
        row.margin_cents = row.revenue_cents - row.cost_cents
        return row


class PendingUpdates:
    """The rows that a chunk changes.

    Parameters
    ----------
    level_of
        Returns the table's row of a product, which is copied before it is changed.
    supply
        When shelves are restocked.
    """

    def __init__(self, level_of: LevelOf, supply: Supply) -> None:
        self._level_of = level_of
        self._supply = supply
        self._updates: dict[str, RowUpdate] = {}

    def update_of(self, product: Product) -> RowUpdate:
        """Return the row and shelf of a product, to be changed."""
        update = self._updates.get(product.product_id)
        if update is None:
            level = self._level_of(product.product_id)
            shelf = shelf_of(product, level)
            if shelf.on_order:
                shelf.update_eta(self._supply)
            row = _new_row(shelf) if level is None else copy(level)
            update = self._updates[product.product_id] = RowUpdate(row, shelf)
        return update

    def levels(self) -> list[InventoryLevel]:
        """Return the changed rows, ordered by the last message of each.

        The last write has the highest offset, so a stored position is never ahead of a sale that is missing from the
        table.
        """
        changed = [update for update in self._updates.values() if update.last_offset != NO_OFFSET]
        return [update.finished_row() for update in sorted(changed, key=attrgetter("last_offset"))]


def shelf_of(product: Product, level: InventoryLevel | None) -> Shelf:
    """Return the shelf of a product from its table row, without the time of its delivery."""
    if level is None:
        return Shelf.of(product)
    return Shelf(
        product, level.initial, level.level, level.sales, level.sold, level.stockings, level.restocked, level.on_order,
        event_time(level.ordered_at) if level.ordered_at else 0,
    )  # fmt: skip


def _new_row(shelf: Shelf) -> InventoryLevel:
    return InventoryLevel(
        product_id=shelf.product.product_id, level=shelf.level, initial=shelf.initial, sales=0, sold=0, stockings=0,
        restocked=0, revenue_cents=0, cost_cents=0, last_sale="", offset=-1,
    )  # fmt: skip
