"""What is known of one partition over event time: its sales by minute, and its latest restocks and lost sales."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from yasdg_app.aggregates.minute_history import MinuteHistory
from yasdg_app.inventory.projection import ProductRestock
from yasdg_app.kafka.batch_reader import Message
from yasdg_app.shop.demand import Ints

MAX_LATEST = 50
"""Restocks, and lost sales, of each partition."""


class Backfill:
    """The part of a partition's logs to be read again: what the table contained at the takeover.

    Parameters
    ----------
    position, lost_position
        Offsets at which it ends, of sales and of lost sales.
    oldest
        The minute before which no sales are needed.
    uncounted
        Number of sales of each product that are not read yet, by its local index.
    """

    def __init__(self, position: int, lost_position: int, oldest: int, uncounted: Ints) -> None:
        self.position = self.read_from = position
        self.lost_position = lost_position
        self.oldest = oldest
        self.uncounted = uncounted


class PartitionAggregates:
    """What is known of one partition.

    Attributes
    ----------
    history
        Its sales by minute.
    backfill
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

    def __init__(self, history: MinuteHistory, backfill: Backfill, last_sale: int) -> None:
        self.history = history
        self.backfill: Backfill | None = backfill
        self.position = backfill.position
        self.last_sale: int | str = last_sale
        self.restocks: deque[ProductRestock] = deque(maxlen=MAX_LATEST)
        self.lost_sales: deque[bytes] = deque(maxlen=MAX_LATEST)
        self.restocks_before: list[dict[str, Any]] = []
        self.lost_sales_before: list[dict[str, Any]] = []
        self._lost_position = backfill.lost_position

    def add_lost(self, chunk: Sequence[Message]) -> None:
        """Add lost sales; repeated ones are skipped."""
        new = (message for message in chunk[-MAX_LATEST:] if message.offset >= self._lost_position)
        self.lost_sales.extend(message.value or b"" for message in new)
        self._lost_position = max(self._lost_position, chunk[-1].offset + 1)
