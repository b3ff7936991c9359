"""What a worker that takes over learns from the logs, whatever their format."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faust.types import TP
from support import readers

from yasdg_app.config.catalog import load
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.faust_runtime.table import PartitionStore, numbers_of
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import InconsistentLogError
from yasdg_app.kafka.reader import Reader
from yasdg_app.messages.encoders import encode_restock
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.pipeline.restore import read_published_state
from yasdg_app.pipeline.table_check import check_table
from yasdg_app.shop.shelf import Restock

PRODUCTS = load(Path(__file__).parents[2] / "products.csv")
KAFKA = KafkaSettings(partitions=1)
SHOP = 7  # its producer id


class Logs(Reader):
    """The logs of one partition, and a reader of them: batches as they are in a log, without a cluster."""

    def __init__(self, logs: Mapping[TP, Sequence[SimpleNamespace]], firsts: Mapping[TP, int] | None = None) -> None:
        self._logs, self._firsts, self._producer_id = logs, firsts or {}, SHOP

    async def firsts(self, tps: Iterable[TP]) -> dict[TP, int]:  # type: ignore[override]
        return {tp: self._firsts.get(tp, 0) for tp in tps}

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:  # type: ignore[override]
        return {tp: max((batch.next_offset for batch in self._logs.get(tp, ())), default=0) for tp in tps}

    async def _remembered(self, tp: Any) -> int | None:
        return None

    async def _batches(self, tp: Any, position: int, size: int = 0) -> list[Any]:
        assert position >= self._firsts.get(tp, 0)
        return [batch for batch in self._logs.get(tp, ()) if batch.next_offset > position]


class Batch(SimpleNamespace):
    """A batch of messages."""

    def records(self, *, is_own: bool = False) -> list[Any]:
        return list(self.its)

    def validate_crc(self) -> bool:
        return True


def batch(
    first: int, *values: bytes, number: int | None = None, is_marker: bool = False, headers: Any = ()
) -> SimpleNamespace:
    """A batch at an offset; `number`: of its first record among the shop's, None: it is a foreign one."""
    records = [SimpleNamespace(offset=first + place, value=value, key=b"key", timestamp=0, headers=headers)
               for place, value in enumerate(values)]  # fmt: skip
    return Batch(
        base_offset=first, next_offset=first + len(values), last_offset_delta=len(values) - 1, its=records,
        is_control_batch=is_marker, base_sequence=-1 if number is None else number,
        producer_id=99 if number is None else SHOP, max_timestamp=0,
    )  # fmt: skip


STOCKINGS, LETTERS = TP(KAFKA.topic_stockings, 0), TP(KAFKA.topic_dead_letters, 0)
PURCHASES, LOST_SALES = TP(KAFKA.topic_purchases, 0), TP(KAFKA.topic_lost_sales, 0)


@pytest.mark.parametrize("name", readers.NAMES)
def test_restocks_that_were_told_before_the_table_knew_are_heard_of(name: str) -> None:
    form = readers.form_named(name)
    restocks = [(its, number) for number in (1, 2, 3) for its in ("CS01", "SF02")]
    told = [form.write("stockings", encode_restock(its, Restock(number, 10**15, 9, 15))) for its, number in restocks]
    foreign = form.write("stockings", encode_restock("SF02", Restock(9, 10**15, 9, 15)))
    table: Any = SimpleNamespace(
        # The table has the first two of one product.
        store_of=lambda partition: SimpleNamespace(
            column=lambda field: np.array([2] if field == "stockings" else [-1])
        ),
        level_of=lambda its: SimpleNamespace(stockings=2) if its == "CS01" else None,
        catalog=PartitionedCatalog.of(PRODUCTS, 1),
    )
    logs = {STOCKINGS: [batch(0, b"junk"), batch(1, *told, number=0), batch(7, foreign), batch(8, b"", is_marker=True)]}
    heard = asyncio.run(read_published_state(Logs(logs), KAFKA, table, [0], form))[0]
    assert (heard.ahead, heard.restocks) == ({"CS01": 3, "SF02": 3}, 6)


@pytest.mark.parametrize("after", [[], [batch(2, b"x")], [batch(2, b"", is_marker=True), batch(3, b"y", b"z")]])
def test_what_was_buried_is_what_the_last_own_letter_says_whatever_comes_after_it(after: list[Any]) -> None:
    headers = [("buried", json.dumps({"purchases": 41}).encode())]
    logs = {LETTERS: [batch(0, b"letter", b"letter", number=0, headers=headers), *after]}
    heard = asyncio.run(read_published_state(Logs(logs), KAFKA, empty_table(), [0], readers.form_named("sql")))[0]
    assert (heard.dead_letters, heard.dead_lettered) == (2, {"purchases": 41})


def emptied(first: int, count: int, number: int) -> SimpleNamespace:
    """A batch of the shop of which compaction has left nothing but its header."""
    made = batch(first, *[b"gone"] * count, number=number)
    made.its = []
    return made


