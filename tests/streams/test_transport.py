"""What was fetched is handed over whole and together, and is what aiokafka makes of it message by message."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException, RebalanceInProgressError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from faust.types import TP as FaustTP

from yasdg_app.streams import deliveries
from yasdg_app.streams.deliveries import Delivery
from yasdg_app.streams.transport import Consumer, ConsumerThread, Whole

TP = TopicPartition("purchases", 0)
CONTROL = 0x20  # in the attributes of a batch: a mark of a transaction


def batch(first: int, count: int, compression: int = 0, attributes: int = 0) -> bytes:
    """A batch of records as it stands in a log."""
    builder: Any = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=0, producer_id=1, producer_epoch=0, base_sequence=0,
        batch_size=1_000_000,
    )  # fmt: skip
    for place in range(count):
        builder.append(place, 7 + place, b"key", b"value %d" % (first + place), [("a", b"b")])
    made = bytearray(builder.build())
    made[:8] = first.to_bytes(8, "big")
    made[22] |= attributes
    return bytes(made)


def fetched(log: bytes, position: int, check_crcs: bool = False) -> PartitionRecords:
    return PartitionRecords(TP, MemoryRecords(log), [], position, None, None, check_crcs, READ_UNCOMMITTED)


@pytest.mark.parametrize("position", [0, 3, 5, 8, 9, 11])
@pytest.mark.parametrize("compression", [0, 4])
def test_messages_and_positions_are_those_of_aiokafka(position: int, compression: int) -> None:
    log = batch(0, 5, compression) + batch(5, 1, attributes=CONTROL) + batch(8, 3, compression)  # 6 and 7 are gone
    plain, whole = fetched(log, position), Whole.of(fetched(log, position))
    wanted = list(plain)
    batches: list[Any] = list(whole)
    assert [(m.offset, m.timestamp, m.key, m.value, tuple(m.headers)) for each in batches for m in each] == [
        (m.offset, m.timestamp, m.key, m.value, m.headers) for m in wanted
    ]
    assert all(batches)
    assert whole.next_fetch_offset == plain.next_fetch_offset == 11


def test_what_was_damaged_on_its_way_is_not_handed_over() -> None:
    damaged = bytearray(batch(0, 5))
    damaged[-3] ^= 1
    with pytest.raises(CorruptRecordException):
        list(Whole.of(fetched(bytes(damaged), 0, check_crcs=True)))


GENERATION = 7


def message(offset: int) -> Any:
    return SimpleNamespace(offset=offset, timestamp=1_000)


class Fetching(Consumer):
    """A consumer to which comes what it is given, without a cluster."""

    flow_active = True
    should_stop = False

    def __init__(self, *fetches: dict[FaustTP, list[list[Any]]], most: int) -> None:
        ownership = SimpleNamespace(topics={"purchases", "lost_sales"}, most=dict.fromkeys(range(8), most))
        self.app = SimpleNamespace(ownership=ownership, consumer_generation_id=GENERATION)
        self.scheduler = SimpleNamespace(iterate=lambda records: iter(records.items()))
        self._read_offset, self._buffered_partitions, self._deliveries = {}, set(), []
        self._fetches = list(fetches)

    async def _wait_next_records(self, timeout: float) -> tuple[dict[FaustTP, list[list[Any]]], None]:
        return self._fetches.pop(0), None


async def delivered(consumer: Consumer) -> list[Delivery]:
    return [message.value async for _, message in consumer.getmany(1.0)]


async def test_what_was_fetched_of_a_topic_comes_at_once_partition_by_partition() -> None:
    purchases, more, lost = FaustTP("purchases", 0), FaustTP("purchases", 5), FaustTP("lost_sales", 0)
    batches = {purchases: [[message(3), message(4)], [message(5)]], lost: [[message(0)]], more: [[message(8)]]}
    sold, turned_away = await delivered(Fetching(batches, most=2))
    found = [(tp, [m.offset for m in messages]) for tp, messages in sold.chunks]
    assert found == [(purchases, [3, 4]), (purchases, [5]), (more, [8])]
    assert [tp for tp, _ in turned_away.chunks] == [lost]
    assert sold.generation == turned_away.generation == GENERATION


async def test_the_next_is_not_fetched_before_the_agents_have_done_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "PATIENCE", 600)
    purchases, lost = FaustTP("purchases", 0), FaustTP("lost_sales", 0)
    consumer = Fetching({purchases: [[message(0)]], lost: [[message(0)]]}, {purchases: [[message(1)]]}, most=10)
    handed_over = await delivered(consumer)
    following = asyncio.create_task(delivered(consumer))
    for each in handed_over:
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(consumer._fetches) == 1
        each.note_handled()
    (second,) = await following
    assert [m.offset for m in second.chunks[0].messages] == [1]


async def test_nothing_more_is_handed_over_when_the_group_has_changed() -> None:
    purchases, lost = FaustTP("purchases", 0), FaustTP("lost_sales", 0)
    consumer = Fetching({purchases: [[message(0)]], lost: [[message(0)]]}, most=10)
    found = []
    async for tp, _ in consumer.getmany(1.0):
        found.append(tp)
        consumer.app.consumer_generation_id += 1
    assert found == [purchases]


class Member(ConsumerThread):
    """A thread whose aiokafka notes what it is to commit, without a cluster."""

    def __init__(self) -> None:
        self.committed: list[Any] = []
        self.coordinator = SimpleNamespace(
            group_id="shop", _rejoin_needed_fut=asyncio.Future(), _do_commit_offsets=self._note
        )
        self.subscription = SimpleNamespace(reassignment_in_progress=False)

    def _ensure_consumer(self) -> Any:
        return SimpleNamespace(_coordinator=self.coordinator, _subscription=self.subscription)

    async def _note(self, *commit_of: Any) -> None:
        self.committed.append(commit_of)


async def test_nothing_is_committed_while_the_group_is_joined_anew() -> None:
    member = Member()
    member._commit_as_member()
    await member.coordinator._do_commit_offsets("assignment", "offsets")
    member.coordinator._rejoin_needed_fut.set_result(None)  # a heartbeat has told so
    with pytest.raises(RebalanceInProgressError):
        await member.coordinator._do_commit_offsets("assignment", "offsets")
    member.coordinator._rejoin_needed_fut = asyncio.Future()  # let in, and not assigned yet
    member.subscription.reassignment_in_progress = True
    with pytest.raises(RebalanceInProgressError):
        await member.coordinator._do_commit_offsets("assignment", "offsets")
    member.subscription.reassignment_in_progress = False
    await member.coordinator._do_commit_offsets("assignment", "offsets")
    assert member.committed == [("assignment", "offsets")] * 2
