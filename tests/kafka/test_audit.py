"""`yasdg audit` on real topics: nothing where nothing is off, and every planted fault at its place."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Protocol

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from support import Shop, yasdg

from yasdg_app.producer import Row, ShopProducer, UnansweredError, new_producer_id
from yasdg_app.reading import Message

PARTITIONS = 2


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


Log = list[Message]


def changed(message: Message, field: str, by: float) -> Row:
    value = json.loads(message.value or b"")
    value[field] = round(value[field] + by, 2)
    return Row(message.key or b"", json.dumps(value).encode(), message.timestamp)


def same_product(log: Log, row: int) -> int:
    """The next message of the same product."""
    return next(i for i in range(row + 1, len(log)) if log[i].key == log[row].key)


def swapped(log: Log, row: int) -> list[Any]:
    other = same_product(log, row)
    rows: list[Any] = list(log)
    rows[row], rows[other] = rows[other], rows[row]
    return rows


# Name of the fault: the topic it is in, what it makes of the log, and the kind and place of the finding.
Fault = tuple[str, Callable[[Log], list[Any]], str, str, Callable[[Log], int | None]]
ROW = 40
FAULTS: dict[str, Fault] = {
    "one sale missing": (
        *("purchases", lambda log: [*log[:ROW], *log[ROW + 1 :]], "missing sale", "purchases"),
        lambda log: same_product(log, ROW) - 1,
    ),
    "one sale twice": (
        *("purchases", lambda log: [*log[: ROW + 9], log[ROW], *log[ROW + 9 :]], "double sale", "purchases"),
        lambda log: ROW + 9,
    ),
    "one total off by a cent": (
        *("purchases", lambda log: [*log[:ROW], changed(log[ROW], "total_purchase", 0.01), *log[ROW + 1 :]]),
        *("wrong total", "purchases", lambda log: ROW),
    ),
    "two sales swapped in order": (
        *("purchases", lambda log: swapped(log, ROW), "out of order", "purchases", lambda log: same_product(log, ROW)),
    ),
    "a restock too many": (
        *("stockings", lambda log: [*log[:ROW], log[ROW - 3], *log[ROW:]], "double restock", "stockings"),
        lambda log: ROW,
    ),
    "a restock missing": (
        *("stockings", lambda log: [*log[:ROW], *log[ROW + 1 :]], "missing restock", "purchases", lambda log: None),
    ),
    "a level off by one": (
        *("stockings", lambda log: [*log[:ROW], changed(log[ROW], "existing_level", 1), *log[ROW + 1 :]]),
        *("wrong level", "stockings", lambda log: ROW),
    ),
}


async def copy(shop: Shop, topics: dict[str, dict[int, list[Any]]]) -> None:
    """Make topics with these messages."""
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    await admin.close()
    producer = ShopProducer(shop.servers, await new_producer_id(shop.servers))
    for topic, logs in topics.items():
        for partition, log in logs.items():
            rows = [Row(message.key or b"", message.value, message.timestamp) for message in log]
            while True:
                try:
                    await producer.append(topic, partition, 0, rows)
                    break
                except UnansweredError:  # the topic is so new that it has no leader yet
                    await asyncio.sleep(0.1)
    await producer.stop()


def test_every_planted_fault_is_found_at_its_place(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(KAFKA_PARTITIONS=str(PARTITIONS), SALES_NUMBER_OF_SALES="3000")
    worker = shop.worker()
    assert worker.ends() == 0, worker.said
    clean = yasdg(shop, "audit")
    assert (clean.returncode, clean.stdout.splitlines()[-1]) == (0, "The books balance."), clean.stderr
    logs = {what: shop.partitions(shop.topic(what)) for what in ("purchases", "stockings")}
    for number, (name, (where, plant, kind, at, place)) in enumerate(FAULTS.items()):
        topics = {what: f"{shop.name}.{number}.{what}" for what in logs}
        planted = {**logs, where: {**logs[where], 1: plant(logs[where][1])}}
        asyncio.run(copy(shop, {topics[what]: planted[what] for what in logs}))
        shop.configure(KAFKA_TOPIC_PURCHASES=topics["purchases"], KAFKA_TOPIC_STOCKINGS=topics["stockings"])
        audited = yasdg(shop, "audit", "--json")
        assert audited.returncode == 1, f"{name}: {audited.stderr}"
        findings = json.loads(audited.stdout)["findings"]
        found = [finding for finding in findings if finding["kind"] == kind]
        assert len(found) == 1, f"{name}: {findings}"
        assert (found[0]["topic"], found[0]["partition"]) == (topics[at], 1)
        if place(logs[where][1]) is not None:
            assert found[0]["offset"] == place(logs[where][1]), name
        for_people = yasdg(shop, "audit").stdout
        assert f"{topics[at]}, partition 1, offset {found[0]['offset']}: {kind}: " in for_people


def test_an_audit_that_cannot_be_done_says_why(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers)
    audited = yasdg(shop, "audit")
    assert audited.returncode == 2
    assert "Has a worker opened the shop?" in audited.stderr
    assert yasdg(shop, "topics", "create").returncode == 0
    audited = yasdg(shop, "audit")
    assert (audited.returncode, "the shop was never opened" in audited.stderr) == (2, True)
    assert shop.configure(SALES_NUMBER_OF_SALES="50").worker().ends() == 0
    audited = yasdg(shop, "audit", "--table", "http://127.0.0.1:1")
    assert audited.returncode == 2
    assert "Traceback" not in audited.stderr
