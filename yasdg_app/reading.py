"""Reading partitions: a chunk at a time, in no group, changing nothing. Must not know what stands in them.

aiokafka's consumer makes an object of eleven fields of every message, which is half the time of an audit; here messages
are what its parser in C returns: `offset`, `timestamp`, `key`, `value`, `headers`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords

from yasdg_app.cluster import Cluster, check, patiently
from yasdg_app.connecting.connection import Connection

FETCH_BYTES = 2 * 2**20
FETCH_WAIT = 500  # milliseconds that the cluster may wait where nothing is new
FIRST, END = -2, -1  # what the protocol calls the first offset and the one behind the last
READ_UNCOMMITTED = 0


class Message(Protocol):
    """A message as it was read."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Reader:
    """Reads partitions of a cluster. Connects when it is first used; to be stopped, or used with `async with`.

    `producer_id`: whose messages alone are read; None: everybody's.
    """

    def __init__(self, connection: Connection, producer_id: int | None = None) -> None:
        self._cluster = Cluster(connection)
        self._producer_id = producer_id

    async def __aenter__(self) -> "Reader":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Disconnect."""
        await self._cluster.close()

    async def firsts(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets of the first messages."""
        return await self._offsets(tps, FIRST)

    async def ends(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offsets behind the last messages."""
        return await self._offsets(tps, END)

    async def since(self, tp: TopicPartition, timestamp: int) -> int | None:
        """Return the offset of the first message of a time (milliseconds) or later; None if there is none."""
        offset = (await self._offsets([tp], timestamp))[tp]
        return None if offset < 0 else offset

    async def last(self, tp: TopicPartition) -> tuple[Message, int] | None:
        """Return the last message, and how many its producer had appended to the partition with it, as a batch says it.

        None if there is none.
        """
        first, behind = (await self.firsts([tp]))[tp], (await self.ends([tp]))[tp]
        while behind > first:
            batches = await patiently(partial(self._batches, tp, behind - 1), self._cluster.forget_leaders)
            for batch in reversed(batches):
                if self._is_wanted(batch):
                    return list(batch)[-1], batch.base_sequence + batch.last_offset_delta + 1
            behind = min((batch.base_offset for batch in batches), default=behind)
        return None

    async def chunks(self, tp: TopicPartition, start: int, end: int) -> AsyncIterator[list[Message]]:
        """Yield the messages from one offset up to another, none of them empty; the next one is fetched meanwhile."""
        position = start
        fetching = asyncio.ensure_future(self.fetch(tp, position)) if position < end else None
        try:
            while fetching is not None:
                messages, position = await fetching
                fetching = asyncio.ensure_future(self.fetch(tp, position)) if position < end else None
                if position > end:
                    messages = [message for message in messages if message.offset < end]
                if messages:
                    yield messages
        finally:
            if fetching is not None:
                fetching.cancel()

    async def fetch(self, tp: TopicPartition, position: int) -> tuple[list[Message], int]:
        """Return the next messages from an offset on, and the offset behind them; waits a little if there are none."""
        return await patiently(partial(self._fetch, tp, position), self._cluster.forget_leaders)

    async def read(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, list[Message]]:
        """Return all messages from the given offsets to the present ends; deleted ones are left out."""
        firsts, ends = await self.firsts(starts), await self.ends(starts)
        messages: dict[TopicPartition, list[Message]] = {}
        for tp, start in starts.items():
            messages[tp] = [m async for chunk in self.chunks(tp, max(start, firsts[tp]), ends[tp]) for m in chunk]
        return messages

    async def _offsets(self, tps: Iterable[TopicPartition], which: int) -> dict[TopicPartition, int]:
        async def ask(tp: TopicPartition) -> int:
            request = OffsetRequest(-1, READ_UNCOMMITTED, [(tp.topic, [(tp.partition, which)])])
            ((_, ((_, code, *_, offset),)),) = (await self._cluster.ask_leader(tp, request)).topics
            check(code)
            return int(offset)

        listed, forget = list(tps), self._cluster.forget_leaders
        offsets = await asyncio.gather(*(patiently(partial(ask, tp), forget) for tp in listed))
        return dict(zip(listed, offsets, strict=True))

    async def _fetch(self, tp: TopicPartition, position: int) -> tuple[list[Message], int]:
        messages: list[Message] = []
        for batch in await self._batches(tp, position):
            if self._is_wanted(batch):
                # A batch is sent whole, even if we are in the middle of it.
                messages += [message for message in batch if message.offset >= position]
            position = max(position, batch.next_offset)
        return messages, position

    async def _batches(self, tp: TopicPartition, position: int) -> list[Any]:
        """Return the next batches, that of an offset first."""
        topics = [(tp.topic, [(tp.partition, position, FETCH_BYTES)])]
        request = FetchRequest(FETCH_WAIT, 1, FETCH_BYTES, READ_UNCOMMITTED, topics)
        ((_, ((_, code, _, *_, data),)),) = (await self._cluster.ask_leader(tp, request)).topics
        check(code)
        batches, found = MemoryRecords(data), []
        while batches.has_next():
            found.append(batches.next_batch())
        return found

    def _is_wanted(self, batch: Any) -> bool:
        return not batch.is_control_batch and self._producer_id in (None, batch.producer_id)


async def read_all(connection: Connection, topic: str) -> list[Message]:
    """Return all messages of a topic of one partition."""
    tp = TopicPartition(topic, 0)
    async with Reader(connection) as reader:
        return (await reader.read({tp: 0}))[tp]
