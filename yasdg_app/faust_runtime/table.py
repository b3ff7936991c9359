"""A Faust table that reads its changelog itself, a chunk at a time, and writes it with the shop's own producer.

Its rows are stored as numbers, 170 bytes each, and become objects on access: a million objects would take gigabytes.

The changelog is written before the table: what the table shows is in the log, and a worker that lost its partitions can
change neither. Faust's own implementation is slower by two orders of magnitude, may lose what it fetched in the middle
of a rebalance, and writes the changelog after the table, through a producer without fencing.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol, TypedDict, Unpack, cast

import faust
import msgspec
import numpy as np
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP, AppT
from mode.utils.types.trees import NodeT

from yasdg_app.cluster_state.clock_jumps import jumps
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.catalog import Product
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.kafka.decoding import UNREADABLE, decoded_or_none
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.messages.decoders import read_level
from yasdg_app.messages.encoders import encode_level
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.times import event_time, time_text
from yasdg_app.shop.demand import Ints

logger = logging.getLogger(__name__)

NUMBERS = InventoryLevel.__struct_fields__[1:]  # of a row; the field before them is the product_id
COLUMNS = {name: column for column, name in enumerate(NUMBERS)}
TIME_COLUMNS = [COLUMNS[name] for name in ("last_sale", "ordered_at", "promised", "last_lost")]  # texts in the rows
TOTALS = [COLUMNS[name] for name in ("sales", "sold", "revenue_cents")]
STATE = [COLUMNS[name] for name in ("level", "sales", "last_sale")]
SALES = COLUMNS["sales"]
NO_TIME = -(2**62)


class PartitionStore:
    """The rows of a partition's products: one line of numbers per product, in the order of the products.

    A product is identified by its local index (see `PartitionedCatalog`). Each row is flagged as changed while a
    datastore may lack its current value (see inventory_sink.py): at first, all of them.
    """

    def __init__(self, products: Sequence[Product]) -> None:
        self._products = products
        self._numbers = np.zeros((len(products), len(NUMBERS)), np.int64)
        self._has_row = np.zeros(len(products), bool)
        self._changed = np.ones(len(products), bool)
        self._newly_sold = np.zeros(len(products), bool)

    def __len__(self) -> int:
        return int(self._has_row.sum())

    def column(self, name: str) -> Ints:
        """Return a field of the existing rows: times in microseconds since 1970."""
        column: Ints = self._numbers[self._has_row, COLUMNS[name]]
        return column

    def local_indexes(self) -> Ints:
        """Return the local indexes of the existing rows, in the order of the columns."""
        return np.flatnonzero(self._has_row)

    def totals(self) -> Ints:
        """Return sales, units sold and revenue in cents of all products, in three lines; 0 without a row."""
        totals: Ints = self._numbers[:, TOTALS].T
        return totals

    def products(self) -> Iterator[Product]:
        """Yield the products of the existing rows, in the order of the columns."""
        return (self._products[index] for index in self.local_indexes().tolist())

    def latest(self, name: str) -> tuple[int, str] | None:
        """Return the maximum of a column of times, and the last product that has it; None without rows."""
        times = self.column(name)
        latest = int(times.max(initial=NO_TIME))
        if latest == NO_TIME:
            return None
        found = zip(self.products(), (times == latest).tolist(), strict=True)
        return latest, max(product.product_id for product, is_latest in found if is_latest)

    def get(self, local_index: int) -> InventoryLevel | None:
        """Return the row of a product; None if there is none."""
        if not self._has_row[local_index]:
            return None
        values = self._numbers[local_index].tolist()
        for column in TIME_COLUMNS:
            values[column] = "" if values[column] == NO_TIME else time_text(values[column])
        return InventoryLevel(self._products[local_index].product_id, *values)

    def put(self, local_indexes: Sequence[int], numbers: Ints) -> None:
        """Set rows; no row may occur twice."""
        sold = self._numbers[local_indexes, SALES] != numbers[:, SALES]  # the level changes only with a sale
        self._changed[local_indexes] |= sold
        self._newly_sold[local_indexes] |= sold
        self._numbers[local_indexes] = numbers
        self._has_row[local_indexes] = True

    def states(self, local_indexes: Ints) -> Iterator[tuple[Product, int, int, int]]:
        """Yield products with their level, the number of their last sale, and its time; NO_TIME before the first."""
        has_row = self._has_row[local_indexes].tolist()
        states = self._numbers[local_indexes][:, STATE].tolist()
        for index, is_there, state in zip(local_indexes.tolist(), has_row, states, strict=True):
            product = self._products[index]
            yield (product, *state) if is_there else (product, product.inventory, 0, NO_TIME)

    # --- Which rows a datastore may lack ---

    @property
    def changed_count(self) -> int:
        """Number of products whose row may differ in the datastore."""
        return int(self._changed.sum())

    def changed_since_save(self) -> Ints:
        """Return the local indexes of these products."""
        return np.flatnonzero(self._changed)

    def take_newly_sold(self) -> Ints:
        """Return the local indexes of those of these products that were sold since the last call."""
        sold = np.flatnonzero(self._newly_sold & self._changed)
        self._newly_sold[:] = False
        return sold

    def mark_saved(self, local_indexes: Ints) -> None:
        """Clear the flag of products: the datastore has their rows."""
        self._changed[local_indexes] = False

    def mark_changed(self, local_indexes: Ints) -> None:
        """Flag products: the datastore may lack their rows."""
        self._changed[local_indexes] = True

    def mark_all_changed(self) -> None:
        """Flag all products."""
        self._changed[:] = True


EMPTY_STORE = PartitionStore(())


def numbers_of(levels: Sequence[InventoryLevel]) -> Ints:
    """Return rows as the numbers that are stored."""
    lines = []
    for level in levels:
        _, *line = msgspec.structs.astuple(level)
        for column in TIME_COLUMNS:
            line[column] = event_time(line[column]) if line[column] else NO_TIME
        lines.append(line)
    return np.array(lines, np.int64).reshape(-1, len(NUMBERS))


def _read_row(value: bytes) -> InventoryLevel:
    """Return a row that can be stored as numbers: its times are valid, and all numbers fit into 64 bits."""
    level = read_level(value)
    numbers_of([level])
    return level


class TableContent(Mapping[bytes, InventoryLevel]):
    """All rows that a worker holds, by key: Faust treats this as the content of the table."""

    def __init__(self, catalog: PartitionedCatalog, stores: Mapping[int, PartitionStore]) -> None:
        self._catalog = catalog
        self._stores = stores

    def level_of(self, product_id: str) -> InventoryLevel | None:
        """Return the row of a product; None if there is none."""
        index = self._catalog.indexes.get(product_id)
        if index is None:
            return None
        store = self._stores.get(self._catalog.partitions[index])
        return None if store is None else store.get(self._catalog.local_indexes[index])

    def __getitem__(self, key: bytes) -> InventoryLevel:
        level = self.level_of(key.decode())
        if level is None:
            raise KeyError(key)
        return level

    def __iter__(self) -> Iterator[bytes]:
        return (product.product_id.encode() for store in self._stores.values() for product in store.products())

    def __len__(self) -> int:
        return sum(map(len, self._stores.values()))


class TableOptions(TypedDict, total=False):
    """The options of `app.Table` that Faust hands on to its table."""

    name: str
    default: Callable[[], object] | None
    partitions: int | None
    key_type: type[bytes]
    value_type: type[InventoryLevel]
    help: str | None
    beacon: NodeT[object]


class ChunkedTable(faust.Table[bytes, InventoryLevel]):
    """A table in memory. `recover` brings it up to date with its changelog, and `write` alone changes it.

    Parameters
    ----------
    app, options
        As for a table of Faust.
    shop
        Provides the producer that writes the changelog, and the reader that reads it.
    catalog
        The products with rows in the table, and their partitions.
    """

    def __init__(
        self, app: AppT, *, shop: RunningShop, catalog: PartitionedCatalog, **options: Unpack[TableOptions]
    ) -> None:
        super().__init__(app, **options)  # type: ignore[arg-type]  # Faust takes any class as value_type
        self.shop = shop
        self.catalog = catalog
        self._stores: dict[int, PartitionStore] = {}  # by partition we hold
        self._positions: dict[int, int] = {}  # next offset of the changelog to read, by partition
        self._base_sequences: dict[int, int] = {}  # number of changelog records that the shop has appended, likewise
        content = TableContent(catalog, self._stores)
        cast(_MemoryStore, self.data).data = content
        self.level_of = content.level_of

    def store_of(self, partition: int) -> PartitionStore:
        """Return the rows of a partition; empty if it is not ours."""
        return self._stores.get(partition, EMPTY_STORE)

    def column_by_product(self, partition: int, name: str) -> dict[str, int]:
        """Return a field of the rows of a partition, by product_id; times in microseconds since 1970."""
        store = self.store_of(partition)
        return dict(zip((product.product_id for product in store.products()), store.column(name).tolist(), strict=True))

    def assigned_partitions(self) -> list[int]:
        """Return the partitions that the last rebalance has assigned to this worker, in ascending order."""
        recovery = cast(ChunkedTableManager, self.app.tables).recovery
        return sorted({tp.partition for tp in recovery.actives_for_table[self]})

    async def recover(self, partitions: Collection[int]) -> None:
        """Hold these partitions and no others, with the current content of their changelogs.

        A row counts if the shop itself wrote it. An unreadable row is left out: the numbers of sales in the rows show
        whether they match the logs (see pipeline/table_check.py). Raises KafkaError.
        """
        for partition in self._stores.keys() - set(partitions):
            self._forget(partition)
        tps = [TP(self.changelog_topic.get_topic_name(), partition) for partition in sorted(partitions)]
        firsts, ends = await self.shop.own_reader.firsts(tps), await self.shop.own_reader.ends(tps)
        for tp in tps:
            await self._read_changelog(tp, firsts[tp], ends[tp])

    async def _read_changelog(self, tp: TP, first: int, end: int) -> None:
        """Bring the rows of a partition up to date."""
        partition, reader = tp.partition, self.shop.own_reader
        if self._positions.get(partition, end + 1) > end:  # never read, or the topic was deleted since
            self._forget(partition)
        store = self._stores.setdefault(partition, PartitionStore(self.catalog.products_in(partition)))
        position, base_sequence = max(self._positions.get(partition, first), first), self._base_sequences.get(partition)
        async for chunk in reader.all_chunks(tp, position, end, with_foreign=False, skip_damaged=True):
            self._put(store, *self._known_levels(tp, {record.key: record.value for record in chunk.messages}))
            if chunk.count is not None or chunk.is_damaged:
                base_sequence = chunk.count
        if base_sequence is None:
            base_sequence = await reader.count(tp)
        self._positions[partition], self._base_sequences[partition] = end, base_sequence

    def _known_levels(self, tp: TP, latest: Mapping[bytes | None, bytes | None]) -> tuple[list[InventoryLevel], Ints]:
        """Return the rows of the shop's products in a chunk of the changelog, and their numbers."""
        try:
            levels = [read_level(value or b"") for value in latest.values()]
            numbers = numbers_of(levels)
        except UNREADABLE:
            levels = [level for value in latest.values() if (level := decoded_or_none(_read_row, value)) is not None]
            numbers = numbers_of(levels)
            logger.warning("%s, partition %d: %d rows cannot be read.", *tp, len(latest) - len(levels))
        # An earlier catalog may have had more products.
        known = [self.catalog.partition_of(level.product_id) == tp.partition for level in levels]
        return [level for level, is_known in zip(levels, known, strict=True) if is_known], numbers[known]

    def _forget(self, partition: int) -> None:
        self._stores.pop(partition, None)
        self._positions.pop(partition, None)
        self._base_sequences.pop(partition, None)

    def clear_partition(self, partition: int) -> None:
        """Hold a partition without rows, as before its first sale: they are computed again from the logs."""
        self._stores[partition] = PartitionStore(self.catalog.products_in(partition))

    async def write(self, partition: int, levels: Sequence[InventoryLevel], is_owner: Callable[[], bool]) -> bool:
        """Write rows, in order, to the changelog and then into the table; return False if we are not the owner.

        Raises StaleStateError if the table has to be recovered first.
        """
        if not is_owner():
            return False  # the partition may belong to another worker by now
        now = jumps.record_time()
        numbers = numbers_of(levels)
        changes = [ProducerRecord(level.product_id.encode(), encode_level(level), now) for level in levels]
        base_sequence, topic = self._base_sequences[partition], self.changelog_topic.get_topic_name()
        appended = await self.shop.producer.append(topic, partition, base_sequence, changes, is_owner, atomic=True)
        if not appended.complete or not is_owner():
            return False  # the rows that are in the log return with the next recovery
        self._base_sequences[partition] = base_sequence + len(changes)
        if changes:
            self._positions[partition] = appended.offset + len(changes)
        self._put(self._stores[partition], levels, numbers)
        return True

    def _put(self, store: PartitionStore, levels: Sequence[InventoryLevel], numbers: Ints) -> None:
        store.put([self.catalog.local_index_of(level.product_id) for level in levels], numbers)


class _MemoryStore(Protocol):
    """Of Faust's store in memory, what the table replaces."""

    data: Mapping[bytes, InventoryLevel]


class _NoRecovery(Recovery):
    """Faust's recovery with nothing to read; it must not wait for a partition that has no leader."""

    def need_recovery(self) -> bool:
        return False

    async def _build_highwaters(self, *args: object, **kwargs: object) -> None: ...
    async def _build_offsets(self, *args: object, **kwargs: object) -> None: ...
    async def _seek_offsets(self, *args: object, **kwargs: object) -> None: ...


class ChunkedTableManager(TableManager):
    """Faust's table manager for tables that recover themselves."""

    @property
    def recovery(self) -> Recovery:
        """Return the service that runs Faust's steps after a rebalance."""
        if self._recovery is None:
            self._recovery = _NoRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
