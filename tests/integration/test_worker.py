"""What users are promised of a worker, on a real Apache Kafka: it sells, keeps the books, and survives."""

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from oracles.simulation import opening_of
from support.shop import Shop

from yasdg_app.config import catalog
from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.folder import BrokerFolder, answers
from yasdg_app.kafka.embedded.java import java_command
from yasdg_app.messages.times import event_time

PRODUCTS = {product.product_id: product for product in catalog.load(Path(__file__).parents[2] / "products.csv")}
MINIMUM, RESTOCK = 10, 15


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def contiguous(messages: Iterable[dict[str, Any]], identity: str, prefix: str = "") -> dict[str, list[dict[str, Any]]]:
    """The messages by product, after a look that none is missing, none is there twice, and all are in order."""
    by_product: dict[str, list[dict[str, Any]]] = {}
    for message in messages:
        by_product.setdefault(message["product_id"], []).append(message)
    for product_id, own in by_product.items():
        wanted = [f"{product_id}-{prefix}{number:06d}" for number in range(1, len(own) + 1)]
        assert [message[identity] for message in own] == wanted
    return by_product


def level_after(product_id: str, sold: Iterable[dict[str, Any]]) -> tuple[int, list[tuple[int, int]]]:
    """A shelf's level after its sales, and its restocks (level before, level after), computed the plain way."""
    level, restocks = PRODUCTS[product_id].inventory, []
    for sale in sold:
        level -= sale["quantity"]
        if level <= MINIMUM:
            restocks.append((level, level + RESTOCK))
            level += RESTOCK
    return level, restocks


def check_books(shop: Shop, drained: bool = True) -> int:
    """Compare the table's changelog with what the topics alone come to; the number of purchases.

    A worker that ended by itself has drained the log; one that was stopped may have left its last sales to the next.
    """
    sales = contiguous(shop.purchases(), "transaction_id")
    table = {record.key.decode(): json.loads(record.value) for record in shop.read(f"{shop.name}-inventory-changelog")}
    restocked = contiguous(shop.messages("stockings"), "stocking_id", "R")
    assert table.keys() <= sales.keys()
    for product_id, row in table.items():
        own = sales[product_id][: row["sales"]]
        level, restocks = level_after(product_id, own)
        assert row["level"] == level == row["initial"] + row["restocked"] - row["sold"]
        assert row["sold"] == sum(sale["quantity"] for sale in own)
        assert row["revenue_cents"] == sum(round(sale["total_purchase"] * 100) for sale in own)
        told = [(message["existing_level"], message["new_level"]) for message in restocked.get(product_id, [])]
        assert told[: len(restocks)] == restocks
        if drained:
            assert len(told) == len(restocks)
    for product_id, own in sales.items():
        assert [sale["transaction_time"] for sale in own] == sorted(sale["transaction_time"] for sale in own)
        if drained:
            assert table[product_id]["sales"] == len(own)
    return sum(len(own) for own in sales.values())


def test_a_run_of_so_many_sales_ends_by_itself_with_balanced_books(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="1500").worker()
    assert worker.ends() == 0, worker.said
    assert check_books(shop) == 1500
    products = [json.loads(record.value) for record in shop.read(shop.topic("products"))]
    assert {product["product_id"] for product in products} == set(PRODUCTS)


def test_a_clock_that_is_set_back_for_a_moment_holds_up_no_sales(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="2000").worker("clock_set_back.py")
    assert worker.ends(300) == 0, worker.said
    assert check_books(shop) == 2000


def test_faust_takes_a_healthy_shop_for_one(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers)
    worker = shop.worker("impatient_faust.py")
    worker.until(lambda: worker.get("/inventory/")["inventory"], "the first sale")
    time.sleep(10)  # it looks every 2.5 seconds
    assert "[ERROR]" not in worker.said, worker.said


