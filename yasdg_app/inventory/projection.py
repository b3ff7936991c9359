"""Applies purchases and lost sales to inventory levels: pure logic, one chunk at a time.

It decides which messages are applied, which are duplicates, which are foreign messages, and which must stop the worker.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple, TypeVar

import numpy as np
from faust.types import TP

from yasdg_app.config.catalog import Product
from yasdg_app.errors import YasdgError
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.row_updates import LevelOf, PendingUpdates
from yasdg_app.kafka.batch_reader import Message
from yasdg_app.kafka.decoding import UNREADABLE
from yasdg_app.messages.decoders import (
    MAX_AMOUNT,
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
from yasdg_app.messages.times import EPOCH, microseconds, time_text
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.shelf import Restock, Shelf, instant_restocks
from yasdg_app.shop.supply import Supply

M = TypeVar("M", SaleEvent, LostSaleEvent)

ARRAY_MIN_MESSAGES = 32  # from here on arrays are faster than a loop
MAX_EXACT_FLOAT = 2**52  # numbers below it are exact in an array of floats

OTHER_SHOP = (
    "Or leave everything as it is and open another shop: set [KAFKA] application_id and the names of its topics "
    "(topic_…) to new ones."
)
"""Advice for topics of a shop that can no longer be continued; following it deletes nothing."""


class InconsistentLogError(YasdgError):
    """The log and the table are inconsistent: continuing would be a guess."""


class ProductRestock(NamedTuple):
    """A restock of a product."""

    product_id: str
    restock: Restock


class SalesByProduct(NamedTuple):
    """The sales of a chunk, grouped by product."""

    products: list[tuple[Product, int, int]]  # start and end of the sales of each
    order: Ints  # position of each in the chunk
    quantity: Ints
    cents: Ints  # paid


@dataclass(slots=True)
class AppliedChunk:
    """The result of a chunk."""

    levels: list[InventoryLevel] = field(default_factory=list)  # new table rows, the highest offset last
    restocks: list[ProductRestock] = field(default_factory=list)
    dead_letters: list[tuple[Message, str]] = field(default_factory=list)  # foreign messages, with the reason
    sales: list[SaleEvent] = field(default_factory=list)  # those that were applied, in log order
    sales_by_product: SalesByProduct | None = None  # the same, if they were applied product by product


class InventoryProjection:
    """Computes the table's new rows from chunks of purchases and lost sales.

    Almost every chunk is valid throughout and is applied product by product. All other chunks, and those with hardly
    more than one message per product, are applied message by message. That path decides what is a dead letter, a
    duplicate or an error.

    Parameters
    ----------
    catalog
        The shop's products, and the partition of each product's messages.
    """

    def __init__(self, catalog: PartitionedCatalog) -> None:
        self._catalog = catalog

    def _has_many_per_product(self, tp: TP, chunk: Sequence[Message]) -> bool:
        """Return whether applying a chunk product by product is faster."""
        return len(chunk) >= max(ARRAY_MIN_MESSAGES, 2 * len(self._catalog.products_in(tp.partition)))

    def apply_sales(self, tp: TP, chunk: Sequence[Message], level_of: LevelOf, supply: Supply) -> AppliedChunk:
        """Apply purchases to copies of the table's levels.

        `supply`: when shelves are restocked, with everything known up to the time of the chunk.

        Raises
        ------
        InconsistentLogError
            If a sale is missing between the table and the log.
        """
        applied = None
        if self._has_many_per_product(tp, chunk):
            applied = self.apply_sales_by_product(tp, chunk, level_of, supply)
        return applied or self.apply_sales_one_by_one(tp, chunk, level_of, supply)

    def apply_sales_by_product(
        self, tp: TP, chunk: Sequence[Message], level_of: LevelOf, supply: Supply
    ) -> AppliedChunk | None:
        """Apply purchases like `apply_sales_one_by_one`, but faster.

        Return None unless each is the next one of its product.
        """
        grouped = _grouped(chunk, read_valid_sale, tp.partition, self._catalog)
        if grouped is None:
            return None
        order, events, products = grouped
        positions = order.tolist()
        sales = [events[position] for position in positions]
        try:
            quantity = np.fromiter([sale.quantity for sale in sales], np.int64, len(sales))
        except OverflowError:
            return None
        value = np.array([sale.total_purchase for sale in sales]) * 100
        cost = np.array([sale.total_cost or 0.0 for sale in sales]) * 100
        if quantity.max() > supply.largest_quantity or max(np.abs(value).max(), np.abs(cost).max()) > MAX_AMOUNT * 100:
            return None
        starts = [start for _, start, _ in products]
        paid, costs = (np.rint(cents).astype(np.int64) for cents in (value, cost))
        revenue_cents, cost_cents = (np.add.reduceat(cents, starts).tolist() for cents in (paid, costs))
        updates, restocks = PendingUpdates(level_of, supply), list[tuple[int, ProductRestock]]()
        for (product, start, end), revenue, spent in zip(products, revenue_cents, cost_cents, strict=True):
            update = updates.update_of(product)
            row, shelf, own_sales = update.row, update.shelf, sales[start:end]
            if not _are_next([sale.transaction_id for sale in own_sales], f"{product.product_id}-", shelf.sales):
                return None
            if own_sales[-1].transaction_time < EPOCH:
                return None
            if end - start < ARRAY_MIN_MESSAGES or not _is_filled_at_once(shelf, quantity[start:end], supply):
                caused = _sell(shelf, own_sales, supply)
            else:
                caused = _sell_in_bulk(shelf, own_sales, quantity[start:end], supply)
            for index, restock in caused:
                restocks.append((positions[start + index], ProductRestock(product.product_id, restock)))
            row.revenue_cents += revenue
            row.cost_cents += spent
            row.last_sale = time_text(microseconds(own_sales[-1].transaction_time))
            row.offset = update.last_offset = chunk[positions[end - 1]].offset
        restocks.sort(key=itemgetter(0))
        return AppliedChunk(
            updates.levels(),
            [restock for _, restock in restocks],
            sales=events,
            sales_by_product=SalesByProduct(products, order, quantity, paid),
        )

    def apply_sales_one_by_one(
        self, tp: TP, chunk: Sequence[Message], level_of: LevelOf, supply: Supply
    ) -> AppliedChunk:
        """Apply purchases message by message; `apply_sales_by_product` must have the same result."""
        updates, applied = PendingUpdates(level_of, supply), AppliedChunk()
        for message in chunk:
            try:
                sale, number = read_purchase(
                    message.value, tp.partition, self._catalog.partition_of, supply.largest_quantity
                )  # fmt: skip
            except InvalidMessageError as why:
                applied.dead_letters.append((message, str(why)))
                continue
            update = updates.update_of(self._catalog[sale.product_id])
            row, shelf = update.row, update.shelf
            if not _is_next(tp, message, sale.transaction_id, number, shelf.sales):
                continue
            at = microseconds(sale.transaction_time)
            for restock in shelf.receive_and_sell(sale.quantity, at, supply):
                applied.restocks.append(ProductRestock(sale.product_id, restock))
            row.revenue_cents += round(sale.total_purchase * 100)
            row.cost_cents += round((sale.total_cost or 0.0) * 100)
            row.last_sale = time_text(at)
            row.offset = update.last_offset = message.offset
            applied.sales.append(sale)
        applied.levels = updates.levels()
        return applied

    def apply_lost_sales(self, tp: TP, chunk: Sequence[Message], level_of: LevelOf, supply: Supply) -> AppliedChunk:
        """Apply lost sales to copies of the table's levels. Raises InconsistentLogError like `apply_sales`."""
        applied = None
        if self._has_many_per_product(tp, chunk):
            applied = self.apply_lost_sales_by_product(tp, chunk, level_of, supply)
        return applied or self.apply_lost_sales_one_by_one(tp, chunk, level_of, supply)

    def apply_lost_sales_by_product(
        self, tp: TP, chunk: Sequence[Message], level_of: LevelOf, supply: Supply
    ) -> AppliedChunk | None:
        """Apply lost sales like `apply_lost_sales_one_by_one`, but faster.

        Return None unless each is the next one of its product.
        """
        grouped = _grouped(chunk, read_valid_lost_sale, tp.partition, self._catalog)
        if grouped is None:
            return None
        order, events, products = grouped
        positions = order.tolist()
        lost_sales = [events[position] for position in positions]
        updates = PendingUpdates(level_of, supply)
        for product, start, end in products:
            update, own_lost = updates.update_of(product), lost_sales[start:end]
            row = update.row
            if not _are_next([lost.lost_sale_id for lost in own_lost], f"{product.product_id}-L", row.lost_sales):
                return None
            if not all(
                lost.quantity <= supply.largest_quantity and is_in_range(lost.event_time, lost.quantity, lost.value)
                for lost in own_lost
            ):
                return None
            for lost in own_lost:
                _add_lost_units(row, lost)
            row.lost_sales += len(own_lost)
            row.last_lost = time_text(microseconds(own_lost[-1].event_time))
            row.lost_offset = update.last_offset = chunk[positions[end - 1]].offset
        return AppliedChunk(updates.levels())

    def apply_lost_sales_one_by_one(
        self, tp: TP, chunk: Sequence[Message], level_of: LevelOf, supply: Supply
    ) -> AppliedChunk:
        """Apply lost sales message by message; `apply_lost_sales_by_product` must have the same result."""
        updates, applied = PendingUpdates(level_of, supply), AppliedChunk()
        for message in chunk:
            try:
                lost, number = read_lost_sale(
                    message.value, tp.partition, self._catalog.partition_of, supply.largest_quantity
                )  # fmt: skip
            except InvalidMessageError as why:
                applied.dead_letters.append((message, str(why)))
                continue
            update = updates.update_of(self._catalog[lost.product_id])
            row = update.row
            if not _is_next(tp, message, lost.lost_sale_id, number, row.lost_sales):
                continue
            _add_lost_units(row, lost)
            row.lost_sales = number
            row.last_lost = time_text(microseconds(lost.event_time))
            row.lost_offset = update.last_offset = message.offset
        applied.levels = updates.levels()
        return applied


