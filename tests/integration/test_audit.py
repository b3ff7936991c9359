"""`yasdg audit` on real topics: nothing where nothing is off, and every planted fault at its place."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from support.shop import KEPT, Shop, yasdg

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.producer import ProducerRecord, ShopProducer, UnknownOutcomeError, new_producer_id
from yasdg_app.kafka.reader import Message, Reader, read_all
from yasdg_app.messages.times import event_time, time_text

PARTITIONS = 2


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str
    data_dir: Path


Log = list[Message]


def changed(message: Message, field: str, by: float) -> ProducerRecord:
    value = json.loads(message.value or b"")
    value[field] = round(value[field] + by, 2)
    return ProducerRecord(message.key or b"", json.dumps(value).encode(), message.timestamp)


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


def opening(shop: Shop) -> dict[str, Any]:
    """What the shop's opening says."""
    records = asyncio.run(read_all(Connection(shop.servers), f"{shop.name}-opening"))
    return next(content for record in records if "producer_id" in (content := json.loads(record.value or b"{}")))


async def copy(shop: Shop, topics: dict[str, dict[int, list[Any]]], producer_id: int | None = None) -> None:
    """Make topics with these messages. `producer_id`: who writes them; None: another producer than the shop."""
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=KEPT) for topic in topics])
    await admin.close()
    if producer_id is None:
        producer_id = await new_producer_id(Connection(shop.servers))
    producer = ShopProducer(Connection(shop.servers), producer_id)
    for topic, logs in topics.items():
        for partition, log in logs.items():
            rows = [ProducerRecord(message.key or b"", message.value, message.timestamp) for message in log]
            while True:
                try:
                    await producer.append(topic, partition, 0, rows)
                    break
                except UnknownOutcomeError:  # the topic is so new that it has no leader yet
                    await asyncio.sleep(0.1)
    await producer.stop()


async def write(shop: Shop, topic: str, rows: list[tuple[int, ProducerRecord]], commit: bool | None = None) -> None:
    """Write rows, each into a partition, as another producer does. `commit`: in a transaction that ends so."""
    transactional = {} if commit is None else {"transactional_id": f"{topic}-{commit}"}
    async with AIOKafkaProducer(bootstrap_servers=shop.servers, linger_ms=5, **transactional) as producer:
        if commit is not None:
            await producer.begin_transaction()
        sent = [await producer.send(topic, row.value, row.key, partition, row.timestamp) for partition, row in rows]
        for each in sent:
            await each
        if commit is not None:
            await (producer.commit_transaction() if commit else producer.abort_transaction())


