"""What the worker does when messages were deleted: it continues if it has processed them, and ends if it has not."""

from typing import Any

import pytest
from aiokafka.errors import NodeNotReadyError
from faust.types import TP
from support.memory_worker import MemoryWorker

from yasdg_app.config.settings import KafkaSettings, SalesSettings, Settings
from yasdg_app.inventory.projection import InconsistentLogError
from yasdg_app.pipeline import partition_sales

KAFKA = KafkaSettings(partitions=1)
SETTINGS = Settings(kafka=KAFKA, sales=SalesSettings(min_sale_freq=0.0, max_sale_freq=0.2))
PURCHASES = TP(KAFKA.topic_purchases, 0)


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> MemoryWorker:
    """A worker that has sold something, and has applied it."""
    monkeypatch.setattr(partition_sales, "OPEN_RETRY_SECONDS", 0.0)
    worker = MemoryWorker(SETTINGS)
    await worker.start()
    await worker.sell(seconds=2)
    await worker.apply_all()
    assert worker.position(PURCHASES.topic) == worker.cluster.end(PURCHASES) > 0
    return worker


async def check(worker: MemoryWorker) -> None:
    """Check the logs twice: what has not moved since the last check is looked at."""
    await worker.pipeline.log_checker.check()
    await worker.pipeline.log_checker.check()


async def test_a_log_that_is_whole_changes_nothing(worker: MemoryWorker) -> None:
    before = dict(worker.pipeline.assignment.positions)
    await check(worker)
    assert (worker.pipeline.assignment.positions, worker.life.crashes) == (before, [])


async def test_messages_that_were_deleted_after_they_were_applied_are_skipped(worker: MemoryWorker) -> None:
    worker.cluster.append_foreign(PURCHASES.topic, b"junk")
    worker.cluster.starts[PURCHASES] = worker.cluster.end(PURCHASES)
    await worker.pipeline.log_checker.check()
    assert worker.position(PURCHASES.topic) < worker.cluster.end(PURCHASES)  # it may be about to be applied
    await worker.pipeline.log_checker.check()
    assert (worker.position(PURCHASES.topic), worker.life.crashes) == (worker.cluster.end(PURCHASES), [])
    await worker.sell(seconds=2)
    await worker.apply_all()
    assert worker.position(PURCHASES.topic) == worker.cluster.end(PURCHASES)


async def test_sales_that_were_deleted_before_they_were_applied_end_the_worker(worker: MemoryWorker) -> None:
    await worker.sell(seconds=2)
    worker.cluster.starts[PURCHASES] = worker.cluster.end(PURCHASES)
    await check(worker)
    (error,) = worker.life.crashes
    assert isinstance(error, InconsistentLogError)
    assert "were deleted before they were applied" in str(error)


async def test_a_log_that_is_shorter_than_what_was_applied_ends_the_worker(worker: MemoryWorker) -> None:
    worker.cluster.truncate(PURCHASES.topic)
    await check(worker)
    (error,) = worker.life.crashes
    assert "ends at offset 0" in str(error)


async def test_a_cluster_that_does_not_answer_is_asked_again(
    worker: MemoryWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> Any:
        raise NodeNotReadyError

    monkeypatch.setattr(worker.shop.own_reader, "firsts", fail)
    await check(worker)
    assert worker.life.crashes == []


async def test_during_a_rebalance_nothing_is_checked(worker: MemoryWorker) -> None:
    worker.cluster.truncate(PURCHASES.topic)
    worker.member.rebalancing = True
    await check(worker)
    assert worker.life.crashes == []
