"""What the generator appends, in which order and when not; and that its state costs little to report."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiokafka.errors import RequestTimedOutError
from faust.types import TP
from support.fakes import Life, Member, open_shop
from support.memory_worker import MemoryWorker
from support.small_shops import PRODUCTS, Table, encoded, serve

from yasdg_app.cluster_state import clock_jumps as jumps
from yasdg_app.config.settings import KafkaSettings, SalesSettings, Settings, SupplierSettings
from yasdg_app.faust_runtime import partition_assignment
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import NO_TIME
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import InconsistentLogError
from yasdg_app.messages.times import event_time
from yasdg_app.pipeline import partition_sales, sales_generator, sales_publisher
from yasdg_app.pipeline.sales_generator import SalesGenerator
from yasdg_app.shop.clock import STABLE_SECONDS, Clock
from yasdg_app.shop.till import Till

OPENED, FUTURE = event_time("2026-01-01 00:00:00"), event_time("2190-01-01 00:00:00")


class FakeStore:
    """The rows of a partition, of which only whole columns may be asked for."""

    def __init__(self, *times: int) -> None:
        self._times = np.array(times, dtype=np.int64)

    def column(self, name: str) -> Any:
        assert name == "last_sale"
        return self._times


def generator(member: Member, rows: dict[str, FakeStore], now: Callable[[], int]) -> SalesGenerator:
    """A generator of a worker that has these partitions."""
    manifest = SimpleNamespace(opened_at=OPENED, clock=Clock(OPENED, OPENED))
    assignment = PartitionAssignment(member, ("purchases",), {})
    assignment.activate(1, {TP("purchases", partition): 0 for partition in range(len(rows))}, {})
    table: Any = SimpleNamespace(
        store_of=lambda partition: rows[f"p{partition}"], catalog=PartitionedCatalog.of(PRODUCTS, 8)
    )  # fmt: skip
    nothing: Any = None
    return SalesGenerator(open_shop(manifest=manifest), Life(), assignment, nothing, table, nothing, now=now)


def sold_ahead(**rows: FakeStore) -> tuple[int | None, list[int]]:
    """What is reported of sales ahead of the clock, and of the delay of each partition, in whole days."""
    these = generator(Member(), rows, lambda: OPENED + 86_400_000_000)
    return these.sold_ahead(), [these.delay(partition) // 86_400_000_000 for partition in range(len(rows))]


def test_no_product_is_looked_at_to_tell_of_sales_of_the_future() -> None:
    assert sold_ahead(p0=FakeStore(OPENED + 1, NO_TIME), p1=FakeStore(FUTURE, OPENED)) == (FUTURE, [0, 0])


def test_before_the_first_sale_it_is_the_moment_when_the_shop_opened() -> None:
    assert sold_ahead(p0=FakeStore(NO_TIME, NO_TIME), p1=FakeStore()) == (None, [1, 1])


@pytest.mark.parametrize(("days", "ends"), [(2, True), (0.5, False), (-2, False)])
async def test_a_worker_ends_when_its_clock_has_stayed_more_than_a_day_ahead(
    monkeypatch: pytest.MonkeyPatch, days: float, ends: bool
) -> None:
    said: list[str] = []
    seconds = [0.0, 0.0]  # that have passed, and by which the clock was set
    monkeypatch.setattr(jumps, "steady_time", lambda: int(seconds[0] * 1e6))
    monkeypatch.setattr(sales_generator, "abort_process", said.append)
    member = Member()
    member.rebalancing = True
    these = generator(member, {}, lambda: OPENED + int(sum(seconds) * 1e6))
    these.jumps = jumps.Jumps()
    await these.run_round(0)
    seconds[:] = [10.0, days * 86_400]
    await these.run_round(0)
    assert ("ends. If its time is right, restart this worker." in these.jumps.reason) is ends
    assert said == []
    seconds[0] += STABLE_SECONDS
    await these.run_round(0)
    assert len(said) == ends
    assert all("set forward by 2 d. Nothing is sold" in line for line in said)
    assert these.jumps.needs_end is ends


# --- Rounds, of a worker on a cluster in memory ---------------------------------------------------------------------

KAFKA = KafkaSettings(partitions=1)
PURCHASES, LOST_SALES = TP(KAFKA.topic_purchases, 0), TP(KAFKA.topic_lost_sales, 0)
SLOW_SUPPLIER = SupplierSettings(lead_time=(timedelta(hours=1),) * 3)
SETTINGS = Settings(kafka=KAFKA, sales=SalesSettings(min_sale_freq=0.0, max_sale_freq=0.2), supply=SLOW_SUPPLIER)
"""Ten customers per second, and shelves that run empty within seconds."""


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> MemoryWorker:
    monkeypatch.setattr(sales_publisher, "CONFLICT_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(partition_sales, "OPEN_RETRY_SECONDS", 0.0)
    worker = MemoryWorker(SETTINGS)
    await worker.start()
    return worker


def counts(worker: MemoryWorker) -> tuple[int, int]:
    """The number of sales and of lost sales in the logs."""
    return len(worker.cluster.messages(*PURCHASES)), len(worker.cluster.messages(*LOST_SALES))


async def test_sales_are_those_of_the_plan_up_to_now_and_none_twice(worker: MemoryWorker) -> None:
    for _ in range(4):
        await worker.sell(seconds=2)
    await worker.sell()
    till = Till(worker.pipeline.follower.plan, PRODUCTS, Table(worker.pipeline.follower.plan).start())
    expected = encoded(till, serve(till, worker.at))
    assert [message.value for message in worker.cluster.messages(*PURCHASES)] == expected[0]
    assert [message.value for message in worker.cluster.messages(*LOST_SALES)] == expected[1]
    assert (worker.shop.counts["sales"], worker.shop.counts["lost_sales"]) == tuple(map(len, expected))
    assert min(map(len, expected)) > 10


async def test_lost_sales_are_appended_before_the_sales_of_the_same_time(worker: MemoryWorker) -> None:
    for _ in range(2):
        await worker.sell(seconds=4)
    assert worker.cluster.appended == [LOST_SALES.topic, PURCHASES.topic] * 2


async def test_without_its_lost_sales_no_sale_is_appended_and_all_are_later(worker: MemoryWorker) -> None:
    def refuse(tp: Any) -> None:
        if tp == LOST_SALES:
            raise RequestTimedOutError

    worker.cluster.before_append = refuse
    await worker.sell(seconds=8)
    assert counts(worker) == (0, 0)
    worker.cluster.before_append = lambda tp: None
    await worker.sell()
    assert min(counts(worker)) > 0
    assert worker.shop.counts["overtaken"] == 0


async def test_sales_stop_while_the_lease_is_not_valid(worker: MemoryWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.member.confirms = False
    await worker.sell(seconds=5)
    assert worker.cluster.appended == []
    worker.member.confirms = True
    await worker.sell()
    first = counts(worker)
    assert min(first) > 0
    monkeypatch.setattr(partition_assignment, "LEASE_SECONDS", 0.0)
    worker.member.confirms = False
    await worker.sell(seconds=5)
    assert counts(worker) == first


async def test_sales_stop_during_a_rebalance_and_when_the_worker_closes(worker: MemoryWorker) -> None:
    worker.member.rebalancing = True
    await worker.sell(seconds=5)
    worker.member.rebalancing = False
    worker.life.is_closing = True
    await worker.sell(seconds=5)
    assert worker.cluster.appended == []


async def test_sales_stop_while_the_consumer_lags(worker: MemoryWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sales_generator, "MAX_SALES_AHEAD_OF_TABLE", 1)
    await worker.sell(seconds=5)
    first = counts(worker)
    await worker.sell(seconds=5)
    assert counts(worker) == first
    await worker.apply_all()
    await worker.sell()
    assert min(counts(worker)) > min(first) > 0


async def test_nothing_is_produced_before_the_log_is_processed(worker: MemoryWorker) -> None:
    await worker.sell(seconds=5)
    first = counts(worker)
    other = MemoryWorker(SETTINGS, worker.cluster)
    await other.start()
    other.at = worker.at
    await other.sell(seconds=5)
    assert counts(worker) == first
    await other.apply_all()
    await other.sell()
    assert min(counts(worker)) > min(first)
    await worker.sell(seconds=5)  # the one that was overtaken is refused, and appends nothing twice
    numbers = [sale["transaction_id"] for sale in worker.values(*PURCHASES)]
    assert len(numbers) == len(set(numbers))


async def test_a_worker_that_was_overtaken_reads_the_log_and_then_continues(worker: MemoryWorker) -> None:
    await worker.sell(seconds=2)
    await worker.apply_all()
    other = MemoryWorker(SETTINGS, worker.cluster)
    await other.start()
    other.at = worker.at
    await other.sell(seconds=4)
    before = counts(worker)
    await worker.sell(seconds=6)
    assert (counts(worker), worker.shop.counts["overtaken"]) == (before, 1)
    await worker.sell()
    assert counts(worker) == before  # its table has to process what the other one appended
    await worker.apply_all()
    await worker.sell()
    assert min(counts(worker)) > min(before)
    assert worker.life.crashes == []


async def test_a_log_that_is_shorter_than_the_table_says_ends_the_worker(worker: MemoryWorker) -> None:
    worker.pipeline.assignment.positions[PURCHASES] = 3
    with pytest.raises(InconsistentLogError, match="ends at offset 0"):
        await worker.sell(seconds=2)


async def test_a_run_with_an_end_stops_the_worker_when_all_is_processed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_sales, "OPEN_RETRY_SECONDS", 0.0)
    sales = SalesSettings(min_sale_freq=0.0, max_sale_freq=0.2, number_of_sales=20)
    worker = MemoryWorker(Settings(kafka=KAFKA, sales=sales))
    committed: list[str] = []

    async def is_committed(metadata: str) -> bool:
        committed.append(metadata)
        return True

    monkeypatch.setattr(worker.pipeline.sales.end_of_run, "_is_committed_by_all", is_committed)
    await worker.start()
    for _ in range(4):
        await worker.sell(seconds=2)
    assert (len(worker.cluster.messages(*PURCHASES)), worker.life.stops_requested) == (20, 0)
    await worker.apply_all()
    await worker.sell()
    assert (len(worker.cluster.messages(*PURCHASES)), worker.life.stops_requested) == (20, 1)
    assert committed == [metadata for _, metadata in [worker.member.committed[-1][PURCHASES]]]


async def test_a_name_that_is_gone_ends_the_loop(worker: MemoryWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yasdg_app.pipeline.sales_publisher.ProducerRecord", None)
    with pytest.raises(TypeError):
        await worker.sell(seconds=2)


@pytest.mark.parametrize("is_closing", [False, True])
async def test_a_bug_is_not_taken_for_what_a_shutdown_interrupts(
    worker: MemoryWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_closing: bool
) -> None:
    async def fail(due: int) -> None:
        worker.life.is_closing = is_closing
        raise AttributeError("on purpose")

    monkeypatch.setattr(worker.pipeline.sales, "run_round", fail)
    with pytest.raises(AttributeError) if not is_closing else nullcontext():
        await worker.pipeline.sales.run()
    assert [bool(record.exc_info) for record in caplog.records] == [True] * is_closing
