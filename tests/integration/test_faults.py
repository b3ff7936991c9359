"""The dirty log is what the clean one and the seed say, record for record, whoever dies; off, it is not there."""

import asyncio
import json
import signal
import time
from collections import Counter
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from oracles.faulty_channel import flawed, rows
from oracles.simulation import as_simulated, opening_of, plan_of
from scipy import stats
from support.shop import Shop, Worker, yasdg

from yasdg_app.cluster_state.lifetime import last_moment
from yasdg_app.config import ini
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.reader import Message, Reader
from yasdg_app.shop.faults import Faults

SHARES = {"late": 0.05, "duplicate": 0.03, "dropped": 0.02, "out_of_order": 0.1, "corrupt": 0.02}
UNLIKELY = 1e-6  # that a test of chance fails by chance


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def flaw(shop: Shop, kafka: Kafka, start: str, end: str, speed: str, mean: float) -> Shop:
    """A stretch of the past at a speed, with a sale in so many seconds."""
    shop.on(kafka.bootstrap_servers).configure(CLOCK_START=start, CLOCK_END=end, CLOCK_SPEED=speed)
    shop.configure(SALES_MAX_SALE_FREQ=str(2 * mean), FAULTS_LATE_BY="10s - 2m", FAULTS_OUT_OF_ORDER_BY="3s")
    return shop.configure(**{f"FAULTS_{kind.upper()}": f"{share}" for kind, share in SHARES.items()})


async def own(shop: Shop, producer_id: int, *topics: str) -> list[dict[int, list[Message]]]:
    """What the shop itself has written to some topics, by partition."""
    count = ini.load(shop.environment, shop.folder).kafka.partitions
    async with Reader(Connection(shop.servers), producer_id) as reader:
        tps = {TopicPartition(shop.topic(topic), partition): 0 for topic in topics for partition in range(count)}
        read = await reader.read(tps)
    return [
        {tp.partition: messages for tp, messages in read.items() if tp.topic == shop.topic(topic)} for topic in topics
    ]


def as_the_clean_log_says(shop: Shop) -> tuple[Counter[str], int]:
    """Both logs are what has to be made of the clean one, record for record; how often each kind was, and all sales."""
    configured, opening = ini.load(shop.environment, shop.folder), opening_of(shop)
    closes_at = last_moment(configured, opening.opened_at)
    assert closes_at is not None
    faults, kinds, count = Faults.of(configured.faults, configured.sales.seed), Counter[str](), 0
    purchases, dirty, told = asyncio.run(own(shop, opening.producer_id, "purchases", "dirty", "faults"))
    for partition, sales in purchases.items():
        expected_dirty, expected_told = flawed(faults, sales, closes_at - 1)
        assert rows(dirty[partition]) == expected_dirty, partition
        assert rows(told[partition]) == expected_told, partition
        kinds.update(json.loads(each.value or b"")["kind"] for each in told[partition])
        count += len(sales)
        each_is_as_it_says(dirty[partition], told[partition], sales)
    return kinds, count


def each_is_as_it_says(dirty: list[Message], told: list[Message], sales: list[Message]) -> None:
    """Whoever joins the two topics finds of each sale what was said to be done to it."""
    faults = {fault["transaction_id"]: fault for fault in (json.loads(each.value or b"") for each in told)}
    assert len(faults) == len(told)
    seen: Counter[str] = Counter()
    labelled: dict[str, str] = {}
    for message in dirty:
        headers = {name: value.decode() for name, value in message.headers}
        if "yasdg-fault-id" in headers:
            labelled[headers["yasdg-fault-id"]] = headers["yasdg-fault"]
        if headers.get("yasdg-fault") == "corrupt":
            assert not is_json(message.value)
        else:
            seen[json.loads(message.value or b"")["transaction_id"]] += 1
    assert labelled == {each["fault_id"]: each["kind"] for each in faults.values() if each["kind"] != "dropped"}
    under_way = 0
    for sale in sales:
        transaction_id = json.loads(sale.value or b"")["transaction_id"]
        kind = faults[transaction_id]["kind"] if transaction_id in faults else None
        if kind is None and not seen[transaction_id]:
            under_way += 1
        else:
            assert seen[transaction_id] == {"duplicate": 2, "dropped": 0, "corrupt": 0}.get(str(kind), 1)
    assert under_way < 0.02 * len(sales) + 5


def is_json(value: bytes | None) -> bool:
    try:
        json.loads(value or b"")
    except ValueError:
        return False
    return True


def wait_for_dirt(shop: Shop, worker: Worker, count: int) -> None:
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    worker.until(lambda: len(shop.read(shop.topic("dirty"))) > count, "dirt")


def ended(workers: list[Worker]) -> None:
    for worker in workers:
        assert worker.ends(300) == 0, worker.said


