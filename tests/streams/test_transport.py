"""What was fetched is handed over whole, and is what aiokafka makes of it message by message."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from yasdg_app.streams.transport import Whole

TP = TopicPartition("purchases", 0)
CONTROL = 0x20  # in the attributes of a batch: a mark of a transaction


def batch(first: int, count: int, compression: int = 0, attributes: int = 0) -> bytes:
    """A batch of records as it stands in a log."""
    builder: Any = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=0, producer_id=1, producer_epoch=0, base_sequence=0,
        batch_size=1_000_000,
    )  # fmt: skip
    for place in range(count):
        builder.append(place, 7 + place, b"key", b"value %d" % (first + place), [("a", b"b")])
    made = bytearray(builder.build())
    made[:8] = first.to_bytes(8, "big")
    made[22] |= attributes
    return bytes(made)


def fetched(log: bytes, position: int, check_crcs: bool = False) -> PartitionRecords:
    return PartitionRecords(TP, MemoryRecords(log), [], position, None, None, check_crcs, READ_UNCOMMITTED)


@pytest.mark.parametrize("position", [0, 3, 5, 8, 9, 11])
@pytest.mark.parametrize("compression", [0, 4])
def test_messages_and_positions_are_those_of_aiokafka(position: int, compression: int) -> None:
    log = batch(0, 5, compression) + batch(5, 1, attributes=CONTROL) + batch(8, 3, compression)  # 6 and 7 are gone
    plain, whole = fetched(log, position), Whole.of(fetched(log, position))
    wanted = list(plain)
    batches: list[Any] = list(whole)
    assert [(m.offset, m.timestamp, m.key, m.value, tuple(m.headers)) for each in batches for m in each] == [
        (m.offset, m.timestamp, m.key, m.value, m.headers) for m in wanted
    ]
    assert all(batches)
    assert whole.next_fetch_offset == plain.next_fetch_offset == 11


def test_what_was_damaged_on_its_way_is_not_handed_over() -> None:
    damaged = bytearray(batch(0, 5))
    damaged[-3] ^= 1
    with pytest.raises(CorruptRecordException):
        list(Whole.of(fetched(bytes(damaged), 0, check_crcs=True)))
