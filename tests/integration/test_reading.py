"""Reading partitions of a real Apache Kafka: from any offset to any other, past everything that is no message."""

from typing import Protocol

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.reader import Message, Reader, read_all


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


@pytest.fixture
async def tp(kafka: Kafka, request: pytest.FixtureRequest) -> TopicPartition:
    tp = TopicPartition(request.node.name, 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(tp.topic, 1, 1)])
    await admin.close()
    return tp


async def send(kafka: Kafka, tp: TopicPartition, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for value in values:
            await producer.send_and_wait(tp.topic, value, b"key", partition=0, timestamp_ms=7, headers=[("a", b"b")])


async def chunks(kafka: Kafka, tp: TopicPartition, start: int, end: int) -> list[Message]:
    async with Reader(Connection(kafka.bootstrap_servers)) as reader:
        return [message async for chunk in reader.chunks(tp, start, end) for message in chunk]


async def test_messages_are_read_from_an_offset_up_to_another(kafka: Kafka, tp: TopicPartition) -> None:
    await send(kafka, tp, *(b"%d" % number for number in range(10)))
    assert [message.value for message in await chunks(kafka, tp, 3, 6)] == [b"3", b"4", b"5"]
    assert [message.offset for message in await chunks(kafka, tp, 8, 10)] == [8, 9]
    assert await chunks(kafka, tp, 4, 4) == []
    first = (await read_all(Connection(kafka.bootstrap_servers), tp.topic))[0]
    assert (first.offset, first.timestamp, first.key, first.value) == (0, 7, b"key", b"0")
    assert list(first.headers) == [("a", b"b")]


async def test_an_end_in_the_middle_of_a_batch_is_kept_to(kafka: Kafka, tp: TopicPartition) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=100) as producer:
        for number in range(10):
            await producer.send(tp.topic, b"%d" % number, partition=0)
    assert [message.offset for message in await chunks(kafka, tp, 2, 5)] == [2, 3, 4]


async def test_marks_of_transactions_are_passed_over_and_their_messages_are_not(
    kafka: Kafka, tp: TopicPartition
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=tp.topic) as producer:
        async with producer.transaction():
            await producer.send_and_wait(tp.topic, b"kept", partition=0)
        await producer.begin_transaction()
        await producer.send_and_wait(tp.topic, b"taken back", partition=0)
        await producer.abort_transaction()
    read = await read_all(Connection(kafka.bootstrap_servers), tp.topic)
    assert [(message.offset, message.value) for message in read] == [(0, b"kept"), (2, b"taken back")]


async def test_where_a_partition_begins_and_ends(kafka: Kafka, tp: TopicPartition) -> None:
    async with Reader(Connection(kafka.bootstrap_servers)) as reader:
        assert (await reader.firsts([tp]), await reader.ends([tp])) == ({tp: 0}, {tp: 0})
        await send(kafka, tp, b"0", b"1")
        assert (await reader.firsts([tp]), await reader.ends([tp])) == ({tp: 0}, {tp: 2})
        assert await reader.fetch(tp, 2) == ([], 2)


async def test_an_offset_that_is_not_there_is_an_error(kafka: Kafka, tp: TopicPartition) -> None:
    async with Reader(Connection(kafka.bootstrap_servers)) as reader:
        with pytest.raises(KafkaError):
            await reader.fetch(tp, 5)
