"""Whether a worker is ready, from the parts that it has: without a process, and without Kafka."""

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from faust.types import TP

from yasdg_app.config.settings import KafkaSettings, Settings
from yasdg_app.web import health
from yasdg_app.web.health import Health

TOPIC = "demo.purchases"
ENDS = {TP(TOPIC, 0): 1_000, TP(TOPIC, 1): 1_000}


class Worker:
    """The parts of a worker that is ready: its two partitions sell one product each."""

    def __init__(self) -> None:
        self.delay = {0: 0, 1: 0}  # microseconds
        self.read = asyncio.Event()  # set: the broker answers
        self.read.set()
        self.shop = SimpleNamespace(
            is_open=True,
            settings=Settings(kafka=KafkaSettings(partitions=2)),
            reader=SimpleNamespace(ends=self.ends),
        )
        self.assignment = SimpleNamespace(
            topics=(TOPIC,), partitions=[0, 1], positions=dict(ENDS), is_active=True, has_lease=True
        )
        self.life = SimpleNamespace(is_closing=False)
        self.catalog = SimpleNamespace(products_in=lambda partition: [SimpleNamespace(product_id=f"P{partition}")])
        self.follower = SimpleNamespace(plan=SimpleNamespace(per_second={"P0": 1.0, "P1": 1_000.0}))
        self.sales = SimpleNamespace(
            delay=self.delay.__getitem__, jumps=SimpleNamespace(reason=""), sold_ahead=lambda: None
        )
        self.sink: Any = None

    async def ends(self, tps: list[TP]) -> dict[TP, int]:
        await self.read.wait()
        return {tp: ENDS[tp] for tp in tps}

    @property
    def health(self) -> Health:
        whole: Any = self
        return Health(whole)


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_a_worker_with_its_work_done_is_ready(worker: Worker) -> None:
    body = {"ready": True, "reasons": [], "partitions": [0, 1], "delay_seconds": 0.0}
    assert worker.health.readiness(ENDS) == body


def test_a_worker_that_stops_gives_that_as_its_only_reason(worker: Worker) -> None:
    worker.life.is_closing = True
    assert worker.health.reasons(None) == ["The worker is stopping."]


def test_sales_that_are_late_are_named_by_their_partition(worker: Worker) -> None:
    worker.delay[1] = 7_000_000
    body = worker.health.readiness(ENDS)
    assert (body["reasons"], body["delay_seconds"]) == (["Sales are 7 s behind in partition 1."], 7.0)


@pytest.mark.parametrize(("partition", "allowed"), [(0, 100), (1, 5_000)])
def test_the_table_may_lag_by_a_hundred_purchases_or_five_seconds(worker: Worker, partition: int, allowed: int) -> None:
    tp = TP(TOPIC, partition)
    assert worker.health.reasons(ENDS | {tp: 1_000 + allowed}) == []
    (reason,) = worker.health.reasons(ENDS | {tp: 1_001 + allowed})
    assert reason == f"{allowed + 1} purchases of partition {partition} are not in the table yet."


def test_purchases_applied_after_the_query_are_no_negative_lag(worker: Worker) -> None:
    worker.assignment.positions[TP(TOPIC, 0)] = 2_000
    assert worker.health.lag_of(TP(TOPIC, 0), ENDS) == 0


def test_a_rebalance_and_a_broker_without_an_answer_are_reasons(worker: Worker) -> None:
    worker.assignment.has_lease = False
    (reason,) = worker.health.reasons(ENDS)
    assert "did not confirm this worker's membership" in reason
    worker.assignment.is_active = False
    broker, joining = worker.health.reasons(None)
    assert "did not return the ends of the logs" in broker
    assert joining == "The worker is joining the group, or restoring its table."
    assert worker.health.readiness(None)["partitions"] == []


def test_a_worker_without_partitions_says_who_has_them(worker: Worker) -> None:
    worker.assignment.partitions = []
    (reason,) = worker.health.reasons({})
    assert "others own all 2 of them" in reason


async def test_nobody_waits_for_a_broker_that_does_not_answer(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await worker.health.log_ends() == ENDS
    monkeypatch.setattr(health, "LOG_ENDS_SECONDS", 0.01)
    worker.read.clear()
    assert await worker.health.log_ends() is None
    worker.shop.is_open = False
    assert await worker.health.log_ends() is None


async def test_the_datastore_is_shown_and_changes_nothing_else(worker: Worker) -> None:
    request: Any = None
    assert (await worker.health.health(request)).body == b'{"status":"live"}'
    worker.sink = SimpleNamespace(waiting=3, failing=True, lag=1.5)
    response: Any = await worker.health.health(request)
    datastore = {"state": "failing", "rows_waiting": 3, "lag_seconds": 1.5}
    assert (response.status, orjson.loads(response.body)) == (200, {"status": "live", "datastore": datastore})
    ready: Any = await worker.health.ready(request)
    assert ready.status == 200
