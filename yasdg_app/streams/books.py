"""The fold of purchases into inventory levels: pure logic, a chunk at a time.

It decides what is applied, what was seen before, what is no purchase at all, and what must stop the worker.
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
    read_purchase,
    time_text,
)
from yasdg_app.settings import InventorySettings
from yasdg_app.shop.shelf import Shelf, Stocking


class BooksError(YasdgError):
    """The log and the table do not belong together: going on would be a guess."""


@dataclass(slots=True)
class Account:
    """A product's shelf while a chunk is applied to it."""

    shelf: Shelf
    last_sale: str
    offset: int
    stocking_offset: int
    changed: bool = False


class Restock(NamedTuple):
    """A restock, and the sale's time at which it happened (microseconds since 1970)."""

    product_id: str
    at: int
    stocking: Stocking


@dataclass(slots=True)
class Folded:
    """What a chunk comes to."""

    levels: list[InventoryLevel] = field(default_factory=list)  # new table records, that with the highest offset last
    restocks: list[Restock] = field(default_factory=list)
    dead_letters: list[tuple[Any, str]] = field(default_factory=list)  # messages that are no purchases, and why


class Books:
    """Folds purchases.

    Parameters
    ----------
    products
        The shop's products by id.
    rule
        When shelves are restocked.
    homes
        The partition in which the sales of each product stand, by id.
    """

    def __init__(self, products: Mapping[str, Product], rule: InventorySettings, homes: Mapping[str, int]) -> None:
        self._products = products
        self._rule = rule
        self._homes = homes

    def fold(self, tp: TP, chunk: Sequence[Any], level_of: Callable[[str], InventoryLevel | None]) -> Folded:
        """Apply the messages of a chunk to the levels that the table holds, which stay as they are.

        `level_of` returns the table's record of a product, None if it has none.

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
            account = accounts.get(sale.product_id)
            if account is None:
                account = accounts[sale.product_id] = self._account(level_of(sale.product_id), sale.product_id)
            shelf = account.shelf
            if number <= shelf.sales:
                continue  # seen before
            if number != shelf.sales + 1:
                raise BooksError(
                    f"{tp.topic}, partition {tp.partition}, offset {message.offset}: sale {sale.transaction_id} "
                    f"follows sale {shelf.sales} of {sale.product_id}: sales between them are missing in the log. "
                    "If the topic was deleted or cut by its owner, begin anew: yasdg topics delete"
                )
            at = event_time(str(sale.transaction_time))
            cost = (self._products[sale.product_id].cost_cents or 0) * sale.quantity
            stocking = shelf.sell(sale.quantity, round(sale.total_purchase * 100), cost, self._rule)
            if stocking is not None:
                folded.restocks.append(Restock(sale.product_id, at, stocking))
            account.last_sale, account.offset, account.changed = time_text(at), message.offset, True
        # The last write has the highest offset: a position never stands behind a sale that is not in the table.
        changed = [(product_id, account) for product_id, account in accounts.items() if account.changed]
        for product_id, account in sorted(changed, key=lambda item: item[1].offset):
            folded.levels.append(_level(product_id, account))
        return folded

    def _account(self, level: InventoryLevel | None, product_id: str) -> Account:
        if level is None:
            return Account(Shelf.of(self._products[product_id]), "", -1, -1)
        shelf = Shelf(
            level.initial, level.level, level.sales, level.sold, level.stockings, level.restocked, level.revenue_cents,
            level.cost_cents,
        )  # fmt: skip
        return Account(shelf, level.last_sale, level.offset, level.stocking_offset)


def _level(product_id: str, account: Account) -> InventoryLevel:
    shelf = account.shelf
    return InventoryLevel(
        product_id=product_id,
        level=shelf.level,
        initial=shelf.initial,
        sales=shelf.sales,
        sold=shelf.sold,
        stockings=shelf.stockings,
        restocked=shelf.restocked,
        revenue_cents=shelf.revenue_cents,
        cost_cents=shelf.cost_cents,
        last_sale=account.last_sale,
        offset=account.offset,
        stocking_offset=account.stocking_offset,
    )