def test_three_workers_of_which_one_is_killed_and_one_freezes(kafka: Kafka, shop: Shop) -> None:
    flaw(shop, kafka, "30m", "29m", "60", 0.05)
    workers = [shop.worker() for _ in range(3)]
    wait_for_dirt(shop, workers[0], 3000)
    workers[2].kill()
    workers[1].process.send_signal(signal.SIGSTOP)
    time.sleep(9)  # beyond the session timeout
    workers[1].process.send_signal(signal.SIGCONT)
    ended(workers[:2])
    kinds, count = as_the_clean_log_says(shop)
    seen = [kinds[kind] for kind in SHARES]
    expected = [share * count for share in SHARES.values()]
    assert stats.chisquare([*seen, count - sum(seen)], [*expected, count - sum(expected)]).pvalue > UNLIKELY
    # The shop's books know nothing of it.
    as_simulated(shop, ("lost_sales", "incidents"))
    audited = yasdg(shop, "audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr


@pytest.mark.parametrize("topic", ["dirty", "faults"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_death_at_any_append_loses_and_repeats_nothing(kafka: Kafka, shop: Shop, topic: str, moment: str) -> None:
    flaw(shop, kafka, "40m", "30m", "max", 0.1).configure(KAFKA_PARTITIONS="2")
    for nth in ("2", "5"):
        worker = shop.worker("dies_at_append.py", shop.topic(topic), moment, nth)
        assert worker.process.wait(90) == -signal.SIGKILL, worker.said
    ended([shop.worker()])
    kinds, count = as_the_clean_log_says(shop)
    assert count > 10_000
    assert set(kinds) == set(SHARES)


def test_a_run_is_over_when_all_has_arrived(kafka: Kafka, shop: Shop) -> None:
    flaw(shop, kafka, "40m", "30m", "max", 1).configure(KAFKA_PARTITIONS="2")
    ended([shop.worker("slow_appends.py", shop.topic("dirty"), "4")])
    _, count = as_the_clean_log_says(shop)
    assert count > 1000


async def scribble(shop: Shop, *topics: str) -> None:
    """Write what is nobody's to the ends of all partitions, and copies of what is there."""
    async with AIOKafkaProducer(bootstrap_servers=shop.servers) as producer:
        for topic in topics:
            for partition in range(2):
                copies = shop_log[-1:] if (shop_log := await log(shop, topic, partition)) else []
                for value in (b"nobody's", *(each.value for each in copies)):
                    await producer.send_and_wait(shop.topic(topic), value, b"CS01", partition=partition)


async def log(shop: Shop, topic: str, partition: int) -> list[Any]:
    async with Reader(Connection(shop.servers)) as reader:
        (read,) = (await reader.read({TopicPartition(shop.topic(topic), partition): 0})).values()
    return read


def test_what_others_write_into_the_logs_changes_nothing(kafka: Kafka, shop: Shop) -> None:
    flaw(shop, kafka, "20m", "15m", "60", 0.02).configure(KAFKA_PARTITIONS="2")
    worker = shop.worker()
    wait_for_dirt(shop, worker, 100)
    worker.kill()
    asyncio.run(scribble(shop, "dirty", "faults", "purchases"))
    ended([shop.worker()])
    _, count = as_the_clean_log_says(shop)
    assert count > 2000
    assert plan_of(shop).opened_at


async def topics(shop: Shop) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.servers)
    await admin.start()
    try:
        return {topic for topic in await admin.list_topics() if topic.startswith(f"{shop.name}.")}
    finally:
        await admin.close()


def test_without_faults_there_is_no_topic_and_a_shop_with_them_is_another_one(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="20", FAULTS_LATE_BY="3m")
    ended([shop.worker()])
    names = {shop.topic(what) for what in ("products", "purchases", "stockings", "lost_sales", "incidents")}
    assert asyncio.run(topics(shop)) == names | {shop.topic("dead_letters")}
    listed = yasdg(shop, "topics").stdout
    assert shop.topic("purchases") in listed
    assert shop.topic("dirty") not in listed
    said = yasdg(shop, "consume", "faults")
    assert (said.returncode, said.stderr) == (
        1,
        f"yasdg: There is no {shop.topic('faults')}: every share in [FAULTS] is 0.\n",
    )

    shop.configure(FAULTS_LATE=".1")
    worker = shop.worker()
    assert worker.ends() == 1
    assert "FAULTS.late was not set, is 0.1" in worker.said
    assert yasdg(shop, "topics", "delete", "--yes").returncode == 0
    ended([shop.worker()])
    assert f"{shop.topic('dirty')}: 8 partitions, " in yasdg(shop, "topics").stdout
    shop.environment.pop("YASDG_FAULTS_LATE")
    assert yasdg(shop, "topics", "delete", "--yes").returncode == 0
    assert asyncio.run(topics(shop)) == set()
