"""Decodes many purchases at once into the default format.

Apart from its time and number, a purchase has one of a few contents. Each content is decoded once by the reference
decoder; messages that differ from it only in time and number are then assembled from it. This works in any format.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from yasdg_app.kafka.decoding import UNREADABLE
from yasdg_app.kafka.reader import Message
from yasdg_app.messages.encoders import MAX_PREPARED_KINDS
from yasdg_app.messages.formats.times import SQL, TimeLayout

MAX_LEARNED_MESSAGES = 500  # messages decoded by the reference per call; it takes as long as thousands in bulk
_HEAD = b'{"transaction_time":"'
_NUMBER = re.compile(rb"[0-9]{6,18}")
_TIME = SQL.size(0)
_Alike = tuple[int, int, bytes]


class BulkPurchaseDecoder:
    """Decodes purchases.

    Parameters
    ----------
    read
        The reference: returns a purchase in the default format. Raises ValueError if it is invalid.
    layout
        Where and how the time stands in a message.
    """

    def __init__(self, read: Callable[[bytes], bytes], layout: TimeLayout) -> None:
        self._read = read
        self._layout = layout
        # The bytes between time and number and after the number, by the number's position and all other bytes.
        self._known: dict[_Alike, tuple[bytes, bytes]] = {}

    def values(self, messages: Sequence[Message]) -> list[bytes | None]:
        """Return the purchases decoded in bulk; None in place of one that the reference has to decode.

        Of messages with a new content, at most MAX_LEARNED_MESSAGES are decoded by the reference here.
        """
        layout = self._layout
        before, size = layout.before, layout.read_size
        assert layout.sql is not None
        behind = before + size
        values = [message.value or b"" for message in messages]
        nothing = bytes(size)
        written = b"".join([value[before:behind] if len(value) > behind else nothing for value in values])
        texts, are_times = layout.sql(np.frombuffer(written, np.uint8).reshape(-1, size))
        times, known, match = texts.tobytes(), self._known, _NUMBER.match
        found: list[bytes | None] = []
        left = MAX_LEARNED_MESSAGES
        for row, (message, value, is_time) in enumerate(zip(messages, values, are_times.tolist(), strict=True)):
            name = (message.key or b"") + b"-"
            at = value.find(name, behind)
            if at < 0 and (in_json := _escaped(name)) != name:
                name, at = in_json, value.find(in_json, behind)
            number = match(value, at + len(name)) if is_time and at > 0 else None
            if number is None:
                found.append(None)
                continue
            start, end = number.span()
            alike = start, end, b"%b%b%b" % (value[:before], value[behind:start], value[end:])
            rest = known.get(alike)
            if rest is None and left:
                left -= 1
                rest = self._learn(alike, value, name + number[0])
            if rest is None:
                found.append(None)
            else:
                time = times[_TIME * row : _TIME * (row + 1)]
                found.append(b"%b%b%b%b%b" % (_HEAD, time, rest[0], number[0], rest[1]))
        return found

    def _learn(self, alike: _Alike, value: bytes, transaction_id: bytes) -> tuple[bytes, bytes] | None:
        """Decode a message by the reference and keep its content; None if it is not a purchase like ours."""
        try:
            message = self._read(value)
        except UNREADABLE:
            return None
        begin = len(_HEAD) + _TIME
        name = b'"transaction_id":"%b"' % transaction_id
        at = message.find(name, begin)
        if at < 0:  # the message that it was read from is not JSON
            name = b'"transaction_id":"%b"' % _escaped(transaction_id)
            at = message.find(name, begin)
        if not message.startswith(_HEAD) or message[begin : begin + 1] != b'"' or at < 0:
            return None
        if len(self._known) >= MAX_PREPARED_KINDS:
            self._known.clear()
        end = at + len(name) - 1
        start = end - len(_NUMBER.search(transaction_id[::-1])[0])  # type: ignore[index]
        self._known[alike] = message[begin:start], message[end:]
        return self._known[alike]


def _escaped(name: bytes) -> bytes:
    """Return a product id, with or without a number, as it stands in JSON; see `ids.json_text`."""
    return name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
