"""Folds purchases and lost sales into inventory levels: pure logic, one chunk at a time.

It decides which messages are applied, which are duplicates, which are foreign messages, and which must stop the worker.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, TypeVar

import numpy as np
from faust.types import TP

from yasdg_app.config.catalog import Product
from yasdg_app.errors import YasdgError
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.kafka.decoding import UNREADABLE
from yasdg_app.messages.decoders import (
    MAX_AMOUNT,
    MAX_QUANTITY,
    InvalidMessageError,
    LostSaleEvent,
    SaleEvent,
    is_in_range,
    read_lost_sale,
    read_purchase,
    read_valid_lost_sale,
    read_valid_sale,
)
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.times import EPOCH, event_time, microseconds, time_text
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.shelf import END_OF_TIME, Restock, Shelf, instant_restocks
from yasdg_app.shop.supply import Supply

M = TypeVar("M", SaleEvent, LostSaleEvent)

MANY = 32  # number of messages from which on arrays are faster than a loop
EXACT = 2**52  # numbers below it are exact in an array of floats
NOTHING = -1  # in place of an offset


OTHER_SHOP = (
    "Or leave everything as it is and open another shop: set [KAFKA] application_id and the names of its topics "
    "(topic_…) to new ones."
)
"""Advice for topics of a shop that can no longer be continued; following it deletes nothing."""


class BooksError(YasdgError):
    """The log and the table are inconsistent: continuing would be a guess."""


class ProductRestock(NamedTuple):
    """A restock of a product."""

    product_id: str
    restock: Restock


@dataclass(slots=True)
class Account:
    """A product's table row and shelf, while a chunk is applied to them."""

    row: InventoryLevel
    shelf: Shelf
    applied: int = NOTHING  # offset of the last message that was applied


class Grouped(NamedTuple):
    """The sales of a chunk, grouped by product."""

    products: list[tuple[Product, int, int]]  # start and end of the sales of each
    order: Ints  # position of each in the chunk
    quantity: Ints
    cents: Ints  # paid


@dataclass(slots=True)
class Folded:
    """The result of a chunk."""

    levels: list[InventoryLevel] = field(default_factory=list)  # new table records, the highest offset last
    restocks: list[ProductRestock] = field(default_factory=list)
    dead_letters: list[tuple[Any, str]] = field(default_factory=list)  # foreign messages, with the reason
    sales: list[SaleEvent] = field(default_factory=list)  # those that were applied, in log order
    grouped: Grouped | None = None  # the same, if they were folded product by product


LevelOf = Callable[[str], InventoryLevel | None]
"""Returns the table's record of a product; None if it has none."""


class Ledger:
    """The accounts that a chunk changes. They are copies, so the table is not modified.

    Parameters
    ----------
    level_of, supply
        See `Books.fold`.
    """

    def __init__(self, level_of: LevelOf, supply: Supply) -> None:
        self._level_of = level_of
        self._supply = supply
        self._accounts: dict[str, Account] = {}

    def account(self, product: Product) -> Account:
        """Return the account of a product."""
        account = self._accounts.get(product.product_id)
        if account is None:
            level = self._level_of(product.product_id)
            shelf = shelf_of(product, level)
            if shelf.on_order:
                shelf.update_eta(self._supply)
            row = _opened(shelf) if level is None else copy(level)
            account = self._accounts[product.product_id] = Account(row, shelf)
        return account

    def levels(self) -> list[InventoryLevel]:
        """Return the changed rows, ordered by the last message of each.

        The last write has the highest offset, so a stored position is never ahead of a sale that is missing from the
        table.
        """
        changed = [account for account in self._accounts.values() if account.applied != NOTHING]
        return [_level(account) for account in sorted(changed, key=attrgetter("applied"))]


