"""Sales over event time in this worker's partitions: the last minute, hour and day, and the series of minutes.

They come from what the inventory's agent applies to the table. After a takeover, the log of the partition is read again
in the background, from the position of the table back to the day before, piece by piece, in steps that give way to the
tills. Sums from before a rebalance are kept if the table is still at the position after the last chunk.

Memory: 32 bytes for each pair of a product and a minute in which it was sold, and at most `MOST_CELLS` pairs in a
worker that holds all partitions: 48 MB, or a day and three hours of 900 products that are sold in every minute. Beyond
that, the oldest pairs are kept by category only; `products_from` returns from when on sums by product are complete.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
import orjson
from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.aggregates.minutes import (
    KEPT,
    MINUTE,
    NO_MINUTE,
    Counted,
    Minutes,
    Window,
    cells,
    minute_of,
    not_counted,
)
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.errors import RENAMED, YasdgError
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import PartitionStore
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import AppliedChunk, ProductRestock
from yasdg_app.kafka.batch_reader import Message
from yasdg_app.kafka.decoding import UNREADABLE, decoded_or_none
from yasdg_app.messages.decoders import (
    InvalidMessageError,
    read_lost_sale,
    read_purchase,
    read_restock_key,
    read_valid_sale,
)
from yasdg_app.messages.formats.errors import RegistryError
from yasdg_app.messages.ids import sale_number
from yasdg_app.messages.reference import stocking
from yasdg_app.messages.times import event_time
from yasdg_app.shop.demand import Ints

logger = logging.getLogger(__name__)

WINDOWS = {"minute": 1, "hour": 60, "day": 24 * 60}  # whole minutes
LATEST = 50  # restocks, and lost sales, of each partition
MOST_CELLS = 1_500_000
MOST_READ = 2_000_000  # sales of a partition that are read again
PIECE = 50_000  # of them at once
STEP = 500  # sales processed before other tasks get their turn
GIVE_WAY = 3.0  # other tasks get this multiple of the time that a step took
RETRY = 0.5  # seconds before the cluster is asked again

TOO_MUCH = 2**62  # units, or cents: no such sale is in the table
NO_COLUMNS = np.zeros((5, 0), np.int64)
Choice = Callable[[int, Ints, Ints], Ints]
Sums = tuple[int, int, int]
"""Sales, units, revenue in cents."""


class Past:
    """The part of a partition's logs to be read again: what the table contained at the takeover.

    Parameters
    ----------
    position, lost_position
        Offsets at which it ends, of sales and of lost sales.
    oldest
        The minute before which no sales are needed.
    left
        Number of sales of each product that are not read yet, by seat.
    """

    def __init__(self, position: int, lost_position: int, oldest: int, left: Ints) -> None:
        self.position = self.read_from = position
        self.lost_position = lost_position
        self.oldest = oldest
        self.left = left


class Share:
    """What is known of one partition.

    Attributes
    ----------
    window
        Its sales by minute.
    past
        What is still to be read again; None when that is done.
    position
        The offset after its last sale in the table.
    last_sale
        Event time of that sale: microseconds since 1970, or text.
    restocks, lost_sales
        The last ones that were applied; the lost sales as messages.
    restocks_before, lost_sales_before
        The last ones that were published before those.
    """

    def __init__(self, window: Window, past: Past, last_sale: int) -> None:
        self.window = window
        self.past: Past | None = past
        self.position = past.position
        self.last_sale: int | str = last_sale
        self.restocks: deque[ProductRestock] = deque(maxlen=LATEST)
        self.lost_sales: deque[bytes] = deque(maxlen=LATEST)
        self.restocks_before: list[dict[str, Any]] = []
        self.lost_sales_before: list[dict[str, Any]] = []
        self._lost_position = past.lost_position

    def add_lost(self, chunk: Sequence[Message]) -> None:
        """Add lost sales; repeated ones are skipped."""
        self.lost_sales.extend(m.value or b"" for m in chunk[-LATEST:] if m.offset >= self._lost_position)
        self._lost_position = max(self._lost_position, chunk[-1].offset + 1)


class Windows:
    """Sales over time in the partitions of this worker.

    Parameters
    ----------
    shop
        The shop whose logs are read.
    life
        The worker's life cycle.
    assignment
        The partitions of this worker.
    catalog
        The shop's products.
    store_of
        Returns the table's rows of a partition.
    """

    def __init__(
        self,
        shop: RunningShop,
        life: Lifecycle,
        assignment: PartitionAssignment,
        catalog: PartitionedCatalog,
        store_of: Callable[[int], PartitionStore],
    ) -> None:
        self._shop = shop
        self._life = life
        self._assignment = assignment
        self._catalog = catalog
        self._store_of = store_of
        self._kafka = shop.settings.kafka
        self._shares: dict[int, Share] = {}
        self._generation: int | None = None
        self._told: dict[int, tuple[int, int]] = {}
        self._is_reading = False
        numbers: dict[str, int] = {}
        self._of_seats: dict[int, Ints] = {}  # by partition: the number of each product's category, by its seat
        for partition in range(self._kafka.partitions):
            here = catalog.products_in(partition)
            own = (numbers.setdefault(product.category, len(numbers)) for product in here)
            self._of_seats[partition] = np.fromiter(own, np.int32, len(here))
        self._names = list(numbers)

    # --- Queries --------------------------------------------------------------------------------------------------

    def sums(self, window: str, through: int, choose: Choice | None = None) -> dict[str, Sums]:
        """Return sales, units and revenue in cents of each product with any sales, in this worker's partitions.

        Parameters
        ----------
        window
            `minute`, `hour` or `day`: length of the window in whole minutes.
        through
            Event time at which it ends, exclusive: a whole minute, in microseconds since 1970.
        choose
            Selects products where a million have sums. It receives a partition, its seats in ascending order, and their
            sums in three rows, and returns some indexes into them.
        """
        end = through // MINUTE
        found = {}
        for partition, share in self._ours().items():
            sums = share.window.by_product(end - WINDOWS[window], end)
            (seats,) = np.nonzero(sums[0])
            if choose is not None:
                seats = seats[choose(partition, seats, sums[:, seats])]
            here = self._catalog.products_in(partition)
            for seat, own in zip(seats.tolist(), sums[:, seats].T.tolist(), strict=True):
                found[here[seat].product_id] = _sums(own)
        return found

    def by_category(self, window: str, through: int) -> dict[str, Sums]:
        """Return sales, units and revenue in cents of each category with any sales; see `sums`."""
        end, count = through // MINUTE, len(self._names)
        sums = np.zeros((3, count), np.int64)
        for share in self._ours().values():
            sums += share.window.by_category(end - WINDOWS[window], end, count).sum(axis=1)
        return {name: _sums(own) for name, own in zip(self._names, sums.T.tolist(), strict=True) if own[0]}

    def series(self, first: int, through: int) -> dict[str, list[Sums]]:
        """Return sales, units and revenue in cents in this worker's partitions, by category, minute by minute.

        From `first` to before `through`, both event times in microseconds since 1970.
        """
        begin, end, count = first // MINUTE, through // MINUTE, len(self._names)
        sums = np.zeros((3, max(end - begin, 0), count), np.int64)
        for share in self._ours().values() if begin < end else ():
            sums += share.window.by_category(begin, end, count)
        lines = sums.transpose(2, 1, 0).tolist()
        return {name: list(map(_sums, own)) for name, own in zip(self._names, lines, strict=True)}

    def complete_from(self) -> dict[int, int]:
        """Return the event time from which on the sums by category of each of this worker's partitions are complete."""
        return {partition: _moment(share.window.categories_from) for partition, share in self._ours().items()}

    def products_from(self) -> dict[int, int]:
        """Return the event time from which on the sums by product of each of this worker's partitions are complete."""
        return {partition: _moment(share.window.products_from) for partition, share in self._ours().items()}

    def complete_through(self) -> dict[int, int]:
        """Return the event time before which the sums of each of this worker's partitions include all sales."""
        return {partition: self._complete_through(partition, share) for partition, share in self._ours().items()}

    @property
    def latest_restocks(self) -> list[dict[str, Any]]:
        """The last restocks of each of this worker's partitions, as in their messages, newest first."""
        told = []
        for share in self._ours().values():
            own = share.restocks_before + [stocking(*restock).asdict() for restock in share.restocks]
            told += _latest(own, "stocking_id")
        return _newest_first(told)

    @property
    def latest_lost_sales(self) -> list[dict[str, Any]]:
        """The last lost sales of each of this worker's partitions, as in their messages, newest first."""
        told = []
        for partition, share in self._ours().items():
            own = share.lost_sales_before + self._lost_sales(partition, share.lost_sales)
            told += _latest(own, "lost_sale_id")
        return _newest_first(told)

    # --- Updates by the agents and tills --------------------------------------------------------------------------

    def count(self, partition: int, applied: AppliedChunk) -> Counted | None:
        """Return the contribution of a chunk of purchases, before it is written to the table."""
        share = self._shares.get(partition)
        if share is None:
            return None
        return share.window.count(applied, self._horizon, self._seat)

    def add(self, partition: int, applied: AppliedChunk, counted: Counted | None) -> None:
        """Add a chunk of purchases that has been written to the table."""
        share = self._shares.get(partition)
        if share is None or not applied.levels:
            return
        share.window.add(counted)
        share.restocks.extend(applied.restocks)
        last = applied.levels[-1]
        share.position, share.last_sale = last.offset + 1, last.last_sale

    def add_lost(self, partition: int, chunk: Sequence[Message]) -> None:
        """Add a chunk of lost sales that has been written to the table."""
        share = self._shares.get(partition)
        if share is not None:
            share.add_lost(chunk)

    def all_told(self, partition: int, through: int, end: int) -> None:
        """Note that all sales of a partition up to an event time, inclusive, are in its log before an offset."""
        self._told[partition] = through, end

    def activate(self, generation: int, positions: Mapping[TP, int]) -> None:
        """Start a generation of the consumer group, with the positions of its partitions."""
        purchases, lost_sales = self._assignment.topics
        kept, self._shares = self._shares, {}
        for tp, position in positions.items():
            if tp.topic != purchases or not self._catalog.products_in(tp.partition):
                continue
            share = kept.get(tp.partition)
            # Otherwise the table was changed without our knowledge, or its newest sales are gone.
            if share is None or share.position != position:
                share = self._opened(tp.partition, position, positions[TP(lost_sales, tp.partition)])
            self._shares[tp.partition] = share
        self._generation = generation
        if not self._is_reading and any(share.past is not None for share in self._shares.values()):
            self._is_reading = True
            self._life.run_in_background(self._read_again())

    # --- Reading the log of earlier sales -------------------------------------------------------------------------

    async def _read_again(self) -> None:
        """Read everything that has to be read again, until nothing is left."""
        try:
            while not self._life.should_stop and (new := {p: s for p, s in self._shares.items() if s.past is not None}):
                try:
                    for partition, share in new.items():
                        await self._read_latest(partition, share)
                    for partition, share in new.items():
                        await self._read_sales(partition, share)
                except (KafkaError, RegistryError) as error:
                    logger.debug("The sales of the last day are read again later: %r", error)
                    await asyncio.sleep(RETRY)
        except YasdgError as error:
            logger.warning("The views lack the sales of the last day: %s", error)
        except RENAMED:  # not an unreadable log: it ends the worker
            raise
        except Exception:  # the shop continues without
            logger.exception("The sales of the last day cannot be read again.")
        finally:
            self._is_reading = False

    async def _read_sales(self, partition: int, share: Share) -> None:
        """Read the sales of the last day, from the last to the first, as far as possible."""
        window, past = share.window, share.past
        if past is None:
            return
        tp = TP(self._assignment.topics[0], partition)
        stop = max((await self._shop.own_reader.firsts([tp]))[tp], past.position - MOST_READ)
        while past.read_from > stop and window.whole_from > max(past.oldest, self._horizon()) and not window.is_cut_off:
            start = max(stop, past.read_from - PIECE)
            columns = [NO_COLUMNS]
            chunks_of_log: Any = self._shop.own_reader.chunks(tp, start, past.read_from)  # an asynchronous generator
            async with aclosing(chunks_of_log) as chunks:
                async for read in chunks:
                    chunk = await self._shop.format.plain("purchases", read)
                    for begin in range(0, len(chunk), STEP):
                        began = time.monotonic()
                        columns.append(_columns(chunk[begin : begin + STEP], partition, self._catalog))
                        await asyncio.sleep((time.monotonic() - began) * GIVE_WAY)
                        if self._shares.get(partition) is not share:
                            return
            seats, numbers, minutes, quantity, cents = np.hstack(columns)
            counts = not_counted(past.left, seats, numbers)
            came = cells(minutes[counts], seats[counts], quantity[counts], cents[counts]).added_up()
            # There may be more of the first minute.
            whole_from = int(minutes[counts].min()) + 1 if len(counts) else window.whole_from
            window.add_earlier(came, NO_MINUTE if start == 0 else min(whole_from, window.whole_from))
            past.read_from = start
        share.past = None

    async def _read_latest(self, partition: int, share: Share) -> None:
        """Read the restocks and lost sales that were published last."""
        if share.past is None:
            return
        reader = self._shop.own_reader
        restocks, lost = TP(self._kafka.topic_stockings, partition), TP(self._kafka.topic_lost_sales, partition)
        ends = {**await reader.ends([restocks]), lost: share.past.lost_position}
        firsts, values = await reader.firsts(ends), dict[TP, list[bytes]]()
        for (tp, end), what in zip(ends.items(), ("stockings", "lost_sales"), strict=True):
            read = [
                message async for chunk in reader.chunks(tp, max(firsts[tp], end - LATEST), end) for message in chunk
            ]
            values[tp] = [message.value or b"" for message in await self._shop.format.plain(what, read)]
        share.restocks_before = _restocks(values[restocks])
        share.lost_sales_before = self._lost_sales(partition, values[lost])

    # --- Partitions -----------------------------------------------------------------------------------------------

    def _ours(self) -> dict[int, Share]:
        """Return the partitions owned now: none during a rebalance, in which another worker may show them."""
        return self._shares if self._assignment.is_current(self._generation) else {}

    def _opened(self, partition: int, position: int, lost_position: int) -> Share:
        rows = self._store_of(partition)
        last = rows.latest("last_sale")
        minutes = Minutes(self._of_seats[partition], MOST_CELLS // self._kafka.partitions)
        minute = NO_MINUTE if last is None else last[0] // MINUTE
        window = Window(minutes, lambda: self._store_of(partition).totals(), minute if last is None else minute + 1)
        past = Past(position, lost_position, minute - KEPT, rows.totals()[0].copy())
        return Share(window, past, 0 if last is None else last[0])

    def _seat(self, product_id: str) -> int:
        return self._catalog.local_index_of(product_id)

    def _horizon(self) -> int:
        """Return the minute before which no sales are needed: a day and three hours before now, by the shop's clock."""
        return self._shop.clock.at(time.time_ns() // 1000) // MINUTE - KEPT

    def _complete_through(self, partition: int, share: Share) -> int:
        last_sale = share.last_sale
        # The log is in order of event time.
        through = max(self._shop.manifest.opened_at, event_time(last_sale) if isinstance(last_sale, str) else last_sale)
        told, end = self._told.get(partition, (0, 0))
        return max(through, told + 1) if share.position >= end else through

    def _lost_sales(self, partition: int, values: Collection[bytes]) -> list[dict[str, Any]]:
        found = []
        for value in values:
            try:
                read_lost_sale(value, partition, self._catalog.partition_of)
            except InvalidMessageError:
                continue
            found.append(orjson.loads(value))
        return found


def _sums(three: list[int]) -> Sums:
    sales, units, revenue_cents = three
    return sales, units, revenue_cents


def _moment(minute: int) -> int:
    """Return the first moment of a minute, in microseconds since 1970; 0 if it is before all others."""
    return max(minute, 0) * MINUTE


def _columns(messages: Sequence[Message], partition: int, catalog: PartitionedCatalog) -> Ints:
    """Return the sales among messages: seat, number, minute, quantity and cents, five rows."""
    try:
        told = list(map(read_valid_sale, [message.value or b"" for message in messages]))
        numbers = [sale_number(sale.product_id, sale.transaction_id) for sale in told]
        sales = [(sale, number) for sale, number in zip(told, numbers, strict=True) if number is not None]
        if len(sales) < len(told) or any(catalog.partition_of(sale.product_id) != partition for sale in told):
            raise InvalidMessageError
    except UNREADABLE:
        sales = []
        for message in messages:
            try:
                sales.append(read_purchase(message.value, partition, catalog.partition_of))
            except InvalidMessageError:
                continue
    places, seats = catalog.indexes, catalog.local_indexes
    rows = [
        (seats[places[s.product_id]], number, minute_of(s), s.quantity, round(s.total_purchase * 100))
        for s, number in sales
        if s.quantity < TOO_MUCH and abs(s.total_purchase) < TOO_MUCH / 100
    ]
    return np.array(rows, np.int64).reshape(-1, 5).T


def _restocks(values: Collection[bytes]) -> list[dict[str, Any]]:
    found = []
    for value in values:
        if decoded_or_none(read_restock_key, value) is not None:
            found.append(orjson.loads(value))
    return found


def _latest(told: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the last messages, each once; `name`: the field that identifies a message."""
    return list({message[name]: message for message in told}.values())[-LATEST:]


def _newest_first(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(told, key=lambda message: str(message["event_time"]), reverse=True)
