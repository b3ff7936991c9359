"""A Faust table that reads its changelog itself, a chunk at a time, and writes it with the shop's own producer.

Its rows are stored as numbers, 170 bytes each, and become objects on access: a million objects would take gigabytes.

The changelog is written before the table: what the table shows is in the log, and a worker that lost its partitions can
change neither. Faust's own implementation is slower by two orders of magnitude, may lose what it fetched in the middle
of a rebalance, and writes the changelog after the table, through a producer without fencing.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import faust
import msgspec
import numpy as np
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from yasdg_app.cluster_state.clock_jumps import jumps
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.catalog import Product
from yasdg_app.inventory.partitioned_catalog import Assortment
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
TIMES = [COLUMNS[name] for name in ("last_sale", "ordered_at", "promised", "last_lost")]  # event times, as texts
TOTALS = [COLUMNS[name] for name in ("sales", "sold", "revenue_cents")]
STATE = [COLUMNS[name] for name in ("level", "sales", "last_sale")]
SALES = COLUMNS["sales"]
NO_TIME = -(2**62)


class Rows:
    """The rows of a partition's products: one line of numbers per product, in the order of the products.

    Each row is flagged while a datastore may lack its current value (see inventory_sink.py): at first, all of them.
    """

    def __init__(self, products: Sequence[Product]) -> None:
        self._products = products
        self._numbers = np.zeros((len(products), len(NUMBERS)), np.int64)
        self._held = np.zeros(len(products), bool)
        self._unsaved = np.ones(len(products), bool)
        self._sold = np.zeros(len(products), bool)  # of the flagged ones, since the last call of `sold_seats`

    def __len__(self) -> int:
        return int(self._held.sum())

    def column(self, name: str) -> Ints:
        """Return a field of the existing rows: times in microseconds since 1970."""
        column: Ints = self._numbers[self._held, COLUMNS[name]]
        return column

    def seats(self) -> Ints:
        """Return the places of the existing rows in the partition, in the order of the columns."""
        return np.flatnonzero(self._held)

    def totals(self) -> Ints:
        """Return sales, units sold and revenue in cents, three lines, of all products by place; 0 without a row."""
        totals: Ints = self._numbers[:, TOTALS].T
        return totals

    def products(self) -> Iterator[Product]:
        """Yield the products of the existing rows, in the order of the columns."""
        return (self._products[seat] for seat in np.flatnonzero(self._held).tolist())

    def last(self, name: str) -> tuple[int, str] | None:
        """Return the maximum of a column of times, and the last product that has it; None without rows."""
        times = self.column(name)
        latest = int(times.max(initial=NO_TIME))
        if latest == NO_TIME:
            return None
        found = zip(self.products(), (times == latest).tolist(), strict=True)
        return latest, max(product.product_id for product, is_it in found if is_it)

    def get(self, seat: int) -> InventoryLevel | None:
        """Return the row of a product, by its place in the partition; None if there is none."""
        if not self._held[seat]:
            return None
        values: list[Any] = self._numbers[seat].tolist()
        for column in TIMES:
            values[column] = "" if values[column] == NO_TIME else time_text(values[column])
        return InventoryLevel(self._products[seat].product_id, *values)

    def put(self, seats: Sequence[int], numbers: Ints) -> None:
        """Set rows; no row may occur twice."""
        sold = self._numbers[seats, SALES] != numbers[:, SALES]  # the level changes only with a sale
        self._unsaved[seats] |= sold
        self._sold[seats] |= sold
        self._numbers[seats] = numbers
        self._held[seats] = True

    def states(self, seats: Ints) -> Iterator[tuple[Product, int, int, int]]:
        """Yield products with their level, the number of their last sale, and its time; NO_TIME before the first."""
        held = self._held[seats].tolist()
        for seat, is_held, state in zip(seats.tolist(), held, self._numbers[seats][:, STATE].tolist(), strict=True):
            product = self._products[seat]
            yield (product, *state) if is_held else (product, product.inventory, 0, NO_TIME)

    @property
    def unsaved(self) -> int:
        """Number of products whose row may differ in the datastore."""
        return int(self._unsaved.sum())

    def unsaved_seats(self) -> Ints:
        """Return the places of these products in the partition."""
        return np.flatnonzero(self._unsaved)

    def sold_seats(self) -> Ints:
        """Return the places of those of these products that were sold since the last call."""
        seats = np.flatnonzero(self._sold & self._unsaved)
        self._sold[:] = False
        return seats

    def mark(self, seats: Ints, *, unsaved: bool) -> None:
        """Set or clear the flag that products may differ in the datastore."""
        self._unsaved[seats] = unsaved

    def mark_all_unsaved(self) -> None:
        """Flag all products: each of them may differ in the datastore."""
        self._unsaved[:] = True


NO_ROWS = Rows(())


def numbers_of(levels: Sequence[InventoryLevel]) -> Ints:
    """Return rows as the numbers that are stored."""
    lines = []
    for level in levels:
        _, *line = msgspec.structs.astuple(level)
        for column in TIMES:
            line[column] = event_time(line[column]) if line[column] else NO_TIME
        lines.append(line)
    return np.array(lines, np.int64).reshape(-1, len(NUMBERS))


def _read_row(value: bytes) -> InventoryLevel:
    """Return a row that can be stored as numbers: its times are valid, and all numbers fit into 64 bits."""
    level = read_level(value)
    numbers_of([level])
    return level


class Levels(Mapping[bytes, InventoryLevel]):
    """All rows that a worker holds, by key: Faust treats this as the content of the table."""

    def __init__(self, assortment: Assortment, rows: Mapping[int, Rows]) -> None:
        self._assortment = assortment
        self._rows = rows

    def level_of(self, product_id: str) -> InventoryLevel | None:
        """Return the row of a product; None if there is none."""
        place = self._assortment.places.get(product_id)
        if place is None:
            return None
        rows = self._rows.get(self._assortment.homes[place])
        return None if rows is None else rows.get(self._assortment.seats[place])

    def __getitem__(self, key: bytes) -> InventoryLevel:
        level = self.level_of(key.decode())
        if level is None:
            raise KeyError(key)
        return level

    def __iter__(self) -> Iterator[bytes]:
        return (product.product_id.encode() for rows in self._rows.values() for product in rows.products())

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))


class ChunkedTable(faust.Table[bytes, Any]):
    """A table in memory. `recover` brings it up to date with its changelog, and `write` alone changes it.

    Parameters
    ----------
    shop
        Provides the producer that writes the changelog, and the reader that reads it.
    assortment
        The products with rows in the table, and their partitions.
    """

    def __init__(self, *args: Any, shop: RunningShop, assortment: Assortment, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shop = shop
        self.assortment = assortment
        self._rows: dict[int, Rows] = {}  # by partition we hold
        self._through: dict[int, int] = {}  # next offset of the changelog to read, by partition
        self._numbers: dict[int, int] = {}  # number of changelog records that the shop has appended, by partition
        levels, store = Levels(assortment, self._rows), cast(Any, self.data)
        store.data = levels
        self.level_of = levels.level_of

    def rows_of(self, partition: int) -> Rows:
        """Return the rows of a partition; empty if it is not ours."""
        return self._rows.get(partition, NO_ROWS)

    def column_of(self, partition: int, name: str) -> dict[str, int]:
        """Return a field of the rows of a partition, by product_id; times in microseconds since 1970."""
        rows = self.rows_of(partition)
        return dict(zip((product.product_id for product in rows.products()), rows.column(name).tolist(), strict=True))

    def assigned_partitions(self) -> list[int]:
        """Return the partitions that the last rebalance has assigned to this worker, in ascending order."""
        recovery = cast(Any, self.app.tables).recovery
        return sorted({tp.partition for tp in recovery.actives_for_table[self]})

    async def recover(self, partitions: Collection[int]) -> None:
        """Hold these partitions and no others, with the current content of their changelogs.

        A row counts if the shop itself wrote it. An unreadable row is left out: the numbers of sales in the rows show
        whether they match the logs (see restore.py). Raises KafkaError.
        """
        for partition in self._rows.keys() - set(partitions):
            self._forget(partition)
        tps = [TP(self.changelog_topic.get_topic_name(), partition) for partition in sorted(partitions)]
        firsts, ends = await self.shop.own_reader.firsts(tps), await self.shop.own_reader.ends(tps)
        for tp in tps:
            await self._read_changelog(tp, firsts[tp], ends[tp])

    async def _read_changelog(self, tp: TP, first: int, end: int) -> None:
        """Bring the rows of a partition up to date."""
        partition, reader = tp.partition, self.shop.own_reader
        if self._through.get(partition, end + 1) > end:  # never read, or the topic was deleted since
            self._forget(partition)
        rows = self._rows.setdefault(partition, Rows(self.assortment.here(partition)))
        position, number = max(self._through.get(partition, first), first), self._numbers.get(partition)
        async for chunk in reader.all_chunks(tp, position, end, with_foreign=False, skip_damaged=True):
            self._put(rows, *self._levels(tp, {record.key: record.value for record in chunk.messages}))
            if chunk.count is not None or chunk.is_damaged:
                number = chunk.count
        if number is None:
            number = await reader.count(tp)
        self._through[partition], self._numbers[partition] = end, number

    def _levels(self, tp: TP, latest: Mapping[bytes | None, bytes | None]) -> tuple[list[InventoryLevel], Ints]:
        """Return the rows of the shop's products in a chunk of the changelog, and their numbers."""
        try:
            levels = [read_level(value or b"") for value in latest.values()]
            numbers = numbers_of(levels)
        except UNREADABLE:
            levels = [level for value in latest.values() if (level := decoded_or_none(_read_row, value)) is not None]
            numbers = numbers_of(levels)
            logger.warning("%s, partition %d: %d rows cannot be read.", *tp, len(latest) - len(levels))
        # An earlier catalog may have had more products.
        known = [self.assortment.home(level.product_id) == tp.partition for level in levels]
        return [level for level, is_known in zip(levels, known, strict=True) if is_known], numbers[known]

    def _forget(self, partition: int) -> None:
        self._rows.pop(partition, None)
        self._through.pop(partition, None)
        self._numbers.pop(partition, None)

    def clear_partition(self, partition: int) -> None:
        """Hold a partition without rows, as before its first sale: they are computed again from the logs."""
        self._rows[partition] = Rows(self.assortment.here(partition))

    async def write(self, partition: int, levels: Sequence[InventoryLevel], allowed: Callable[[], bool]) -> bool:
        """Write rows, in order, to the changelog and then into the table; return False if that is not allowed.

        Raises StaleStateError if the table has to be recovered first.
        """
        if not allowed():
            return False  # the partition may belong to another worker by now
        now = jumps.record_time()
        numbers = numbers_of(levels)
        changes = [ProducerRecord(level.product_id.encode(), encode_level(level), now) for level in levels]
        number, topic = self._numbers[partition], self.changelog_topic.get_topic_name()
        appended = await self.shop.producer.append(topic, partition, number, changes, allowed, atomic=True)
        if not appended.complete or not allowed():
            return False  # the rows that are in the log return with the next recovery
        self._numbers[partition] = number + len(changes)
        if changes:
            self._through[partition] = appended.offset + len(changes)
        self._put(self._rows[partition], levels, numbers)
        return True

    def _put(self, rows: Rows, levels: Sequence[InventoryLevel], numbers: Ints) -> None:
        places, seats = self.assortment.places, self.assortment.seats
        rows.put([seats[places[level.product_id]] for level in levels], numbers)


class _NoRecovery(Recovery):
    """Faust's recovery with nothing to read; it must not wait for a partition that has no leader."""

    def need_recovery(self) -> bool:
        return False

    async def _build_highwaters(self, *args: Any, **kwargs: Any) -> None: ...
    async def _build_offsets(self, *args: Any, **kwargs: Any) -> None: ...
    async def _seek_offsets(self, *args: Any, **kwargs: Any) -> None: ...


class ChunkedTableManager(TableManager):
    """Faust's table manager for tables that recover themselves."""

    @property
    def recovery(self) -> Recovery:
        """Return the service that runs Faust's steps after a rebalance."""
        if self._recovery is None:
            self._recovery = _NoRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