def _grouped(
    chunk: Sequence[Message], read: Callable[[bytes], M], partition: int, catalog: PartitionedCatalog
) -> tuple[Ints, list[M], list[tuple[Product, int, int]]] | None:
    """Return the order by product, the parsed messages, and the range of each product; None if any message is invalid.

    The order is the position of each message in the chunk; the parsed messages are in chunk order. A range is a product
    with start and end in the order.
    """
    try:
        events = list(map(read, [message.value or b"" for message in chunk]))
        indexes = np.array([catalog.indexes[event.product_id] for event in events])
    except UNREADABLE:
        return None
    order: Ints = np.argsort(indexes, kind="stable")
    indexes = indexes[order]
    starts: Ints = np.flatnonzero(np.diff(indexes, prepend=-1))
    product_indexes = indexes[starts].tolist()
    if any(catalog.partitions[index] != partition for index in product_indexes):
        return None
    products = map(catalog.product_at, product_indexes)
    return order, events, list(zip(products, starts.tolist(), [*starts[1:].tolist(), len(events)], strict=True))


def _are_next(ids: list[str], prefix: str, last: int) -> bool:
    """Return whether ids of a product's messages are the next consecutive ones after a number."""
    numbers = range(last + 1, last + 1 + len(ids))
    return last < MAX_EXACT_FLOAT and ids == [f"{prefix}{number:06d}" for number in numbers]


