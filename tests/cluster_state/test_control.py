"""The control topic by itself, on a cluster of lists: who reads at once, is cut short or not answered does no harm."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition

from yasdg_app.cluster_state import control_topic as control
from yasdg_app.cluster_state import downtime
from yasdg_app.cluster_state.control_topic import (
    ControlTopic,
    IncidentConflictError,
    TooEarlyError,
    UnknownIncidentError,
)
from yasdg_app.config.ini import parse_incident
from yasdg_app.kafka.producer import AppendResult, ProducerRecord, StaleStateError, UnknownOutcomeError
from yasdg_app.kafka.reader import Chunk
from yasdg_app.messages.times import time_text
from yasdg_app.shop.clock import Clock

HOUR = 3_600_000_000
STORM = parse_incident("storm", {"kind": "storm", "duration": "1d"})


class Record(NamedTuple):
    offset: int
    key: bytes
    value: bytes | None
    timestamp: int


class Cluster:
    """One log, in place of reader and producer."""

    def __init__(self) -> None:
        self.log: list[Record] = []
        self.late = 0.0  # seconds by which the next records are too late
        self.sold: int | None = None  # event time of the last sale
        self.markers = 0  # of transactions, that take the first offsets of the log
        self.silent = False  # it takes the next record and does not say so

    async def ends(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await asyncio.sleep(0.01)
        return {tp: len(self.log) + self.markers for tp in tps}

    async def firsts(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def all_chunks(self, tp: TopicPartition, start: int, end: int) -> AsyncIterator[Chunk]:
        found: list[Any] = self.log[max(0, start - self.markers) : end - self.markers]
        await asyncio.sleep(0.01)
        yield Chunk(tp, start, end, found, [], len(self.log) if found else None)

    async def count(self, tp: TopicPartition) -> int:
        return len(self.log)

    async def append(self, topic: str, partition: int, number: int, rows: list[ProducerRecord]) -> AppendResult:
        if number != len(self.log):
            raise StaleStateError
        for row in rows:
            now = int((time.time() + self.late) * 1000)
            self.log.append(Record(len(self.log), row.key, row.value, now))
        self.late = 0.0
        if self.silent:
            self.silent = False
            raise UnknownOutcomeError
        return AppendResult(True, number)

    async def last_sold(self) -> int | None:
        return self.sold

    def topic(self) -> ControlTopic:
        now = time.time_ns() // 1000
        # A simulated hour a second: whole minutes are near.
        return ControlTopic("control", Clock(now - 100_000 * HOUR, now, 3600.0), (), self, self, self.last_sold)  # type: ignore[arg-type]


async def set_storm(topic: ControlTopic, settings: Any = STORM) -> Any:
    return await topic.set_incident(settings, lambda name: name == "taken", lambda local: 0)


async def test_reads_at_once_and_cut_short_put_nothing_down_twice() -> None:
    cluster = Cluster()
    topic, other = cluster.topic(), cluster.topic()
    await set_storm(other)
    cut = asyncio.create_task(topic.read())
    await asyncio.sleep(0.005)
    reads = [asyncio.create_task(topic.read()) for _ in range(5)]
    cut.cancel()
    said = await asyncio.gather(*reads)
    assert {(len(each.live), each.record_count) for each in said} == {(1, 1)}
    assert len(topic._statements) == len(cluster.log)


async def test_two_who_set_the_same_name_at_once_set_one() -> None:
    cluster = Cluster()
    topics = [cluster.topic() for _ in range(3)]
    outcomes = await asyncio.gather(*(set_storm(topic) for topic in topics), return_exceptions=True)
    assert sorted(isinstance(outcome, IncidentConflictError) for outcome in outcomes) == [False, True, True]
    assert len((await topics[0].read()).live) == 1


async def test_what_the_cluster_took_without_saying_so_is_set_and_ended_once() -> None:
    cluster = Cluster()
    topic = cluster.topic()
    cluster.silent = True
    storm = await set_storm(topic)
    assert len(cluster.log) == 1
    cluster.silent = True
    ended = await topic.end("storm")
    assert len(cluster.log) == 2
    assert (await topic.read()).live == (ended,)
    assert storm.start <= ended.end < storm.end


async def test_what_came_too_late_has_no_effect_and_is_set_anew() -> None:
    cluster = Cluster()
    topic = cluster.topic()
    cluster.late = 60.0
    storm = await set_storm(topic)
    assert len(cluster.log) == 2
    assert (await topic.read()).live == (storm,)
    cluster.late = 60.0
    assert (await topic.end("storm")).end < storm.end
    assert len(cluster.log) == 4


async def test_an_incident_that_was_ended_before_it_began_is_ended_once() -> None:
    cluster = Cluster()
    topic = cluster.topic()
    now = topic._clock.at(time.time_ns() // 1000)
    start = parse_incident("later", {"kind": "storm", "start": "2026-01-01"})
    later = await topic.set_incident(start, lambda name: False, lambda local: now - now % 60_000_000 + 1000 * HOUR)
    ended = await topic.end("later")
    assert ended.start == ended.end == later.start
    assert (await topic.read()).ended == {"later"}
    with pytest.raises(IncidentConflictError, match="was ended before it began"):
        await topic.end("later")
    assert len(cluster.log) == 2


async def test_what_stands_against_it_is_told_apart() -> None:
    cluster = Cluster()
    topic = cluster.topic()
    with pytest.raises(IncidentConflictError, match="name: there is an incident taken already"):
        await set_storm(topic, parse_incident("taken", {"kind": "storm"}))
    with pytest.raises(TooEarlyError, match="start: 2026-01-01 00:00:00 is too early"):
        await set_storm(topic, parse_incident("x", {"kind": "storm", "start": "2026-01-01"}))
    with pytest.raises(UnknownIncidentError):
        await topic.end("nobody")
    await set_storm(topic, parse_incident("short", {"kind": "storm", "duration": "1m"}))
    with pytest.raises(IncidentConflictError, match="anyway"):
        await topic.end("short")
    assert len(cluster.log) == 1


async def test_nothing_is_set_for_a_time_that_was_sold_before_a_clock_was_set_back() -> None:
    cluster = Cluster()
    topic = cluster.topic()
    now = topic._clock.at(time.time_ns() // 1000)
    cluster.sold = now + 1_000 * HOUR + 1
    storm = await set_storm(topic)
    assert storm.start > cluster.sold
    assert storm.start - cluster.sold <= 60_000_000
    cluster.sold = storm.start + 5 * HOUR
    ended = await topic.end("storm")
    assert cluster.sold < ended.end <= cluster.sold + 60_000_000
    start = parse_incident("x", {"kind": "storm", "start": "2026-01-01"})
    with pytest.raises(TooEarlyError, match="is too early"):
        await topic.set_incident(start, lambda name: False, lambda local: now - now % 60_000_000 + 1_000 * HOUR)


async def test_so_many_may_be_ahead_or_running_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_INCIDENTS", 3)
    cluster = Cluster()
    topic = cluster.topic()
    for number in range(3):
        await set_storm(topic, parse_incident(f"storm-{number}", {"kind": "storm", "duration": "1d"}))
    with pytest.raises(
        IncidentConflictError, match=r"^3 incidents are upcoming or active, which is the maximum. End one"
    ) as no:
        await set_storm(topic)
    assert "\n" not in str(no.value)
    assert len(cluster.log) == 3
    ended = await topic.end("storm-1")  # as the message says
    while topic._clock.at(time.time_ns() // 1000) < ended.end:
        await asyncio.sleep(0.1)
    await set_storm(topic)
    assert len(cluster.log) == 5  # nothing was taken off the topic


async def test_markers_of_transactions_shift_no_number() -> None:
    cluster = Cluster()
    cluster.markers = 3
    topic = cluster.topic()
    await set_storm(topic)
    assert (await topic.read()).record_count == 1
    assert [record.offset for record in cluster.log] == [0]


@pytest.mark.parametrize(("days", "is_taken"), [(0.2, True), (1.5, False)])
async def test_a_gap_that_does_not_count_because_of_this_machines_clock_is_told_to_be_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, days: float, is_taken: bool
) -> None:
    """And it is written once: there is nothing to try again."""
    caplog.set_level("INFO")
    cluster, now = Cluster(), time.time_ns() // 1000
    cluster.late = -days * 86_400
    clock = Clock(now - 100_000 * HOUR, now - 100_000 * HOUR, None)
    topic = ControlTopic("control", clock, (), cluster, cluster, cluster.last_sold)  # type: ignore[arg-type]

    async def last(*_: object) -> int:
        return now - 50_000 * HOUR

    async def works(*_: object) -> bool:
        return False

    monkeypatch.setattr(downtime, "latest_event_time", last)
    monkeypatch.setattr(downtime, "_is_group_active", works)
    nothing: Any = SimpleNamespace(application_id="shop")
    await downtime.skip_downtime(nothing, nothing, clock, nothing, topic)
    assert len(cluster.log) == 1
    assert len((await topic.read()).gaps) == is_taken
    (line,) = caplog.messages
    if is_taken:
        assert line.startswith("Skipped the downtime from ")
    else:
        assert "backfilled, not skipped: the clock of this machine is more than 24 h ahead of the cluster's" in line
        assert f"which shows {time_text(cluster.log[0].timestamp * 1000)[:19]} (UTC)" in line
