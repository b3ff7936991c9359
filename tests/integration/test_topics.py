"""Topics that are there already: whose they are, what they are like, and what becomes of a shop whose topics change."""

import asyncio
import json
import re
import shlex
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from support.shop import Shop, yasdg

from yasdg_app.cluster_state.bootstrap import open_shop
from yasdg_app.cluster_state.manifest import OpeningError, ShopManifest
from yasdg_app.config import catalog
from yasdg_app.config.settings import ClockSettings, FaultSettings, KafkaSettings, Settings
from yasdg_app.errors import YasdgError
from yasdg_app.kafka import topics
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.embedded.java import java_command
from yasdg_app.kafka.producer import ProducerRecord, RecordsRejectedError, ShopProducer
from yasdg_app.kafka.reader import read_all
from yasdg_app.kafka.topic_policies import DAY_MS
from yasdg_app.kafka.topic_watch import CONFIRMATIONS, TopicChangedError, TopicWatch
from yasdg_app.kafka.topics import TopicsError
from yasdg_app.messages.formats import Format
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.times import time_text

PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")
SALE = {
    "transaction_time": "2026-04-30 17:17:40.968139", "product_id": "CS08", "price": 4.99, "quantity": 1,
    "is_member": False, "member_discount": 0.0, "add_supplements": False, "supplement_price": 0.0,
    "total_purchase": 4.99, "transaction_id": "CS08-000766", "total_cost": 1.5, "promotion_discount": 0.0,
    "substituted_from": None,
}  # fmt: skip
LOST = {
    "event_time": "2026-04-14 15:34:02.891483", "product_id": "CS05", "quantity": 1, "value": 4.99,
    "reason": "held_up", "level": 0, "promised": "2026-04-12 22:00:00.000000", "incident": "no-fruit",
    "substitute": "CS08", "lost_sale_id": "CS05-L000014",
}  # fmt: skip
STOCKING = {
    "event_time": "2026-11-24 16:34:34.697608", "product_id": "SC03", "existing_level": 9, "stock_quantity": 15,
    "new_level": 24, "stocking_id": "SC03-R000001",
}  # fmt: skip
ROW = InventoryLevel("CS08", 75, 75, 1, 1, 0, 0, 499, 150, "2026-04-30 17:17:40.968139", 0)

T = TypeVar("T")


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def of(shop: Shop, kafka: Kafka, application_id: str = "", names: str = "", **values: Any) -> Settings:
    """The settings of a shop; `names`: what its topics are called by, in place of the shop's name."""
    clock = values.pop("clock", ClockSettings())
    names = names or shop.name
    keys = ("products", "purchases", "stockings", "lost_sales", "incidents", "dead_letters", "dirty", "faults")
    kafka_values: dict[str, Any] = {f"topic_{key}": f"{names}.{key}" for key in keys} | {
        "bootstrap_servers": kafka.bootstrap_servers,
        "application_id": application_id or shop.name,
        "partitions": 2,
        "replication_factor": 1,
    }
    return Settings(kafka=KafkaSettings(**kafka_values | values), clock=clock)


def opens(settings: Settings) -> ShopManifest:
    """Open a shop as a worker does."""
    return asyncio.run(open_shop(Connection(settings.kafka.bootstrap_servers), settings, PRODUCTS, Format()))


def refuses(settings: Settings, error: type[YasdgError] = OpeningError) -> str:
    """What is said of a shop that does not open; nothing was created for it."""
    before = there(settings)
    with pytest.raises(error) as refused:
        opens(settings)
    assert there(settings) == before
    return str(refused.value)


