"""The dirty topic has the configured faults, and is the same for any worker and any number of rounds."""

import json
from collections import Counter
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiokafka.errors import RequestTimedOutError
from faust.types import TP
from oracles.faulty_channel import flawed, rows
from support.memory_cluster import MemoryCluster
from support.memory_worker import MemoryWorker

from yasdg_app.config.settings import FaultSettings, KafkaSettings, SalesSettings, Settings
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.pipeline import fault_injector, partition_sales
from yasdg_app.pipeline.fault_injector import FaultInjector
from yasdg_app.shop.faults import Faults

KAFKA = KafkaSettings(partitions=1)
DIRTY, FAULTS, PURCHASES = KAFKA.topic_dirty, KAFKA.topic_faults, KAFKA.topic_purchases
SALES = SalesSettings(min_sale_freq=0.0, max_sale_freq=0.2)  # ten per second
SECONDS = 120
LONGEST = timedelta(seconds=40)  # delay of a late message


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_injector, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(partition_sales, "OPEN_RETRY_SECONDS", 0.0)


def settings(**shares: str) -> Settings:
    shares = shares or dict.fromkeys(("late", "duplicate", "dropped", "out_of_order", "corrupt"), "0.1")
    kinds: Any = {kind: Decimal(share) for kind, share in shares.items()}
    faults = FaultSettings(**kinds, late_by=(timedelta(seconds=10), LONGEST))
    return Settings(kafka=KAFKA, sales=SALES, faults=faults)


def injector(worker: MemoryWorker) -> FaultInjector:
    assert worker.pipeline.faults is not None
    return worker.pipeline.faults


async def started(config: Settings, cluster: MemoryCluster | None = None, at: int | None = None) -> MemoryWorker:
    worker = MemoryWorker(config, cluster)
    worker.at = worker.at if at is None else at
    await worker.start()
    await worker.apply_all()
    return worker


async def deliver(worker: MemoryWorker, rounds: int, seconds: int = SECONDS) -> None:
    """Sell, apply and deliver, in some rounds."""
    for _ in range(rounds):
        await worker.sell(seconds=seconds / rounds)
        await worker.apply_all()
        await injector(worker).run_round()


def delivered(worker: MemoryWorker) -> tuple[list[ProducerRecord], list[ProducerRecord]]:
    """The messages on the dirty topic, and the labels."""
    return rows(worker.cluster.messages(DIRTY)), rows(worker.cluster.messages(FAULTS))


async def test_messages_and_labels_are_those_of_the_plain_computation() -> None:
    worker = await started(settings())
    await deliver(worker, 3)
    faults = Faults.of(worker.shop.settings.faults, SALES.seed)
    assert delivered(worker) == flawed(faults, worker.cluster.messages(PURCHASES), worker.at)
    kinds = Counter(label["kind"] for label in worker.values(FAULTS))
    assert set(kinds) == {"late", "duplicate", "dropped", "out_of_order", "corrupt"}
    assert all(0.06 < count / len(worker.values(PURCHASES)) < 0.14 for count in kinds.values())


async def ids(kind: str) -> tuple[list[str], list[tuple[str, bool]], set[str]]:
    """With one kind of fault: ids of all sales; of those delivered, each with whether it is marked; of the labelled."""
    worker = await started(settings(**{kind: "0.2"}))
    await deliver(worker, 2)
    arrived = [
        (json.loads(message.value or b"")["transaction_id"], dict(message.headers).get("yasdg-fault") == kind.encode())
        for message in worker.cluster.messages(DIRTY)
    ]
    labelled = {f"{label['product_id']}-{label['fault_id'][-6:]}" for label in worker.values(FAULTS)}
    return [sale["transaction_id"] for sale in worker.values(PURCHASES)], arrived, labelled


async def test_duplicates_follow_their_original_and_are_marked() -> None:
    sold, arrived, labelled = await ids("duplicate")
    assert [each for each, is_marked in arrived if not is_marked] == sold
    assert {each for each, is_marked in arrived if is_marked} == labelled
    assert all(arrived[place - 1] == (each, False) for place, (each, is_marked) in enumerate(arrived) if is_marked)