def _is_filled_at_once(shelf: Shelf, quantity: Ints, supply: Supply) -> bool:
    """Return whether sales of these quantities restock the shelf instantly, by the basic rule alone."""
    return (
        not shelf.on_order
        and supply.min_inventory < shelf.level < MAX_EXACT_FLOAT
        and int(quantity.max()) <= supply.restock_amount
        and supply.is_instant(shelf.product)
    )


def _sell(shelf: Shelf, sales: Sequence[SaleEvent], supply: Supply) -> list[tuple[int, Restock]]:
    """Apply sales to the shelf of their product; return each restock with the index of the sale that caused it."""
    caused: list[tuple[int, Restock]] = []
    for index, sale in enumerate(sales):
        at = microseconds(sale.transaction_time)
        caused += [(index, restock) for restock in shelf.receive_and_sell(sale.quantity, at, supply)]
    return caused


def _sell_in_bulk(
    shelf: Shelf, sales: Sequence[SaleEvent], quantity: Ints, supply: Supply
) -> list[tuple[int, Restock]]:
    """Like `_sell`, for a shelf with instant restocks."""
    amount, sold = supply.restock_amount, np.cumsum(quantity)
    restocks = instant_restocks(np.array(shelf.level), sold, supply)
    with_restock = np.flatnonzero(np.diff(restocks, prepend=0))
    before = (shelf.level - sold + (restocks - 1) * amount)[with_restock].tolist()
    caused = [
        (index, Restock(number, microseconds(sales[index].transaction_time), level, amount))
        for number, (index, level) in enumerate(zip(with_restock.tolist(), before, strict=True), shelf.restocks + 1)
    ]
    shelf.sales += len(sales)
    shelf.sold += int(sold[-1])
    shelf.restocks += len(caused)
    shelf.restocked += len(caused) * amount
    shelf.level += len(caused) * amount - int(sold[-1])
    return caused


def _add_lost_units(row: InventoryLevel, lost: LostSaleEvent) -> None:
    """Count units that were requested but not available."""
    if lost.substitute is None:
        row.lost += lost.quantity
        row.lost_cents += round(lost.value * 100)
    else:
        row.substituted += lost.quantity


def _is_next(tp: TP, message: Message, name: str, number: int, last: int) -> bool:
    """Return whether a message is the next of its product; False if it is a duplicate. Raises InconsistentLogError."""
    if number > last + 1:
        raise InconsistentLogError(
            f"{tp.topic}, partition {tp.partition}, offset {message.offset}: {name} follows number {last} of its "
            f"product: those between them are missing in the log. Restore the topic from a backup. {OTHER_SHOP}"
        )
    return number == last + 1
