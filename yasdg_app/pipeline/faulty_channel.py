"""The faulty channel of one partition: sales enter as they were sold, and leave as they arrive.

Content and order of the output are a function of the sales alone, however many enter at a time. The module knows
nothing of Kafka except its messages, and no clock: the caller says up to which event time it has all sales.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yasdg_app.kafka.batch_reader import Message
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.messages.decoders import read_fault_key, read_valid_sale
from yasdg_app.messages.encoders import Write, encode_fault
from yasdg_app.messages.ids import fault_id, fault_number, sale_number
from yasdg_app.messages.records import FAULT_HEADER, FAULT_ID_HEADER, FAULT_TIME_HEADER
from yasdg_app.messages.times import event_time, microseconds, time_text
from yasdg_app.shop.faults import CORRUPT, DROPPED, DUPLICATE, KINDS, NONE, Faults
from yasdg_app.shop.randomness import UInts


class DeliveryCursor(NamedTuple):
    """The position of a message among those that arrive in a partition, or of a fault among those that are labelled."""

    released_at: int  # event time at which it arrives, or would arrive if it were not dropped
    product_id: str
    number: int  # of the sale
    copy: int = 0  # 1: the second of two


START = DeliveryCursor(-1, "", 0)
"""Before all messages and faults."""


class _Item(NamedTuple):
    """A sale in transit."""

    released_at: int
    product_id: str
    number: int
    kind: int
    at: int
    message: Message


class FaultyChannel:
    """The sales of a partition that are in transit.

    Parameters
    ----------
    faults
        The faults of the channel.
    delivered, labelled
        The last message and the last fault that have already left the channel.
    write_fault
        Encodes faults in the format of their topic; None: they stay in the default format.

    Attributes
    ----------
    seen
        Event time of the last sale that entered; -1 before the first.
    """

    def __init__(
        self,
        faults: Faults,
        delivered: DeliveryCursor = START,
        labelled: DeliveryCursor = START,
        write_fault: Write | None = None,
    ) -> None:
        self._faults = faults
        self._write_fault = write_fault
        self._delivered = delivered
        self._labelled = labelled
        self._keys: dict[str, np.uint64] = {}  # by product_id
        self._in_time: list[_Item] = []
        self._delayed: list[_Item] = []  # a heap
        self.seen = -1

    def take(self, messages: Sequence[Message], plain: Sequence[Message] | None = None) -> None:
        """Accept the next sales, in log order.

        `plain`: the same messages in the default format; None: they are in it.
        """
        if not messages:
            return
        sales = [read_valid_sale(message.value or b"") for message in plain or messages]
        numbers = np.array([_number(sale.product_id, sale.transaction_id) for sale in sales], dtype=np.int64)
        kinds, delays = self._faults.of_rows(self._keys_of([sale.product_id for sale in sales]), numbers)
        rows = zip(messages, sales, numbers.tolist(), kinds.tolist(), delays.tolist(), strict=True)
        for message, sale, number, kind, delay in rows:
            at = microseconds(sale.transaction_time)
            item = _Item(at + delay, sale.product_id, number, kind, at, message)
            if delay:
                heapq.heappush(self._delayed, item)
            else:
                self._in_time.append(item)
        self.seen = at

    def arrived(self, before: int) -> tuple[list[ProducerRecord], list[ProducerRecord]]:
        """Return what arrives before an event time: the faults to label, and the messages to deliver, in order.

        All sales before that time must have entered.
        """
        self._in_time.sort()  # within a microsecond the order of the log may differ
        count = len(self._in_time)
        while count and self._in_time[count - 1].released_at >= before:
            count -= 1
        items, self._in_time = self._in_time[:count], self._in_time[count:]
        if self._delayed and self._delayed[0].released_at < before:
            while self._delayed and self._delayed[0].released_at < before:
                items.append(heapq.heappop(self._delayed))
            items.sort()
        faults: list[ProducerRecord] = []
        delivered: list[ProducerRecord] = []
        for item in items:
            if item.kind != NONE and (item.released_at, *item[1:3], int(item.kind == DUPLICATE)) > self._labelled:
                faults.append(self._fault_row(item))
            if item[:3] > self._delivered[:3]:
                self._deliver(item, delivered)
            elif item.kind == DUPLICATE and item[:3] == self._delivered[:3] and not self._delivered.copy:
                delivered.append(_labelled(item))
        return faults, delivered

    def _deliver(self, item: _Item, into: list[ProducerRecord]) -> None:
        message, kind = item.message, item.kind
        if kind in (NONE, DUPLICATE):
            into.append(ProducerRecord(message.key or b"", message.value, message.timestamp))
        if kind == CORRUPT:
            value = self._faults.damaged(int(self._keys[item.product_id]), item.number, message.value or b"")
            into.append(_labelled(item, value, ((FAULT_TIME_HEADER, time_text(item.at).encode()),)))
        elif kind not in (NONE, DROPPED):
            into.append(_labelled(item))

    def _fault_row(self, item: _Item) -> ProducerRecord:
        released_at = None if item.kind == DROPPED else item.released_at
        value = encode_fault(item.at, item.product_id, item.number, KINDS[item.kind], released_at)
        if self._write_fault is not None:
            value = self._write_fault(value)
        return ProducerRecord(item.message.key or b"", value, item.released_at // 1000)

    def _keys_of(self, product_ids: Sequence[str]) -> UInts:
        new = [product_id for product_id in dict.fromkeys(product_ids) if product_id not in self._keys]
        self._keys |= zip(new, self._faults.keys(new), strict=True)
        return np.array([self._keys[product_id] for product_id in product_ids], dtype=np.uint64)


def cursor_of_delivered(message: Message, faults: Faults) -> DeliveryCursor:
    """Return the position of a message that has arrived."""
    headers = dict(message.headers)
    kind = headers.get(FAULT_HEADER, b"").decode()
    if kind == KINDS[CORRUPT]:
        product_id = (message.key or b"").decode()
        number, at = (
            fault_number(product_id, headers[FAULT_ID_HEADER].decode()),
            event_time(headers[FAULT_TIME_HEADER].decode()),
        )
    else:
        sale = read_valid_sale(message.value or b"")
        product_id, at = sale.product_id, microseconds(sale.transaction_time)
        number = _number(product_id, sale.transaction_id)
    ((delay,),) = faults.of_rows(faults.keys([product_id]), np.array([number])).delays[:, None].tolist()
    return DeliveryCursor(at + delay, product_id, number, int(kind == KINDS[DUPLICATE]))


def cursor_of_fault(message: Message) -> DeliveryCursor:
    """Return the position of a fault that is labelled."""
    told = read_fault_key(message.value or b"")
    released_at = microseconds(told.released_at or told.event_time)
    return DeliveryCursor(
        released_at, told.product_id, fault_number(told.product_id, told.fault_id), int(told.kind == KINDS[DUPLICATE])
    )


def _number(product_id: str, transaction_id: str) -> int:
    number = sale_number(product_id, transaction_id)
    if number is None:
        raise ValueError(f"{transaction_id} is not a sale of {product_id}")
    return number


def _labelled(item: _Item, value: bytes | None = None, more: tuple[tuple[str, bytes], ...] = ()) -> ProducerRecord:
    message = item.message
    labels = (
        (FAULT_HEADER, KINDS[item.kind].encode()),
        (FAULT_ID_HEADER, fault_id(item.product_id, item.number).encode()),
    )
    return ProducerRecord(
        message.key or b"", message.value if value is None else value, message.timestamp, (*labels, *more)
    )