class Books:
    """Folds purchases and lost sales.

    Almost every chunk is valid throughout and is folded product by product. All other chunks, and those with hardly
    more than one message per product, are folded message by message. That path decides what is a dead letter, a
    duplicate or an error.

    Parameters
    ----------
    catalog
        The shop's products, and the partition of each product's messages.
    """

    def __init__(self, catalog: PartitionedCatalog) -> None:
        self._catalog = catalog

    def _is_worth_it(self, tp: TP, chunk: Sequence[Any]) -> bool:
        """Return whether products have so many messages that folding by product is faster."""
        return len(chunk) >= max(MANY, 2 * len(self._catalog.products_in(tp.partition)))

    def fold(self, tp: TP, chunk: Sequence[Any], level_of: LevelOf, supply: Supply) -> Folded:
        """Apply purchases to copies of the table's levels.

        `supply`: when shelves are restocked, with everything known up to the time of the chunk.

        Raises
        ------
        BooksError
            If a sale is missing between the table and the log.
        """
        folded = self.fold_by_product(tp, chunk, level_of, supply) if self._is_worth_it(tp, chunk) else None
        return folded or self.fold_one_by_one(tp, chunk, level_of, supply)

    def fold_by_product(self, tp: TP, chunk: Sequence[Any], level_of: LevelOf, supply: Supply) -> Folded | None:
        """Apply purchases like `fold_one_by_one`, but faster; None unless each is the next one of its product."""
        grouped = _grouped(chunk, read_valid_sale, tp.partition, self._catalog)
        if grouped is None:
            return None
        places, told, products = grouped
        order = places.tolist()
        sales = [told[place] for place in order]
        try:
            quantity = np.fromiter([sale.quantity for sale in sales], np.int64, len(sales))
        except OverflowError:
            return None
        value = np.array([sale.total_purchase for sale in sales]) * 100
        cost = np.array([sale.total_cost or 0.0 for sale in sales]) * 100
        if quantity.max() > MAX_QUANTITY or max(np.abs(value).max(), np.abs(cost).max()) > MAX_AMOUNT * 100:
            return None
        begins = [start for _, start, _ in products]
        paid, costs = (np.rint(cents).astype(np.int64) for cents in (value, cost))
        revenue_cents, cost_cents = (np.add.reduceat(cents, begins).tolist() for cents in (paid, costs))
        ledger, restocks = Ledger(level_of, supply), list[tuple[int, ProductRestock]]()
        for (product, start, end), revenue, spent in zip(products, revenue_cents, cost_cents, strict=True):
            account = ledger.account(product)
            row, shelf, own = account.row, account.shelf, sales[start:end]
            if not _follow([sale.transaction_id for sale in own], f"{product.product_id}-", shelf.sales):
                return None
            if own[-1].transaction_time < EPOCH:
                return None
            if end - start < MANY or not _is_filled_at_once(shelf, quantity[start:end], supply):
                came = _sell(shelf, own, supply)
            else:
                came = _sell_in_bulk(shelf, own, quantity[start:end], supply)
            for place, restock in came:
                restocks.append((order[start + place], ProductRestock(product.product_id, restock)))
            row.revenue_cents += revenue
            row.cost_cents += spent
            row.last_sale = time_text(microseconds(own[-1].transaction_time))
            row.offset = account.applied = chunk[order[end - 1]].offset
        restocks.sort(key=itemgetter(0))
        by_product = Grouped(products, places, quantity, paid)
        return Folded(ledger.levels(), [each for _, each in restocks], sales=told, grouped=by_product)

    def fold_one_by_one(self, tp: TP, chunk: Sequence[Any], level_of: LevelOf, supply: Supply) -> Folded:
        """Apply purchases message by message; `fold_by_product` must have the same result."""
        ledger, folded = Ledger(level_of, supply), Folded()
        for message in chunk:
            try:
                sale, number = read_purchase(message.value, tp.partition, self._catalog.partition_of)
            except InvalidMessageError as why:
                folded.dead_letters.append((message, str(why)))
                continue
            account = ledger.account(self._catalog[sale.product_id])
            row, shelf = account.row, account.shelf
            if not _is_next(tp, message, sale.transaction_id, number, shelf.sales):
                continue
            at = microseconds(sale.transaction_time)
            for restock in shelf.receive_and_sell(sale.quantity, at, supply):
                folded.restocks.append(ProductRestock(sale.product_id, restock))
            row.revenue_cents += round(sale.total_purchase * 100)
            row.cost_cents += round((sale.total_cost or 0.0) * 100)
            row.last_sale = time_text(at)
            row.offset = account.applied = message.offset
            folded.sales.append(sale)
        folded.levels = ledger.levels()
        return folded

    def fold_lost(self, tp: TP, chunk: Sequence[Any], level_of: LevelOf, supply: Supply) -> Folded:
        """Apply lost sales to copies of the table's levels. Raises BooksError like `fold`."""
        folded = self.fold_lost_by_product(tp, chunk, level_of, supply) if self._is_worth_it(tp, chunk) else None
        return folded or self.fold_lost_one_by_one(tp, chunk, level_of, supply)

    def fold_lost_by_product(self, tp: TP, chunk: Sequence[Any], level_of: LevelOf, supply: Supply) -> Folded | None:
        """Apply lost sales like `fold_lost_one_by_one`, but faster; None unless each is the next one of its product."""
        grouped = _grouped(chunk, read_valid_lost_sale, tp.partition, self._catalog)
        if grouped is None:
            return None
        places, told, products = grouped
        order = places.tolist()
        turned = [told[place] for place in order]
        ledger = Ledger(level_of, supply)
        for product, start, end in products:
            account, own = ledger.account(product), turned[start:end]
            row = account.row
            if not _follow([lost.lost_sale_id for lost in own], f"{product.product_id}-L", row.lost_sales):
                return None
            if not all(is_in_range(lost.event_time, lost.quantity, lost.value) for lost in own):
                return None
            for lost in own:
                _turn_away(row, lost)
            row.lost_sales += len(own)
            row.last_lost = time_text(microseconds(own[-1].event_time))
            row.lost_offset = account.applied = chunk[order[end - 1]].offset
        return Folded(ledger.levels())

    def fold_lost_one_by_one(self, tp: TP, chunk: Sequence[Any], level_of: LevelOf, supply: Supply) -> Folded:
        """Apply lost sales message by message; `fold_lost_by_product` must have the same result."""
        ledger, folded = Ledger(level_of, supply), Folded()
        for message in chunk:
            try:
                lost, number = read_lost_sale(message.value, tp.partition, self._catalog.partition_of)
            except InvalidMessageError as why:
                folded.dead_letters.append((message, str(why)))
                continue
            account = ledger.account(self._catalog[lost.product_id])
            row = account.row
            if not _is_next(tp, message, lost.lost_sale_id, number, row.lost_sales):
                continue
            _turn_away(row, lost)
            row.lost_sales = number
            row.last_lost = time_text(microseconds(lost.event_time))
            row.lost_offset = account.applied = message.offset
        folded.levels = ledger.levels()
        return folded


