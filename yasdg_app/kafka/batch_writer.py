"""Builds record batches of Apache Kafka (message format 2) from encoded records.

See https://kafka.apache.org/documentation/#recordbatch. aiokafka's builder takes records one by one; here all records
of a batch are encoded at once, which is much faster.
"""

import struct
from dataclasses import dataclass

import cramjam
import numpy as np
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

SEQUENCES = 2**31  # sequence numbers wrap around here
NO_COMPRESSION, ZSTD = 0, 4  # codec numbers in the attributes of a batch
ZSTD_LEVEL = 1  # a higher one costs time and saves nothing here
_HEAD = struct.Struct(">qiibI")  # base offset, length, leader epoch, magic, crc
_BODY = struct.Struct(
    ">hiqqqhii"
)  # attributes, last offset delta, first and max timestamp, producer id and epoch, base sequence, count
_FORMAT = 2
_LENGTH_END = 12  # the length counts the bytes after itself


@dataclass(frozen=True, slots=True)
class Records:
    """The encoded records of one batch, without its header."""

    count: int
    first: int  # timestamp of the first, milliseconds since 1970
    last: int  # the latest timestamp, milliseconds since 1970
    data: bytes | bytearray | memoryview


def batch(records: Records, base_sequence: int, producer_id: int, producer_epoch: int) -> bytes:
    """Return a compressed record batch.

    Parameters
    ----------
    base_sequence
        How many records the producer has appended to the partition before, modulo SEQUENCES.
    producer_id, producer_epoch
        Of the producer.
    """
    data = cramjam.zstd.compress(records.data, level=ZSTD_LEVEL)
    body = bytearray(_BODY.size + len(data))
    _BODY.pack_into(
        body, 0, ZSTD, records.count - 1, records.first, records.last, producer_id, producer_epoch, base_sequence,
        records.count,
    )  # fmt: skip
    body[_BODY.size :] = memoryview(data)
    length = _HEAD.size + len(body) - _LENGTH_END
    return _HEAD.pack(0, length, -1, _FORMAT, calc_crc32c(body)) + body


def varint_sizes(values: Ints) -> Ints:
    """Return the size in bytes of each number as a varint; none is negative."""
    sizes = np.ones(len(values), dtype=np.int64)
    for bits in range(6, 64, 7):  # zigzag takes one of the first seven
        more = values >> bits
        if not more.any():
            break
        sizes += more > 0
    return sizes


def put_varints(into: Bytes, at: Ints, values: Ints, sizes: Ints) -> None:
    """Write numbers as varints; `at`: the index of the first byte of each, `sizes`: see `varint_sizes`."""
    rest = values << 1  # zigzag of a number that is not negative
    for place in range(int(sizes.max(initial=0))):
        there = sizes > place
        if there.all():
            into[at + place] = (rest & 0x7F) | np.where(sizes > place + 1, 0x80, 0)
        else:
            into[at[there] + place] = ((rest & 0x7F) | np.where(sizes > place + 1, 0x80, 0))[there]
        rest >>= 7


def varint(value: int) -> bytes:
    """Return a number that is not negative as a varint."""
    rest, result = value << 1, bytearray()
    while rest > 0x7F:
        result.append(rest & 0x7F | 0x80)
        rest >>= 7
    result.append(rest)
    return bytes(result)