async def test_dropped_messages_are_labelled_and_do_not_arrive() -> None:
    sold, arrived, labelled = await ids("dropped")
    assert labelled
    assert [each for each, _ in arrived] == [each for each in sold if each not in labelled]


async def test_late_messages_arrive_later_and_are_marked() -> None:
    sold, arrived, labelled = await ids("late")
    marked = [each for each, is_marked in arrived if is_marked]
    in_time = [each for each, is_marked in arrived if not is_marked]
    assert set(marked) == labelled
    assert in_time == [each for each in sold if each in set(in_time)]
    assert all(arrived.index((each, True)) > sold.index(each) for each in marked)
    missing = set(sold) - set(marked) - set(in_time)  # they arrive after the end
    assert min(map(sold.index, missing)) > len(sold) // 2
    assert len(marked) > len(missing)


@pytest.mark.parametrize("rounds", [1, 7])
async def test_it_is_the_same_in_any_number_of_rounds(rounds: int) -> None:
    first, second = await started(settings()), await started(settings())
    await deliver(first, 3)
    await deliver(second, rounds)
    assert delivered(first) == delivered(second)


async def test_it_is_the_same_when_another_worker_continues() -> None:
    alone, first = await started(settings()), await started(settings())
    await deliver(alone, 1)
    await deliver(first, 3, SECONDS // 2)
    second = await started(settings(), first.cluster, first.at)
    await deliver(second, 2, SECONDS // 2)
    assert delivered(second) == delivered(alone)


async def test_who_was_overtaken_appends_nothing_twice_and_continues() -> None:
    alone, first = await started(settings()), await started(settings())
    await deliver(alone, 1)
    await deliver(first, 1, SECONDS // 4)
    second = await started(settings(), first.cluster, first.at)
    await deliver(second, 1, SECONDS // 4)
    first.at = second.at
    await first.apply_all()
    await deliver(first, 3, SECONDS // 2)
    await injector(first).run_round()
    assert delivered(first) == delivered(alone)


@pytest.mark.parametrize("topic", [DIRTY, FAULTS])
async def test_a_broker_that_does_not_answer_delays_the_messages_and_changes_none(topic: str) -> None:
    alone, worker = await started(settings()), await started(settings())
    await deliver(alone, 2)

    def refuse(tp: Any) -> None:
        if tp.topic == topic:
            raise RequestTimedOutError

    await deliver(worker, 1, SECONDS // 2)
    worker.cluster.before_append = refuse
    await deliver(worker, 1, SECONDS // 2)
    assert injector(worker).delivered_through(0) < worker.at
    worker.cluster.before_append = lambda tp: None
    await injector(worker).run_round()
    assert delivered(worker) == delivered(alone)
    assert injector(worker).delivered_through(0) == worker.at
    assert worker.shop.counts["overtaken"] == 0


async def test_nothing_is_delivered_without_the_lease() -> None:
    worker = await started(settings())
    await worker.sell(seconds=5)
    await worker.apply_all()
    worker.pipeline.assignment.activate(
        worker.member.consumer_generation_id, worker.pipeline.assignment.positions, worker.pipeline.assignment.published
    )  # the lease has to be confirmed anew
    await injector(worker).run_round()
    assert delivered(worker) == ([], [])
    assert injector(worker).delivered_through(0) == -1


async def test_only_what_the_table_has_processed_is_delivered() -> None:
    worker = await started(settings())
    await worker.sell(seconds=5)
    await injector(worker).run_round()
    assert (delivered(worker), worker.position(PURCHASES)) == (([], []), 0)
    assert worker.cluster.end(TP(PURCHASES, 0)) > 0


@pytest.mark.parametrize("is_closing", [False, True])
async def test_a_bug_is_not_taken_for_what_a_shutdown_interrupts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_closing: bool
) -> None:
    worker = await started(settings())

    async def fail() -> None:
        worker.life.is_closing = is_closing
        raise TypeError("on purpose")

    monkeypatch.setattr(injector(worker), "deliver", fail)
    caplog.clear()
    with pytest.raises(TypeError) if not is_closing else nullcontext():
        await injector(worker).run_round()
    assert [bool(record.exc_info) for record in caplog.records] == [True] * is_closing
