"""Foreign producers on a shop's topics, and other interference with a log."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import PolicyViolationError
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from support.shop import Shop
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.client import Cluster, check
from yasdg_app.kafka.producer import ProducerRecord, ShopProducer
from yasdg_app.kafka.reader import Reader

Headers = Sequence[tuple[str, bytes]]


def write(
    shop: Shop, topic: str, *values: bytes | None, partition: int = 0, key: bytes | None = b"key", headers: Headers = ()
) -> list[int]:
    """Append messages as an ordinary producer; return their offsets."""

    async def send() -> list[int]:
        async with AIOKafkaProducer(bootstrap_servers=shop.servers, max_request_size=3_000_000) as producer:
            sent = [
                await producer.send_and_wait(topic, value, key, partition=partition, headers=list(headers))
                for value in values
            ]
        return [each.offset for each in sent]

    return asyncio.run(send())


def transact(shop: Shop, topics: Sequence[str], partitions: int, commit: bool) -> None:
    """Write a message to each partition within a transaction, which leaves a marker after each."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=shop.servers, transactional_id=f"foreign-{commit}") as producer:
            await producer.begin_transaction()
            for topic in topics:
                for partition in range(partitions):
                    await producer.send_and_wait(topic, b"foreign", b"key", partition=partition)
            await (producer.commit_transaction() if commit else producer.abort_transaction())

    asyncio.run(send())


def delete_records(shop: Shop, topic: str, before: dict[int, int]) -> None:
    """Delete all records before an offset, by partition; -1: all existing ones. The topic may be a compacted one."""

    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=shop.servers)
        await admin.start()

        async def configure(**config: str) -> None:
            named = {name.replace("_", "."): value for name, value in config.items()}
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])

        try:
            (described,) = await admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": ""})]
            )
            policy = described.resources[0][4][0][1]
            if policy == "compact":
                await configure(cleanup_policy="delete", retention_ms="-1")
            wanted = {TopicPartition(topic, each): RecordsToDelete(offset) for each, offset in before.items()}
            for left in reversed(range(100)):
                try:
                    await admin.delete_records(wanted)
                    break
                except PolicyViolationError:  # the other policy has not reached the broker yet
                    if not left:
                        raise
                    await asyncio.sleep(0.1)
            if policy == "compact":
                await configure(cleanup_policy="compact", segment_bytes=str(8 * 2**20))
        finally:
            await admin.close()

    asyncio.run(delete())


def producer_id(shop: Shop) -> int:
    """Return the id under which the workers of a shop produce."""
    for record in shop.read(f"{shop.name}-opening"):
        try:
            return int(json.loads(record.value or b"")["producer_id"])
        except (ValueError, KeyError, TypeError):
            continue
    raise AssertionError("the shop was not opened")


def own(shop: Shop, topic: str, partitions: int) -> dict[int, int]:
    """Return the number of remaining records of a topic that the shop itself wrote, by partition."""

    shop_producer = producer_id(shop)

    async def count() -> dict[int, int]:
        async with Reader(Connection(shop.servers), shop_producer) as reader:
            tps = [TopicPartition(topic, partition) for partition in range(partitions)]
            firsts = await reader.firsts(tps)
            return {tp.partition: len(messages) for tp, messages in (await reader.read(firsts)).items()}

    return asyncio.run(count())


def write_unparsable(shop: Shop, topic: str, partition: int = 0) -> None:
    """Append a message with a header name that is not UTF-8: Apache Kafka accepts it and aiokafka cannot read it."""
    builder: Any = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=10_000,
    )  # fmt: skip
    builder.append(0, int(time.time() * 1000), b"key", b"value", [("a", b"b")])
    batch = bytearray(builder.build().replace(b"\x02a\x02b", b"\x02\xff\x02b"))
    batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
    produce(shop, topic, bytes(batch), partition)


def append_as_the_shop(shop: Shop, topic: str, *values: bytes, partition: int = 0) -> int:
    """Append messages as one of the shop's workers would; return the shop's number of records in the partition."""
    shop_producer, tp = producer_id(shop), TopicPartition(topic, partition)

    async def append() -> int:
        producer = ShopProducer(Connection(shop.servers), shop_producer)
        try:
            async with Reader(Connection(shop.servers), shop_producer) as reader:
                number = await reader.count(tp)
            await producer.append(topic, partition, number, [ProducerRecord(b"key", value, 0) for value in values])
        finally:
            await producer.stop()
        return number + len(values)

    return asyncio.run(append())


def write_batch(shop: Shop, topic: str, records: int, value: bytes, partition: int = 0) -> None:
    """Append one batch of equal records, compressed with zstd, of any uncompressed size."""
    builder: Any = DefaultRecordBatchBuilder(
        magic=2, compression_type=4, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=2**30,
    )  # fmt: skip
    for place in range(records):
        builder.append(place, int(time.time() * 1000), b"key", value, [])
    produce(shop, topic, bytes(builder.build()), partition)


def produce(shop: Shop, topic: str, batch: bytes, partition: int) -> None:
    """Append a batch unchanged."""

    async def send() -> None:
        cluster = Cluster(Connection(shop.servers))
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=10_000, topics=[(topic, [(partition, batch)])]
        )
        response = await cluster.send_to_leader(TopicPartition(topic, partition), request)
        ((_, ((_, code, *_),)),) = response.topics
        check(code)
        await cluster.close()

    asyncio.run(send())
