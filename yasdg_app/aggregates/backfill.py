"""Reads again, after a takeover, the sales of the last day and the latest restocks and lost sales of a partition.

The log is read from the position of the table back to the day before, piece by piece, in steps that give way to the
other tasks of the worker.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
import orjson
from faust.types import TP

from yasdg_app.aggregates.minute_sums import NO_MINUTE, cells_of_sales, minute_of
from yasdg_app.aggregates.partition_aggregates import MAX_LATEST, PartitionAggregates
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.kafka.batch_reader import Message
from yasdg_app.kafka.decoding import UNREADABLE, decoded_or_none
from yasdg_app.messages.decoders import (
    InvalidMessageError,
    read_lost_sale,
    read_purchase,
    read_restock_key,
    read_valid_sale,
)
from yasdg_app.messages.ids import sale_number
from yasdg_app.shop.demand import Ints

MAX_SALES = 2_000_000
"""Sales of a partition that are read again."""
PIECE_OFFSETS = 50_000
"""Of them at once."""
STEP_MESSAGES = 500
"""Processed before other tasks get their turn."""
REST_FACTOR = 3.0
"""Other tasks get this multiple of the time that a step took."""

TOO_LARGE = 2**62  # units, or cents: no such sale is in the table
NO_COLUMNS = np.zeros((5, 0), np.int64)


class BackfillReader:
    """Reads the logs of a shop from before a takeover.

    Parameters
    ----------
    shop
        The shop whose logs are read.
    catalog
        The shop's products.
    """

    def __init__(self, shop: RunningShop, catalog: PartitionedCatalog) -> None:
        self._shop = shop
        self._kafka = shop.settings.kafka
        self._catalog = catalog
        self._largest_quantity = shop.settings.sales.largest_quantity

    async def read_sales(
        self, purchases: TP, aggregates: PartitionAggregates, is_current: Callable[[], bool], horizon: Callable[[], int]
    ) -> None:
        """Read the sales of the last day, from the last to the first, as far as possible. Raises KafkaError.

        Parameters
        ----------
        purchases
            The partition of the purchases topic.
        aggregates
            Receives the sales.
        is_current
            Returns False once the aggregates are no longer used: then reading ends.
        horizon
            Returns the minute before which no sales are needed.
        """
        history, backfill = aggregates.history, aggregates.backfill
        if backfill is None:
            return
        firsts = await self._shop.own_reader.firsts([purchases])
        stop = max(firsts[purchases], backfill.position - MAX_SALES)
        while (
            backfill.read_from > stop
            and history.complete_from > max(backfill.oldest, horizon())
            and not history.is_cut_off
        ):
            start = max(stop, backfill.read_from - PIECE_OFFSETS)
            columns = await self._read_columns(purchases, start, backfill.read_from, is_current)
            if columns is None:
                return
            local_indexes, numbers, minutes, quantity, cents = columns
            counts = take_uncounted(backfill.uncounted, local_indexes, numbers)
            sales = cells_of_sales(minutes[counts], local_indexes[counts], quantity[counts], cents[counts]).merged()
            # There may be more of the first minute.
            complete_from = int(minutes[counts].min()) + 1 if len(counts) else history.complete_from
            history.add_earlier(sales, NO_MINUTE if start == 0 else min(complete_from, history.complete_from))
            backfill.read_from = start
        aggregates.backfill = None

    async def _read_columns(self, tp: TP, start: int, end: int, is_current: Callable[[], bool]) -> Ints | None:
        """Return the columns of the sales between two offsets; None if they are no longer needed."""
        columns = [NO_COLUMNS]
        chunks_of_log: Any = self._shop.own_reader.chunks(tp, start, end)  # an asynchronous generator
        async with aclosing(chunks_of_log) as chunks:
            async for messages in chunks:
                chunk = await self._shop.format.plain("purchases", messages)
                for begin in range(0, len(chunk), STEP_MESSAGES):
                    began = time.monotonic()
                    columns.append(
                        _columns(
                            chunk[begin : begin + STEP_MESSAGES], tp.partition, self._catalog, self._largest_quantity
                        )
                    )
                    await asyncio.sleep((time.monotonic() - began) * REST_FACTOR)
                    if not is_current():
                        return None
        return np.hstack(columns)

    async def read_latest(self, partition: int, aggregates: PartitionAggregates) -> None:
        """Read the restocks and lost sales that were published last. Raises KafkaError."""
        if aggregates.backfill is None:
            return
        reader = self._shop.own_reader
        restocks, lost = TP(self._kafka.topic_stockings, partition), TP(self._kafka.topic_lost_sales, partition)
        ends = {**await reader.ends([restocks]), lost: aggregates.backfill.lost_position}
        firsts, values = await reader.firsts(ends), dict[TP, list[bytes]]()
        for (tp, end), kind in zip(ends.items(), ("stockings", "lost_sales"), strict=True):
            messages = [
                message
                async for chunk in reader.chunks(tp, max(firsts[tp], end - MAX_LATEST), end)
                for message in chunk
            ]
            values[tp] = [message.value or b"" for message in await self._shop.format.plain(kind, messages)]
        aggregates.restocks_before = _own_restocks(values[restocks])
        aggregates.lost_sales_before = own_lost_sales(partition, values[lost], self._catalog, self._largest_quantity)


def own_lost_sales(
    partition: int, values: Collection[bytes], catalog: PartitionedCatalog, largest_quantity: int
) -> list[dict[str, Any]]:
    """Return the fields of the messages that are lost sales of the shop."""
    found = []
    for value in values:
        try:
            read_lost_sale(value, partition, catalog.partition_of, largest_quantity)
        except InvalidMessageError:
            continue
        found.append(orjson.loads(value))
    return found


def _own_restocks(values: Collection[bytes]) -> list[dict[str, Any]]:
    return [orjson.loads(value) for value in values if decoded_or_none(read_restock_key, value) is not None]


def _columns(messages: Sequence[Message], partition: int, catalog: PartitionedCatalog, largest_quantity: int) -> Ints:
    """Return the sales among messages: local index, number, minute, quantity and cents, five rows."""
    try:
        events = list(map(read_valid_sale, [message.value or b"" for message in messages]))
        numbers = [sale_number(sale.product_id, sale.transaction_id) for sale in events]
        sales = [(sale, number) for sale, number in zip(events, numbers, strict=True) if number is not None]
        if max((sale.quantity for sale in events), default=0) > largest_quantity:
            raise InvalidMessageError
        if len(sales) < len(events) or any(catalog.partition_of(sale.product_id) != partition for sale in events):
            raise InvalidMessageError
    except UNREADABLE:
        sales = []
        for message in messages:
            try:
                sales.append(read_purchase(message.value, partition, catalog.partition_of, largest_quantity))
            except InvalidMessageError:
                continue
    indexes, local_indexes = catalog.indexes, catalog.local_indexes
    rows = [
        (
            local_indexes[indexes[sale.product_id]],
            number,
            minute_of(sale),
            sale.quantity,
            round(sale.total_purchase * 100),
        )
        for sale, number in sales
        if sale.quantity < TOO_LARGE and abs(sale.total_purchase) < TOO_LARGE / 100
    ]
    return np.array(rows, np.int64).reshape(-1, 5).T


def take_uncounted(uncounted: Ints, local_indexes: Ints, numbers: Ints) -> Ints:
    """Return which sales of a piece of the log count: for each product the last ones not counted yet, each once.

    Pieces are read from the end of the log to its beginning. `uncounted`: by local index, how many sales of each
    product are still to be counted, which are those up to that number; it is updated.
    """
    order = np.lexsort((-numbers, local_indexes))
    order = order[numbers[order] <= uncounted[local_indexes[order]]]
    products, product_numbers = local_indexes[order], numbers[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (np.diff(products) != 0) | (np.diff(product_numbers) != 0)
    order, products, product_numbers = order[is_new], products[is_new], product_numbers[is_new]
    begins = np.searchsorted(products, products)
    counts = product_numbers == uncounted[products] - (np.arange(len(order)) - begins)
    order = order[counts]
    uncounted -= np.bincount(local_indexes[order], minlength=len(uncounted))
    return order
