"""Event times in an audit: those of messages are datetimes, those of the shop microseconds since 1970."""

from datetime import datetime, timedelta

from yasdg_app.kafka.decoding import UNREADABLE
from yasdg_app.messages.times import time_text

BEGINNING_OF_TIME = datetime.min
END_OF_TIME = datetime.max
EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
LAST_MICROSECOND = (END_OF_TIME - EPOCH) // MICROSECOND


def micros(at: datetime) -> int:
    """Return an event time in microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def moment(at: int) -> datetime:
    """Convert microseconds since 1970 to an event time; a time beyond the range of datetime becomes the latest."""
    return EPOCH + timedelta(microseconds=at) if at < LAST_MICROSECOND else END_OF_TIME


def text_of(at: int) -> str:
    """Return an event time in the notation of the table; beyond the range of datetime, the microseconds as a number."""
    try:
        return time_text(at)
    except UNREADABLE:
        return str(at)
