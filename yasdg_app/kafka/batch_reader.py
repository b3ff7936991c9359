"""Record batches that were read from a log: their producer, and their records if it is safe to decompress them.

A batch is about a megabyte at most on the wire, and may decompress to gigabytes: a cluster accepts ten million equal
records as ten kilobytes of zstd. Batches of the shop's own producer are decompressed as they are. Any other is checked
first; if it is too large, or aiokafka cannot parse it, it becomes one message without content. Must not know what the
messages say.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch

from yasdg_app.kafka.decoding import UNREADABLE, reason_of

MAX_FOREIGN_RECORDS = 100_000  # in a batch that is parsed
MAX_FOREIGN_BYTES = 32 * 2**20  # that a batch may decompress to
_SIZES = (2**16, 2**20, MAX_FOREIGN_BYTES)  # of the buffers that are tried: allocating the largest takes 10 ms
_HEADER_BYTES = 61
_LENGTH = struct.Struct(">qi")  # base offset, and the number of bytes that follow
_CODEC_BITS = 0x07
_DECODERS = {1: cramjam.gzip.decompress_into, 3: cramjam.lz4.decompress_into, 4: cramjam.zstd.decompress_into}
"""By codec number; snappy needs no check, since it expands at most 21 times."""


class Message(Protocol):
    """A message that was read."""

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
    """A batch that is not parsed, as one message without content at the offset of its first record.

    It decompresses to too much, or aiokafka cannot parse what Apache Kafka accepts, such as a header whose name is not
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
    """A record batch; it also has the header fields of aiokafka's `DefaultRecordBatch`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parsed: Any = DefaultRecordBatch(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parsed, name)

    def __iter__(self) -> Any:
        return iter(self.records())

    def records(self, *, is_own: bool = False) -> list[Message]:
        """Return the records; compaction may have left none. `is_own`: True skips the check of its size."""
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
    """Return whether a payload decompresses to at most `size` bytes."""
    try:
        decode(payload, bytearray(size))
    except UNREADABLE:
        return False
    return True


class Batches:
    """The batches in a fetch response, of which the last may be incomplete; replaces aiokafka's `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)
        self._position = 0

    def has_next(self) -> bool:
        """Return whether there is another complete batch."""
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
        """Return the size of the response in bytes."""
        return len(self._data)

    def _end(self) -> int | None:
        if len(self._data) < self._position + _HEADER_BYTES:
            return None
        _, length = _LENGTH.unpack_from(self._data, self._position)
        end = self._position + _LENGTH.size + int(length)
        return end if self._position + _HEADER_BYTES <= end <= len(self._data) else None


def bound_consumers() -> None:
    """Make aiokafka's consumers in this process read batches in the same way."""
    fetcher.MemoryRecords = Batches
