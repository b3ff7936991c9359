"""Batches of others are unpacked as far as it is safe, and aiokafka's consumers read them in the same way."""

import struct
from typing import Any

import cramjam
import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from yasdg_app.kafka.batch_reader import MAX_FOREIGN_RECORDS, Batch, Batches, Unparsed, bound_consumers

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def made(count: int = 3, codec: int = 0, value: bytes = b"value", first: int = 0) -> bytes:
    builder: Any = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=9, producer_epoch=0, base_sequence=0,
        batch_size=2**30,
    )  # fmt: skip
    for place in range(count):
        builder.append(place, 7, b"key", value, [("a", b"b")])
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")
    return bytes(data)


def bomb(codec: int, size: int) -> bytes:
    """A batch whose records unpack to so many bytes, of which it says nothing in its header."""
    name = next(name for name, number in CODECS.items() if number == codec)
    payload = bytes(getattr(cramjam, name).compress(b"\0" * size))
    data = bytearray(made(codec=0))[:61] + payload
    struct.pack_into(">i", data, 8, len(data) - 12)
    data[22] = codec
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("codec", [0, *CODECS.values()])
def test_batches_are_those_of_aiokafka(codec: int) -> None:
    data = made(codec=codec) + made(2, codec, first=3) + made(first=5)[:40]  # the last one is cut off
    theirs, ours = MemoryRecords(data), Batches(data)
    while theirs.has_next():
        assert ours.has_next()
        their, our = theirs.next_batch(), ours.next_batch()
        assert our is not None
        for name in ("base_offset", "next_offset", "producer_id", "base_sequence", "last_offset_delta"):
            assert getattr(our, name) == getattr(their, name)
        assert our.validate_crc()
        assert [(m.offset, m.key, m.value, m.headers) for m in our.records()] == [
            (m.offset, m.key, m.value, m.headers) for m in their
        ]
    assert not ours.has_next()
    assert ours.next_batch() is None


@pytest.mark.parametrize("codec", [CODECS["gzip"], CODECS["lz4"], CODECS["zstd"]])
def test_a_foreign_batch_that_unpacks_to_too_much_is_one_message_without_content(codec: int) -> None:
    data = bomb(codec, 2**27)
    assert len(data) < 2**20
    (message,) = Batch(data).records()
    assert isinstance(message, Unparsed)
    assert "unpacks to more than" in message.why


def test_a_foreign_batch_of_too_many_records_is_one_message_without_content() -> None:
    (message,) = Batch(made(MAX_FOREIGN_RECORDS + 1, CODECS["zstd"], b"")).records()
    assert isinstance(message, Unparsed)
    assert "records" in message.why


def test_what_is_no_batch_ends_what_was_fetched() -> None:
    for data in (b"", b"\0" * 5, b"\0" * 100, b"\xff" * 100, made()[:60]):
        assert Batches(data).next_batch() is None


def test_consumers_read_batches_in_this_way() -> None:
    assert hasattr(fetcher, "MemoryRecords")  # what is replaced
    bound_consumers()
    assert fetcher.MemoryRecords is Batches
