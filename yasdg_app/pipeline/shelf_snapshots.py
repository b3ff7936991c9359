"""Shelves as tills leave them, for shops whose customers take one product instead of another.

A till then needs the shelves of its neighbours, whose logs are elsewhere in event time. So it serves their customers
as well, and keeps now and again what all its shelves look like. The next till of the partition begins there, serves
whoever came since, and tells of nobody whom the logs know. What is kept is a function of event time alone: whoever
wrote it, and however old it is, it is right; where there is none a till begins at the shop's first moment.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec
from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.application import app
from yasdg_app.cluster_state.clock_jumps import jumps
from yasdg_app.kafka import topics
from yasdg_app.kafka.decoding import decoded_or_none
from yasdg_app.kafka.producer import ProducerRecord, StaleStateError
from yasdg_app.kafka.reader import DamagedLogError
from yasdg_app.pipeline.control_follower import watch
from yasdg_app.pipeline.inventory_agent import assortment, column_of, products_of
from yasdg_app.shop.shelf import Shelf
from yasdg_app.shop.till import EventCursor, Till, cursor_after

logger = logging.getLogger(__name__)

EVERY = (
    50_000  # customers between two looks at the shelves; at most so many are served again, in a fraction of a second
)
GENERATIONS = 2  # that are kept: one may be in the middle of being written
PIECE = 4_000  # shelves in a record


class Kept(msgspec.Struct):
    """A piece of what is kept of a partition."""

    through: int  # event time up to which everybody was served
    place: int  # of this piece
    pieces: int
    # By product_id: initial, level, sales, sold, stockings, restocked, on order, ordered at.
    shelves: dict[str, tuple[int, int, int, int, int, int, int, int]]


_read = msgspec.msgpack.Decoder(Kept).decode


class ShelvesTopic:
    """Writes and reads the shelves of this worker's tills."""

    def __init__(self) -> None:
        self._topic = topics.shelves_topic(app.shop.kafka)
        self._numbers: dict[int, int] = {}  # of records written, by partition
        self._kept: dict[int, tuple[Till, int]] = {}  # by partition: how many customers its till had served by then
        self._generations: Counter[int] = Counter()  # by partition

    async def read(self, partition: int) -> tuple[EventCursor, Mapping[str, Shelf]] | None:
        """Return the latest shelves that are not later than the table, and behind which customer they are so.

        None if the cluster does not answer.
        """
        tp = TP(self._topic, partition)
        try:
            records = (await app.own_reader.read({tp: 0}))[tp]
            self._numbers[partition] = await app.own_reader.count(tp)
        except KafkaError:
            return None
        except DamagedLogError as error:
            logger.warning("%s Its shelves are computed again from the first sale.", error)
            records, self._numbers[partition] = [], await app.own_reader.count(tp)
        found: dict[int, dict[int, Kept]] = {}
        for record in records:
            kept = decoded_or_none(_read, record.value)
            if kept is not None:
                found.setdefault(kept.through, {})[kept.place] = kept
        sold = {product.product_id: 0 for product in products_of[partition]} | column_of(partition, "sales")
        for through in sorted(filter(watch.plan.holds, found), reverse=True):
            pieces = list(found[through].values())
            shelves = {product_id: values for kept in pieces for product_id, values in kept.shelves.items()}
            complete = len(pieces) == pieces[0].pieces and sold.keys() <= shelves.keys()
            # A cluster that lost its last records has a table that is older than what is kept.
            if complete and all(shelves[product_id][2] <= sold[product_id] for product_id in sold):
                return cursor_after(through), {
                    product_id: Shelf(assortment[product_id], *values) for product_id, values in shelves.items()
                }
        return EventCursor(app.opening.opened_at, ""), {}

    async def keep(self, partition: int, till: Till, allowed: Callable[[], bool]) -> None:
        """Write down the shelves of a till if many customers were served since, and all of them told of."""
        before, served = self._kept.get(partition, (None, 0))
        if before is not till:
            self._kept[partition] = till, till.customers_served
            return
        through = till.shelves_watermark
        if till.customers_served - served < EVERY or through is None:
            return
        self._kept[partition] = till, till.customers_served
        self._generations[partition] += 1
        generation = self._generations[partition] % GENERATIONS
        shelves = till.shelves
        pieces = [shelves[start : start + PIECE] for start in range(0, len(shelves), PIECE)]
        if partition not in self._numbers:
            try:
                self._numbers[partition] = await app.own_reader.count(TP(self._topic, partition))
            except KafkaError as error:
                logger.debug("The shelves of partition %d are kept later: %r", partition, error)
                return
        for place, piece in enumerate(pieces):
            values = {shelf.product.product_id: _values(shelf) for shelf in piece}
            content = msgspec.msgpack.encode(Kept(through, place, len(pieces), values))
            row = ProducerRecord(f"{generation}-{place}".encode(), content, jumps.record_time())
            try:
                await app.shop_producer.append(self._topic, partition, self._numbers[partition], [row], allowed)
            except StaleStateError as error:  # another worker keeps them, or we do next time
                logger.debug("%s", error)
                del self._numbers[partition]
                return
            self._numbers[partition] += 1


def _values(shelf: Shelf) -> tuple[int, int, int, int, int, int, int, int]:
    return (
        shelf.initial, shelf.level, shelf.sales, shelf.sold, shelf.stockings, shelf.restocked, shelf.on_order,
        shelf.ordered_at,
    )  # fmt: skip