def _grouped(
    chunk: Sequence[Any], read: Callable[[bytes], M], partition: int, catalog: PartitionedCatalog
) -> tuple[Ints, list[M], list[tuple[Product, int, int]]] | None:
    """Return the order by product, the parsed messages, and the range of each product; None if any message is invalid.

    The order is the position of each message in the chunk; the parsed messages are in chunk order. A range is a product
    with start and end in the order.
    """
    try:
        told = list(map(read, [message.value for message in chunk]))
        places = np.array([catalog.indexes[each.product_id] for each in told])
    except UNREADABLE:
        return None
    order: Ints = np.argsort(places, kind="stable")
    places = places[order]
    starts: Ints = np.flatnonzero(np.diff(places, prepend=-1))
    here = places[starts].tolist()
    if any(catalog.partitions[place] != partition for place in here):
        return None
    bounds = zip(map(catalog.product_at, here), starts.tolist(), [*starts[1:].tolist(), len(told)], strict=True)
    return order, told, list(bounds)


def _follow(ids: list[str], prefix: str, last: int) -> bool:
    """Return whether ids of a product's messages are the next consecutive ones after a number."""
    return last < EXACT and ids == [f"{prefix}{number:06d}" for number in range(last + 1, last + 1 + len(ids))]


def _is_filled_at_once(shelf: Shelf, quantity: Ints, supply: Supply) -> bool:
    """Return whether sales of these quantities restock the shelf instantly, by the basic rule alone."""
    return (
        not shelf.on_order
        and supply.min_inventory < shelf.level < EXACT
        and int(quantity.max()) <= supply.restock_amount
        and supply.is_instant(shelf.product)
    )


