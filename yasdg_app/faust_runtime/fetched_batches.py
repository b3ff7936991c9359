"""Chunks of messages, and how many of them an agent is handed at once.

A chunk costs an agent much the same whether it holds ten messages or a hundred: an event of Faust's, and two appends,
whose requests those of other partitions can share if they are ready at the same moment. So what was fetched together is
handed over together, and no more is while the agent works on it: what comes meanwhile comes together, too.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from operator import attrgetter

from aiokafka import TopicPartition

from yasdg_app.kafka.reader import Chunk

MOST = 10_000  # messages in a chunk and in a delivery, whose fold holds up everything else: a hundredth of a second
FEW = MOST // 2  # messages from which a delivery is large enough by itself
PATIENCE = 0.05  # seconds that one partition, whose leader is slow or away, may hold up the others

_offset = attrgetter("offset")


class Delivery:
    """What an agent is handed at once.

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
        """Note that the agent has done with one of the chunks."""
        self._left -= 1
        if not self._left:
            self._handled.set()

    async def handled(self) -> None:
        """Wait until the agent has done with all of them; not at all for many messages, and not long for few."""
        if sum(map(size_of, self.chunks)) < FEW:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._handled.wait(), PATIENCE)


def size_of(chunk: Chunk) -> int:
    """Return the number of messages of a chunk, the foreign ones included."""
    return len(chunk.messages) + len(chunk.foreign)


def cut(chunk: Chunk, most: int) -> Iterator[Chunk]:
    """Yield a chunk in pieces of so many messages at most."""
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
    """Yield all chunks in order, as many at a time as go into one delivery."""
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
