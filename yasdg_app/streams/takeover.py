"""What a worker reads when it takes over partitions: which restocks and dead letters stand in the logs already.

A worker that died may have told of sales that its table does not hold yet. Whoever folds these sales again has to know,
so as not to tell of them twice.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import orjson
from faust.types import TP

from yasdg_app.formats import Format
from yasdg_app.messages import read_stocking, stocking_number
from yasdg_app.producer import Row
from yasdg_app.reading import Reader
from yasdg_app.settings import KafkaSettings
from yasdg_app.streams.books import BooksError
from yasdg_app.streams.jumps import jumps
from yasdg_app.streams.ownership import Told
from yasdg_app.streams.table import ChunkedTable

LONGEST_DISPUTE = 120.0  # seconds for which the cluster may count otherwise than the log shows


async def read_told(
    reader: Reader, kafka: KafkaSettings, table: ChunkedTable, partitions: Collection[int], form: Format
) -> dict[int, Told]:
    """Return what the logs hold of each partition; `table`: as it was recovered.

    Reads what was written after the table, no more. Raises BooksError if a log is shorter than the table says.
    """
    told = {partition: Told(int(table.rows_of(partition).column("stockings").sum())) for partition in partitions}
    # The last restock that the table knows of stands at its stocking_offset or behind it.
    starts = {
        TP(kafka.topic_stockings, partition): int(table.rows_of(partition).column("stocking_offset").max(initial=-1))
        for partition in partitions
    }
    letters = [TP(kafka.topic_dead_letters, partition) for partition in partitions]
    ends = await reader.ends([*starts, *letters])
    for tp, start in starts.items():
        if start >= ends[tp]:
            raise shorter(tp, ends[tp], start)
    starts |= {tp: ends[tp] - 1 for tp in letters}  # each says what was buried by then: the last one is enough
    records = await reader.read({tp: max(start, 0) for tp, start in starts.items()})
    for tp, read in records.items():
        own = told[tp.partition]
        if tp in letters:
            own.letters = ends[tp]
            for record in read:
                own.buried |= _buried(record.headers)
        else:
            for record in await form.plain("stockings", read):
                stocking = _heard(record.value)
                if stocking is not None and table.assortment.home(stocking[0]) == tp.partition:
                    _note(own, table, *stocking)
    return told


def shorter(tp: Any, end: int, position: int) -> BooksError:
    """Return the error that a log is shorter than the table says."""
    return BooksError(
        f"{tp.topic}, partition {tp.partition} ends at offset {end}, but the inventory stands at {position}: the topic "
        "was deleted, and the table's changelog was not. Begin anew: yasdg topics delete"
    )


class Disputes:
    """Where the cluster counts otherwise than the log shows, as yet: what is in doubt there, and since when."""

    def __init__(self) -> None:
        self._since: dict[TP, tuple[int, float]] = {}

    def note(self, tp: TP, place: int, what: str) -> None:
        """Note that `what` is in doubt at a place in a partition. Raises BooksError if it has been so for too long."""
        now = time.monotonic()
        noted, since = self._since.setdefault(tp, (place, now))
        if noted != place:
            self._since[tp] = place, now
        elif now - since > LONGEST_DISPUTE:
            raise BooksError(
                f"{what}, and the log does not show it: somebody else has written into it. "
                "Begin anew: yasdg topics delete"
            )

    def settle(self, tp: TP) -> None:
        """Note that nothing is in doubt in a partition."""
        self._since.pop(tp, None)


def dead_letter(tp: Any, message: Any, reason: str, buried: Mapping[str, int]) -> Row:
    """Return the copy of a message that is none of the shop's, with the reason and where it stood.

    `buried`: the offset of the last message that was copied, by its topic.
    """
    headers = (
        ("reason", reason.encode()),
        ("topic", tp.topic.encode()),
        ("partition", str(tp.partition).encode()),
        ("offset", str(message.offset).encode()),
        ("buried", orjson.dumps({**buried, tp.topic: message.offset})),
    )
    key = f"{tp.topic}-{tp.partition}-{message.offset}".encode()
    return Row(key, message.value, jumps.record_time(), headers)


def _note(told: Told, table: ChunkedTable, product_id: str, number: int) -> None:
    """Note a restock that stands in the log, if it is news."""
    level = table.level_of(product_id)
    known = told.ahead.get(product_id, 0 if level is None else level.stockings)
    if number > known:
        told.ahead[product_id] = number
        told.stockings += number - known


def _heard(value: bytes | None) -> tuple[str, int] | None:
    """Return product and number of a restock; None if it is somebody else's message."""
    try:
        stocking = read_stocking(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    number = stocking_number(stocking.product_id, stocking.stocking_id)
    return None if number is None else (stocking.product_id, number)


def _buried(headers: Sequence[tuple[str, bytes]]) -> dict[str, int]:
    """Return what a dead letter says was buried by then; nothing if it is somebody else's message."""
    try:
        return msgspec.json.decode(dict(headers)["buried"], type=dict[str, int])
    except (KeyError, msgspec.DecodeError):
        return {}
