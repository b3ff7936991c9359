"""What is done for many sales at once comes to the very bytes of what is done for one after the other."""

import asyncio
from hashlib import sha256
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from support.shop import Shop, yasdg

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.batch_writer import ZSTD
from yasdg_app.kafka.client import Cluster

SALES = 60_000
TOLD = ("purchases", "stockings")


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def rung_up(shop: Shop, kafka: Kafka, *program: str) -> Shop:
    shop.on(kafka.bootstrap_servers).configure(
        SALES_MAX_SALE_FREQ="0.00002", SALES_NUMBER_OF_SALES=str(SALES), CLOCK_START="2026-01-01 00:00"
    )
    assert shop.worker(*program).ends(300) == 0
    return shop


def digest(shop: Shop, what: str) -> str:
    """Of all that a topic holds, partition by partition in order."""
    digest = sha256()
    for partition, messages in sorted(shop.partitions(shop.topic(what)).items()):
        for message in messages:
            digest.update(b"%d %s %s %d\n" % (partition, message.key, message.value, message.timestamp))
    return digest.hexdigest()


async def batches(servers: str, topic: str) -> list[tuple[int, int]]:
    """The compression of each batch of a topic, and how many messages it holds."""
    found, cluster = [], Cluster(Connection(servers))
    for partition in range(8):
        position = 0
        while True:
            request = FetchRequest(100, 1, 2**22, 0, [(topic, [(partition, position, 2**22)])])
            answer = await cluster.send_to_leader(TopicPartition(topic, partition), request)
            ((_, ((_, _, end, *_, data),)),) = answer.topics
            records = MemoryRecords(data)
            while records.has_next():
                batch = records.next_batch()
                found.append((batch.compression_type, len(list(batch))))
                position = batch.next_offset
            if position >= end:
                break
    await cluster.close()
    return found


def test_many_at_once_is_one_after_the_other(kafka: Kafka, shop: Shop) -> None:
    plain = Shop(shop.folder / "plain", f"{shop.name}-plain")
    plain.folder.mkdir()
    try:
        rung_up(plain, kafka, "reference_paths.py")
        rung_up(shop, kafka)
        for what in TOLD:
            assert digest(shop, what) == digest(plain, what), what
        for one in (shop, plain):
            assert yasdg(one, "audit").returncode == 0
        made = asyncio.run(batches(shop.servers, shop.topic("purchases")))
        assert sum(count for _, count in made) == SALES
        in_bulk = sum(count for compression, count in made if compression == ZSTD and count > 500)
        assert in_bulk > SALES * 0.9, made  # the fast way is in use
    finally:
        plain.close()
