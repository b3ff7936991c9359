"""What was fetched is handed over whole and together, and is what aiokafka makes of it message by message."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, FetchError, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import CommitFailedError, RequestTimedOutError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from faust.types import TP as FaustTP

from yasdg_app.faust_runtime import fetched_batches, transport
from yasdg_app.faust_runtime.fetched_batches import FetchedBatch
from yasdg_app.faust_runtime.transport import ChunkRecords, Consumer, ConsumerThread
from yasdg_app.kafka.batch_reader import Batches
from yasdg_app.kafka.reader import Chunk, DamagedLogError

TP = TopicPartition("purchases", 0)
CONTROL = 0x20  # in the attributes of a batch: a mark of a transaction


SHOP = 1  # its producer id


def batch(
    first: int, count: int, compression: int = 0, attributes: int = 0, producer: int = SHOP, header: bytes = b"a"
) -> bytes:
    """A batch of records as it is in a log."""
    builder: Any = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=0, producer_id=producer, producer_epoch=0,
        base_sequence=0, batch_size=1_000_000,
    )  # fmt: skip
    for place in range(count):
        builder.append(place, 7 + place, b"key", b"value %d" % (first + place), [("a", b"b")])
    made = bytearray(builder.build())
    if header != b"a":
        made = made.replace(b"\x02a\x02b", b"\x02" + header + b"\x02b")
    made[:8] = first.to_bytes(8, "big")
    made[22] |= attributes
    made[17:21] = calc_crc32c(bytes(made[21:])).to_bytes(4, "big")
    return bytes(made)


def fetched(log: bytes, position: int) -> PartitionRecords:
    return PartitionRecords(TP, Batches(log), [], position, None, None, False, READ_UNCOMMITTED)


@pytest.mark.parametrize("position", [0, 3, 5, 8, 9, 11])
@pytest.mark.parametrize("compression", [0, 4])
def test_messages_and_positions_are_those_of_aiokafka(position: int, compression: int) -> None:
    log = batch(8, 3, compression)  # 6 and 7 are gone
    if position < 6:
        log = batch(5, 1, attributes=CONTROL) + log
    if position < 5:
        log = batch(0, 5, compression) + log
    plain, whole = fetched(log, position), ChunkRecords.of(fetched(log, position), SHOP)
    wanted = list(plain)
    chunks: list[Any] = list(whole)
    assert [(m.offset, m.timestamp, m.key, m.value, tuple(m.headers)) for each in chunks for m in each.messages] == [
        (m.offset, m.timestamp, m.key, m.value, m.headers) for m in wanted
    ]
    assert whole.next_fetch_offset == plain.next_fetch_offset == 11
    assert [(chunk.begin, chunk.end) for chunk in chunks] == ([(position, 11)] if position < 11 else [])


def test_what_other_producers_wrote_is_kept_apart_and_what_is_no_message_only_moves_the_position() -> None:
    log = (
        batch(0, 2)
        + batch(2, 3, producer=99)
        + batch(5, 1, producer=-1)
        + batch(6, 1)
        + batch(7, 1, attributes=CONTROL)
    )
    (chunk,) = ChunkRecords.of(fetched(log, 1), SHOP)
    assert [message.offset for message in chunk.messages] == [1, 6]
    assert [message.offset for message in chunk.foreign] == [2, 3, 4, 5]
    assert (chunk.begin, chunk.end) == (1, 8)


def test_a_stretch_without_a_message_of_anyone_moves_the_position() -> None:
    (chunk,) = ChunkRecords.of(fetched(batch(0, 1, attributes=CONTROL) + batch(4, 1, attributes=CONTROL), 0), SHOP)
    assert (chunk.messages, chunk.foreign, chunk.begin, chunk.end) == ([], [], 0, 5)


def test_a_batch_that_aiokafka_cannot_take_apart_is_one_message_without_content() -> None:
    log = batch(0, 1) + batch(1, 3, producer=99, header=b"\xff") + batch(4, 1)
    (chunk,) = ChunkRecords.of(fetched(log, 0), SHOP)
    ((foreign),) = chunk.foreign
    assert (foreign.offset, foreign.value, [m.offset for m in chunk.messages], chunk.end) == (1, None, [0, 4], 5)
    assert "cannot be parsed" in foreign.why


def test_what_was_damaged_on_disk_is_not_handed_over_and_what_comes_before_it_is() -> None:
    damaged = bytearray(batch(5, 5))
    damaged[-3] ^= 1
    whole = ChunkRecords.of(fetched(batch(0, 5) + bytes(damaged) + batch(10, 1), 0), SHOP)
    chunk, error = whole
    assert isinstance(chunk, Chunk)
    assert (len(chunk.messages), chunk.end, whole.next_fetch_offset) == (5, 5, 5)
    assert isinstance(error, DamagedLogError)
    assert "purchases, partition 0, offset 5" in str(error)


GENERATION = 7


def chunk(tp: FaustTP, *offsets: int) -> Chunk:
    return Chunk(
        tp, offsets[0], offsets[-1] + 1, [SimpleNamespace(offset=offset, timestamp=1_000) for offset in offsets], []
    )


class Fetching(Consumer):
    """A consumer to which comes what it is given, without a cluster."""

    flow_active = True
    should_stop = False

    def __init__(self, *fetches: dict[FaustTP, list[Any]], most: int) -> None:
        assignment = SimpleNamespace(topics={"purchases", "lost_sales"}, max_batch=dict.fromkeys(range(8), most))
        self.app = SimpleNamespace(assignment=assignment, consumer_generation_id=GENERATION)
        self.scheduler = SimpleNamespace(iterate=lambda records: iter(records.items()))
        self._read_offset, self._buffered_partitions, self._unacked = {}, set(), []
        self._fetches = list(fetches)

    async def _wait_next_records(self, timeout: float) -> tuple[dict[FaustTP, list[Any]], None]:
        return self._fetches.pop(0), None


async def delivered(consumer: Consumer) -> list[FetchedBatch]:
    return [message.value async for _, message in consumer.getmany(1.0)]


async def test_what_was_fetched_of_a_topic_comes_at_once_partition_by_partition() -> None:
    purchases, more, lost = FaustTP("purchases", 0), FaustTP("purchases", 5), FaustTP("lost_sales", 0)
    fetches = {purchases: [chunk(purchases, 3, 4, 5)], lost: [chunk(lost, 0)], more: [chunk(more, 8)]}
    sold, turned_away = await delivered(Fetching(fetches, most=2))
    found = [(each.tp, [m.offset for m in each.messages]) for each in sold.chunks]
    assert found == [(purchases, [3, 4]), (purchases, [5]), (more, [8])]
    assert [each.tp for each in turned_away.chunks] == [lost]
    assert sold.generation == turned_away.generation == GENERATION


async def test_the_next_is_not_fetched_before_the_agents_have_done_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched_batches, "MAX_WAIT_SECONDS", 600)
    purchases, lost = FaustTP("purchases", 0), FaustTP("lost_sales", 0)
    first = {purchases: [chunk(purchases, 0)], lost: [chunk(lost, 0)]}
    consumer = Fetching(first, {purchases: [chunk(purchases, 1)]}, most=10)
    handed_over = await delivered(consumer)
    following = asyncio.create_task(delivered(consumer))
    for each in handed_over:
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(consumer._fetches) == 1
        each.ack()
    (second,) = await following
    assert [m.offset for m in second.chunks[0].messages] == [1]


async def test_nothing_more_is_handed_over_when_the_group_has_changed() -> None:
    purchases, lost = FaustTP("purchases", 0), FaustTP("lost_sales", 0)
    consumer = Fetching({purchases: [chunk(purchases, 0)], lost: [chunk(lost, 0)]}, most=10)
    found = []
    async for tp, _ in consumer.getmany(1.0):
        found.append(tp)
        consumer.app.consumer_generation_id += 1
    assert found == [purchases]


class Group(GroupCoordinator):
    """aiokafka's coordinator of a group that the cluster has let in; it notes what it would ask the cluster."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.coordinator_id = 1
        self.committed: list[dict[str, list[tuple[int, int, str]]]] = []

    async def _coordination_routine(self) -> None:
        """Do not join: there is no cluster."""

    async def _send_req(self, request: Any) -> Any:
        self.committed.append(dict(request._topics))
        answers = [(topic, [(place, 0) for place, *_ in offsets]) for topic, offsets in request._topics]
        return SimpleNamespace(topics=answers)


