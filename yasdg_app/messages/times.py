"""Event times: microseconds since 1970 (UTC) inside, texts on the topics."""

from datetime import UTC, datetime
from functools import lru_cache

SECOND = 1_000_000  # microseconds
EPOCH = datetime(1970, 1, 1)


def time_text(at: int) -> str:
    """Return an event time (microseconds since 1970, UTC) as `YYYY-MM-DD HH:MM:SS.ffffff`, always with six digits."""
    seconds, microseconds = divmod(at, SECOND)
    return f"{_seconds_text(seconds)}.{microseconds:06d}"


@lru_cache(maxsize=4096)
def _seconds_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def event_time(text: str) -> int:
    """Return the microseconds since 1970 of a time made by `time_text`."""
    return microseconds(datetime.fromisoformat(text))


def microseconds(moment: datetime) -> int:
    """Return an event time as microseconds since 1970."""
    passed = moment - EPOCH
    return (passed.days * 86_400 + passed.seconds) * SECOND + passed.microseconds