@pytest.mark.parametrize("before", [[], [batch(0, b"kept", number=0)]])
def test_an_empty_batch_says_how_many_were_appended(before: list[Any]) -> None:
    first = len(before)
    logs = Logs({LETTERS: [*before, emptied(first, 3, number=first), batch(first + 3, b"foreign")]})
    message, count = asyncio.run(logs.last(LETTERS))
    assert (message and message.value, count) == (b"kept" if before else None, first + 3)
    assert asyncio.run(logs.count(LETTERS)) == first + 3
    assert asyncio.run(logs.count_before(LETTERS, first + 3)) == first + 3


# --- Whether the table belongs to the logs --------------------------------------------------------------------------


def table_of(*levels: InventoryLevel) -> Any:
    """A table that holds these rows."""
    catalog = PartitionedCatalog.of(PRODUCTS, 1)
    rows = {0: PartitionStore(PRODUCTS)}
    rows[0].put([catalog.local_index_of(level.product_id) for level in levels], numbers_of(levels))

    def clear(partition: int) -> None:
        rows[partition] = PartitionStore(PRODUCTS)

    return SimpleNamespace(store_of=rows.get, catalog=catalog, clear_partition=clear, level_of=lambda product_id: None)


def empty_table() -> Any:
    return table_of()


def row(product_id: str, sales: int, offset: int, lost_sales: int = 0, lost_offset: int = -1) -> InventoryLevel:
    return InventoryLevel(
        product_id, 5, 9, sales, sales, 0, 0, 0, 0, "2026-01-01 00:00:00.000000", offset, lost_sales=lost_sales,
        lost_offset=lost_offset,
    )  # fmt: skip


def checked(table: Any, logs: Mapping[TP, Sequence[Any]], firsts: Mapping[TP, int] | None = None) -> dict[TP, int]:
    return asyncio.run(check_table(Logs(logs, firsts), KAFKA, table, [0]))


SOLD = [batch(0, *[b"sale"] * 4, number=0), batch(4, b"foreign"), batch(5, *[b"sale"] * 3, number=4)]


def test_a_table_that_holds_what_the_log_says_is_kept_and_positions_follow_its_last_sale() -> None:
    table = table_of(row("CS01", 3, 3), row("CS02", 2, 5))  # five sales, the last one at offset 5
    assert checked(table, {PURCHASES: SOLD}) == {PURCHASES: 6, LOST_SALES: 0}
    assert len(table.store_of(0)) == 2


@pytest.mark.parametrize(
    "rows",
    [
        [row("CS02", 2, 5)],  # the other one was taken from the changelog by a foreign record with its key
        [row("CS01", 1, 1), row("CS02", 2, 5)],  # it is an old one
        [row("CS01", 3, 3, lost_sales=2, lost_offset=1), row("CS02", 2, 5)],  # of the lost sales one is missing
    ],
)
def test_a_table_that_lacks_a_row_is_computed_again_from_logs_that_are_whole(rows: list[InventoryLevel]) -> None:
    table = table_of(*rows)
    logs = {PURCHASES: SOLD, LOST_SALES: [batch(0, b"lost", number=0), batch(1, b"lost", b"lost", number=1)]}
    if rows[0].lost_sales:
        logs[LOST_SALES] = [batch(0, b"lost", number=0), batch(1, b"lost", number=3)]
    assert checked(table, logs) == {PURCHASES: 0, LOST_SALES: 0}
    assert len(table.store_of(0)) == 0


def test_a_table_that_lacks_a_row_is_not_guessed_where_the_log_is_not_whole() -> None:
    table = table_of(row("CS02", 2, 5))
    with pytest.raises(InconsistentLogError, match=r"cannot be computed again.*application_id"):
        checked(table, {PURCHASES: SOLD}, {PURCHASES: 2})
    assert len(table.store_of(0)) == 1


def test_a_log_that_was_cut_behind_the_table_is_gone_on_with() -> None:
    table = table_of(row("CS01", 3, 3), row("CS02", 1, 2))
    assert checked(table, {PURCHASES: SOLD}, {PURCHASES: 5}) == {PURCHASES: 5, LOST_SALES: 0}


def test_a_log_that_was_cut_before_the_table_had_seen_it_stops_the_worker() -> None:
    with pytest.raises(InconsistentLogError, match=r"begins at offset 5, .* up to 2 only.*application_id"):
        checked(table_of(row("CS01", 2, 1)), {PURCHASES: SOLD}, {PURCHASES: 5})


def test_a_log_that_is_shorter_than_the_table_stops_the_worker() -> None:
    with pytest.raises(InconsistentLogError, match=r"ends at offset 8, .* up to offset 10.*application_id"):
        checked(table_of(row("CS01", 9, 9)), {PURCHASES: SOLD})
