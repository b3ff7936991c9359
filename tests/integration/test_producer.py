"""The shop's one producer, on a real Apache Kafka: what another worker has appended is never appended again."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from support.shop import KEPT

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.node import free_port
from yasdg_app.kafka.producer import (
    ProducerRecord,
    RecordsRejectedError,
    SequenceConflictError,
    ShopProducer,
    UnknownOutcomeError,
    new_producer_id,
)
from yasdg_app.kafka.reader import Message, Reader


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


class Topic:
    """A topic of one partition, and producers of one shop for it."""

    def __init__(self, servers: str, name: str, producer_id: int) -> None:
        self.servers, self.name, self.producer_id = servers, name, producer_id
        self._producers: list[ShopProducer] = []

    def producer(self) -> ShopProducer:
        self._producers.append(ShopProducer(Connection(self.servers), self.producer_id))
        return self._producers[-1]

    async def read(self) -> list[Message]:
        tp = TopicPartition(self.name, 0)
        async with Reader(Connection(self.servers)) as reader:
            return (await reader.read({tp: 0}))[tp]

    async def values(self) -> list[bytes | None]:
        return [message.value for message in await self.read()]

    async def close(self) -> None:
        for producer in self._producers:
            await producer.stop()


@pytest.fixture
async def topic(kafka: Kafka, request: pytest.FixtureRequest) -> Any:
    topic = await make_topic(kafka.bootstrap_servers, request.node.name[:60])
    yield topic
    await topic.close()


async def make_topic(servers: str, name: str, partitions: int = 1) -> Topic:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=KEPT)])
    await admin.close()
    return Topic(servers, name, await new_producer_id(Connection(servers)))


def rows(*numbers: int) -> list[ProducerRecord]:
    return [ProducerRecord(b"CS01", b"%d" % number, 1_700_000_000_000 + number) for number in numbers]


async def test_rows_are_appended_in_order_with_their_times_and_headers(topic: Topic) -> None:
    producer = topic.producer()
    appended = await producer.append(topic.name, 0, 0, rows(1, 2))
    assert (appended.complete, appended.offset) == (True, 0)
    appended = await producer.append(topic.name, 0, 2, [ProducerRecord(b"k", None, 5, [("reason", b"why")])])
    assert (appended.complete, appended.offset) == (True, 2)
    messages = await topic.read()
    assert [message.value for message in messages] == [b"1", b"2", None]
    assert [message.timestamp for message in messages] == [1_700_000_000_001, 1_700_000_000_002, 5]
    assert messages[2].headers == [("reason", b"why")]
    assert await producer.append(topic.name, 0, 3, []) == type(appended)(True, -1)


async def test_many_rows_go_in_several_batches(topic: Topic) -> None:
    many = [ProducerRecord(b"CS01", b"%06d" % number * 100, number) for number in range(3000)]  # 1.8 MB
    await topic.producer().append(topic.name, 0, 0, many)
    assert await topic.values() == [row.value for row in many]


async def test_a_worker_that_was_overtaken_appends_nothing(topic: Topic) -> None:
    frozen, other = topic.producer(), topic.producer()
    await frozen.append(topic.name, 0, 0, rows(1, 2, 3))
    await other.append(topic.name, 0, 3, rows(4, 5))
    with pytest.raises(SequenceConflictError, match="partition 0: another worker has appended"):
        await frozen.append(topic.name, 0, 3, rows(4))
    await other.append(topic.name, 0, 5, rows(6))
    assert await topic.values() == [b"1", b"2", b"3", b"4", b"5", b"6"]


async def test_a_worker_that_freezes_between_the_check_and_the_write_appends_nothing(topic: Topic) -> None:
    """The window that no check of a lease can close: it was allowed, then it stood still."""
    frozen, other = topic.producer(), topic.producer()
    await frozen.append(topic.name, 0, 0, rows(1))
    write = frozen._cluster.send

    async def late(*arguments: Any) -> Any:
        await other.append(topic.name, 0, 1, rows(2, 3))
        return await write(*arguments)

    frozen._cluster.send = late  # type: ignore[method-assign]
    with pytest.raises(SequenceConflictError):
        await frozen.append(topic.name, 0, 1, rows(2), lambda: True)
    assert await topic.values() == [b"1", b"2", b"3"]


async def test_the_very_batch_that_another_worker_appended_is_there_once(topic: Topic) -> None:
    await topic.producer().append(topic.name, 0, 0, rows(1, 2))
    appended = await topic.producer().append(topic.name, 0, 0, rows(1, 2))
    assert (appended.complete, appended.offset) == (True, 0)
    assert await topic.values() == [b"1", b"2"]


async def test_a_batch_that_only_has_the_numbers_of_another_one_is_told_from_it(topic: Topic) -> None:
    await topic.producer().append(topic.name, 0, 0, rows(1, 2), atomic=True)
    with pytest.raises(SequenceConflictError):
        await topic.producer().append(topic.name, 0, 0, rows(3, 4), atomic=True)
    await topic.producer().append(topic.name, 0, 2, rows(5), atomic=True)
    assert await topic.values() == [b"1", b"2", b"5"]


async def test_rows_that_belong_together_are_not_taken_apart(topic: Topic) -> None:
    large = [ProducerRecord(b"k", os.urandom(600_000), 0)] * 2
    with pytest.raises(RecordsRejectedError, match="atomic append exceeds"):
        await topic.producer().append(topic.name, 0, 0, large, atomic=True)
    assert await topic.values() == []


async def test_of_many_workers_that_append_at_once_one_succeeds(topic: Topic) -> None:
    writers = [topic.producer().append(topic.name, 0, 0, rows(*range(n))) for n in range(1, 9)]
    results = await asyncio.gather(*writers, return_exceptions=True)
    assert sum(not isinstance(result, SequenceConflictError) for result in results) == 1
    values = await topic.values()
    assert values == [b"%d" % number for number in range(len(values))]


async def test_records_of_others_in_between_change_nothing(topic: Topic) -> None:
    producer = topic.producer()
    await producer.append(topic.name, 0, 0, rows(1))
    async with AIOKafkaProducer(bootstrap_servers=topic.servers) as stranger:
        await stranger.send_and_wait(topic.name, b"junk", partition=0)
    appended = await producer.append(topic.name, 0, 1, rows(2))
    assert (appended.complete, appended.offset) == (True, 2)


async def test_nothing_is_sent_that_is_not_allowed(topic: Topic) -> None:
    appended = await topic.producer().append(topic.name, 0, 0, rows(1), lambda: False)
    assert (appended.complete, appended.offset) == (False, -1)
    assert await topic.values() == []


async def in_a_new_topic(producer: ShopProducer, topic: Topic, partition: int) -> None:
    """Append the first row of a partition, as soon as its leader knows that it leads."""
    while True:
        try:
            await producer.append(topic.name, partition, 0, rows(partition))
            return
        except UnknownOutcomeError:
            await asyncio.sleep(0.1)


class Counting(ShopProducer):
    """A producer that notes how many batches each of its requests held, and may be held up with one."""

    def __init__(self, servers: str, producer_id: int) -> None:
        super().__init__(Connection(servers), producer_id)
        self.requests: list[int] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def _produce(self, leader: int, batches: Any) -> Any:
        self.requests.append(len(batches))
        await self.goes_on.wait()
        return await super()._produce(leader, batches)


async def test_small_batches_that_come_while_the_broker_answers_go_together(kafka: Kafka) -> None:
    topic = await make_topic(kafka.bootstrap_servers, "small_batches_together", partitions=5)
    producer = Counting(topic.servers, topic.producer_id)
    last_call = [True]

    async def append(partition: int, allowed: Callable[[], bool] = lambda: True) -> bool:
        return (await producer.append(topic.name, partition, 1, rows(partition), allowed)).complete

    for partition in range(5):
        await in_a_new_topic(producer, topic, partition)
    producer.requests.clear()
    producer.goes_on.clear()
    first = asyncio.create_task(append(0))
    await until(lambda: bool(producer.requests))
    later = [asyncio.create_task(append(partition)) for partition in (1, 2, 3)]
    too_late = asyncio.create_task(append(4, lambda: bool(last_call)))
    await until(lambda: [len(each.batches) for each in producer._pending.values()] == [4])
    last_call.clear()
    producer.goes_on.set()
    assert await first
    assert await asyncio.gather(*later) == [True, True, True]
    assert not await too_late  # what is not allowed any more when its turn comes is not sent
    assert producer.requests == [1, 3]
    await producer.stop()


async def test_what_the_cluster_does_not_take_is_told(topic: Topic) -> None:
    with pytest.raises(RecordsRejectedError, match="partition 0"):
        await topic.producer().append(topic.name, 0, 0, [ProducerRecord(b"k", os.urandom(2_000_000), 0)])


async def test_a_killed_broker_is_waited_for_and_nothing_is_there_twice(tmp_path: Any) -> None:
    broker = EmbeddedBroker(tmp_path, free_port())
    servers = await asyncio.to_thread(broker.start)
    try:
        topic = await make_topic(servers, "killed")
        producer = topic.producer()
        appending = asyncio.ensure_future(append_one_by_one(producer, topic, 2000))
        await until(lambda: producer.batches > 200)
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        await appending
        assert await topic.values() == [b"%d" % number for number in range(2000)]
        await topic.close()
    finally:
        await asyncio.to_thread(broker.stop)


async def append_one_by_one(producer: ShopProducer, topic: Topic, count: int) -> None:
    """Append so many numbers; after a lost answer look how many there are."""
    number = 0
    while number < count:
        try:
            await producer.append(topic.name, 0, number, rows(number))
            number += 1
        except UnknownOutcomeError:
            number = len(await topic.values())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_ids_of_shops_differ(kafka: Kafka) -> None:
    connection = Connection(kafka.bootstrap_servers)
    assert await new_producer_id(connection) != await new_producer_id(connection)
