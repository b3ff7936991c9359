"""Snapshots of shelves, for shops whose customers buy substitutes.

A sales generator then needs the shelves of products in other partitions, whose logs are at other event times. So it
serves the customers of those products as well, and from time to time writes a snapshot of all its shelves. The next
generator of the partition starts from the snapshot, serves the customers who came since, and publishes nothing that the
logs contain. A snapshot is a function of event time alone: it is valid whichever worker wrote it, and however old it
is. Without a snapshot a generator starts at the moment when the shop opened.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec
from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.cluster_state.clock_jumps import jumps
from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.kafka import topics
from yasdg_app.kafka.decoding import decoded_or_none
from yasdg_app.kafka.producer import ProducerRecord, StaleStateError
from yasdg_app.kafka.reader import DamagedLogError
from yasdg_app.shop.sales import EventCursor, cursor_after
from yasdg_app.shop.shelf import Shelf
from yasdg_app.shop.till import Till

logger = logging.getLogger(__name__)

SNAPSHOT_EVERY_CUSTOMERS = 50_000
"""At most this many customers are served again by the next generator, in a fraction of a second."""
SLOTS = 2
"""Snapshots kept per partition: one may be half written."""
MAX_SHELVES_PER_RECORD = 4_000
MAX_RECORD_BYTES = 900_000
"""Of a snapshot record, which is not compressed: a topic accepts 1 MB by default."""
SHELF_BYTES = 80
"""Size of a shelf in a record without its id, at most."""


class SnapshotPart(msgspec.Struct):
    """A part of a snapshot of a partition, as stored on the topic."""

    through: int  # event time up to which all customers were served
    place: int  # index of this part
    pieces: int  # number of parts
    # By product_id: initial, level, sales, sold, stockings, restocked, on order, ordered at.
    shelves: dict[str, tuple[int, int, int, int, int, int, int, int]]


_read = msgspec.msgpack.Decoder(SnapshotPart).decode


class ShelfSnapshots:
    """Writes and reads the snapshots of this worker's partitions."""

    def __init__(self, shop: RunningShop, follower: ControlFollower, table: ChunkedTable) -> None:
        self._shop = shop
        self._follower = follower
        self._table = table
        self._topic = topics.shelves_topic(shop.settings.kafka)
        self._counts: dict[int, int] = {}  # of records on the topic, by partition
        self._last: dict[int, tuple[Till, int]] = {}  # by partition: number of customers its till had served by then
        self._slots: Counter[int] = Counter()  # by partition

    async def read(self, partition: int) -> tuple[EventCursor, Mapping[str, Shelf]] | None:
        """Return the latest snapshot that is not later than the table, and the last customer in it.

        None if the cluster does not respond.
        """
        tp, reader = TP(self._topic, partition), self._shop.own_reader
        try:
            records = (await reader.read({tp: 0}))[tp]
            self._counts[partition] = await reader.count(tp)
        except KafkaError:
            return None
        except DamagedLogError as error:
            logger.warning("%s Its shelves are computed again from the first sale.", error)
            records, self._counts[partition] = [], await reader.count(tp)
        found: dict[int, dict[int, SnapshotPart]] = {}
        for record in records:
            part = decoded_or_none(_read, record.value)
            if part is not None:
                found.setdefault(part.through, {})[part.place] = part
        catalog = self._table.catalog
        sold = {product.product_id: 0 for product in catalog.products_in(partition)}
        sold |= self._table.column_by_product(partition, "sales")
        for through in sorted(filter(self._follower.plan.holds, found), reverse=True):
            parts = list(found[through].values())
            shelves = {product_id: values for part in parts for product_id, values in part.shelves.items()}
            is_complete = len(parts) == parts[0].pieces and sold.keys() <= shelves.keys()
            # If the cluster has lost its last records, the table is older than the snapshot.
            if is_complete and all(shelves[product_id][2] <= sold[product_id] for product_id in sold):
                return cursor_after(through), {
                    product_id: Shelf(catalog[product_id], *values) for product_id, values in shelves.items()
                }
        return EventCursor(self._shop.manifest.opened_at, ""), {}

    async def write_if_due(self, partition: int, till: Till, is_owner: Callable[[], bool]) -> None:
        """Write a snapshot if many customers were served since the last one, and all of them are published."""
        before, served = self._last.get(partition, (None, 0))
        if before is not till:
            self._last[partition] = till, till.customers_served
            return
        through = till.shelves_watermark
        if till.customers_served - served < SNAPSHOT_EVERY_CUSTOMERS or through is None:
            return
        self._last[partition] = till, till.customers_served
        self._slots[partition] += 1
        slot = self._slots[partition] % SLOTS
        shelves = till.shelves
        longest = max((len(shelf.product.product_id.encode()) for shelf in shelves), default=0)
        size = min(MAX_SHELVES_PER_RECORD, MAX_RECORD_BYTES // (SHELF_BYTES + longest))
        parts = [shelves[start : start + size] for start in range(0, len(shelves), size)]
        if partition not in self._counts:
            try:
                self._counts[partition] = await self._shop.own_reader.count(TP(self._topic, partition))
            except KafkaError as error:
                logger.debug("The snapshot of partition %d is written later: %r", partition, error)
                return
        for place, part in enumerate(parts):
            values = {shelf.product.product_id: _values(shelf) for shelf in part}
            content = msgspec.msgpack.encode(SnapshotPart(through, place, len(parts), values))
            row = ProducerRecord(f"{slot}-{place}".encode(), content, jumps.record_time())
            try:
                await self._shop.producer.append(self._topic, partition, self._counts[partition], [row], is_owner)
            except StaleStateError as error:  # another worker writes them, or we do next time
                logger.debug("%s", error)
                del self._counts[partition]
                return
            self._counts[partition] += 1


def _values(shelf: Shelf) -> tuple[int, int, int, int, int, int, int, int]:
    return (
        shelf.initial, shelf.level, shelf.sales, shelf.sold, shelf.restocks, shelf.restocked, shelf.on_order,
        shelf.ordered_at,
    )  # fmt: skip
