"""The agent that keeps the inventory: it reads purchases, decrements the table, and writes restocks.

The order of each chunk: fold it, append the restocks and dead letters and wait for them, check that the partition is
still ours, write the table without a pause. A death before the table's write repeats the chunk; one after it skips it.
"""

import asyncio
import logging
from typing import Any

from aiokafka.partitioner import murmur2

from yasdg_app.application import app
from yasdg_app.messages import InventoryLevel, encode, event_time
from yasdg_app.streams.books import Books, Folded
from yasdg_app.streams.log import append
from yasdg_app.streams.ownership import Ownership
from yasdg_app.streams.transport import Chunks

logger = logging.getLogger(__name__)

kafka = app.shop.kafka
PARTITIONS = kafka.partitions

purchases = app.topic(
    kafka.topic_purchases, schema=Chunks(key_serializer="raw", value_serializer="raw"), partitions=PARTITIONS
)
# Keys are the very bytes of the topic's keys: a view finds the worker that holds a product by their hash.
inventory = app.Table(
    "inventory",
    partitions=PARTITIONS,
    key_type=bytes,
    value_type=InventoryLevel,
    help="Stock and books of each product.",
)


def level_of(product_id: str) -> InventoryLevel | None:
    """Return what the table holds of a product; None before its first sale."""
    level: InventoryLevel | None = inventory.get(product_id.encode())
    return level


def levels_of(partition: int) -> list[InventoryLevel]:
    """Return what the table holds of the products of a partition."""
    levels = (level_of(product_id) for product_id in products_of[partition])
    return [level for level in levels if level is not None]


def partition_of(product_id: str) -> int:
    """Return the partition of a product's sales, as Kafka's default partitioner has it."""
    return int((murmur2(product_id.encode()) & 0x7FFFFFFF) % PARTITIONS)


products_of: dict[int, list[str]] = {partition: [] for partition in range(PARTITIONS)}
for _product in app.products:
    products_of[partition_of(_product.product_id)].append(_product.product_id)

books = Books({product.product_id: product for product in app.products}, app.shop.inventory, partition_of)


def table_position(partition: int) -> int:
    """Return the next offset to apply: a position lives with the state that it belongs to."""
    return max((level.offset for level in levels_of(partition)), default=-1) + 1


app.ownership = Ownership(app, kafka.topic_purchases, table_position)
dead_letters = 0  # since this worker started


@app.agent(purchases)
async def keep_inventory(stream: Any) -> None:
    """Apply each chunk of purchases to the table."""
    async for event in stream.events():
        try:
            await _apply(event.message, event.value)
        except Exception as error:
            # An agent that raises is restarted with its event acknowledged: the chunk would be lost.
            if not app.should_stop:
                await app.crash(error)
            await asyncio.Event().wait()


async def _apply(message: Any, chunk: list[Any]) -> None:
    ownership = app.ownership
    generation = ownership.generation
    if message.generation_id != generation or not ownership.settled:
        return  # it comes again: the next generation starts at the table's position

    def ours() -> bool:
        return bool(ownership.settled and ownership.generation == generation)

    tp = message.tp
    folded = books.fold(tp, chunk, level_of)
    if not await _append(tp, folded, ours) or not ours():
        return
    for level in folded.levels:
        inventory[level.product_id.encode()] = level
    ownership.applied[tp] = chunk[-1].offset + 1


async def _append(tp: Any, folded: Folded, ours: Any) -> bool:
    restocks = (
        (stocking.product_id.encode(), encode(stocking), event_time(stocking.event_time) // 1000)
        for stocking in folded.stockings
    )
    if folded.stockings and not await append(app, kafka.topic_stockings, tp.partition, restocks, ours):
        return False
    for message, reason in folded.dead_letters:
        await _bury(tp, message, reason)
    return True


async def _bury(tp: Any, message: Any, reason: str) -> None:
    """Copy a message that is no purchase to the dead letters, unless a worker before us did."""
    if message.offset < app.ownership.committed.get(tp, 0):
        return
    global dead_letters
    dead_letters += 1
    logger.warning("No purchase: %s, partition %d, offset %d: %s", tp.topic, tp.partition, message.offset, reason)
    headers = {
        "reason": reason.encode(),
        "topic": tp.topic.encode(),
        "partition": str(tp.partition).encode(),
        "offset": str(message.offset).encode(),
    }
    key = f"{tp.topic}-{tp.partition}-{message.offset}".encode()
    await app.producer.send_and_wait(kafka.topic_dead_letters, key, message.value, 0, None, headers)
