"""Opening the shop, before Faust connects: the broker is there, the topics exist, all workers agree when it all began.

The moment of opening is the first record of a topic of its own. Workers that start at once may each write one; the log
has put one of them first, and that is it. It also says what the stream is made from: nobody goes on with another.
"""

import asyncio
import logging
import time
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from yasdg_app import messages, topics
from yasdg_app.catalog import Product
from yasdg_app.errors import YasdgError
from yasdg_app.settings import Settings

logger = logging.getLogger(__name__)

RETRY = 2.0  # seconds between two looks for a broker that is not there


class OpeningError(YasdgError):
    """The shop in the log is another one than the configuration describes."""


async def open_shop(bootstrap_servers: str, settings: Settings, products: tuple[Product, ...]) -> int:
    """Prepare all that a worker needs; return the event time of the shop's first moment, microseconds since 1970.

    Waits for the cluster as long as it takes.

    Raises
    ------
    OpeningError, topics.TopicsError
        If what is in the cluster does not fit the configuration.
    """
    waiting = False
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
        try:
            await admin.start()
            await topics.ensure(admin, settings.kafka)
            await _publish_products(bootstrap_servers, settings, products)
            return await _agree(bootstrap_servers, settings, products)
        except (KafkaError, OSError) as error:
            if not waiting:
                logger.warning("Waiting for Apache Kafka at %s (%s). Ctrl-C ends.", bootstrap_servers, error)
            waiting = True
            await asyncio.sleep(RETRY)
        finally:
            await admin.close()


async def read_all(bootstrap_servers: str, topic: str) -> list[ConsumerRecord]:
    """Return all records of a topic of one partition, from its beginning to what is its end now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        tp = TopicPartition(topic, 0)
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        await consumer.seek_to_beginning(tp)
        records: list[ConsumerRecord] = []
        while await consumer.position(tp) < end:
            for batch in (await consumer.getmany(tp, timeout_ms=1000)).values():
                records += batch
        return records
    finally:
        await consumer.stop()


async def _publish_products(bootstrap_servers: str, settings: Settings, products: tuple[Product, ...]) -> None:
    """Write the products that the topic does not hold yet, or holds otherwise."""
    topic = settings.kafka.topic_products
    known = {record.key: record.value for record in await read_all(bootstrap_servers, topic)}
    wanted = {product.product_id.encode(): messages.encode(messages.product(product)) for product in products}
    await _write(bootstrap_servers, topic, {key: value for key, value in wanted.items() if known.get(key) != value})


async def _agree(bootstrap_servers: str, settings: Settings, products: tuple[Product, ...]) -> int:
    topic = topics.opening_topic(settings.kafka)
    made_from = _made_from(settings, products)
    records = await read_all(bootstrap_servers, topic)
    if not records:
        opening = {"opened_at": messages.time_text(time.time_ns() // 1000), "made_from": made_from}
        await _write(bootstrap_servers, topic, {settings.kafka.application_id.encode(): orjson.dumps(opening)})
        records = await read_all(bootstrap_servers, topic)
    opening = orjson.loads(records[0].value)
    theirs: dict[str, Any] = opening["made_from"]
    changed = [
        f"{name} was {theirs.get(name)}, is {value}" for name, value in made_from.items() if theirs.get(name) != value
    ]
    if changed:
        raise OpeningError(
            f"The shop in this log was opened {opening['opened_at']} with another configuration: {'; '.join(changed)}. "
            "Its stream cannot go on with this one. Put the values back, or begin anew: yasdg topics delete"
        )
    return messages.event_time(opening["opened_at"])


def _made_from(settings: Settings, products: tuple[Product, ...]) -> dict[str, Any]:
    """Return what the stream is a function of, beside time. How many sales there shall be changes none of them."""
    sales = {name: str(value) for name, value in asdict(settings.sales).items()}
    del sales["products"], sales["number_of_sales"]
    inventory = {name: str(value) for name, value in asdict(settings.inventory).items()}
    table = repr([asdict(product) for product in products]).encode()
    return sales | inventory | {"products": sha256(table).hexdigest()[:16]}


async def _write(bootstrap_servers: str, topic: str, values: dict[bytes, bytes]) -> None:
    if not values:
        return
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, enable_idempotence=True)
    await producer.start()
    try:
        await asyncio.gather(*[await producer.send(topic, value, key, partition=0) for key, value in values.items()])
    finally:
        await producer.stop()
