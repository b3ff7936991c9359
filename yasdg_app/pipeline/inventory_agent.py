"""The agents that keep the inventory: they read purchases and lost sales, update the table, and write restocks.

The order of each chunk: fold it; append the restocks, then the dead letters, then the table's changelog, each when the
cluster has the one before; change the table. A death before the changelog's append repeats the chunk, and what it had
told by then is not told again; a death after it skips the chunk.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, cast

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OffsetOutOfRangeError
from faust.types import TP

from yasdg_app.aggregates.windows import Windows
from yasdg_app.application import app
from yasdg_app.errors import YasdgError
from yasdg_app.faust_runtime.fetched_batches import MOST, Delivery
from yasdg_app.faust_runtime.table import Rows
from yasdg_app.faust_runtime.transport import Chunks
from yasdg_app.inventory.partitioned_catalog import Assortment
from yasdg_app.inventory.projection import Books, Folded, LevelOf, shelf_of
from yasdg_app.kafka.client import is_retriable
from yasdg_app.kafka.producer import (
    BATCH_BYTES,
    ProducerRecord,
    RecordsRejectedError,
    SequenceConflictError,
    StaleStateError,
)
from yasdg_app.kafka.reader import Chunk, Message
from yasdg_app.kafka.topic_policies import MAX_LETTER_BYTES
from yasdg_app.messages.encoders import encode_restock
from yasdg_app.messages.formats import original_of
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.pipeline.control_follower import watch
from yasdg_app.pipeline.foreign_log import ForeignLog, foreign_reason
from yasdg_app.pipeline.partition_assignment import Ownership, Told
from yasdg_app.pipeline.restore import (
    CUT_LETTER_BYTES,
    Disputes,
    check_table,
    cut_log,
    dead_letter,
    is_cut,
    read_told,
    shorter,
)
from yasdg_app.shop.shelf import Shelf

logger = logging.getLogger(__name__)

kafka = app.shop.kafka
PARTITIONS = kafka.partitions
AT_HAND = 16  # chunks that wait or are applied; with those before them they are the bound of a worker's memory
# In a chunk of so many products that each message may change another row, which all go into one batch.
MOST_ROWS = BATCH_BYTES // 700
CHECK_SECONDS = 3.0  # between two looks at where the logs begin and end
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
foreign_log = ForeignLog()
last_check: dict[TP, int] = {}  # positions at the last check of the logs


@dataclass(slots=True)
class MaxLetter:
    """How long a copy may be: less, once the cluster has refused one."""

    bytes: int = MAX_LETTER_BYTES


max_letter = MaxLetter()


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
                positions = await check_table(app.own_reader, kafka, inventory, partitions)
                told = await read_told(app.own_reader, kafka, inventory, partitions, app.format)
                if app.shop.clock.on_restart == "skip":
                    await app.control.announce_presence()
                await watch.look()
            except KafkaError as error:
                # Where a log begins may have changed since it was asked for, by retention.
                if not is_retriable(error) and not isinstance(error, OffsetOutOfRangeError):
                    await app.crash(error)
                    return
                logger.warning("The cluster does not let us take over partitions: %s. Trying again.", error)
                await asyncio.sleep(RETRY)
            except Exception as error:  # Faust would go on as if nothing had happened
                await app.crash(error)
                return
            else:
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
            task = asyncio.create_task(_keep_in_turn(event.value, chunk))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _keep_in_turn(delivery: Delivery, chunk: Chunk) -> None:
    tp = TP(*chunk.tp)
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


async def _is_overtaken(tp: TP, chunk: Chunk, generation: int) -> bool:
    """Apply a chunk if it can be; tell whether what is known of the logs is out of date."""
    told = app.ownership.told
    try:
        if await _apply(tp, chunk, generation):
            disputes.settle(tp)
    except StaleStateError as error:
        logger.debug("%s. Reading the table anew.", error)
        if told is app.ownership.told:  # else a rebalance has settled it meanwhile
            app.ownership.unsettle()  # while the turn is ours: the next chunk must not go by what is out of date
        if isinstance(error, SequenceConflictError):  # a cluster that does not answer disputes nothing
            app.counts["overtaken"] += 1
            disputes.note(tp, chunk.begin, str(error))
        return True
    return False


async def _apply(tp: TP, chunk: Chunk, generation: int) -> bool:
    """Apply a chunk of purchases or of lost sales to the table, if it is ours and the next; tell whether it was.

    `generation`: of the group when it was fetched.
    """
    ownership = app.ownership
    if generation != ownership.generation or not ownership.settled:
        return False  # it comes again: the next generation starts at the table's position

    def ours() -> bool:
        return bool(ownership.settled and ownership.generation == generation)

    sold = tp.topic == kafka.topic_purchases
    if chunk.begin > ownership.applied[tp]:  # fetched from another position before a rebalance, or the log was cut
        try:
            await pass_deleted(tp)
        except KafkaError as error:
            logger.debug("Where %s begins cannot be read: %r", tp, error)
        if not ours():
            return False
        if chunk.begin > ownership.applied[tp]:
            await ownership.go_back_to({tp: ownership.applied[tp]})
            return False
    plain = await app.format.plain("purchases" if sold else "lost_sales", chunk.messages)
    await watch.up_to_date()  # whoever wrote the chunk may know of incidents that we have not heard of
    if app.should_stop or not ours():
        return False
    fold = books.fold if sold else books.fold_lost
    folded = fold(tp, plain, level_of, watch.plan.supply) if plain else Folded()
    counted = windows.count(tp.partition, folded) if sold and plain else None
    folded.sales, folded.grouped = [], None  # what follows may have to wait for the cluster
    told = ownership.told[tp.partition]
    letters = dead_letters_of(chunk, folded)
    if not (await _restock(tp.partition, folded, told, ours) and await _bury(tp, letters, told, ours)):
        return False
    if not await inventory.write(tp.partition, folded.levels, ours):
        return False
    ownership.applied[tp] = max(ownership.applied[tp], chunk.end)
    if sold:
        windows.add(tp.partition, folded, counted)
    elif plain:
        windows.add_lost(tp.partition, plain)
    return True


def dead_letters_of(chunk: Chunk, folded: Folded) -> list[tuple[Message, str]]:
    """Return the messages of a chunk that are not the shop's, each with the reason, in the order of the log."""
    foreign = [(message, foreign_reason(message)) for message in chunk.foreign]
    return sorted((*foreign, *itertools.starmap(original_of, folded.dead_letters)), key=lambda letter: letter[0].offset)


