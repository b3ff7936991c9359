"""Workers die, freeze, come and go; what stands on the topics does not show it."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaProducer
from oracles.simulation import differences
from support.shop import Shop, Worker, yasdg

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.producer import new_producer_id


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def send(shop: Shop, topic: str, partition: int, *values: bytes) -> None:
    async def send_all() -> None:
        async with AIOKafkaProducer(bootstrap_servers=shop.servers) as producer:
            for value in values:
                await producer.send_and_wait(topic, value, b"anything", partition=partition)

    asyncio.run(send_all())


def audit(shop: Shop, *arguments: str) -> dict[str, Any]:
    audited = yasdg(shop, "audit", "--json", *arguments)
    assert audited.stdout, audited.stderr
    report: dict[str, Any] = json.loads(audited.stdout)
    assert audited.returncode == (0 if report["balanced"] else 1)
    return report


def sells(shop: Shop, worker: Worker, more: int = 200) -> None:
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    before = len(shop.purchases())
    worker.until(lambda: len(shop.purchases()) > before + more, f"{more} more sales")


MOMENTS = [
    (topic, moment)
    for topic in ("purchases", "lost_sales", "stockings", "dead_letters", "inventory-changelog", "shelves")
    for moment in ("before", "after")
]


@pytest.mark.parametrize(("topic", "moment"), MOMENTS, ids=[f"{moment}-{topic}" for topic, moment in MOMENTS])
def test_a_death_at_any_append_loses_and_repeats_nothing(kafka: Kafka, shop: Shop, topic: str, moment: str) -> None:
    shop.on(kafka.bootstrap_servers).configure(SALES_MAX_SALE_FREQ="0.001", KAFKA_PARTITIONS="2")
    # So that shelves are empty now and again, and customers take something else.
    shop.configure(SUPPLY_LEAD_TIME="1s - 2s - 5s", SALES_SUBSTITUTION_FREQ="5", INVENTORY_RESTOCK_AMOUNT="200")
    assert yasdg(shop, "topics", "create").returncode == 0
    send(shop, shop.topic("purchases"), 1, b"no purchase", b"nor this")  # so that there are dead letters
    send(shop, shop.topic("lost_sales"), 1, b"no lost sale")
    name = f"{shop.name}-{topic}" if topic in ("inventory-changelog", "shelves") else shop.topic(topic)
    nth = 1 if topic in ("dead_letters", "shelves") else 9
    dying = shop.worker("dies_at_append.py", name, moment, str(nth))
    assert dying.ends() == -signal.SIGKILL, dying.said
    worker = shop.configure(SALES_NUMBER_OF_SALES="12000").worker()
    assert worker.ends(300) == 0, worker.said
    report = audit(shop)
    assert report["findings"] == []
    assert (report["purchases"], report["dead_letters"]) == (12000, 3)
    assert len(shop.read(shop.topic("products"))) == report["products"]
    assert shop.read(shop.topic("lost_sales"))
    assert differences(shop) == []


@pytest.mark.parametrize("what", ["taken", "lost"])
def test_a_change_of_the_table_without_an_answer_repeats_no_restock(kafka: Kafka, shop: Shop, what: str) -> None:
    # So many sales that the next chunk is there before the table was read anew.
    shop.on(kafka.bootstrap_servers).configure(SALES_MAX_SALE_FREQ="0.001", KAFKA_PARTITIONS="2")
    worker = shop.configure(SALES_NUMBER_OF_SALES="20000").worker(
        "unanswered_appends.py", f"{shop.name}-inventory-changelog", what
    )
    assert worker.ends(300) == 0, worker.said
    report = audit(shop)
    assert report["findings"] == []
    assert report["purchases"] == 20000
    assert differences(shop) == []


def test_a_frozen_worker_appends_nothing_for_partitions_that_it_lost(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(SALES_MAX_SALE_FREQ="0.002")
    workers = [shop.worker(), shop.worker()]

    def owned(worker: Worker) -> int:
        return len(worker.owned())

    workers[0].until(lambda: owned(workers[0]) == owned(workers[1]) == 4, "half of the partitions for each")
    sells(shop, workers[0])
    frozen, other = workers
    frozen.process.send_signal(signal.SIGSTOP)
    try:
        other.until(lambda: owned(other) == 8, "all partitions for the other")
        sells(shop, other, 2000)
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    frozen.until(lambda: owned(frozen) == 4, "its share again")
    sells(shop, frozen)
    assert [worker.stop() for worker in workers] == [0, 0], frozen.said + other.said
    assert audit(shop)["findings"] == []


def test_workers_that_come_and_go_make_the_stream_of_one_worker_alone(kafka: Kafka, shop: Shop, tmp_path: Path) -> None:
    shop.on(kafka.bootstrap_servers).configure(SALES_MAX_SALE_FREQ="0.004")  # 500 sales a second
    first = shop.worker()
    sells(shop, first)
    second, third = shop.worker(), shop.worker()
    first.until(lambda: second.owned() and third.owned(), "shares")
    sells(shop, first)
    third.kill()
    assert second.stop() == 0, second.said
    sells(shop, first)
    assert first.stop() == 0, first.said
    number = len(shop.purchases()) + 2_000
    last = shop.configure(SALES_NUMBER_OF_SALES=str(number)).worker()
    assert last.ends(300) == 0, last.said

    alone = Shop(tmp_path, f"{shop.name}-alone").on(kafka.bootstrap_servers)
    alone.configure(SALES_MAX_SALE_FREQ="0.004", SALES_NUMBER_OF_SALES=str(number))
    try:
        assert yasdg(alone, "topics", "create").returncode == 0
        opening = json.loads(shop.read(f"{shop.name}-opening")[0].value)
        opening["producer_id"] = asyncio.run(new_producer_id(Connection(kafka.bootstrap_servers)))
        send(alone, f"{alone.name}-opening", 0, json.dumps(opening).encode())
        worker = alone.worker()
        assert worker.ends(300) == 0, worker.said
        for topic in ("purchases", "stockings"):
            own, theirs = alone.read(alone.topic(topic)), shop.read(shop.topic(topic))
            assert sorted(record.value for record in own) == sorted(record.value for record in theirs)
        assert len(alone.purchases()) == number
    finally:
        alone.close()


def test_a_worker_that_is_stopped_leaves_the_books_closed(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).configure(SALES_MAX_SALE_FREQ="0.002").worker()
    sells(shop, worker, 1000)
    assert worker.stop() == 0
    report = audit(shop)
    assert report["findings"] == []
    table = {record.key.decode(): json.loads(record.value) for record in shop.read(f"{shop.name}-inventory-changelog")}
    assert sum(row["sales"] for row in table.values()) == report["purchases"]


def test_the_audit_sees_what_a_worker_shows(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers)
    workers = [shop.worker(), shop.worker()]
    workers[0].until(lambda: all(worker.owned() for worker in workers), "two workers with a share")
    sells(shop, workers[0], 1000)
    one = audit(shop, "--table", workers[0].web)  # which asks the other one
    both = audit(shop, "--table", workers[0].web, "--table", f"{workers[1].web}/")
    assert [one["findings"], both["findings"]] == [[], []]
    assert one["table_rows"] == both["table_rows"] == len({sale["product_id"] for sale in shop.purchases()})
    assert [worker.stop() for worker in workers] == [0, 0]
