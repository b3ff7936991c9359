"""The fold of purchases and lost sales into inventory levels: pure logic, a chunk at a time.

It decides what is applied, what was seen before, what is no message of the shop at all, and what must stop the worker.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from faust.types import TP

from yasdg_app.catalog import Product
from yasdg_app.errors import YasdgError
from yasdg_app.messages import (
    InventoryLevel,
    NoPurchaseError,
    event_time,
    read_lost_sale,
    read_purchase,
    time_text,
)
from yasdg_app.shop.shelf import NEVER, Shelf, Stocking
from yasdg_app.shop.supply import Supply


class BooksError(YasdgError):
    """The log and the table do not belong together: going on would be a guess."""


class Restock(NamedTuple):
    """A restock of a product."""

    product_id: str
    stocking: Stocking


@dataclass(slots=True)
class Account:
    """A product's row of the table, and its shelf, while a chunk is applied to them."""

    row: InventoryLevel
    shelf: Shelf
    changed: bool = False


@dataclass(slots=True)
class Folded:
    """What a chunk comes to."""

    levels: list[InventoryLevel] = field(default_factory=list)  # new table records, that with the highest offset last
    restocks: list[Restock] = field(default_factory=list)
    dead_letters: list[tuple[Any, str]] = field(default_factory=list)  # messages that are none of ours, and why


LevelOf = Callable[[str], InventoryLevel | None]
"""Returns the table's record of a product, None if it has none."""


class Books:
    """Folds purchases and lost sales.

    Parameters
    ----------
    products
        The shop's products by id.
    homes
        The partition in which the messages of each product stand, by id.
    """

    def __init__(self, products: Mapping[str, Product], homes: Mapping[str, int]) -> None:
        self._products = products
        self._homes = homes

    def fold(self, tp: TP, chunk: Sequence[Any], level_of: LevelOf, supply: Supply) -> Folded:
        """Apply purchases to the levels that the table holds, which stay as they are.

        `supply`: when is restocked, with all that is known up to the time of the chunk.

        Raises
        ------
        BooksError
            If a sale is missing between the table and the log.
        """
        accounts: dict[str, Account] = {}
        folded = Folded()
        for message in chunk:
            try:
                sale, number = read_purchase(message.value, tp.partition, self._homes)
            except NoPurchaseError as why:
                folded.dead_letters.append((message, str(why)))
                continue
            account = self._account(accounts, sale.product_id, level_of, supply)
            row, shelf = account.row, account.shelf
            if not _is_next(tp, message, sale.transaction_id, number, shelf.sales):
                continue
            at = event_time(str(sale.transaction_time))
            for stocking in (*shelf.receive(at, supply), *shelf.sell(sale.quantity, at, supply)):
                folded.restocks.append(Restock(sale.product_id, stocking))
            row.revenue_cents += round(sale.total_purchase * 100)
            row.cost_cents += round((sale.total_cost or 0.0) * 100)
            row.last_sale, row.offset, account.changed = time_text(at), message.offset, True
        # The last write has the highest offset: a position never stands behind a sale that is not in the table.
        folded.levels = [_level(a) for a in sorted(accounts.values(), key=lambda a: a.row.offset) if a.changed]
        return folded

    def fold_lost(self, tp: TP, chunk: Sequence[Any], level_of: LevelOf, supply: Supply) -> Folded:
        """Apply lost sales to the levels that the table holds, which stay as they are. Raises as `fold`."""
        accounts: dict[str, Account] = {}
        folded = Folded()
        for message in chunk:
            try:
                lost, number = read_lost_sale(message.value, tp.partition, self._homes)
            except NoPurchaseError as why:
                folded.dead_letters.append((message, str(why)))
                continue
            account = self._account(accounts, lost.product_id, level_of, supply)
            row = account.row
            if not _is_next(tp, message, lost.lost_sale_id, number, row.lost_sales):
                continue
            row.lost_sales = number
            if lost.substitute is None:
                row.lost += lost.quantity
                row.lost_cents += round(lost.value * 100)
            else:
                row.substituted += lost.quantity
            row.last_lost, row.lost_offset = time_text(event_time(str(lost.event_time))), message.offset
            account.changed = True
        folded.levels = [_level(a) for a in sorted(accounts.values(), key=lambda a: a.row.lost_offset) if a.changed]
        return folded

    def _account(self, accounts: dict[str, Account], product_id: str, level_of: LevelOf, supply: Supply) -> Account:
        account = accounts.get(product_id)
        if account is None:
            level = level_of(product_id)
            shelf = shelf_of(self._products[product_id], level)
            shelf.expect(supply)
            row = _opened(shelf) if level is None else InventoryLevel(**level.asdict())
            account = accounts[product_id] = Account(row, shelf)
        return account


def shelf_of(product: Product, level: InventoryLevel | None) -> Shelf:
    """Return the shelf of a product as a row of the table has it, but for when its delivery comes."""
    if level is None:
        return Shelf.of(product)
    return Shelf(
        product, level.initial, level.level, level.sales, level.sold, level.stockings, level.restocked, level.on_order,
        event_time(level.ordered_at) if level.ordered_at else 0,
    )  # fmt: skip


def _is_next(tp: TP, message: Any, name: str, number: int, last: int) -> bool:
    """Tell whether a message is the next of its product; False if it was seen before. Raises BooksError."""
    if number > last + 1:
        raise BooksError(
            f"{tp.topic}, partition {tp.partition}, offset {message.offset}: {name} follows number {last} of its "
            "product: those between them are missing in the log. If the topic was deleted or cut by its owner, begin "
            "anew: yasdg topics delete"
        )
    return number == last + 1


def _opened(shelf: Shelf) -> InventoryLevel:
    return InventoryLevel(
        product_id=shelf.product.product_id, level=shelf.level, initial=shelf.initial, sales=0, sold=0, stockings=0,
        restocked=0, revenue_cents=0, cost_cents=0, last_sale="", offset=-1,
    )  # fmt: skip


def _level(account: Account) -> InventoryLevel:
    row, shelf = account.row, account.shelf
    row.level, row.sales, row.sold = shelf.level, shelf.sales, shelf.sold
    row.stockings, row.restocked, row.on_order = shelf.stockings, shelf.restocked, shelf.on_order
    row.ordered_at = time_text(shelf.ordered_at) if shelf.on_order else ""
    row.promised = time_text(shelf.promised) if shelf.promised != NEVER else ""
    row.margin_cents = row.revenue_cents - row.cost_cents
    return row
