"""`yasdg audit` on real topics: nothing where nothing is off, and every planted fault at its place."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from support import KEPT, Shop, yasdg

from yasdg_app.connecting.connection import Connection
from yasdg_app.messages import event_time, time_text
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
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=KEPT) for topic in topics])
    await admin.close()
    producer = ShopProducer(Connection(shop.servers), await new_producer_id(Connection(shop.servers)))
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


def find_planted(shop: Shop, faults: dict[str, Fault], partition: int = 1) -> None:
    """Plant each fault in copies of a shop's topics, and see that it is found."""
    logs = {what: shop.partitions(shop.topic(what)) for what in ("purchases", "stockings", "lost_sales")}
    for number, (name, (where, plant, kind, at, place)) in enumerate(faults.items()):
        topics = {what: f"{shop.name}.{number}.{what}" for what in logs}
        planted = {**logs, where: {**logs[where], partition: plant(logs[where][partition])}}
        asyncio.run(copy(shop, {topics[what]: planted[what] for what in logs}))
        shop.configure(**{f"KAFKA_TOPIC_{what.upper()}": topic for what, topic in topics.items()})
        audited = yasdg(shop, "audit", "--json")
        assert audited.returncode == 1, f"{name}: {audited.stderr}"
        findings = json.loads(audited.stdout)["findings"]
        found = [finding for finding in findings if finding["kind"] == kind]
        assert len(found) == 1, f"{name}: {findings}"
        assert (found[0]["topic"], found[0]["partition"]) == (topics[at], partition)
        if place(logs[where][partition]) is not None:
            assert found[0]["offset"] == place(logs[where][partition]), name
        for_people = yasdg(shop, "audit").stdout
        assert f"{topics[at]}, partition {partition}, offset {found[0]['offset']}: {kind}: " in for_people


