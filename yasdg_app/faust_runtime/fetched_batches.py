"""Chunks of messages, and how many of them an agent gets at once.

A chunk costs an agent about the same for ten messages as for a hundred: one Faust event and two appends, whose requests
can be shared with other partitions that are ready at the same moment. So messages that were fetched together are passed
on together, and the next ones follow only when the agent is done: what arrives in the meantime is passed on together as
well.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from operator import attrgetter

from aiokafka import TopicPartition

from yasdg_app.kafka.reader import Chunk

MAX_BATCH_MESSAGES = 10_000
"""In a chunk and in a batch; applying it blocks everything else for a hundredth of a second."""
NO_WAIT_FROM_MESSAGES = MAX_BATCH_MESSAGES // 2
"""A batch with so many messages is large enough: the next one follows without waiting."""
MAX_WAIT_SECONDS = 0.05
"""For which one partition with a slow or unavailable leader may delay the others."""

_offset = attrgetter("offset")


class FetchedBatch:
    """The chunks that an agent gets at once.

    Parameters
    ----------
    chunks
        Of one topic, at least one; those of a partition are in order.
    generation
        Of the group, when they were fetched.
    """

    def __init__(self, chunks: Sequence[Chunk], generation: int) -> None:
        self.chunks = chunks
        self.generation = generation
        self._unacked_chunks = len(chunks)
        self._all_acked = asyncio.Event()

    @property
    def tp(self) -> TopicPartition:
        """The partition of the first chunk."""
        return self.chunks[0].tp

    def ack(self) -> None:
        """Mark one of the chunks as processed by the agent."""
        self._unacked_chunks -= 1
        if not self._unacked_chunks:
            self._all_acked.set()

    async def wait_acked(self) -> None:
        """Wait until the agent has processed all chunks, at most MAX_WAIT_SECONDS; with many messages, do not wait."""
        if sum(map(size_of, self.chunks)) < NO_WAIT_FROM_MESSAGES:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_acked.wait(), MAX_WAIT_SECONDS)


def size_of(chunk: Chunk) -> int:
    """Return the number of messages of a chunk, including foreign ones."""
    return len(chunk.messages) + len(chunk.foreign)


def split_chunk(chunk: Chunk, max_messages: int) -> Iterator[Chunk]:
    """Yield a chunk in pieces of at most so many messages."""
    if size_of(chunk) <= max_messages:
        yield chunk
        return
    messages = sorted((*chunk.messages, *chunk.foreign), key=_offset)
    bounds = [message.offset for message in messages[max_messages::max_messages]]
    begin, own, foreign = chunk.begin, chunk.messages, chunk.foreign
    for end in (*bounds, chunk.end):
        own_before, foreign_before = bisect_left(own, end, key=_offset), bisect_left(foreign, end, key=_offset)
        yield Chunk(chunk.tp, begin, end, own[:own_before], foreign[:foreign_before])
        begin, own, foreign = end, own[own_before:], foreign[foreign_before:]


def group_chunks(chunks: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """Yield all chunks in order, grouped into batches."""
    group: list[Chunk] = []
    message_count = 0
    for chunk in chunks:
        size = size_of(chunk)
        if group and message_count + size > MAX_BATCH_MESSAGES:
            yield group
            group, message_count = [], 0
        group.append(chunk)
        message_count += size
    if group:
        yield group
