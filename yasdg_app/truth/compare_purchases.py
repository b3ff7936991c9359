"""Compares an engine's rows, one for each purchase, with the actual sales.

Sale numbers are contiguous and each sale is a function of the seed, so for every sale it is known whether the engine
has it, exactly once, and with the right values. Memory holds the engine's rows, in columns of some 60 bytes per row;
the sales are computed block by block.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yasdg_app.config.catalog import Product
from yasdg_app.messages.ids import NUMBER, transaction_id
from yasdg_app.messages.times import time_text
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.faults import CORRUPT, DROPPED, DUPLICATE, KINDS, LATE, NONE, OUT_OF_ORDER
from yasdg_app.shop.sales import NO_PRODUCT, Sales
from yasdg_app.text import length
from yasdg_app.truth.arrivals import Arrived
from yasdg_app.truth.engine_files import NOTHING, EngineBatch
from yasdg_app.truth.engine_values import CENT, NULL, SCALE, UNREADABLE, names, numbers, texts, times
from yasdg_app.truth.events import Block
from yasdg_app.truth.price_columns import UNKNOWN, BulkPricing, PriceColumns
from yasdg_app.truth.report import ComparisonReport, EngineFinding
from yasdg_app.truth.tumbling import Span

ID = "transaction_id"
BITS = 40  # for the sale number in the key of a row
UNKNOWN_PRODUCT = -10  # code of the first text that is no product id; further ones count down
MAX_UNKNOWN_PRODUCTS = 1_000


class Field(NamedTuple):
    """A field of a purchase: its value as `values` yields it, and how it is printed."""

    wanted: Callable[[Sales, PriceColumns], Ints]
    shown: Callable[[int], Any]
    is_money: bool = False  # otherwise its four digits count


def _amount(value: int) -> float:
    return value / SCALE


def _whole(value: int) -> int | float:
    return value // SCALE if value % SCALE == 0 else value / SCALE


def _flag(value: int) -> Any:
    return {0: False, SCALE: True}.get(value, value / SCALE)


def _cost(_: Sales, lines: PriceColumns) -> Ints:
    return np.where(lines.cost == UNKNOWN, NULL, lines.cost * CENT)


NUMBERS: dict[str, Field] = {
    "price": Field(lambda _, lines: lines.price * CENT, _amount, True),
    "quantity": Field(lambda _, lines: lines.quantity * SCALE, _whole),
    "is_member": Field(lambda _, lines: lines.is_member * SCALE, _flag),
    "member_discount": Field(lambda _, lines: lines.member_discount, _amount),
    "add_supplements": Field(lambda _, lines: lines.add_supplements * SCALE, _flag),
    "supplement_price": Field(lambda _, lines: lines.supplement_price * CENT, _amount, True),
    "total_purchase": Field(lambda _, lines: lines.total * CENT, _amount, True),
    "total_cost": Field(_cost, _amount, True),
    "promotion_discount": Field(lambda sales, _: sales.promotion, _amount),
}
TIMES: dict[str, Field] = {"transaction_time": Field(lambda sales, _: sales.at, time_text)}
NAMES: dict[str, Callable[[Sales], Ints]] = {
    "product_id": lambda sales: sales.product,
    "substituted_from": lambda sales: np.where(sales.requested_product == NO_PRODUCT, NULL, sales.requested_product),
}
FIELDS = (*TIMES, *NUMBERS, *NAMES)


class EngineRows:
    """The purchases in an engine's output.

    Parameters
    ----------
    products
        Those of the till.
    columns
        The engine's columns to compare, some of FIELDS.
    report
        Receives rows that belong to no sale.
    """

    def __init__(self, products: Sequence[Product], columns: Sequence[str], report: ComparisonReport) -> None:
        self._ids = [product.product_id for product in products]
        self._places = {product_id: place for place, product_id in enumerate(self._ids)}
        self._unknown_products: dict[str, int] = {}
        self._report = report
        self.columns = columns
        self._parts: list[list[Ints]] = []
        self.key = np.empty(0, dtype=np.int64)
        self.values: dict[str, Ints] = {}
        self.matched: NDArray[np.bool_] = np.empty(0, dtype=np.bool_)

    def take(self, batch: EngineBatch) -> None:
        """Add some rows."""
        for where in batch.unreadable:
            self._report.add(EngineFinding("unreadable", {"row": where}))
        if not batch.rows:
            return
        key = np.fromiter(map(self._key, texts(batch.columns[ID])), np.int64, batch.rows)
        there = key >= 0
        columns = [self._read(name, batch.columns[name])[there] for name in self.columns]
        self._parts.append([key[there], *map(_narrow, columns)])

    def close(self) -> None:
        """Sort all rows by product and number."""
        columns = [np.concatenate(parts) for parts in zip(*self._parts, strict=True)] if self._parts else []
        self._parts.clear()
        if columns:
            order = np.argsort(columns[0], kind="stable")
            for place in range(len(columns)):
                columns[place] = columns[place][order]
            self.key, self.values = columns[0], dict(zip(self.columns, columns[1:], strict=True))
        self.matched = np.zeros(len(self.key), dtype=np.bool_)

    def shown(self, name: str, value: int) -> Any:
        """Return a value in its printed form."""
        if value in (NULL, UNREADABLE):
            return None if value == NULL else "not readable"
        if name in NAMES:
            return self._ids[value] if value >= 0 else list(self._unknown_products)[UNKNOWN_PRODUCT - value]
        return (TIMES if name in TIMES else NUMBERS)[name].shown(value)

    def id_of(self, product: int, number: int) -> str:
        """Return the id of a sale."""
        return transaction_id(self._ids[product], number)

    def _key(self, text: str) -> int:
        """Return the key of a row by its id; below 0 if it is not a valid id, which is reported."""
        product_id, _, number = text.rpartition("-")
        place = self._places.get(product_id)
        known = place is not None and NUMBER.fullmatch(number) and text == transaction_id(product_id, int(number))
        if place is not None and known and 0 < int(number) < 2**BITS:
            return place << BITS | int(number)
        self._report.add(
            EngineFinding("unknown", {ID: text[:200] or "NULL"}, why="expected the id of a product and a number")
        )
        return -1

    def _read(self, name: str, column: Any) -> Ints:
        if name in TIMES:
            return times(column)
        return names(column, self._place) if name in NAMES else numbers(column, NUMBERS[name].is_money)

    def _place(self, text: str) -> int:
        place = self._places.get(text)
        if place is not None:
            return place
        if text in NOTHING:
            return NULL
        if len(self._unknown_products) >= MAX_UNKNOWN_PRODUCTS and text not in self._unknown_products:
            return UNREADABLE
        return UNKNOWN_PRODUCT - self._unknown_products.setdefault(text, len(self._unknown_products))


def _narrow(values: Ints) -> Ints:
    """Store numbers in half the memory if they fit."""
    fits = not len(values) or (values.min() >= -(2**31) and values.max() < 2**31)
    return values.astype(np.int32) if fits else values


def compare(
    engine_rows: EngineRows, event_blocks: Iterator[Block], span: Span, pricing: BulkPricing, report: ComparisonReport
) -> Iterator[int]:
    """Compare an engine's rows with the sales, block by block; yield the event time reached after each block.

    Sales outside the span are ignored. Sales after it are computed only while rows remain that may belong to them.
    """
    for block in event_blocks:
        assert block.arrived is not None
        _compare_block(engine_rows, block.arrived, span, pricing, report)
        yield block.through
        if block.settled >= span.end and engine_rows.matched.all():
            break
    for row in np.flatnonzero(~engine_rows.matched).tolist():
        report.rows += 1
        place, number = divmod(int(engine_rows.key[row]), 2**BITS)
        report.add(EngineFinding("unknown", {ID: engine_rows.id_of(place, number)}, why="there was no such sale"))


def _compare_block(
    engine_rows: EngineRows, arrived: Arrived, span: Span, pricing: BulkPricing, report: ComparisonReport
) -> None:
    sales = arrived.sales
    key = (sales.product << BITS) | sales.number
    first = np.searchsorted(engine_rows.key, key, side="left")
    count = np.searchsorted(engine_rows.key, key, side="right") - first
    inside = (sales.at >= span.begin) & (sales.at < span.end)
    # All of the engine's rows that belong to these sales, with the index of the sale.
    sale = np.repeat(np.arange(len(key)), count)
    row = np.arange(len(sale)) - np.repeat(np.cumsum(count) - count, count) + first[sale]
    engine_rows.matched[row] = True
    report.outside += int(count[~inside].sum())
    report.rows += int(count[inside].sum())
    report.wanted += int(arrived.times[inside].sum())
    for place in np.flatnonzero(inside & (count != arrived.times)).tolist():
        _miscounted(engine_rows, arrived, place, int(count[place]), report)
    here = inside[sale]
    sale, row = sale[here], row[here]
    if len(sale):
        _compare_values(engine_rows, sales, sale, row, pricing.of(sales), report)


def _compare_values(
    engine_rows: EngineRows, sales: Sales, sale: Ints, row: Ints, lines: PriceColumns, report: ComparisonReport
) -> None:
    wanted: dict[str, Ints] = {}
    wrong = np.zeros(len(sale), dtype=np.bool_)
    for name in engine_rows.columns:
        if name in NAMES:
            wanted[name] = NAMES[name](sales)[sale]
        else:
            wanted[name] = (TIMES if name in TIMES else NUMBERS)[name].wanted(sales, lines)[sale]
        wrong |= engine_rows.values[name][row] != wanted[name]
    for place in np.flatnonzero(wrong).tolist():
        if report.is_full:
            report.add_more("wrong", int(np.count_nonzero(wrong[place:])))
            return
        values = {}
        for name, column in wanted.items():
            got, right = int(engine_rows.values[name][row[place]]), int(column[place])
            if got != right:
                values[name] = engine_rows.shown(name, got), engine_rows.shown(name, right)
        which = int(sale[place])
        event_id = engine_rows.id_of(int(sales.product[which]), int(sales.number[which]))
        report.add(EngineFinding("wrong", {ID: event_id}, values, [event_id]))


def _miscounted(engine_rows: EngineRows, arrived: Arrived, place: int, count: int, report: ComparisonReport) -> None:
    """Report a sale that the engine has more or less often than it should."""
    sales, kind, times = arrived.sales, int(arrived.kinds[place]), int(arrived.times[place])
    event_id = engine_rows.id_of(int(sales.product[place]), int(sales.number[place]))
    what, why = "missing" if count < times else "double", ""
    named = KINDS[kind].replace("_", " ")
    if count < times:
        if count:
            why = "once, but it arrived twice"
        elif kind in (LATE, OUT_OF_ORDER):
            what, why = "late", f"{named} on the dirty topic, by {length(int(arrived.delays[place]) / 1e6)}"
        elif kind in (DROPPED, CORRUPT):
            why = named
    elif arrived.too_late[place]:
        what, why = "late", f"kept, although it arrived too late: by {length(int(arrived.delays[place]) / 1e6)}"
    elif not times:
        what, why = "unknown", f"{named}: no engine can know it"
    elif kind != NONE:
        why = named if kind == DUPLICATE else ""
    for _ in range(max(1, count - max(times, 1)) if what == "double" else 1):
        report.add(EngineFinding(what, {ID: event_id}, ids=[event_id], why=why))
