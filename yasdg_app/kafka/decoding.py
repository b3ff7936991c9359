"""Reading bytes that anyone may have written: a message is one of ours, or it is not. Must not know what messages say.

Decoders raise more than they document: RecursionError for JSON that is nested too deeply, OverflowError for a number
that is too large, UnicodeDecodeError, struct.error, IndexError from codecs. A decoder does no I/O and changes nothing,
so any exception of it means the same: these bytes are not such a message.
"""

from collections.abc import Callable
from typing import TypeVar

from yasdg_app.errors import YasdgError

UNREADABLE = (Exception,)
"""All that a decoder may raise for bytes that it cannot read."""

MAX_REASON_CHARACTERS = 300

T = TypeVar("T")


class UnreadableError(YasdgError):
    """Bytes are not the message that they were read as; the text says why."""


def decoded(decode: Callable[[bytes], T], value: bytes | None) -> T:
    """Return what bytes say. `value`: None reads like an empty message.

    Raises UnreadableError, and nothing else, if they are not what `decode` reads.
    """
    try:
        return decode(value or b"")
    except UNREADABLE as error:
        raise UnreadableError(reason_of(error)) from error


def decoded_or_none(decode: Callable[[bytes], T], value: bytes | None) -> T | None:
    """Return what bytes say; None if they are not what `decode` reads."""
    try:
        return decode(value or b"")
    except UNREADABLE:
        return None


def reason_of(error: Exception) -> str:
    """Return why a decoder refused bytes, in one line of bounded length."""
    text = str(error) or type(error).__name__
    return text if len(text) <= MAX_REASON_CHARACTERS else f"{text[:MAX_REASON_CHARACTERS]} …"
