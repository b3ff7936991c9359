"""The golden file: 10,000 purchases on which every engine is tried, as `yasdg generate` makes them."""

import gzip
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
SHOP = DATA / "golden.ini"
COUNT = 10_000
_BEFORE, _WIDTH = b'{"transaction_time":"', len("2026-06-01 00:01:45.131419")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _since_1970(text: bytes, unit: timedelta) -> bytes:
    return b"%d" % ((datetime.fromisoformat(text.decode()).replace(tzinfo=UTC) - _EPOCH) // unit)


TIMES: Mapping[str, Callable[[bytes], bytes]] = {
    "sql": lambda text: b'"%s"' % text,
    "iso-z": lambda text: b'"%sZ"' % text.replace(b" ", b"T"),
    "epoch_ms": lambda text: _since_1970(text, timedelta(milliseconds=1)),
    "epoch_us": lambda text: _since_1970(text, timedelta(microseconds=1)),
}
"""What [FORMAT] time may be, and what it makes of the time of the default."""


@lru_cache
def purchases(time: str = "sql") -> list[bytes]:
    """The values of the 10,000 purchases as JSON, with their times as [FORMAT] time has them."""
    lines = gzip.decompress((DATA / "golden_purchases.jsonl.gz").read_bytes()).splitlines()
    begin, end = len(_BEFORE), len(_BEFORE) + _WIDTH
    told = [_BEFORE[:-1] + TIMES[time](line[begin:end]) + line[end + 1 :] for line in lines]
    if time != "epoch_ms":
        return told
    exact = (TIMES["epoch_us"](line[begin:end]) for line in lines)
    return [b'%s,"transaction_time_us":%s}' % (line[:-1], at) for line, at in zip(told, exact, strict=True)]
