"""An agent is handed much at once, in order, and no more before it has done with what there was of it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.faust_runtime import fetched_batches
from yasdg_app.faust_runtime.fetched_batches import (
    MAX_BATCH_MESSAGES,
    NO_WAIT_FROM_MESSAGES,
    FetchedBatch,
    group_chunks,
    size_of,
    split_chunk,
)
from yasdg_app.kafka.reader import Chunk

GENERATION = 7


def chunk(partition: int, count: int) -> Chunk:
    """So many messages of a partition, whatever they are: they are only counted."""
    messages: list[Any] = [None] * count
    return Chunk(TP("purchases", partition), 0, count, messages, [])


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched_batches, "MAX_WAIT_SECONDS", 600)


async def is_over(batch: FetchedBatch) -> bool:
    """Whether the next one comes as soon as everybody has had a turn."""
    waiting = asyncio.create_task(batch.wait_acked())
    for _ in range(10):
        await asyncio.sleep(0)
    over = waiting.done()
    waiting.cancel()
    return over


@given(st.lists(st.integers(1, 2 * MAX_BATCH_MESSAGES), max_size=20))
def test_chunks_go_together_as_far_as_there_is_room_and_stay_in_order(sizes: list[int]) -> None:
    chunks = [chunk(partition, size) for partition, size in enumerate(sizes)]
    parts = list(group_chunks(chunks))
    assert [each for part in parts for each in part] == chunks
    counts = [sum(len(each.messages) for each in part) for part in parts]
    assert all(count <= MAX_BATCH_MESSAGES or len(part) == 1 for part, count in zip(parts, counts, strict=True))
    for count, behind in zip(counts, parts[1:], strict=False):
        assert count + len(behind[0].messages) > MAX_BATCH_MESSAGES


@given(st.lists(st.sampled_from(["own", "foreign", "marker"]), max_size=40), st.integers(1, 7))
def test_a_chunk_that_is_cut_has_all_its_messages_and_no_gap(kinds: list[str], most: int) -> None:
    by_kind = {
        kind: [SimpleNamespace(offset=3 + place) for place, each in enumerate(kinds) if each == kind]
        for kind in ("own", "foreign")
    }
    whole = Chunk(TP("purchases", 0), 3, 3 + len(kinds), by_kind["own"], by_kind["foreign"])
    pieces = list(split_chunk(whole, most))
    assert [message for piece in pieces for message in piece.messages] == by_kind["own"]
    assert [message for piece in pieces for message in piece.foreign] == by_kind["foreign"]
    assert [piece.begin for piece in pieces] == [3, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == whole.end
    for piece in pieces:
        assert size_of(piece) <= most
        assert all(piece.begin <= message.offset < piece.end for message in (*piece.messages, *piece.foreign))


async def test_the_next_one_comes_when_each_chunk_is_done_with() -> None:
    batch = FetchedBatch([chunk(3, 1), chunk(5, 1)], GENERATION)
    assert batch.tp == TP("purchases", 3)
    assert not await is_over(batch)
    batch.ack()
    assert not await is_over(batch)
    batch.ack()
    assert await is_over(batch)


async def test_the_next_one_does_not_wait_for_many_messages() -> None:
    assert not await is_over(FetchedBatch([chunk(0, NO_WAIT_FROM_MESSAGES - 1)], GENERATION))
    assert await is_over(FetchedBatch([chunk(0, NO_WAIT_FROM_MESSAGES - 1), chunk(1, 1)], GENERATION))


async def test_nor_for_a_partition_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched_batches, "MAX_WAIT_SECONDS", 0.001)
    async with asyncio.timeout(60):
        await FetchedBatch([chunk(0, 1)], GENERATION).wait_acked()
