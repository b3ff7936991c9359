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

MOST = (
    10_000  # max messages in a chunk and in a delivery; applying it blocks everything else for a hundredth of a second
)
FEW = MOST // 2  # messages from which a delivery is large enough not to wait
PATIENCE = 0.05  # max seconds for which one partition with a slow or unavailable leader may delay the others

_offset = attrgetter("offset")


class Delivery:
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
        self._left = len(chunks)
        self._handled = asyncio.Event()

    @property
    def tp(self) -> TopicPartition:
        """The partition of the first chunk."""
        return self.chunks[0].tp

    def note_handled(self) -> None:
        """Mark one of the chunks as processed by the agent."""
        self._left -= 1
        if not self._left:
            self._handled.set()

    async def handled(self) -> None:
        """Wait until the agent has processed all chunks, at most PATIENCE seconds; do not wait for many messages."""
        if sum(map(size_of, self.chunks)) < FEW:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._handled.wait(), PATIENCE)


def size_of(chunk: Chunk) -> int:
    """Return the number of messages of a chunk, including foreign ones."""
    return len(chunk.messages) + len(chunk.foreign)


def cut(chunk: Chunk, most: int) -> Iterator[Chunk]:
    """Yield a chunk in pieces with at most so many messages."""
    if size_of(chunk) <= most:
        yield chunk
        return
    bounds = [*(message.offset for message in sorted((*chunk.messages, *chunk.foreign), key=_offset)[most::most])]
    begin, own, foreign = chunk.begin, chunk.messages, chunk.foreign
    for end in (*bounds, chunk.end):
        before, foreign_before = bisect_left(own, end, key=_offset), bisect_left(foreign, end, key=_offset)
        yield Chunk(chunk.tp, begin, end, own[:before], foreign[:foreign_before])
        begin, own, foreign = end, own[before:], foreign[foreign_before:]


def together(chunks: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """Yield all chunks in order, grouped into deliveries."""
    some: list[Chunk] = []
    count = 0
    for chunk in chunks:
        size = size_of(chunk)
        if some and count + size > MOST:
            yield some
            some, count = [], 0
        some.append(chunk)
        count += size
    if some:
        yield some
