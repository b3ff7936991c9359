"""What a worker reads after a rebalance: where to resume, and which restocks and dead letters are already published.

A worker that died may have published restocks for sales that the table does not contain yet. The worker that processes
these sales again must not publish those restocks a second time.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import orjson
from faust.types import TP

from yasdg_app.cluster_state.clock_jumps import jumps
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.faust_runtime.partition_assignment import PublishedState
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.inventory.projection import OTHER_SHOP, InconsistentLogError
from yasdg_app.kafka.batch_writer import SEQUENCES
from yasdg_app.kafka.decoding import decoded_or_none
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.kafka.reader import DamagedLogError, Reader
from yasdg_app.messages.decoders import read_restock_key
from yasdg_app.messages.formats import Format
from yasdg_app.messages.ids import restock_number

MAX_CONFLICT_SECONDS = 120.0
"""Maximum time for which the cluster may expect another sequence number than the log implies."""
CUT_LETTER_BYTES = 64 * 1024  # of key and value together, copied from a message that is too long

logger = logging.getLogger(__name__)

_read_buried = msgspec.json.Decoder(dict[str, int]).decode


async def check_table(
    reader: Reader, kafka: KafkaSettings, table: ChunkedTable, partitions: Collection[int]
) -> dict[TP, int]:
    """Compare the table with the logs of purchases and lost sales; return the next offsets to apply.

    The rows of a partition hold the number of sales and the offset of the last one; the log tells how many sales the
    shop had appended before that offset. If the two numbers differ, a row is missing or old: the changelog was damaged,
    or a foreign record replaced a row during compaction. Such a partition is recomputed from the logs, which must be
    complete.

    `reader`: reads only the shop's own records. Raises InconsistentLogError if messages were deleted that the table
    lacks, and KafkaError.
    """
    found = await asyncio.gather(*(_check_partition(reader, kafka, table, partition) for partition in partitions))
    return {tp: position for positions in found for tp, position in positions.items()}


async def _check_partition(reader: Reader, kafka: KafkaSettings, table: ChunkedTable, partition: int) -> dict[TP, int]:
    tps = [TP(kafka.topic_purchases, partition), TP(kafka.topic_lost_sales, partition)]
    firsts, ends = await reader.firsts(tps), await reader.ends(tps)
    if not table.catalog.products_in(partition):
        return firsts
    counted = dict(zip(tps, _counted(table, partition), strict=True))
    is_whole = True
    for tp, (count, position) in counted.items():
        if position > ends[tp]:
            raise shorter(tp, ends[tp], position)
        logged = await reader.count_before(tp, position)
        if logged is not None and logged != count % SEQUENCES:
            if position < firsts[tp]:
                raise cut_log(tp, position, firsts[tp])
            is_whole = False
    if is_whole:
        return {tp: max(position, firsts[tp]) for tp, (_, position) in counted.items()}
    for tp in tps:
        if await reader.count_before(tp, firsts[tp]) not in (None, 0):
            raise InconsistentLogError(
                f"The changelog of the table does not have all rows of partition {partition}, and {tp.topic} does not "
                f"begin with its first message, so they cannot be computed again. Restore the partition of one of the "
                f"two topics from a backup. {OTHER_SHOP}"
            )
    logger.warning(
        "The changelog of the table does not have all rows of partition %d. They are computed again from %s.",
        partition, " and ".join(tp.topic for tp in tps),
    )  # fmt: skip
    table.clear_partition(partition)
    return firsts


def _counted(table: ChunkedTable, partition: int) -> Iterator[tuple[int, int]]:
    """Yield for purchases and for lost sales how many the table holds, and the offset after the last of them."""
    rows = table.store_of(partition)
    for count, offset in (("sales", "offset"), ("lost_sales", "lost_offset")):
        yield int(rows.column(count).sum()), int(rows.column(offset).max(initial=-1)) + 1


def is_cut(count: int | None, table: ChunkedTable, kafka: KafkaSettings, tp: TP) -> bool:
    """Return whether a log lacks messages that the table has not processed.

    `count`: number of messages that the shop had appended before the first remaining offset, modulo SEQUENCES; None:
    unknown, because no batch of the shop is left.
    """
    held = dict(zip((kafka.topic_purchases, kafka.topic_lost_sales), _counted(table, tp.partition), strict=True))
    return count is not None and count != held[tp.topic][0] % SEQUENCES


async def read_published_state(
    reader: Reader, kafka: KafkaSettings, table: ChunkedTable, partitions: Collection[int], form: Format
) -> dict[int, PublishedState]:
    """Return what the output topics already contain, by partition.

    Reads only what was written after the table. `reader`: reads only the shop's own records; `table`: already
    recovered. Raises InconsistentLogError if a log is shorter than the table says, and KafkaError.
    """
    states = await asyncio.gather(
        *(_published_state(reader, kafka, table, partition, form) for partition in partitions)
    )
    return dict(zip(partitions, states, strict=True))


async def _published_state(
    reader: Reader, kafka: KafkaSettings, table: ChunkedTable, partition: int, form: Format
) -> PublishedState:
    stockings, letters = TP(kafka.topic_stockings, partition), TP(kafka.topic_dead_letters, partition)
    published = PublishedState(restocks=await reader.count(stockings))
    # The last restock that the table contains is at this offset or a later one.
    start = int(table.store_of(partition).column("stocking_offset").max(initial=-1))
    first, end = (await reader.firsts([stockings]))[stockings], (await reader.ends([stockings]))[stockings]
    if start >= end:
        raise shorter(stockings, end, start)
    begin = max(start, first)
    async for chunk in reader.all_chunks(stockings, begin, end, with_foreign=False, skip_damaged=True):
        for record in await form.plain("stockings", chunk.messages):
            stocking = _heard(record.value)
            if stocking is not None and table.catalog.partition_of(stocking[0]) == partition:
                _note(published, table, *stocking)
    try:
        last, published.dead_letters = await reader.last(letters)  # its header lists what was copied before
    except DamagedLogError as error:
        logger.warning("%s Foreign messages may be copied a second time.", error)
        last, published.dead_letters = None, await reader.count(letters)
    if last is not None:
        published.dead_lettered |= _buried(last.headers)
    return published


def shorter(tp: Any, end: int, position: int) -> InconsistentLogError:
    """Return the error for a log that is shorter than the table says."""
    return InconsistentLogError(
        f"{tp.topic}, partition {tp.partition} ends at offset {end}, but the inventory has applied it up to offset "
        f"{position}: the topic was deleted or replaced, and the table's changelog was not. Restore the topic from a "
        f"backup. {OTHER_SHOP}"
    )


def cut_log(tp: Any, position: int, first: int) -> InconsistentLogError:
    """Return the error for messages that were deleted before the table had processed them."""
    return InconsistentLogError(
        f"{tp.topic}, partition {tp.partition} begins at offset {first}, but the inventory has applied it up to "
        f"{position} only: the messages between them were deleted before they were applied. Restore the topic from a "
        f"backup. {OTHER_SHOP}"
    )


class SequenceConflictTracker:
    """Tracks for how long the cluster's sequence number and the log of a partition have been in conflict."""

    def __init__(self) -> None:
        self._since: dict[TP, tuple[int, float]] = {}

    def note(self, tp: TP, offset: int, what: str) -> None:
        """Record a conflict at an offset of a partition. Raises InconsistentLogError if it has lasted too long.

        `what`: the conflict, as a sentence without a full stop.
        """
        now = time.monotonic()
        noted, since = self._since.setdefault(tp, (offset, now))
        if noted != offset:
            self._since[tp] = offset, now
        elif now - since > MAX_CONFLICT_SECONDS:
            raise InconsistentLogError(
                f"{what}, but the log has not contained it for {MAX_CONFLICT_SECONDS:.0f} s: records of this shop were "
                f"deleted from it, or another program writes with the shop's producer id. Restore the topic from a "
                f"backup. {OTHER_SHOP}"
            )

    def resolve(self, tp: TP) -> None:
        """Record that a partition has no conflict."""
        self._since.pop(tp, None)