def test_every_planted_fault_is_found_at_its_place(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(KAFKA_PARTITIONS=str(PARTITIONS), SALES_NUMBER_OF_SALES="3000")
    worker = shop.worker()
    assert worker.ends() == 0, worker.said
    clean = yasdg(shop, "audit")
    assert (clean.returncode, clean.stdout.splitlines()[-1]) == (0, "The books balance."), clean.stderr
    find_planted(shop, FAULTS)


LIVELY = """
[SALES]
min_sale_freq = 0
max_sale_freq = 20
substitution_freq = 6
[INVENTORY]
restock_amount = 40
[CLOCK]
start = 2026-03-26 12:00
end = {end}
speed = {speed}
[HOURS]
every_day = 08:00-20:00
[SUPPLY]
lead_time = 20m - 1h - 3h
partial_freq = 4
[INCIDENT happy-hour]
kind = promotion
every = 8h
duration = 1h
discount = .2
[INCIDENT strike]
kind = supply
every = 2d
duration = 3h
"""


def lively(shop: Shop, end: str, speed: str) -> Shop:
    """A shop with lead times, hours, incidents, and customers who take something else."""
    (shop.folder / "lively.ini").write_text(LIVELY.format(end=end, speed=speed))
    for name in ("SALES_MIN_SALE_FREQ", "SALES_MAX_SALE_FREQ"):
        shop.environment.pop(f"YASDG_{name}")
    return shop.configure(CONFIG=str(shop.folder / "lively.ini"), KAFKA_PARTITIONS=str(PARTITIONS))


def earlier(message: Message) -> Row:
    """A restock that is told with a time a minute before it came."""
    value = json.loads(message.value or b"")
    value["event_time"] = time_text(event_time(value["event_time"]) - 60_000_000)
    return Row(message.key or b"", json.dumps(value).encode(), message.timestamp)


def not_taken(log: Log) -> int:
    """A lost sale whose customer took something else."""
    return next(i for i in range(ROW, len(log)) if json.loads(log[i].value or b"")["substitute"])


def nothing_taken(log: Log) -> list[Any]:
    row = not_taken(log)
    value = json.loads(log[row].value or b"") | {"substitute": None}
    return [*log[:row], Row(log[row].key or b"", json.dumps(value).encode(), log[row].timestamp), *log[row + 1 :]]


LIVELY_FAULTS: dict[str, Fault] = {
    "a lost sale missing": (
        *("lost_sales", lambda log: [*log[:ROW], *log[ROW + 1 :]], "missing lost sale", "lost_sales"),
        lambda log: same_product(log, ROW) - 1,
    ),
    "a lost sale twice": (
        *("lost_sales", lambda log: [*log[: ROW + 9], log[ROW], *log[ROW + 9 :]], "double lost sale", "lost_sales"),
        lambda log: ROW + 9,
    ),
    "a restock before its time": (
        *("stockings", lambda log: [*log[:ROW], earlier(log[ROW]), *log[ROW + 1 :]], "wrong time", "stockings"),
        lambda log: ROW,
    ),
    "a promotion that there was not": (
        *("purchases", lambda log: [*log[:ROW], changed(log[ROW], "promotion_discount", 0.1), *log[ROW + 1 :]]),
        *("wrong discount", "purchases", lambda log: ROW),
    ),
    "a cost that is off by a cent": (
        *("purchases", lambda log: [*log[:ROW], changed(log[ROW], "total_cost", 0.01), *log[ROW + 1 :]]),
        *("wrong cost", "purchases", lambda log: ROW),
    ),
}


def test_so_is_every_fault_of_a_shop_with_a_life(kafka: Kafka, shop: Shop) -> None:
    worker = lively(shop.on(kafka.bootstrap_servers), end="2026-03-29 12:00", speed="max").worker()
    assert worker.ends(120) == 0, worker.said
    clean = yasdg(shop, "audit")
    assert (clean.returncode, clean.stdout.splitlines()[-1]) == (0, "The books balance."), clean.stdout + clean.stderr
    find_planted(shop, LIVELY_FAULTS)


def test_a_purchase_instead_of_another_needs_its_lost_sale_wherever_that_stands(kafka: Kafka, shop: Shop) -> None:
    worker = lively(shop.on(kafka.bootstrap_servers), end="2026-03-28 12:00", speed="max").worker()
    assert worker.ends(120) == 0, worker.said
    logs = {what: shop.partitions(shop.topic(what)) for what in ("purchases", "lost_sales")}
    lost = json.loads(logs["lost_sales"][1][not_taken(logs["lost_sales"][1])].value or b"")
    logs["lost_sales"][1] = nothing_taken(logs["lost_sales"][1])
    asyncio.run(copy(shop, {f"{shop.name}.planted": logs["lost_sales"]}))
    audited = yasdg(shop.configure(KAFKA_TOPIC_LOST_SALES=f"{shop.name}.planted"), "audit", "--json")
    (found,) = json.loads(audited.stdout)["findings"]
    assert (found["kind"], found["topic"]) == ("not lost before", shop.topic("purchases"))
    sale = json.loads(logs["purchases"][found["partition"]][found["offset"]].value or b"")
    assert (sale["product_id"], sale["transaction_time"]) == (lost["substitute"], lost["event_time"])


def test_nothing_is_found_while_workers_run_and_their_tables_agree(kafka: Kafka, shop: Shop) -> None:
    lively(shop.on(kafka.bootstrap_servers), end="never", speed="7200")
    workers = [shop.worker() for _ in range(2)]
    for worker in workers:
        worker.until(lambda worker=worker: len(worker.get("/inventory/")["inventory"]) > 5, "sales")  # type: ignore[misc]
    for _ in range(3):
        audited = yasdg(shop, "audit", "--json", *(f"--table={worker.web}" for worker in workers))
        assert audited.returncode == 0, audited.stdout + audited.stderr
        report = json.loads(audited.stdout)
        assert min(report[name] for name in ("purchases", "stockings", "lost_sales", "table_rows")) > 0
        time.sleep(2)
    for worker in workers:
        assert worker.stop() == 0


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
    audited = yasdg(shop.configure(SALES_SEED="43", INVENTORY_MIN_INVENTORY="11"), "audit")
    assert audited.returncode == 2
    for difference in ("SALES.seed was 42, is 43", "INVENTORY.min_inventory was 10, is 11"):
        assert difference in audited.stderr