class Member(ConsumerThread):
    """A thread around aiokafka's own consumer, which is assigned a partition, without a cluster."""

    def __init__(self) -> None:
        self.kafka = AIOKafkaConsumer(
            TP.topic, bootstrap_servers="127.0.0.1:1", group_id="shop", enable_auto_commit=False
        )
        self.subscription = self.kafka._subscription
        self.group = Group(
            self.kafka._client, self.subscription, group_id="shop", enable_auto_commit=False,
            assignors=(RoundRobinPartitionAssignor,), max_poll_interval_ms=600_000,
        )  # fmt: skip
        self.kafka._coordinator = self.group
        self._consumer = self.kafka
        self.assign()

    def assign(self) -> None:
        self.subscription.assign_from_subscribed([TP])

    async def call_thread(self, fun: Any, *args: Any, **kwargs: Any) -> Any:
        return await fun(*args, **kwargs)


@pytest.fixture
async def member() -> AsyncIterator[Member]:
    member = Member()
    member._commit_as_member()
    yield member
    await member.kafka.stop()


async def test_nothing_is_committed_while_the_group_is_joined_anew(member: Member) -> None:
    kafka, group = member.kafka, member.group
    await kafka.commit({TP: (7, "note")})
    group.request_rejoin()  # a heartbeat has told so
    with pytest.raises(CommitFailedError):
        await kafka.commit({TP: (8, "")})
    group._rejoin_needed_fut = asyncio.Future()  # let in, and not assigned yet
    member.subscription.begin_reassignment()
    with pytest.raises(CommitFailedError):
        await kafka.commit({TP: (8, "")})
    member.assign()
    await kafka.commit({TP: (9, "")})
    assert group.committed == [{"purchases": [(0, 7, "note")]}, {"purchases": [(0, 9, "")]}]


