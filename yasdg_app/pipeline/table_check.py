"""Whether the table belongs to the logs, and where the agent resumes: at the offset after the last one applied."""

import asyncio
import logging
from collections.abc import Collection, Iterator

from faust.types import TP

from yasdg_app.config.settings import KafkaSettings
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.inventory.projection import OTHER_SHOP, InconsistentLogError
from yasdg_app.kafka.batch_writer import SEQUENCES
from yasdg_app.kafka.reader import Reader

logger = logging.getLogger(__name__)


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
    held = dict(zip(tps, table_counts(table, partition), strict=True))
    is_whole = True
    for tp, (count, position) in held.items():
        if position > ends[tp]:
            raise short_log_error(tp, ends[tp], position)
        logged = await reader.count_before(tp, position)
        if logged is not None and logged != count % SEQUENCES:
            if position < firsts[tp]:
                raise cut_log_error(tp, position, firsts[tp])
            is_whole = False
    if is_whole:
        return {tp: max(position, firsts[tp]) for tp, (_, position) in held.items()}
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


def short_log_error(tp: TP, end: int, position: int) -> InconsistentLogError:
    """Return the error for a log that is shorter than the table says."""
    return InconsistentLogError(
        f"{tp.topic}, partition {tp.partition} ends at offset {end}, but the inventory has applied it up to offset "
        f"{position}: the topic was deleted or replaced, and the table's changelog was not. Restore the topic from a "
        f"backup. {OTHER_SHOP}"
    )


def cut_log_error(tp: TP, position: int, first: int) -> InconsistentLogError:
    """Return the error for messages that were deleted before the table had processed them."""
    return InconsistentLogError(
        f"{tp.topic}, partition {tp.partition} begins at offset {first}, but the inventory has applied it up to "
        f"{position} only: the messages between them were deleted before they were applied. Restore the topic from a "
        f"backup. {OTHER_SHOP}"
    )


def table_counts(table: ChunkedTable, partition: int) -> Iterator[tuple[int, int]]:
    """Yield for purchases and for lost sales how many the table holds, and the offset after the last of them."""
    rows = table.store_of(partition)
    for count, offset in (("sales", "offset"), ("lost_sales", "lost_offset")):
        yield int(rows.column(count).sum()), int(rows.column(offset).max(initial=-1)) + 1