def _sell(shelf: Shelf, sales: Sequence[SaleEvent], supply: Supply) -> list[tuple[int, Restock]]:
    """Apply sales to the shelf of their product; return each restock with the index of the sale that caused it."""
    came: list[tuple[int, Restock]] = []
    for place, sale in enumerate(sales):
        at = microseconds(sale.transaction_time)
        came += [(place, restock) for restock in shelf.receive_and_sell(sale.quantity, at, supply)]
    return came


def _sell_in_bulk(
    shelf: Shelf, sales: Sequence[SaleEvent], quantity: Ints, supply: Supply
) -> list[tuple[int, Restock]]:
    """Like `_sell`, for a shelf with instant restocks."""
    amount, sold = supply.restock_amount, np.cumsum(quantity)
    restocks = instant_restocks(np.array(shelf.level), sold, supply)
    with_restock = np.flatnonzero(np.diff(restocks, prepend=0))
    before = (shelf.level - sold + (restocks - 1) * amount)[with_restock].tolist()
    came = [
        (place, Restock(number, microseconds(sales[place].transaction_time), level, amount))
        for number, (place, level) in enumerate(zip(with_restock.tolist(), before, strict=True), shelf.restocks + 1)
    ]
    shelf.sales += len(sales)
    shelf.sold += int(sold[-1])
    shelf.restocks += len(came)
    shelf.restocked += len(came) * amount
    shelf.level += len(came) * amount - int(sold[-1])
    return came


def _turn_away(row: InventoryLevel, lost: LostSaleEvent) -> None:
    """Count units that were requested but not available."""
    if lost.substitute is None:
        row.lost += lost.quantity
        row.lost_cents += round(lost.value * 100)
    else:
        row.substituted += lost.quantity


def shelf_of(product: Product, level: InventoryLevel | None) -> Shelf:
    """Return the shelf of a product from its table row, without the time of its delivery."""
    if level is None:
        return Shelf.of(product)
    return Shelf(
        product, level.initial, level.level, level.sales, level.sold, level.stockings, level.restocked, level.on_order,
        event_time(level.ordered_at) if level.ordered_at else 0,
    )  # fmt: skip


def _is_next(tp: TP, message: Any, name: str, number: int, last: int) -> bool:
    """Return whether a message is the next of its product; False if it is a duplicate. Raises BooksError."""
    if number > last + 1:
        raise BooksError(
            f"{tp.topic}, partition {tp.partition}, offset {message.offset}: {name} follows number {last} of its "
            f"product: those between them are missing in the log. Restore the topic from a backup. {OTHER_SHOP}"
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
    row.stockings, row.restocked, row.on_order = shelf.restocks, shelf.restocked, shelf.on_order
    row.ordered_at = time_text(shelf.ordered_at) if shelf.on_order else ""
    row.promised = time_text(shelf.promised) if shelf.promised != END_OF_TIME else ""
    row.margin_cents = row.revenue_cents - row.cost_cents
    return row
