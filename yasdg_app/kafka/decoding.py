"""Decoding bytes that anyone may have written. Must not know what the messages say.

Decoders raise more than they document: RecursionError for JSON that is nested too deeply, OverflowError for a number
that is too large, UnicodeDecodeError, struct.error, IndexError from codecs. A decoder does no I/O and changes nothing,
so any exception of it means the same: the bytes are not such a message.
"""

from collections.abc import Callable
from typing import TypeVar

from yasdg_app.errors import YasdgError

UNREADABLE = (Exception,)
"""What a decoder may raise for bytes that it cannot read."""

MAX_REASON_CHARACTERS = 300

T = TypeVar("T")


class UnreadableError(YasdgError):
    """Bytes are not the message that they were read as; the text gives the reason."""


def decoded(decode: Callable[[bytes], T], value: bytes | None) -> T:
    """Return the decoded bytes; None is decoded as an empty message.

    Raises UnreadableError, and nothing else, if `decode` cannot read them.
    """
    try:
        return decode(value or b"")
    except UNREADABLE as error:
        raise UnreadableError(reason_of(error)) from error


def decoded_or_none(decode: Callable[[bytes], T], value: bytes | None) -> T | None:
    """Return the decoded bytes; None if `decode` cannot read them."""
    try:
        return decode(value or b"")
    except UNREADABLE:
        return None


def reason_of(error: Exception) -> str:
    """Return why a decoder failed, as a text of at most about MAX_REASON_CHARACTERS."""
    text = str(error) or type(error).__name__
    return text if len(text) <= MAX_REASON_CHARACTERS else f"{text[:MAX_REASON_CHARACTERS]} …"
