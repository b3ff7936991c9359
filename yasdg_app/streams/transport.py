"""A Faust transport that hands the purchases to their agent a chunk at a time, from positions that the table holds.

What Faust does for an event it then does for a chunk. A chunk never mixes partitions, so the table's changelog goes to
the right one by itself. After a rebalance a partition is read from where the recovered table stands, not from the
group's committed offset, which may be ahead of it. Everything else is Faust's own aiokafka transport.
"""

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

MOST_IN_A_CHUNK = 4_000  # messages


class Consumer(driver.Consumer):
    """Delivers one topic in chunks: one message whose value is the list of the fetched messages."""

    app: Any  # ours, which knows its ownership

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The first and last offset of each chunk handed out and not yet committed.
        self._pending: defaultdict[TP, deque[tuple[int, int]]] = defaultdict(deque)

    def _chunked(self, tp: TP) -> bool:
        return bool(tp.topic == self.app.ownership.topic)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Yield what was fetched: chunks of the chunked topic, and the messages of others one by one."""
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if not records or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return

        def stale() -> bool:
            return not self.flow_active or self.app.consumer_generation_id != generation

        others = {}
        for tp, fetched in records.items():
            if not self._chunked(tp):
                others[tp] = fetched
            elif active is None or tp in active or tp in self._buffered_partitions:
                for start in range(0, len(fetched), MOST_IN_A_CHUNK):
                    if stale():
                        return
                    yield tp, self._chunk(tp, fetched[start : start + MOST_IN_A_CHUNK], generation)
        for tp, record in self.scheduler.iterate(others):
            if stale():
                return
            if active is None or tp in active or tp in self._buffered_partitions:
                yield tp, self._to_message(tp, record)

    def _chunk(self, tp: TP, messages: list[Any], generation: int) -> ConsumerMessage:
        first, last = messages[0], messages[-1]
        self._pending[tp].append((first.offset, last.offset))
        value: Any = messages  # what Faust's message is meant to hold are the bytes of one
        return ConsumerMessage(
            tp.topic, tp.partition, first.offset, last.timestamp / 1000.0, first.timestamp_type, [], None, value, None,
            0, 0, tp, generation_id=generation,
        )  # fmt: skip

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._chunked(tp):  # the offsets inside of a chunk are no gaps
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset that may be committed: behind the last chunk of those acknowledged without a gap."""
        if not self._chunked(tp):
            offset: int | None = super()._new_offset(tp)
            return offset
        acknowledged, pending, behind = self._acked_index[tp], self._pending[tp], None
        while pending and pending[0][0] in acknowledged:
            first, last = pending.popleft()
            acknowledged.discard(first)
            behind = last + 1
        if behind is not None:
            self._acked[tp][:] = [offset for offset in self._acked[tp] if offset >= behind]
        return behind

    async def on_partitions_assigned(self, *args: Any, **kwargs: Any) -> None:
        """Forget the chunks of the generation before."""
        self._pending.clear()
        await super().on_partitions_assigned(*args, **kwargs)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Set positions, once after each recovery: those of the chunked topic by the table."""
        committed = dict(await super().seek_to_committed())
        tps = {tp for tp in self.assignment() if self._chunked(tp)}
        positions = self.app.ownership.settle(
            generation=self.app.consumer_generation_id,
            committed={tp: committed.get(tp) or 0 for tp in tps},
        )
        for tp, position in positions.items():
            self._thread.seek(tp, position)
        return committed | positions


class Producer(driver.Producer):
    """Writes idempotently: a retry after a lost answer does not append a record twice."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class Transport(driver.Transport):
    """Faust's aiokafka transport with our consumer and producer."""

    Consumer = Consumer
    Producer = Producer


class Chunks(faust.Schema[Any, Any]):
    """Leaves a chunk as it is: decoding it is the agent's work."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> None:
        """A chunk has many keys."""

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> list[Any]:
        """Return the messages of the chunk."""
        fetched: list[Any] = message.value
        return fetched
