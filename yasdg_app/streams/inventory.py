"""The agents that keep the inventory: they read purchases and lost sales, update the table, and write restocks.

The order of each chunk: fold it; append the restocks, then the dead letters, then the table's changelog, each when the
cluster has the one before; change the table. A death before the changelog's append repeats the chunk, and what it had
told by then is not told again; a death after it skips the chunk.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app import messages
from yasdg_app.application import app
from yasdg_app.cluster import passes
from yasdg_app.messages import InventoryLevel, encode, home
from yasdg_app.producer import OutOfDateError, OvertakenError, Row
from yasdg_app.streams.books import Books, Folded
from yasdg_app.streams.ownership import Ownership, Told
from yasdg_app.streams.takeover import LONGEST_DISPUTE, dead_letter, disputed, read_told
from yasdg_app.streams.transport import Chunks
from yasdg_app.streams.watch import watch

logger = logging.getLogger(__name__)

kafka = app.shop.kafka
PARTITIONS = kafka.partitions
RETRY = 0.2  # seconds between two attempts to read where partitions stand

purchases, lost_sales = (
    app.topic(name, schema=Chunks(key_serializer="raw", value_serializer="raw"), partitions=PARTITIONS)
    for name in (kafka.topic_purchases, kafka.topic_lost_sales)
)
# Keys are the very bytes of the topic's keys: a view finds the worker that holds a product by their hash.
inventory: Any = app.Table(
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


homes = {product.product_id: home(product.product_id, PARTITIONS) for product in app.products}
products_of: dict[int, list[str]] = {partition: [] for partition in range(PARTITIONS)}
for _product_id, _partition in homes.items():
    products_of[_partition].append(_product_id)

books = Books({product.product_id: product for product in app.products}, homes)


def positions_of(partition: int) -> dict[TP, int]:
    """Return the next purchase and lost sale to apply: a position lives with the state that it belongs to."""
    levels = levels_of(partition)
    return {
        TP(kafka.topic_purchases, partition): max((level.offset for level in levels), default=-1) + 1,
        TP(kafka.topic_lost_sales, partition): max((level.lost_offset for level in levels), default=-1) + 1,
    }


app.ownership = Ownership(app, (kafka.topic_purchases, kafka.topic_lost_sales))
taking_over = asyncio.Lock()


async def look_anew() -> None:
    """Take over what we hold as if it were new: somebody else has written, or an answer was lost."""
    app.ownership.unsettle()
    await take_over()
    await app.ownership.go_back_to(app.ownership.applied)


@inventory.on_recover
async def take_over() -> None:
    """Read, once after each rebalance, the table and what else our partitions hold; from then on they are ours."""
    async with taking_over:  # a rebalance may come in the middle of it
        generation, tables = app.ownership.assigned, cast(Any, app.tables)
        partitions = sorted({tp.partition for tp in tables.recovery.actives_for_table[inventory]})
        began = time.monotonic()
        while not app.should_stop and generation == app.consumer_generation_id:
            try:
                await inventory.recover(partitions)
                told = await read_told(app.reader, kafka, homes, {p: levels_of(p) for p in partitions})
                if app.shop.clock.on_restart == "skip":
                    await app.control.be_here()
                await watch.look()
            except KafkaError as error:
                if not passes(error):
                    await app.crash(error)
                    return
                logger.warning("The cluster does not let us take over partitions: %s. Trying again.", error)
                await asyncio.sleep(RETRY)
            except Exception as error:  # Faust would go on as if nothing had happened
                await app.crash(error)
                return
            else:
                positions = {tp: at for partition in partitions for tp, at in positions_of(partition).items()}
                app.ownership.settle(generation, positions, told)
                logger.info(
                    "%d partitions are ours; the table of %d products was read in %.1f s",
                    *(len(partitions), len(inventory.data), time.monotonic() - began),
                )
                return


applying = asyncio.Lock()  # a partition's table is written by one chunk at a time


@app.agent(purchases)
async def keep_inventory(stream: Any) -> None:
    """Apply each chunk of purchases to the table."""
    await _keep(stream)


@app.agent(lost_sales)
async def keep_lost_sales(stream: Any) -> None:
    """Apply each chunk of lost sales to the table."""
    await _keep(stream)


async def _keep(stream: Any) -> None:
    overtaken_since: float | None = None
    async for event in stream.events():
        async with applying:
            try:
                await _apply(event.message, event.value)
                overtaken_since = None
            except OutOfDateError as error:
                logger.debug("%s. Reading the table anew.", error)
                app.counts["overtaken"] += isinstance(error, OvertakenError)
                overtaken_since = overtaken_since or time.monotonic()
                if time.monotonic() - overtaken_since > LONGEST_DISPUTE:
                    await app.crash(disputed(str(error)))
                await asyncio.sleep(RETRY)
                await look_anew()
            except Exception as error:
                # An agent that raises is restarted with its event acknowledged: the chunk would be lost.
                if not app.should_stop:
                    await app.crash(error)
                await asyncio.Event().wait()
            finally:
                app.ownership.busy = False


async def _apply(message: Any, chunk: list[Any]) -> None:
    ownership = app.ownership
    generation = ownership.generation
    if message.generation_id != generation or not ownership.settled:
        return  # it comes again: the next generation starts at the table's position
    ownership.busy = True

    def ours() -> bool:
        return bool(ownership.settled and ownership.generation == generation)

    tp = message.tp
    if await _is_ahead(tp, chunk):
        if ours():
            await ownership.go_back_to({tp: ownership.applied[tp]})
        return
    await watch.up_to_date()  # whoever wrote the chunk may know of incidents that we have not heard of
    if app.should_stop or not ours():
        return
    fold = books.fold if tp.topic == kafka.topic_purchases else books.fold_lost
    folded = fold(tp, chunk, level_of, watch.plan.supply)
    told = ownership.told[tp.partition]
    if not (await _restock(tp.partition, folded, told, ours) and await _bury(tp, folded, told, ours)):
        return
    rows = {level.product_id.encode(): level for level in folded.levels}
    if await inventory.write(tp.partition, rows, ours):
        ownership.applied[tp] = max(ownership.applied[tp], chunk[-1].offset + 1)


async def _is_ahead(tp: TP, chunk: list[Any]) -> bool:
    """Tell whether messages are missing before a chunk, which was fetched from another position before a rebalance."""
    position = app.ownership.applied[tp]
    if chunk[0].offset <= position:
        return False
    try:
        (first, *_), _ = await app.reader.fetch(tp, position)
    except (KafkaError, ValueError):
        return True
    return bool(first.offset != chunk[0].offset)  # else there is nothing in between, such as marks of transactions


async def _restock(partition: int, folded: Folded, told: Told, ours: Callable[[], bool]) -> bool:
    """Tell of the restocks, but for those that a worker before us told of; False if we may not."""
    restocks = [
        restock for restock in folded.restocks if restock.stocking.number > told.stockings.get(restock.product_id, 0)
    ]
    rows = (
        Row(product_id.encode(), encode(messages.stocking(product_id, stocking)), stocking.at // 1000)
        for product_id, stocking in restocks
    )
    appended = await app.shop_producer.append(kafka.topic_stockings, partition, told.number, rows, ours)
    if not appended.complete:
        return False
    for restock in restocks:
        told.stockings[restock.product_id] = restock.stocking.number
    restocked = {restock.product_id for restock in restocks}
    for level in folded.levels:
        if level.product_id in restocked:
            level.stocking_offset = appended.offset
    app.counts["restocks"] += len(restocks)
    return True


async def _bury(tp: TP, folded: Folded, told: Told, ours: Callable[[], bool]) -> bool:
    """Copy messages that are none of the shop's to the dead letters, but for those that a worker before us copied."""
    done = told.buried.get(tp.topic, -1)
    letters = [(message, reason) for message, reason in folded.dead_letters if message.offset > done]
    what = "purchase" if tp.topic == kafka.topic_purchases else "lost sale"
    for message, reason in letters:
        logger.warning("No %s: %s, partition %d, offset %d: %s", what, *tp, message.offset, reason)
    rows = (dead_letter(tp, message, reason, told.buried) for message, reason in letters)
    appended = await app.shop_producer.append(kafka.topic_dead_letters, tp.partition, told.letters, rows, ours)
    if letters and appended.complete:
        told.letters += len(letters)
        told.buried[tp.topic] = letters[-1][0].offset
        app.counts["dead_letters"] += len(letters)
    return appended.complete
