"""The products topic: brought up to date at each start, so that it holds the catalog's row of each product."""

import asyncio
import time

from aiokafka import TopicPartition

from yasdg_app.cluster_state.manifest import OpeningError
from yasdg_app.config.catalog import Product
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.producer import ProducerRecord, ShopProducer, StaleStateError
from yasdg_app.kafka.reader import Message, Reader
from yasdg_app.messages.encoders import product_json
from yasdg_app.messages.formats import Format

PUBLISH_ATTEMPTS = 10
RETRY_SECONDS = 2.0


async def publish_products(
    connection: Connection, topic: str, products: tuple[Product, ...], producer_id: int, form: Format
) -> None:
    """Append the products that the topic lacks, or whose last message differs.

    Raises OpeningError if the topic's messages and the broker's count of them disagree; KafkaError.
    """
    tp = TopicPartition(topic, 0)
    producer = ShopProducer(connection, producer_id)
    async with Reader(connection, producer_id) as reader:
        try:
            for _ in range(PUBLISH_ATTEMPTS):
                base_sequence, published = await _published(reader, tp, products, form)
                now = time.time_ns() // 1_000_000
                missing = (
                    ProducerRecord(product.product_id.encode(), form.write("products", product_json(product)), now)
                    for product, is_published in zip(products, published, strict=True)
                    if not is_published
                )
                try:
                    # Workers that start at once all find the same products missing; the broker accepts those of one.
                    await producer.append(tp.topic, tp.partition, base_sequence, missing)
                    return
                except StaleStateError:
                    await asyncio.sleep(RETRY_SECONDS)
            raise OpeningError(
                f"{tp.topic} does not accept the products: messages were deleted, so the broker's sequence number of "
                "this shop is not the one in the log. Start again; if the error remains, delete that topic alone, with "
                f"kafka-topics.sh --bootstrap-server {connection.servers} --delete --topic {tp.topic}: the next start "
                "creates it again, with all products"
            )
        finally:
            await producer.stop()


async def _published(
    reader: Reader, tp: TopicPartition, products: tuple[Product, ...], form: Format
) -> tuple[int, bytearray]:
    """Return how many messages the shop has appended, and by product whether its last message is right (1 or 0)."""
    # A million products are compared as they are read: neither they nor their messages are in memory twice.
    indices = {product.product_id.encode(): index for index, product in enumerate(products)}
    published = bytearray(len(products))
    # Counted before the topic is read: if another worker appends meanwhile, the broker refuses what we append. Counted
    # afterwards, the number would include products that we have not seen, and all of them would be published twice.
    count_before = await reader.count(tp)
    first, end = await reader.bounds(tp)
    count: int | None = None
    async for chunk in reader.all_chunks(tp, first, end, skip_damaged=True):
        if chunk.count is not None or chunk.is_damaged:
            count = chunk.count
        foreign = {record.offset for record in chunk.foreign}
        records = sorted([*chunk.messages, *chunk.foreign], key=_offset) if foreign else chunk.messages
        for record in records:
            index = indices.get(record.key or b"")
            if index is not None:
                published[index] = record.offset not in foreign and record.value == form.write(
                    "products", product_json(products[index])
                )
    return count_before if count is None else count, published


def _offset(record: Message) -> int:
    return record.offset