class Confirming(Consumer):
    """A consumer that confirms through a member's thread."""

    def __init__(self, member: Member) -> None:
        self._thread = member
        self._confirming = None


POSITIONS = {FaustTP("purchases", 0): (7, "")}


async def test_a_lease_is_confirmed_by_a_commit_that_the_group_takes(member: Member) -> None:
    consumer = Confirming(member)
    assert await consumer.confirm(POSITIONS)
    member.group.request_rejoin()
    assert not await consumer.confirm(POSITIONS)
    assert not await consumer.confirm({FaustTP("purchases", 5): (7, "")})  # is not assigned


@pytest.mark.parametrize("error", [OSError("no route"), KeyError(1), RequestTimedOutError(), ValueError("SCRAM")])
async def test_a_cluster_that_is_away_does_not_confirm_a_lease(
    member: Member, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def commit(offsets: Any) -> None:
        raise error

    monkeypatch.setattr(member.kafka, "commit", commit)
    assert not await Confirming(member).confirm(POSITIONS)


async def test_a_name_that_aiokafka_has_no_more_is_no_absent_cluster(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(member.group, "_rejoin_needed_fut")
    with pytest.raises(AttributeError, match="_rejoin_needed_fut"):
        await Confirming(member).confirm(POSITIONS)


async def test_a_method_that_takes_other_arguments_is_no_absent_cluster(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member.kafka, "commit", lambda: None)
    with pytest.raises(TypeError, match="argument"):
        await Confirming(member).confirm(POSITIONS)


async def test_a_name_that_is_missed_after_a_confirmation_was_given_up_is_raised_by_the_next(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CONFIRM_SECONDS", 0)
    monkeypatch.delattr(member.group, "_rejoin_needed_fut")
    consumer = Confirming(member)
    assert not await consumer.confirm(POSITIONS)
    await asyncio.sleep(0.01)
    with pytest.raises(AttributeError, match="_rejoin_needed_fut"):
        await consumer.confirm(POSITIONS)


# --- What was fetched is made whole in aiokafka's own fetcher ---------------------------------------------------------


class Fetcher:
    """Holds what aiokafka has fetched, as its own one does."""

    def __init__(self, *fetched: Any) -> None:
        self._records = dict(zip((TP, TopicPartition("control", 0)), fetched, strict=True))

    async def _proc_fetch_request(self, *request: Any) -> bool:
        return True


def result(log: bytes) -> FetchResult:
    return FetchResult(TP, assignment=None, partition_records=fetched(log, 0), backoff=0)


class Fetches(ConsumerThread):
    """A thread whose consumer has such a fetcher."""

    def __init__(self, *fetched: Any) -> None:
        self.fetcher = Fetcher(*fetched)
        self.app = SimpleNamespace(
            assignment=SimpleNamespace(topics=(TP.topic,)),
            shop=SimpleNamespace(manifest=SimpleNamespace(producer_id=SHOP)),
        )
        self._consumer: Any = SimpleNamespace(_fetcher=self.fetcher)
        self.crashes: list[BaseException] = []

    async def crash(self, exc: BaseException) -> None:
        self.crashes.append(exc)


async def test_only_what_was_fetched_of_the_chunked_topics_is_made_whole() -> None:
    thread = Fetches(result(batch(0, 2)), result(batch(0, 2)))
    thread._fetch_chunks()
    assert await thread.fetcher._proc_fetch_request()
    chunked, other = thread.fetcher._records.values()
    assert type(chunked._partition_records) is ChunkRecords
    assert type(other._partition_records) is PartitionRecords
    (chunk,) = chunked._partition_records
    assert [message.offset for message in chunk.messages] == [0, 1]


async def test_an_error_in_place_of_what_was_fetched_is_left_alone() -> None:
    error = FetchError(error=OSError(), backoff=0)
    thread = Fetches(error, error)
    thread._fetch_chunks()
    assert await thread.fetcher._proc_fetch_request()
    assert thread.crashes == []


async def test_a_result_without_the_name_that_is_relied_on_ends_the_worker() -> None:
    renamed = result(batch(0, 2))
    del renamed._partition_records
    thread = Fetches(renamed, renamed)
    thread._fetch_chunks()
    with pytest.raises(AttributeError, match="_partition_records"):
        await thread.fetcher._proc_fetch_request()
    assert [type(error) for error in thread.crashes] == [AttributeError]