async def create_stamped(shop: Shop, topic: str) -> None:
    """Create a topic whose messages say when the broker appended them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 8, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})])
    await admin.close()


@pytest.mark.parametrize(
    "clock",
    [{}, {"CLOCK_START": "4h", "CLOCK_SPEED": "1000", "SALES_MAX_SALE_FREQ": "5"}],
    ids=["now", "in fast motion"],
)
def test_nothing_is_appended_before_it_is_due(kafka: Kafka, shop: Shop, clock: dict[str, str]) -> None:
    shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="2500", **clock)
    asyncio.run(create_stamped(shop, shop.topic("purchases")))
    assert (worker := shop.worker()).ends(300) == 0, worker.said
    event_time_at, messages = opening_of(shop).clock.at, shop.read(shop.topic("purchases"))
    assert len(messages) == 2500
    for message in messages:
        due = event_time(json.loads(message.value)["transaction_time"])
        assert due < event_time_at((message.timestamp + 1) * 1000)  # what it says are whole milliseconds


def test_two_workers_share_a_run_of_so_many_sales(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="4000")
    workers = [shop.worker(), shop.worker()]
    assert [worker.ends(300) for worker in workers] == [0, 0], workers[0].said + workers[1].said
    assert check_books(shop) == 4000


def test_every_key_is_the_product_and_every_product_has_its_partition(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="500").worker()
    assert worker.ends() == 0, worker.said
    for topic in ("products", "purchases", "stockings"):
        partitions: dict[str, set[int]] = {}
        for partition, records in shop.partitions(shop.topic(topic)).items():
            for record in records:
                assert record.key.decode() == json.loads(record.value)["product_id"]
                partitions.setdefault(record.key.decode(), set()).add(partition)
        assert all(len(own) == 1 for own in partitions.values())


def test_views_show_the_table_and_route_to_the_worker_that_holds_a_product(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers)
    workers = [shop.worker(), shop.worker()]
    assert len(workers[0].get("/products/")) == len(PRODUCTS)

    def shared() -> bool:
        owned = [worker.owned() for worker in workers]
        return all(owned) and sorted(owned[0] + owned[1]) == list(range(8))

    workers[0].until(shared, "two workers with partitions")
    workers[0].until(lambda: len(shop.purchases()) > 500, "500 sales")
    sold = {sale["product_id"] for sale in shop.purchases()}

    def listed() -> list[str]:
        return [row["product_id"] for row in workers[0].get("/inventory/")["inventory"]]

    workers[0].until(lambda: sold <= set(listed()), "a view of all products that were sold")
    product_ids = listed()
    assert len(product_ids) == len(set(product_ids))
    assert set(product_ids) <= {sale["product_id"] for sale in shop.purchases()}
    for product_id in product_ids:
        rows = [worker.get(f"/inventory/{product_id}/") for worker in workers]
        # At any moment each is what the log comes to, up to the sale that it names.
        own = contiguous(shop.purchases(), "transaction_id")[product_id]
        for row in rows:
            assert row["level"] == row["initial"] + row["restocked"] - row["sold"]
            assert row["level"] == level_after(product_id, own[: row["sales"]])[0]
    assert [worker.stop() for worker in workers] == [0, 0]


def test_the_first_purchase_is_read_by_kafkas_own_console_consumer(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    command = java_command(
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        *("--bootstrap-server", shop.servers, "--topic", shop.topic("purchases"), "--from-beginning"),
        *("--max-messages", "1"),
    )
    line = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert list(json.loads(line)) == [
        *("transaction_time", "product_id", "price", "quantity", "is_member", "member_discount"),
        *("add_supplements", "supplement_price", "total_purchase", "transaction_id"),
        *("total_cost", "promotion_discount", "substituted_from"),
    ]
    assert worker.stop() == 0


def test_messages_that_are_no_purchases_are_put_aside_once(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    sale = shop.purchases()[0]
    bad = [b"no JSON", json.dumps({**sale, "product_id": "XX99"}).encode()]
    bad.append(json.dumps({name: value for name, value in sale.items() if name != "quantity"}).encode())

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=shop.servers) as producer:
            for value in bad:
                await producer.send_and_wait(shop.topic("purchases"), value, b"anything", partition=3)

    asyncio.run(send())
    worker.until(lambda: len(shop.read(shop.topic("dead_letters"))) == 3, "three dead letters")
    letters = shop.read(shop.topic("dead_letters"))
    assert [letter.value for letter in letters] == bad
    offsets = []
    for letter in letters:
        headers = {name: value.decode() for name, value in letter.headers}
        assert headers["reason"]
        assert headers["topic"] == shop.topic("purchases")
        assert headers["partition"] == "3"
        offsets.append(headers["offset"])
    before = len(shop.read(shop.topic("purchases")))
    worker.until(lambda: len(shop.read(shop.topic("purchases"))) > before + 100, "the stream going on")
    assert worker.stop() == 0
    again = shop.worker()
    before = len(shop.read(shop.topic("purchases")))
    again.until(lambda: len(shop.read(shop.topic("purchases"))) > before, "the stream going on")
    assert again.stop() == 0
    assert len(shop.read(shop.topic("dead_letters"))) == 3
    for offset in offsets:
        named = f"Foreign message at {shop.topic('purchases')}, partition 3, offset {offset}, "
        assert (worker.said + again.said).count(named) == 1


def test_killed_five_times_at_random_it_loses_and_repeats_nothing(shop: Shop) -> None:
    shop.embedded().configure(SALES_MAX_SALE_FREQ="0.004")  # 500 sales a second
    seed = random.randrange(2**32)
    print("seed", seed)  # shown if it fails
    dice = random.Random(seed)
    for _ in range(5):
        worker = shop.worker()
        worker.until(lambda worker=worker: "sales so far" in worker.said, "sales")
        time.sleep(dice.uniform(0, 3))
        worker.kill()
    worker = shop.configure(SALES_NUMBER_OF_SALES="40000").worker()  # 80 seconds from the opening
    assert worker.ends(300) == 0, worker.said
    port = int(shop.servers.partition(":")[2])
    while answers(port):  # the supervisor ends with its last user
        time.sleep(0.1)
    broker = EmbeddedBroker(Path(shop.environment["YASDG_KAFKA_DATA_DIR"]), port)
    broker.start()
    try:
        assert check_books(shop) >= 40_000
    finally:
        broker.stop()


def test_a_broker_that_is_down_at_the_start_is_waited_for(shop: Shop, tmp_path: Path) -> None:
    shop.embedded()
    port = int(shop.servers.partition(":")[2])
    worker = shop.on(shop.servers).worker()
    worker.until(lambda: f"Waiting for Apache Kafka at {shop.servers}" in worker.said, "that it waits")
    broker = EmbeddedBroker(tmp_path / "late", port)
    broker.start()
    try:
        worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
        assert worker.said.count("Waiting for Apache Kafka") == 1
        assert worker.stop() == 0
        assert check_books(shop, drained=False) > 0
    finally:
        broker.stop()


def second_of(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp())


def test_a_broker_that_is_down_for_20_seconds_costs_nothing(shop: Shop, tmp_path: Path) -> None:
    shop.embedded()
    port = int(shop.servers.partition(":")[2])
    broker = EmbeddedBroker(tmp_path / "away", port)
    broker.start()
    try:
        worker = shop.on(shop.servers).worker()
        worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
        broker.stop()
        time.sleep(20)
        broker.start()
        before = len(shop.purchases())
        if worker.process.poll() is not None:
            assert worker.process.returncode != 0
            worker = shop.worker()
        worker.until(lambda: len(shop.purchases()) > before + 1000, "sales after the break")
        assert worker.stop() == 0, worker.said
        sold = check_books(shop, drained=False)
        assert sold > 1000
        seconds = sorted({second_of(sale["transaction_time"]) for sale in shop.purchases()})
        assert seconds == list(range(seconds[0], seconds[-1] + 1))  # there is no hole in event time
        assert len(seconds) > 20
    finally:
        broker.stop()


def test_an_embedded_broker_that_was_killed_is_started_again(shop: Shop) -> None:
    worker = shop.embedded().worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    status = BrokerFolder(Path(shop.environment["YASDG_KAFKA_DATA_DIR"])).read_status()
    assert status is not None
    os.kill(status.pid, signal.SIGKILL)
    worker.until(lambda: "Restarting it" in worker.said, "that it starts it again")
    worker.until(lambda: not answers(status.port), "the end of the old one")
    worker.until(lambda: answers(status.port), "a new one")
    before = len(shop.purchases())
    worker.until(lambda: len(shop.purchases()) > before + 1000, "sales after it")
    assert worker.stop() == 0, worker.said


@pytest.mark.parametrize(
    ("values", "status", "words"),
    [
        ({"SALES_SEED": "many", "KAFKA_PARTITIONS": "0"}, 2, "YASDG_SALES_SEED=many: expected a whole number"),
        ({"SALES_PRODUCTS": "nowhere.csv"}, 2, "nowhere.csv: cannot be read"),
    ],
)
def test_a_wrong_configuration_is_told_in_lines_without_a_traceback(
    shop: Shop, values: dict[str, str], status: int, words: str
) -> None:
    worker = shop.configure(**values).worker()
    assert worker.ends() == status
    assert words in worker.said
    assert "Traceback" not in worker.said


def test_a_shop_is_not_gone_on_with_when_its_configuration_changed(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="10").worker()
    assert worker.ends() == 0, worker.said
    worker = shop.configure(SALES_SEED="43").worker()
    assert worker.ends() == 1
    assert "seed was 42, is 43" in worker.said
    assert "Traceback" not in worker.said
    worker = shop.configure(SALES_SEED="42", KAFKA_PARTITIONS="4").worker()
    assert worker.ends() == 1
    assert f"{shop.topic('purchases')} has 8 partitions, expected 4" in worker.said
