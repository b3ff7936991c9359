"""The golden file as a shop that a worker has run, and a copy of that in which something is missing: for engines."""

import asyncio
from typing import Protocol

import jars
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from oracles import golden
from oracles.engine_output import Planted, loads
from support.shop import KEPT, Shop

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.reader import Message


class Kafka(Protocol):
    """See support/kafka_fixtures.py."""

    bootstrap_servers: str


@pytest.fixture(scope="session", autouse=True)
def jdk() -> None:
    try:
        java = jars.java()
    except YasdgError as none:
        pytest.skip(str(none))
    if not java.resolve().with_name("javac").exists():
        pytest.skip(f"{java} is that of a JRE. {jars.INSTALL}")


@pytest.fixture(scope="session")
def golden_shop(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop of the golden file, as a worker sold it: its purchases are those of the file, byte by byte."""
    shop = Shop(tmp_path_factory.mktemp("golden"), "golden").on(kafka.bootstrap_servers).configured_by(golden.SHOP)
    shop.configure(SALES_NUMBER_OF_SALES=str(golden.COUNT), KAFKA_PARTITIONS="4")
    worker = shop.worker()
    assert worker.ends(300) == 0, worker.said
    assert sorted(message.value or b"" for message in shop.read(shop.topic("purchases"))) == sorted(golden.purchases())
    return shop


@pytest.fixture(scope="session")
def planted(golden_shop: Shop) -> Planted:
    """A copy of the golden shop's topics in which one purchase is missing."""
    topics = {what: golden_shop.partitions(golden_shop.topic(what)) for what in ("purchases", "products", "stockings")}
    left_out = topics["purchases"][2].pop(1000)
    asyncio.run(write(golden_shop.servers, {f"planted.{what}": messages for what, messages in topics.items()}))
    return Planted("planted", loads(left_out.value or b""))


async def write(servers: str, topics: dict[str, dict[int, list[Message]]]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, len(parts), 1, topic_configs=KEPT) for name, parts in topics.items()])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5) as producer:
        for topic, partitions in topics.items():
            for partition, messages in partitions.items():
                for each in messages:
                    await producer.send(topic, each.value, each.key, partition, timestamp_ms=each.timestamp)