async def put_aside(shop: Shop, producer_id: int, letters: list[tuple[str, int, int]]) -> None:
    """Copy messages, by topic, partition and offset, to the dead letters, as the shop's workers do."""
    producer = ShopProducer(Connection(shop.servers), producer_id)
    async with Reader(Connection(shop.servers), producer_id) as reader:
        for topic, partition, offset in letters:
            tp = TopicPartition(shop.topic("dead_letters"), partition)
            headers = [("topic", topic.encode()), ("partition", b"%d" % partition), ("offset", b"%d" % offset)]
            _, number = await reader.last(tp)
            row = ProducerRecord(b"", b"", time.time_ns() // 1_000_000, headers)
            await producer.append(tp.topic, tp.partition, number, [row])
    await producer.stop()


def audited(shop: Shop, status: int) -> tuple[dict[str, Any], str]:
    """What an audit finds, and what it prints for people."""
    told = yasdg(shop, "audit", "--json")
    for_people = yasdg(shop, "audit")
    for each in (told, for_people):
        assert each.returncode == status, each.stdout + each.stderr
        assert "Traceback" not in each.stderr
    report: dict[str, Any] = json.loads(told.stdout)
    return report, for_people.stdout


def small(shop: Shop, kafka: Kafka) -> Shop:
    """A shop that has sold a few hundred times."""
    shop.on(kafka.bootstrap_servers).configure(KAFKA_PARTITIONS=str(PARTITIONS), SALES_NUMBER_OF_SALES="600")
    worker = shop.worker()
    assert worker.ends(300) == 0, worker.said
    return shop


HOSTILE = [b'{"a":' * 3000, None, b"", b"no JSON", b"null", b"\xff\xfe"]


def test_what_strangers_wrote_is_named_and_is_no_part_of_the_books(kafka: Kafka, shop: Shop) -> None:
    small(shop, kafka)
    _, clean = audited(shop, 0)
    ends = {
        what: {partition: log[-1].offset + 1 for partition, log in shop.partitions(shop.topic(what)).items()}
        for what in ("purchases", "stockings")
    }
    sold = shop.partitions(shop.topic("purchases"))
    value = json.loads(sold[0][-1].value or b"")
    ahead = value | {"transaction_id": f"{value['product_id']}-099999"}
    # A sale that was there, one with a number far ahead, one at a time far ahead, and what is no sale at all.
    strange = [
        *(message.value for message in sold[0][:2]), json.dumps(ahead).encode(),
        json.dumps(ahead | {"transaction_time": "9999-12-31 23:59:59.999999", "total_purchase": 1e308}).encode(),
        *HOSTILE,
    ]  # fmt: skip
    rows = [(0, ProducerRecord(sold[0][0].key or b"", value, 1)) for value in strange]
    asyncio.run(write(shop, shop.topic("purchases"), rows))
    asyncio.run(write(shop, shop.topic("purchases"), rows[:1], commit=True))  # ends with a marker
    asyncio.run(write(shop, shop.topic("lost_sales"), rows[:3], commit=False))
    for what in ("products", "incidents", "stockings", "dead_letters"):
        asyncio.run(write(shop, shop.topic(what), rows))
    gap = json.dumps({"after": "2020-01-01 00:00:00.000000", "until": "2099-01-01 00:00:00.000000"}).encode()
    asyncio.run(write(shop, f"{shop.name}-control", [(0, ProducerRecord(b"gap/2020", gap, 1))]))
    foreign = {"purchases": len(rows) + 1, "lost_sales": 3} | dict.fromkeys(
        ("products", "incidents", "stockings", "dead_letters"), len(rows)
    )
    named = {shop.topic(what): count for what, count in foreign.items()} | {f"{shop.name}-control": 1}

    report, text = audited(shop, 1)
    assert (report["foreign"], report["by_content"]) == (named, False)
    assert report["kinds"] == {"not put aside": len(rows) + 1 + 3}
    first = ends["purchases"][0]
    assert [finding["offset"] for finding in report["findings"]][: len(rows)] == [*range(first, first + len(rows))]
    assert all("written by another producer" in finding["text"] for finding in report["findings"])
    assert f"{shop.topic('purchases')}: {len(rows) + 1} messages of other producers, 0 of them in the dead" in text

    lost = shop.partitions(shop.topic("lost_sales"))[0]
    offsets = [(shop.topic("purchases"), 0, first + row) for row in range(len(rows) + 1)]
    offsets += [(shop.topic("lost_sales"), 0, lost[-1].offset - row) for row in (2, 1, 0)]
    asyncio.run(put_aside(shop, opening(shop)["producer_id"], offsets))
    report, text = audited(shop, 0)
    assert (report["foreign"], report["purchases"]) == (named, sum(map(len, sold.values())))
    assert f"{shop.topic('purchases')}: {len(rows) + 1} messages of other producers, all of them in the dead" in text
    assert f"(partition 0, offset {first}; partition 0, offset {first + 1}; " in text
    place = f"partition 0, offset {ends['stockings'][0]}"
    assert f"{shop.topic('stockings')}: {len(rows)} messages of other producers were ignored ({place}" in text
    assert f"{shop.name}-control: 1 message of other producers was ignored" in text
    assert text.splitlines()[0] == clean.splitlines()[0]


def test_a_copy_under_another_id_is_audited_by_content(kafka: Kafka, shop: Shop) -> None:
    """As MirrorMaker makes one."""
    small(shop, kafka)
    logs = {what: shop.partitions(shop.topic(what)) for what in ("purchases", "stockings", "lost_sales")}
    before, _ = audited(shop, 0)
    asyncio.run(copy(shop, {f"{shop.name}.copy.{what}": logs[what] for what in logs}))
    shop.configure(**{f"KAFKA_TOPIC_{what.upper()}": f"{shop.name}.copy.{what}" for what in logs})
    report, text = audited(shop, 0)
    assert (report["by_content"], report["purchases"]) == (True, before["purchases"])
    assert "the audit goes by content" in text
    logs["purchases"][1] = FAULTS["one total off by a cent"][1](logs["purchases"][1])
    asyncio.run(copy(shop, {f"{shop.name}.planted.{what}": logs[what] for what in logs}))
    shop.configure(**{f"KAFKA_TOPIC_{what.upper()}": f"{shop.name}.planted.{what}" for what in logs})
    report, _ = audited(shop, 1)
    assert (report["by_content"], report["kinds"]) == (True, {"wrong total": 1})


async def delete_before(shop: Shop, topic: str, offsets: dict[int, int]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=shop.servers)
    await admin.start()
    await admin.delete_records(
        {TopicPartition(topic, partition): RecordsToDelete(before_offset=at) for partition, at in offsets.items()}
    )
    await admin.close()


def test_messages_that_were_deleted_are_one_finding_and_a_damaged_batch_is_another(kafka: Kafka, shop: Shop) -> None:
    small(shop, kafka)
    topic = shop.topic("purchases")
    asyncio.run(write(shop, topic, [(0, ProducerRecord(b"", b"x", 1))]))
    (foreign,) = (shop.partitions(topic)[0][-1].offset,)
    asyncio.run(put_aside(shop, opening(shop)["producer_id"], [(topic, 0, foreign)]))
    asyncio.run(delete_before(shop, topic, {0: 10}))
    report, text = audited(shop, 1)
    assert report["kinds"] == {"deleted": 1}
    assert f"{topic}, partition 0, offset 10: deleted: 10 messages of the shop at the beginning" in text

    (segment,) = kafka.data_dir.glob(f"*/{topic}-1/*.log")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:])
    report, text = audited(shop, 1)
    assert report["kinds"] == {"deleted": 1, "damaged": 1}
    found = report["findings"][-1]
    assert (found["topic"], found["partition"]) == (topic, 1)
    assert "the checksum of the batch does not match" in text

    segment.write_bytes(whole)  # as it says: restore the partition, audit again
    report, _ = audited(shop, 1)
    assert report["kinds"] == {"deleted": 1}