async def pass_deleted(tp: TP) -> None:
    """Go on at the first message that is left, where those before it were deleted after they had been applied.

    Nothing else may be applied to the partition meanwhile. Raises BooksError if messages were deleted that the table
    has not seen.
    """
    ownership, generation = app.ownership, app.ownership.generation
    position = ownership.applied[tp]
    first = (await app.own_reader.firsts([tp]))[tp]
    if first <= position:
        return
    count = await app.own_reader.count_before(tp, first)
    if generation != ownership.generation or not ownership.settled:
        return  # the table is another one by now
    if is_cut(count, inventory, kafka, tp):
        raise cut_log(tp, position, first)
    ownership.applied[tp] = first


async def _restock(partition: int, folded: Folded, told: Told, ours: Callable[[], bool]) -> bool:
    """Tell of the restocks, but for those that a worker before us told of; False if we may not."""
    restocks = [each for each in folded.restocks if each.restock.number > told.ahead.get(each.product_id, 0)]
    rows = (
        ProducerRecord(
            product_id.encode(),
            app.format.write("stockings", encode_restock(product_id, restock)),
            restock.at // 1000,
        )
        for product_id, restock in restocks
    )
    appended = await app.shop_producer.append(kafka.topic_stockings, partition, told.stockings, rows, ours)
    if not appended.complete:
        return False
    told.stockings += len(restocks)
    restocked = {each.product_id for each in restocks}
    for level in folded.levels:
        if level.product_id in restocked:
            level.stocking_offset = appended.offset
    app.counts["restocks"] += len(restocks)
    return True


async def _bury(tp: TP, letters: list[tuple[Message, str]], told: Told, ours: Callable[[], bool]) -> bool:
    """Copy messages that are not the shop's to the dead letters, but for those that a worker before us copied."""
    done = told.buried.get(tp.topic, -1)
    letters = [letter for letter in letters if letter[0].offset > done]
    for message, reason in letters:
        foreign_log.note(tp, message.offset, reason)
    rows = (dead_letter(tp, message, reason, told.buried, max_letter.bytes) for message, reason in letters)
    try:
        appended = await app.shop_producer.append(kafka.topic_dead_letters, tp.partition, told.letters, rows, ours)
    except RecordsRejectedError as error:
        if not isinstance(error.__cause__, MessageSizeTooLargeError) or max_letter.bytes == CUT_LETTER_BYTES:
            raise
        logger.warning("%s Copies of more than %d bytes are cut.", error, CUT_LETTER_BYTES)
        max_letter.bytes = CUT_LETTER_BYTES
        raise StaleStateError(str(error)) from error  # those before it may be there
    if letters and appended.complete:
        told.letters += len(letters)
        told.buried[tp.topic] = letters[-1][0].offset
        app.counts["dead_letters"] += len(letters)
    return appended.complete


@app.timer(CHECK_SECONDS)
async def check_logs() -> None:
    """See whether the logs still hold what is to be applied, and report foreign messages that came in numbers."""
    foreign_log.report()
    ownership, generation = app.ownership, app.ownership.generation
    if not ownership.settled or app.closing:
        return
    applied = dict(ownership.applied)
    try:
        firsts, ends = await app.own_reader.firsts(applied), await app.own_reader.ends(applied)
        for tp, position in applied.items():
            if generation != ownership.generation:
                return
            # What was fetched before it was deleted is applied first; and a broker that lags may not know all yet.
            if last_check.get(tp) != position:
                continue
            if firsts[tp] <= position <= ends[tp]:
                if position < ends[tp] and not ownership.is_busy(tp.partition):
                    await app.own_reader.fetch_chunk(tp, position, with_foreign=False)  # raises if that is impossible
                continue
            async with turns[tp.partition]:
                if generation != ownership.generation or ownership.applied[tp] != position:
                    continue
                if ends[tp] < position:
                    raise shorter(tp, ends[tp], position)
                await pass_deleted(tp)
    except KafkaError as error:
        lasts = not is_retriable(error) and not isinstance(error, OffsetOutOfRangeError)
        if lasts and generation == ownership.generation and not app.should_stop:
            await app.crash(error)
        logger.debug("The logs cannot be checked: %r", error)
    except YasdgError as error:
        if generation == ownership.generation and not app.should_stop:
            await app.crash(error)
    last_check.clear()
    last_check.update(applied)