def with_admin(settings: Settings, act: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
    async def run() -> T:
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
        await admin.start()
        try:
            return await act(admin)
        finally:
            await admin.close()

    return asyncio.run(run())


def there(settings: Settings) -> set[str]:
    """The topics of a test's shops; other tests create topics on the same broker at the same time."""
    of_test = re.match(r".*?-[0-9a-f]{8}", settings.kafka.application_id)  # as the fixture `shop` names them
    assert of_test is not None
    return {name for name in with_admin(settings, lambda admin: admin.list_topics()) if of_test[0] in name}


def create(settings: Settings, partitions: dict[str, int], config: dict[str, str] | None = None) -> None:
    async def act(admin: AIOKafkaAdminClient) -> None:
        await admin.create_topics([NewTopic(name, n, 1, topic_configs=config or {}) for name, n in partitions.items()])

    with_admin(settings, act)
    until(lambda: partitions.keys() <= there(settings))


def delete(settings: Settings, *names: str) -> None:
    with_admin(settings, lambda admin: admin.delete_topics(list(names)))
    until(lambda: not there(settings) & set(names))


def divide(settings: Settings, name: str, partitions: int) -> None:
    with_admin(settings, lambda admin: admin.create_partitions({name: NewPartitions(partitions)}))


def until(result: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not result():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def send(
    settings: Settings, topic: str, key: bytes | None, value: bytes | None, partition: int = 0, **how: Any
) -> None:
    async def send_it() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, **how) as producer:
            if "transactional_id" in how:
                async with producer.transaction():
                    await producer.send_and_wait(topic, value, key, partition=partition)
            else:
                await producer.send_and_wait(topic, value, key, partition=partition)

    asyncio.run(send_it())


def read(settings: Settings, topic: str) -> list[Any]:
    return asyncio.run(read_all(Connection(settings.kafka.bootstrap_servers), topic))


def products_of(settings: Settings) -> list[bytes | None]:
    return [record.key for record in read(settings, settings.kafka.topic_products) if b"product_id" in record.value]


def follow(command: str) -> None:
    """Do what a line says: kafka-configs.sh, with the class of Apache Kafka that it runs."""
    name, *arguments = shlex.split(command)
    classes = {
        "kafka-configs.sh": "kafka.admin.ConfigCommand",
        "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    }
    subprocess.run(java_command(classes[name], *arguments), check=True, capture_output=True, timeout=120)


# --- Records of strangers -------------------------------------------------------------------------------------------


def test_a_shop_opens_behind_junk_on_its_opening_topic(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)
    topic = topics.opening_topic(settings.kafka)
    create(settings, {topic: 1}, {"retention.ms": "-1"})
    for junk in (b"x", None, b"[" * 100_000, b'{"opened_at":5,"producer_id":"1"}'):
        send(settings, topic, b"k", junk)
    opened = opens(settings)
    assert opens(settings) == opened  # the next worker finds it
    assert len(read(settings, topic)) == 5


def test_foreign_records_on_the_products_topic_shift_no_number_and_tell_of_no_product(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)
    topic = settings.kafka.topic_products
    create(settings, {topic: 1}, {"cleanup.policy": "compact"})
    send(settings, topic, b"CS01", b"x")
    send(settings, topic, b"any", b"y", transactional_id=shop.name)  # and a marker behind it, which takes an offset
    opens(settings)
    assert len(products_of(settings)) == len(PRODUCTS)
    opens(settings)
    assert len(products_of(settings)) == len(PRODUCTS)  # nothing is missing, so nothing is written
    last = next(record for record in read(settings, topic) if record.key == b"CS02")
    send(settings, topic, b"CS01", b"x")  # what readers find of CS01 now is not ours
    send(settings, topic, b"CS02", last.value)
    opens(settings)
    assert products_of(settings)[-2:] == [b"CS01", b"CS02"]


# --- Whose topics they are ------------------------------------------------------------------------------------------


def test_a_second_shop_does_not_open_on_the_topics_of_the_first(kafka: Kafka, shop: Shop) -> None:
    first = of(shop, kafka)
    opened = opens(first)
    other = f"{shop.name}-other"
    said = refuses(of(shop, kafka, other))
    assert f"in use by the shop {shop.name}, opened " in said
    # One topic in common is enough: its dead letters, say.
    common = of(shop, kafka, other, names=other, topic_dead_letters=first.kafka.topic_dead_letters)
    assert refuses(common).startswith(f"{first.kafka.topic_dead_letters}: in use")
    # Both ways out that it names.
    found = re.search(r"set \[KAFKA\] application_id = (\S+)\. ", said)
    assert found is not None
    assert opens(of(shop, kafka, found[1])) == opened
    assert "give each of its topics (topic_…) another name" in said
    assert opens(of(shop, kafka, other, names=other)).producer_id != opened.producer_id


def test_of_two_shops_that_open_at_once_the_later_one_refuses_while_it_has_sold_nothing(
    kafka: Kafka, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    late = of(shop, kafka, f"{shop.name}-late")
    opened = opens(late)
    early = json.loads(read(late, topics.opening_topic(late.kafka))[0].value) | {
        "started": "2026-01-01 00:00:00.000000"
    }
    other = f"{shop.name}-early"
    create(late, {f"{other}-opening": 1}, {"retention.ms": "-1"})
    send(late, f"{other}-opening", other.encode(), json.dumps(early).encode())
    assert f"in use by the shop {other}" in refuses(late)
    send(late, topics.changelog_topic(late.kafka), b"any", b"any")  # something was sold: it goes on, with a warning
    assert opens(late) == opened
    assert f"in use by the shop {other}" in caplog.text


def test_an_opening_that_was_copied_from_elsewhere_claims_nothing(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)
    opens(settings)
    original = read(settings, topics.opening_topic(settings.kafka))[0]
    mirrored = f"mirror-{shop.name}-opening"
    create(settings, {mirrored: 1}, {"retention.ms": "-1"})
    send(settings, mirrored, original.key, original.value)
    delete(settings, topics.opening_topic(settings.kafka))
    opens(settings)  # and nothing of a shop is on the topics as yet
    other = of(shop, kafka, f"{shop.name}-other", names=f"{shop.name}-other")
    topic = topics.opening_topic(other.kafka)
    create(other, {topic: 1}, {"retention.ms": "-1"})
    send(other, topic, b"anything", original.value)  # as tests do that want the same stream once more
    assert time_text(opens(other).opened_at) == json.loads(original.value)["opened_at"]


def test_the_topics_of_another_shop_are_not_deleted(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)
    opens(settings)
    shop.on(kafka.bootstrap_servers).configure(KAFKA_PARTITIONS="2", KAFKA_APPLICATION_ID=f"{shop.name}-other")
    before = there(settings)
    ended = yasdg(shop, "topics", "delete", "--yes")
    assert ended.returncode == 1
    assert "Nothing was deleted: " in ended.stderr
    assert there(settings) == before
    found = re.search(r"set \[KAFKA\] application_id = (\S+)", ended.stderr)
    assert found is not None
    assert yasdg(shop.configure(KAFKA_APPLICATION_ID=found[1]), "topics", "delete", "--yes").returncode == 0
    assert not any(name.startswith(shop.name) for name in there(settings))


@pytest.mark.parametrize("what", ["purchases", "lost_sales", "stockings", "changelog"])
def test_a_shop_whose_opening_was_deleted_is_not_opened_over(kafka: Kafka, shop: Shop, what: str) -> None:
    settings = of(shop, kafka)
    opens(settings)
    opening = read(settings, topics.opening_topic(settings.kafka))[0]
    values = {"purchases": SALE, "lost_sales": LOST, "stockings": STOCKING, "changelog": ROW.asdict()}
    value = values[what]
    topic = topics.changelog_topic(settings.kafka) if what == "changelog" else f"{shop.name}.{what}"
    send(settings, topic, b"k", b"junk", partition=1)
    send(settings, topic, str(value["product_id"]).encode(), json.dumps(value).encode(), partition=1)
    delete(settings, topics.opening_topic(settings.kafka))
    said = refuses(settings)
    assert (
        f"{topics.opening_topic(settings.kafka)} holds no manifest, but {topic}, partition 1, offset 1 holds " in said
    )
    # What it names: restore the manifest, or open a separate shop.
    assert "restore the manifest from a backup, or open a separate shop: set another [KAFKA] application_id" in said
    other = f"{shop.name}-other"
    opens(of(shop, kafka, other, names=other))
    create(settings, {topics.opening_topic(settings.kafka): 1}, {"retention.ms": "-1"})
    send(settings, topics.opening_topic(settings.kafka), opening.key, opening.value)
    assert opens(settings).fingerprint


def test_a_shop_whose_topics_were_renamed_in_its_configuration_does_not_continue_elsewhere(
    kafka: Kafka, shop: Shop
) -> None:
    settings = of(shop, kafka)
    opened = opens(settings)
    moved = of(shop, kafka, topic_purchases=f"{shop.name}.sales")
    said = refuses(moved)
    assert f"topic_purchases was {shop.name}.purchases, is {shop.name}.sales. Put the names back" in said
    assert opens(settings) == opened


def test_a_deleted_topic_of_sales_is_not_made_again(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)
    opens(settings)
    delete(settings, settings.kafka.topic_lost_sales, settings.kafka.topic_products)
    said = refuses(settings)
    assert said.startswith(f"{settings.kafka.topic_lost_sales}: deleted, ")
    assert "or open a separate shop" in said
    other = f"{shop.name}-other"
    opens(of(shop, kafka, other, names=other))


def test_an_opening_of_the_version_before_opens_as_ever(kafka: Kafka, shop: Shop) -> None:
    """It names no topics; what its stream is made from is what it was."""
    settings = of(shop, kafka)
    opened = opens(settings)
    record = read(settings, topics.opening_topic(settings.kafka))[0]
    before = {key: value for key, value in json.loads(record.value).items() if key not in ("topics", "partitions")}
    assert list(before) == ["opened_at", "started", "speed", "producer_id", "made_from"]
    delete(settings, topics.opening_topic(settings.kafka))
    create(settings, {topics.opening_topic(settings.kafka): 1}, {"retention.ms": "-1"})
    send(settings, topics.opening_topic(settings.kafka), record.key, json.dumps(before).encode())
    again = opens(settings)
    assert (again.clock, again.producer_id, again.fingerprint) == (opened.clock, opened.producer_id, opened.fingerprint)
    assert (again.topics, again.partitions) == ({}, 0)


def test_a_shop_with_another_configuration_is_told_the_ways_out_the_harmless_first(kafka: Kafka, shop: Shop) -> None:
    opened = opens(of(shop, kafka))
    other = f"{shop.name}-other"
    with_faults = of(shop, kafka, clock=ClockSettings(time_zone="Europe/Berlin"))
    said = refuses(replace(with_faults, faults=FaultSettings(late=Decimal(".1"))))  # its topics are not made before
    steps = ["Put the values back, or ", "open a separate shop", "yasdg topics delete"]
    assert [said.index(step) for step in steps] == sorted(said.index(step) for step in steps)
    assert opens(of(shop, kafka)) == opened
    opens(of(shop, kafka, other, names=other, clock=ClockSettings(time_zone="Europe/Berlin")))
    shop.on(kafka.bootstrap_servers).configure(CLOCK_TIME_ZONE="Europe/Berlin")
    assert yasdg(shop, "topics", "delete", "--yes").returncode == 0
    opens(of(shop, kafka, clock=ClockSettings(time_zone="Europe/Berlin")))


# --- What they are like ---------------------------------------------------------------------------------------------


def test_settings_that_lose_messages_are_refused_before_anything_is_made_and_can_be_put_right(
    kafka: Kafka, shop: Shop
) -> None:
    settings = of(shop, kafka)
    name = settings.kafka
    create(settings, {topics.opening_topic(name): 1})  # the cluster's own retention is a week
    create(settings, {name.topic_purchases: 2}, {"cleanup.policy": "compact", "max.message.bytes": "2000"})
    create(settings, {name.topic_incidents: 1}, {"cleanup.policy": "delete", "retention.bytes": "1000000"})
    create(settings, {topics.changelog_topic(name): 2}, {"message.timestamp.type": "LogAppendTime"})
    create(settings, {name.topic_dead_letters: 2}, {"retention.ms": "-1"})
    lines = refuses(settings, TopicsError).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        name.topic_purchases,
        name.topic_incidents,
        topics.opening_topic(name),
        topics.changelog_topic(name),
    ]
    for line in lines:
        follow(line.partition("To set it: ")[2])
    opens(settings)


def test_sales_of_before_the_limit_of_a_topic_are_refused_before_the_shop_opens(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka, clock=ClockSettings(start=timedelta(days=365)))
    day = str(24 * 3600 * 1000)
    create(
        settings, {settings.kafka.topic_purchases: 2}, {"message.timestamp.before.max.ms": day, "retention.ms": "-1"}
    )
    create(settings, {settings.kafka.topic_lost_sales: 2})
    first, second = refuses(settings, TopicsError).splitlines()
    assert "messages older than 1 days are rejected" in first
    assert "the shop begins 365 days ago, so sales are deleted at once" in second
    for line in (first, second):
        follow(line.partition("To set it: ")[2])
    opens(settings)


def test_a_topic_that_needs_more_replicas_than_it_has_is_not_waited_for(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)
    create(settings, {settings.kafka.topic_stockings: 2}, {"min.insync.replicas": "2", "retention.ms": "-1"})
    said = refuses(settings, TopicsError)
    assert said.startswith(f"{settings.kafka.topic_stockings}: min.insync.replicas is 2, but the topic has 1, ")
    follow(said.partition("To set it: ")[2])
    opens(settings)


def test_what_only_readers_lose_is_told_and_the_shop_opens(
    kafka: Kafka, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    settings = of(shop, kafka)
    create(settings, {settings.kafka.topic_stockings: 2})
    opens(settings)
    assert f"{settings.kafka.topic_stockings}: retention.ms is 604800000, expected -1" in caplog.text


@pytest.mark.parametrize(
    ("setting", "value", "old", "size"),
    [("message.timestamp.before.max.ms", "3600000", True, 1), ("max.message.bytes", "1000", False, 5000)],
)
def test_a_refusal_while_the_shop_runs_names_the_setting(
    kafka: Kafka, shop: Shop, setting: str, value: str, old: bool, size: int
) -> None:
    settings, topic = of(shop, kafka), f"{shop.name}.sales"
    create(settings, {topic: 1}, {setting: value})
    now = time.time_ns() // 1_000_000
    row = ProducerRecord(b"k", b"v" * size, now - 10 * DAY_MS if old else now)

    async def append() -> None:
        producer = ShopProducer(Connection(kafka.bootstrap_servers), opened.producer_id)
        try:
            await producer.append(topic, 0, 0, [row])
        finally:
            await producer.stop()

    opened = opens(settings)
    with pytest.raises(RecordsRejectedError) as refused:
        asyncio.run(append())
    assert str(refused.value).startswith(f"{topic}, partition 0: the cluster rejects our messages (")
    follow(str(refused.value).partition(f"To set {setting}: ")[2])
    asyncio.run(append())
    assert len(read(settings, topic)) == 1


# --- Partitions -----------------------------------------------------------------------------------------------------


def test_topics_that_all_have_another_number_of_partitions_are_used_with_it(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)
    kept = {"retention.ms": "-1"}
    create(settings, {settings.kafka.topic_purchases: 3, settings.kafka.topic_stockings: 3}, kept)
    said = refuses(settings, TopicsError)
    found = re.search(r"Set \[KAFKA\] partitions = (\d+)", said)
    assert found is not None
    assert "or give them other names: [KAFKA] topic_purchases, topic_stockings" in said
    other = f"{shop.name}.other"
    opens(of(shop, kafka, f"{shop.name}-2", names=other))
    opens(of(shop, kafka, partitions=int(found[1])))


def test_topics_with_different_numbers_of_partitions_need_other_names(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)
    kept = {"retention.ms": "-1"}
    create(settings, {settings.kafka.topic_purchases: 3, settings.kafka.topic_stockings: 2}, kept)
    create(settings, {settings.kafka.topic_products: 4}, {"cleanup.policy": "compact"})
    said = refuses(settings, TopicsError)
    assert said.endswith("Partitions cannot be removed. Give other names: [KAFKA] topic_products, topic_purchases")
    opens(of(shop, kafka, topic_products=f"{shop.name}.goods", topic_purchases=f"{shop.name}.sales"))


def test_a_changelog_with_other_partitions_needs_another_application_id(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)
    create(settings, {topics.changelog_topic(settings.kafka): 3}, {"cleanup.policy": "compact"})
    create(settings, {settings.kafka.topic_purchases: 2}, {"retention.ms": "-1"})
    assert refuses(settings, TopicsError).endswith("Give other names: [KAFKA] application_id")
    opens(of(shop, kafka, f"{shop.name}-2"))


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_shop_that_got_more_partitions_cannot_continue(kafka: Kafka, shop: Shop, everywhere: bool) -> None:
    settings = of(shop, kafka)
    opens(settings)
    for spec in topics.specs(settings):
        if spec.is_divided and (everywhere or spec.key == "topic_purchases"):
            divide(settings, spec.name, 3)
    said = refuses(settings, TopicsError)
    assert "has 3 partitions, expected 2" in said
    assert "Partitions cannot be removed, so this shop cannot continue. " in said
    assert "partitions = 3" not in said
    other = f"{shop.name}-other"
    opens(of(shop, kafka, other, names=other))


def test_a_shop_whose_configuration_got_another_number_of_partitions_is_told_the_old_one(
    kafka: Kafka, shop: Shop
) -> None:
    opened = opens(of(shop, kafka))
    said = refuses(of(shop, kafka, partitions=5), TopicsError)
    assert said.endswith("Set [KAFKA] partitions = 2")
    assert opens(of(shop, kafka, partitions=2)) == opened


# --- While it runs --------------------------------------------------------------------------------------------------


async def looks(settings: Settings, change: Callable[[], Awaitable[None]]) -> str:
    """What a watch says of a change between two looks."""
    watch = TopicWatch(Connection(settings.kafka.bootstrap_servers), topics.specs(settings))
    try:
        await watch.look()
        await change()
        with pytest.raises(TopicChangedError) as changed:  # noqa: PT012
            for _ in range(CONFIRMATIONS + 3):
                await watch.look()
                await asyncio.sleep(0.2)
        return str(changed.value)
    finally:
        await watch.stop()


@pytest.mark.parametrize("what", ["purchases", "products"])
def test_a_topic_that_was_deleted_and_made_again_is_noticed(kafka: Kafka, shop: Shop, what: str) -> None:
    settings = of(shop, kafka)
    opens(settings)
    topic, partitions = f"{shop.name}.{what}", 1 if what == "products" else 2
    send(settings, topic, b"any", b"any")

    async def change() -> None:
        await asyncio.to_thread(delete, settings, topic)
        config = {"cleanup.policy": "compact"} if what == "products" else {"retention.ms": "-1"}
        await asyncio.to_thread(create, settings, {topic: partitions}, config)

    said = asyncio.run(looks(settings, change))
    assert f"{topic}, partition 0 ends at offset 0, but ended at " in said
    if what == "products":
        assert said.endswith("Start again: the next start creates it again, with all its messages")
        opens(settings)
        assert len(products_of(settings)) == len(PRODUCTS)
    else:
        assert "restore it from a backup, or open a separate shop" in said


def test_a_watch_asks_for_no_topic_into_being(kafka: Kafka, shop: Shop) -> None:
    settings = of(shop, kafka)

    async def look() -> None:
        watch = TopicWatch(Connection(kafka.bootstrap_servers), topics.specs(settings))
        with pytest.raises(TopicChangedError):  # noqa: PT012
            for _ in range(CONFIRMATIONS):
                await watch.look()
        await watch.stop()

    asyncio.run(look())
    assert not any(name.startswith(shop.name) for name in there(settings))


@pytest.mark.parametrize("what", ["deleted purchases", "deleted control", "more partitions"])
def test_a_worker_whose_topics_change_ends_in_one_line(kafka: Kafka, shop: Shop, what: str) -> None:
    settings = of(shop, kafka)
    worker = shop.on(kafka.bootstrap_servers).configure(KAFKA_PARTITIONS="2").worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    worker.until(lambda: len(shop.purchases()) > 100, "sales")
    if what == "more partitions":
        divide(settings, settings.kafka.topic_stockings, 3)
        expected = f"{settings.kafka.topic_stockings} has 3 partitions, expected 2"
    else:
        topic = settings.kafka.topic_purchases if "purchases" in what else topics.control_topic(settings.kafka)
        delete(settings, topic)
        expected = f"{topic} was deleted"
    assert worker.ends(60) == 1
    (said,) = [line for line in worker.said.splitlines() if "yasdg: " in line]
    assert f"yasdg: While the shop was running: {expected}" in said
    assert "Traceback" not in worker.said
    assert "[KAFKA] application_id, and another name for each topic" in said
    other = f"{shop.name}-other"
    opens(of(shop, kafka, other, names=other))
