"""Record batches as they were read from a log: whose they are, and their records, as far as it is safe to unpack them.

A batch is at most a megabyte or so on the wire, and may unpack to gigabytes: a cluster takes ten million equal records
as ten kilobytes of zstd. Those of the own producer are unpacked as they are. Any other is looked at first, and if it is
too large, or aiokafka's parser refuses it, it is one message without content. Must not know what the messages say.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch

from yasdg_app.kafka.decoding import UNREADABLE, reason_of

MAX_FOREIGN_RECORDS = 100_000  # of a batch that are taken one by one
MAX_FOREIGN_BYTES = 32 * 2**20  # that a batch may unpack to
_SIZES = (2**16, 2**20, MAX_FOREIGN_BYTES)  # that are tried: to provide the largest each time takes 10 ms
_HEADER_BYTES = 61
_LENGTH = struct.Struct(">qi")  # base offset, and the length of what comes after it
_CODEC_BITS = 0x07
_DECODERS = {1: cramjam.gzip.decompress_into, 3: cramjam.lz4.decompress_into, 4: cramjam.zstd.decompress_into}
"""By the number of the codec; snappy unpacks to 21 times its size at most."""


class Message(Protocol):
    """A message as it was read."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Unparsed(NamedTuple):
    """A batch that is not taken apart, as one message without content at the offset of its first record.

    It unpacks to too much, or aiokafka's parser refuses what Apache Kafka takes, such as a header whose name is not
    UTF-8.
    """

    offset: int
    timestamp: int
    why: str
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_type: int = 0
    checksum: int | None = None


class Batch:
    """A record batch: its header's fields are those of aiokafka's, which it is made from."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parsed: Any = DefaultRecordBatch(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parsed, name)

    def __iter__(self) -> Any:
        return iter(self.records())

    def records(self, *, is_own: bool = False) -> list[Message]:
        """Return the records; compaction may have left none. `is_own`: it is known not to unpack to too much."""
        why = "" if is_own else self._why_not()
        if not why:
            try:
                return list(self._parsed)
            except UNREADABLE as error:
                why = f"a batch that cannot be parsed: {reason_of(error)}"
        return [Unparsed(self._parsed.base_offset, self._parsed.max_timestamp, why)]

    def _why_not(self) -> str:
        if self._parsed.last_offset_delta >= MAX_FOREIGN_RECORDS:
            return f"a batch of more than {MAX_FOREIGN_RECORDS} records"
        decode = _DECODERS.get(self._parsed.attributes & _CODEC_BITS)
        if decode is None or any(_fits(decode, self._data[_HEADER_BYTES:], size) for size in _SIZES):
            return ""
        return f"a batch that unpacks to more than {MAX_FOREIGN_BYTES} bytes, or not at all"


def _fits(decode: Callable[[bytes, bytearray], int], payload: bytes, size: int) -> bool:
    """Tell whether a payload unpacks to so many bytes at most."""
    try:
        decode(payload, bytearray(size))
    except UNREADABLE:
        return False
    return True


class Batches:
    """The batches in what was fetched, the last one of which may be cut off: what aiokafka calls `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._position = 0

    def has_next(self) -> bool:
        """Tell whether there is another whole batch."""
        return self._end() is not None

    def next_batch(self) -> Batch | None:
        """Return the next batch; None if there is none."""
        end = self._end()
        if end is None:
            return None
        batch = Batch(self._data[self._position : end])
        self._position = end
        return batch

    def size_in_bytes(self) -> int:
        """Return the size of what was fetched."""
        return len(self._data)

    def _end(self) -> int | None:
        if len(self._data) < self._position + _HEADER_BYTES:
            return None
        _, length = _LENGTH.unpack_from(self._data, self._position)
        end = self._position + _LENGTH.size + int(length)
        return end if self._position + _HEADER_BYTES <= end <= len(self._data) else None


def bound_consumers() -> None:
    """Have aiokafka's consumers in this process read batches in this way, too."""
    fetcher.MemoryRecords = Batches