def dead_letter(tp: Any, message: Any, reason: str, buried: Mapping[str, int], max_bytes: int) -> ProducerRecord:
    """Return the dead letter for a foreign message: a copy with the reason and the original position.

    The copy has the message's key and value, and its headers as `original.<name>`.

    Parameters
    ----------
    buried
        The offset of the last message that was copied, by topic.
    max_bytes
        Maximum size of key, value and headers together. A longer message is cut: its headers are omitted, at most
        CUT_LETTER_BYTES of key and value are kept, and `original.size` is its original size in bytes.
    """
    headers = [
        ("reason", reason.encode()),
        ("topic", tp.topic.encode()),
        ("partition", str(tp.partition).encode()),
        ("offset", str(message.offset).encode()),
        ("buried", orjson.dumps({**buried, tp.topic: message.offset})),
    ]
    key, value = message.key, message.value
    originals = [(f"original.{name}", content or b"") for name, content in message.headers]
    size = len(key or b"") + len(value or b"") + sum(len(name) * 4 + len(content) for name, content in originals)
    if size <= max_bytes:
        headers += originals
    else:
        headers.append(("original.size", str(size).encode()))
        key, value = (None if part is None else part[: CUT_LETTER_BYTES // 2] for part in (key, value))
    return ProducerRecord(key, value, jumps.record_time(), headers)


def _note(published: PublishedState, table: ChunkedTable, product_id: str, number: int) -> None:
    """Record a restock of the log, if it is new."""
    level = table.level_of(product_id)
    known = published.ahead.get(product_id, 0 if level is None else level.stockings)
    if number > known:
        published.ahead[product_id] = number


def _heard(value: bytes | None) -> tuple[str, int] | None:
    """Return product and number of a restock; None if it is another producer's message."""
    stocking = decoded_or_none(read_restock_key, value)
    if stocking is None:
        return None
    number = restock_number(stocking.product_id, stocking.stocking_id)
    return None if number is None else (stocking.product_id, number)


def _buried(headers: Sequence[tuple[str, bytes]]) -> dict[str, int]:
    """Return the offsets that a dead letter records as copied; empty if it has none."""
    return decoded_or_none(_read_buried, dict(headers).get("buried")) or {}