def find_planted(shop: Shop, faults: dict[str, Fault], partition: int = 1) -> None:
    """Plant each fault in copies of a shop's topics, and see that it is found."""
    logs = {what: shop.partitions(shop.topic(what)) for what in ("purchases", "stockings", "lost_sales")}
    own = opening(shop)["producer_id"]
    for number, (name, (where, plant, kind, at, place)) in enumerate(faults.items()):
        topics = {what: f"{shop.name}.{number}.{what}" for what in logs}
        planted = {**logs, where: {**logs[where], partition: plant(logs[where][partition])}}
        asyncio.run(copy(shop, {topics[what]: planted[what] for what in logs}, own))
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


def earlier(message: Message) -> ProducerRecord:
    """A restock that is told with a time a minute before it came."""
    value = json.loads(message.value or b"")
    value["event_time"] = time_text(event_time(value["event_time"]) - 60_000_000)
    return ProducerRecord(message.key or b"", json.dumps(value).encode(), message.timestamp)


def not_taken(log: Log) -> int:
    """A lost sale whose customer took something else."""
    return next(i for i in range(ROW, len(log)) if json.loads(log[i].value or b"")["substitute"])


def nothing_taken(log: Log) -> list[Any]:
    row = not_taken(log)
    value = json.loads(log[row].value or b"") | {"substitute": None}
    return [
        *log[:row],
        ProducerRecord(log[row].key or b"", json.dumps(value).encode(), log[row].timestamp),
        *log[row + 1 :],
    ]


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
    assert worker.ends(300) == 0, worker.said
    clean = yasdg(shop, "audit")
    assert (clean.returncode, clean.stdout.splitlines()[-1]) == (0, "The books balance."), clean.stdout + clean.stderr
    find_planted(shop, LIVELY_FAULTS)


def test_a_purchase_instead_of_another_needs_its_lost_sale_wherever_that_stands(kafka: Kafka, shop: Shop) -> None:
    worker = lively(shop.on(kafka.bootstrap_servers), end="2026-03-28 12:00", speed="max").worker()
    assert worker.ends(300) == 0, worker.said
    logs = {what: shop.partitions(shop.topic(what)) for what in ("purchases", "lost_sales")}
    lost = json.loads(logs["lost_sales"][1][not_taken(logs["lost_sales"][1])].value or b"")
    logs["lost_sales"][1] = nothing_taken(logs["lost_sales"][1])
    asyncio.run(copy(shop, {f"{shop.name}.planted": logs["lost_sales"]}, opening(shop)["producer_id"]))
    # The last messages of a partition need not be the shop's: how far it has come is what its own say.
    for topic in (f"{shop.name}.planted", shop.topic("purchases")):
        rows = [(partition, ProducerRecord(b"", b"no JSON", 1)) for partition in range(PARTITIONS) for _ in range(150)]
        asyncio.run(write(shop, topic, rows))
    audited = yasdg(shop.configure(KAFKA_TOPIC_LOST_SALES=f"{shop.name}.planted"), "audit", "--json")
    report = json.loads(audited.stdout)
    assert report["kinds"] == {"not put aside": 4 * 150, "not lost before": 1}
    found = next(finding for finding in report["findings"] if finding["kind"] == "not lost before")
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
    assert "Start a worker, which creates the topics" in audited.stderr
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
