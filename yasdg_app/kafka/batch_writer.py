"""Record batches as they stand in a log of Apache Kafka (message format 2), made from finished records.

See https://kafka.apache.org/documentation/#recordbatch. aiokafka's builder takes records one by one; here they come
together in one piece, because to make many at a time is what is fast.
"""

import struct
from dataclasses import dataclass

import cramjam
import numpy as np
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

SEQUENCES = 2**31  # the protocol counts the records of a producer modulo this
NO_COMPRESSION, ZSTD = 0, 4  # the number of the compression among a batch's attributes
LEVEL = 1  # of the compression: more costs time and gains nothing here
_HEAD = struct.Struct(">qiibI")  # base offset, length, leader epoch, magic, crc
_BODY = struct.Struct(">hiqqqhii")  # attributes, last offset delta, first and max time, id, epoch, number, count
_FORMAT = 2
_BEHIND_LENGTH = 12  # the length counts what comes behind it


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one batch, without its header."""

    count: int
    first: int  # time of the first, milliseconds since 1970
    last: int  # the latest time
    data: bytes | bytearray | memoryview


def batch(records: Records, number: int, producer_id: int, producer_epoch: int) -> bytes:
    """Return a compressed record batch.

    Parameters
    ----------
    records
        What stands in it.
    number
        Of the first record among those that the producer has appended to the partition.
    producer_id, producer_epoch
        The producer.
    """
    data = cramjam.zstd.compress(records.data, level=LEVEL)
    body = bytearray(_BODY.size + len(data))
    _BODY.pack_into(
        body, 0, ZSTD, records.count - 1, records.first, records.last, producer_id, producer_epoch, number,
        records.count,
    )  # fmt: skip
    body[_BODY.size :] = memoryview(data)
    length = _HEAD.size + len(body) - _BEHIND_LENGTH
    return _HEAD.pack(0, length, -1, _FORMAT, calc_crc32c(body)) + body


def varint_sizes(values: Ints) -> Ints:
    """Return how many bytes each number takes as a varint of the format; none is below 0."""
    sizes = np.ones(len(values), dtype=np.int64)
    for bits in range(6, 64, 7):  # zigzag takes one of the seven
        more = values >> bits
        if not more.any():
            break
        sizes += more > 0
    return sizes


def put_varints(into: Bytes, at: Ints, values: Ints, sizes: Ints) -> None:
    """Write numbers as varints; `at`: where each begins, `sizes`: see `varint_sizes`."""
    rest = values << 1  # zigzag of what is not below 0
    for place in range(int(sizes.max(initial=0))):
        there = sizes > place
        if there.all():
            into[at + place] = (rest & 0x7F) | np.where(sizes > place + 1, 0x80, 0)
        else:
            into[at[there] + place] = ((rest & 0x7F) | np.where(sizes > place + 1, 0x80, 0))[there]
        rest >>= 7


def varint(value: int) -> bytes:
    """Return a number from 0 on as a varint of the format."""
    rest, result = value << 1, bytearray()
    while rest > 0x7F:
        result.append(rest & 0x7F | 0x80)
        rest >>= 7
    result.append(rest)
    return bytes(result)
