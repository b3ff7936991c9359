"""The agents that keep the inventory: they read purchases and lost sales, update the table, and write restocks.

The order of each chunk: fold it; append the restocks, then the dead letters, then the table's changelog, each when the
cluster has the one before; change the table. A death before the changelog's append repeats the chunk, and what it had
told by then is not told again; a death after it skips the chunk.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.application import app
from yasdg_app.cluster import passes
from yasdg_app.formats import as_it_came
from yasdg_app.messages import InventoryLevel, encode_stocking
from yasdg_app.producer import BATCH_BYTES, OutOfDateError, OvertakenError, Row
from yasdg_app.reading import Message
from yasdg_app.shop.shelf import Shelf
from yasdg_app.streams.assortment import Assortment
from yasdg_app.streams.books import Books, Folded, LevelOf, shelf_of
from yasdg_app.streams.deliveries import MOST, Delivery
from yasdg_app.streams.ownership import Ownership, Told
from yasdg_app.streams.table import Rows
from yasdg_app.streams.takeover import Disputes, dead_letter, read_told
from yasdg_app.streams.transport import Chunks
from yasdg_app.streams.watch import watch
from yasdg_app.streams.windows import Windows

logger = logging.getLogger(__name__)

kafka = app.shop.kafka
PARTITIONS = kafka.partitions
AT_HAND = 16  # chunks that wait or are applied; with those before them they are the bound of a worker's memory
# In a chunk of so many products that each message may change another row, which all go into one batch.
MOST_ROWS = BATCH_BYTES // 700
RETRY = 0.2  # seconds between two attempts to read where partitions stand

purchases, lost_sales = (
    app.topic(name, schema=Chunks(key_serializer="raw", value_serializer="raw"), partitions=PARTITIONS)
    for name in (kafka.topic_purchases, kafka.topic_lost_sales)
)
assortment = Assortment.of(app.products, PARTITIONS)
products_of = {partition: assortment.here(partition) for partition in range(PARTITIONS)}
books = Books(assortment)
# Keys are the very bytes of the topic's keys: a view finds the worker that holds a product by their hash.
inventory: Any = app.Table(
    "inventory",
    partitions=PARTITIONS,
    key_type=bytes,
    value_type=InventoryLevel,
    help="Stock and books of each product.",
    assortment=assortment,
)
level_of: LevelOf = inventory.level_of
"""Returns what the table holds of a product; None before its first sale."""
windows = Windows(app, assortment, inventory.rows_of)


class Shelves(Mapping[str, Shelf]):
    """The shelves of a partition as the table has them, by product_id; each is made when it is asked for."""

    def __init__(self, partition: int) -> None:
        self._rows: Rows = inventory.rows_of(partition)

    def __getitem__(self, product_id: str) -> Shelf:
        level = level_of(product_id)
        if level is None:
            raise KeyError(product_id)
        return shelf_of(assortment[product_id], level)

    def __iter__(self) -> Iterator[str]:
        return (product.product_id for product in self._rows.products())

    def __len__(self) -> int:
        return len(self._rows)


def column_of(partition: int, name: str) -> dict[str, int]:
    """Return a field of what the table holds of the products of a partition, by product_id."""
    rows = inventory.rows_of(partition)
    return dict(zip((product.product_id for product in rows.products()), rows.column(name).tolist(), strict=True))


def positions_of(partition: int) -> dict[TP, int]:
    """Return the next purchase and lost sale to apply: a position lives with the state that it belongs to."""
    rows = inventory.rows_of(partition)
    return {
        TP(kafka.topic_purchases, partition): int(rows.column("offset").max(initial=-1)) + 1,
        TP(kafka.topic_lost_sales, partition): int(rows.column("lost_offset").max(initial=-1)) + 1,
    }


app.ownership = Ownership(
    app,
    (kafka.topic_purchases, kafka.topic_lost_sales),
    {p: MOST if len(here) <= MOST_ROWS else MOST_ROWS for p, here in products_of.items()},
)
taking_over = asyncio.Lock()
# A partition's table is written by one chunk at a time, of purchases or of lost sales: in the order in which they came.
turns = {partition: asyncio.Lock() for partition in products_of}
room = asyncio.Semaphore(AT_HAND)
looking_anew = asyncio.Lock()
tasks: set[asyncio.Task[None]] = set()
disputes = Disputes()


async def look_anew() -> None:
    """Take over what we hold as if it were new: somebody else has written, or an answer was lost."""
    app.ownership.unsettle()  # whoever is in the middle of a chunk gives it up
    async with AsyncExitStack() as all_quiet:
        for turn in turns.values():
            await all_quiet.enter_async_context(turn)
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
                told = await read_told(app.reader, kafka, inventory, partitions, app.format)
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
                windows.settle(generation, positions)
                logger.info(
                    "%d partitions are ours; the table of %d products was read in %.1f s",
                    *(len(partitions), len(inventory.data), time.monotonic() - began),
                )
                return


@app.agent(purchases)
async def keep_inventory(stream: Any) -> None:
    """Apply each chunk of purchases to the table."""
    await _keep(stream)


@app.agent(lost_sales)
async def keep_lost_sales(stream: Any) -> None:
    """Apply each chunk of lost sales to the table."""
    await _keep(stream)


async def _keep(stream: Any) -> None:
    """Hand each chunk to its partition: the chunks of one go one after the other, those of several at the same time."""
    async for event in stream.events():
        for chunk in event.value.chunks:
            await room.acquire()
            app.ownership.applying[chunk.tp.partition] += 1
            task = asyncio.create_task(_keep_in_turn(event.value, *chunk))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _keep_in_turn(delivery: Delivery, tp: TP, chunk: list[Message]) -> None:
    try:
        async with turns[tp.partition]:
            told = app.ownership.told
            overtaken = await _is_overtaken(tp, chunk, delivery.generation)
        if overtaken:
            await asyncio.sleep(RETRY)
            async with looking_anew:
                if told is app.ownership.told:  # else that was done meanwhile
                    await look_anew()
    except Exception as error:  # what is left to apply is left: an app that crashes applies no more
        if not app.should_stop:
            await app.crash(error)
    finally:
        app.ownership.applying[tp.partition] -= 1
        delivery.note_handled()
        room.release()


async def _is_overtaken(tp: TP, chunk: list[Message], generation: int) -> bool:
    """Apply a chunk if it can be; tell whether what is known of the logs is out of date."""
    told = app.ownership.told
    try:
        if await _apply(tp, chunk, generation):
            disputes.settle(tp)
    except OutOfDateError as error:
        logger.debug("%s. Reading the table anew.", error)
        app.counts["overtaken"] += isinstance(error, OvertakenError)
        if told is app.ownership.told:  # else a rebalance has settled it meanwhile
            app.ownership.unsettle()  # while the turn is ours: the next chunk must not go by what is out of date
        disputes.note(tp, chunk[0].offset, str(error))
        return True
    return False


async def _apply(tp: TP, chunk: list[Message], generation: int) -> bool:
    """Apply a chunk of purchases or of lost sales to the table, if it is ours and the next; tell whether it was.

    `generation`: of the group when it was fetched.
    """
    ownership = app.ownership
    if generation != ownership.generation or not ownership.settled:
        return False  # it comes again: the next generation starts at the table's position

    def ours() -> bool:
        return bool(ownership.settled and ownership.generation == generation)

    sold = tp.topic == kafka.topic_purchases
    if await _is_ahead(tp, chunk):
        if ours():
            await ownership.go_back_to({tp: ownership.applied[tp]})
        return False
    plain = await app.format.plain("purchases" if sold else "lost_sales", chunk)
    await watch.up_to_date()  # whoever wrote the chunk may know of incidents that we have not heard of
    if app.should_stop or not ours():
        return False
    fold = books.fold if sold else books.fold_lost
    folded = fold(tp, plain, level_of, watch.plan.supply)
    counted = windows.count(tp.partition, folded) if sold else None
    folded.sales, folded.grouped = [], None  # what follows may have to wait for the cluster
    told = ownership.told[tp.partition]
    if not (await _restock(tp.partition, folded, told, ours) and await _bury(tp, folded, told, ours)):
        return False
    if not await inventory.write(tp.partition, folded.levels, ours):
        return False
    ownership.applied[tp] = max(ownership.applied[tp], chunk[-1].offset + 1)
    if sold:
        windows.add(tp.partition, folded, counted)
    else:
        windows.add_lost(tp.partition, plain)
    return True


async def _is_ahead(tp: TP, chunk: list[Message]) -> bool:
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
        restock for restock in folded.restocks if restock.stocking.number > told.ahead.get(restock.product_id, 0)
    ]
    rows = (
        Row(
            product_id.encode(),
            app.format.write("stockings", encode_stocking(product_id, stocking)),
            stocking.at // 1000,
        )
        for product_id, stocking in restocks
    )
    appended = await app.shop_producer.append(kafka.topic_stockings, partition, told.stockings, rows, ours)
    if not appended.complete:
        return False
    told.stockings += len(restocks)
    restocked = {restock.product_id for restock in restocks}
    for level in folded.levels:
        if level.product_id in restocked:
            level.stocking_offset = appended.offset
    app.counts["restocks"] += len(restocks)
    return True


async def _bury(tp: TP, folded: Folded, told: Told, ours: Callable[[], bool]) -> bool:
    """Copy messages that are none of the shop's to the dead letters, but for those that a worker before us copied."""
    done = told.buried.get(tp.topic, -1)
    letters = [as_it_came(*letter) for letter in folded.dead_letters if letter[0].offset > done]
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
