"""Logs made of batches that need not be valid, a reader of them, and tables of any rows."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from yasdg_app.config.catalog import load
from yasdg_app.faust_runtime.table import PartitionStore, numbers_of
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.kafka.reader import Reader
from yasdg_app.messages.records import InventoryLevel

PRODUCTS = load(Path(__file__).parents[2] / "products.csv")
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
