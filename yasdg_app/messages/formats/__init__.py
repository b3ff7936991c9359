"""The format of messages on the topics that others read: [FORMAT].

Internally a message is JSON with times as `messages.times.time_text` makes them. It is converted to the configured
format last when it is appended, and back first when it is read, so no other code knows of formats. The default format
needs no conversion.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import orjson

from yasdg_app.config.settings import FormatSettings, KafkaSettings
from yasdg_app.errors import ConfigurationError
from yasdg_app.kafka.decoding import UNREADABLE, reason_of
from yasdg_app.kafka.reader import Message
from yasdg_app.messages.encoders import Write
from yasdg_app.messages.formats import schemas, times
from yasdg_app.messages.formats.bulk_decoder import BulkPurchaseDecoder
from yasdg_app.messages.times import time_text

YIELD_AFTER_MESSAGES, BULK_MESSAGES = (
    500,
    5_000,
)  # messages between which others have their turn; those of them that are read at once
MAGIC_BYTE = b"\0"
UNREADABLE_VALUE = b""  # no message: in place of one that cannot be read


class PlainMessage(NamedTuple):
    """A message converted to the default format."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    original: Message
    why: str  # the reason why it cannot be decoded; empty if it can


class Format:
    """The default: JSON as it is.

    Attributes
    ----------
    is_default
        Whether no conversion is needed.
    is_json
        Whether messages are JSON, in which quotes and backslashes are escaped.
    layout
        Where the time stands in a purchase, and how.
    """

    is_default = True
    is_json = True
    layout = times.SQL

    async def open(self) -> None:
        """Prepare for the first message to be written. Raises RegistryError."""

    def write(self, what: str, message: bytes) -> bytes:
        """Return a message in this format; `what`: its kind, named as by `yasdg consume`."""
        return message

    def writer(self, what: str) -> Write | None:
        """Return `write` for one kind of message; None if no conversion is needed."""
        return None if self.is_default else partial(self.write, what)

    async def plain(self, what: str, messages: Sequence[Message]) -> Sequence[Message]:
        """Return messages converted to the default format. Raises RegistryError.

        A message that cannot be decoded has the value UNREADABLE_VALUE, which no decoder accepts.
        """
        return messages


def original_of(message: Message, reason: str) -> tuple[Message, str]:
    """Return a foreign message as it was read from the log, and the reason why it is foreign."""
    return (message.original, message.why or reason) if isinstance(message, PlainMessage) else (message, reason)


class ConvertedFormat(Format):
    """A format that needs conversion."""

    is_default = False

    def __init__(self, layout: times.TimeLayout) -> None:
        self.layout = layout
        self._many = BulkPurchaseDecoder(partial(self.read, "purchases"), layout) if layout.sql else None

    async def plain(self, what: str, messages: Sequence[Message]) -> Sequence[Message]:
        """Return messages converted to the default format."""
        await self.learn(messages)
        plain: list[Message] = []
        many = self._many if what == "purchases" else None
        for start in range(0, len(messages), BULK_MESSAGES):
            some = messages[start : start + BULK_MESSAGES]
            values = many.values(some) if many else [None] * len(some)
            for begin in range(0, len(some), YIELD_AFTER_MESSAGES):  # bulk decoding may fail for all of them
                piece = slice(begin, begin + YIELD_AFTER_MESSAGES)
                plain += [
                    self._plain(what, message) if value is None else _read(message, value)
                    for message, value in zip(some[piece], values[piece], strict=True)
                ]
                await asyncio.sleep(0)
        return plain

    async def learn(self, messages: Iterable[Message]) -> None:
        """Fetch the schemas needed to read these messages. Raises RegistryError."""

    def read(self, what: str, value: bytes) -> bytes:
        """Return a message converted to the default format. Raises ValueError if it is invalid."""
        raise NotImplementedError

    def _plain(self, what: str, message: Message) -> PlainMessage:
        try:
            return _read(message, self.read(what, message.value or UNREADABLE_VALUE))
        except UNREADABLE as error:
            return _read(message, UNREADABLE_VALUE, reason_of(error))


def _read(message: Message, value: bytes, why: str = "") -> PlainMessage:
    return PlainMessage(message.offset, message.timestamp, message.key, value, message.headers, message, why)


class JsonFormat(ConvertedFormat):
    """JSON with other times. `time`: one of `times.JSON_TIMES`."""

    def __init__(self, time: str) -> None:
        super().__init__(times.JSON_LAYOUTS[time])
        self._time = times.JSON_TIMES[time]

    def write(self, what: str, message: bytes) -> bytes:
        """Return a message in this format."""
        moments = MOMENTS[what]
        if not moments:
            return message
        fields = orjson.loads(message)
        there = [(name, fields[name]) for name in moments if fields[name] is not None]
        for name, text in there:
            fields[name] = self._time.told(text)
        if not self._time.exact:
            fields |= {f"{name}{EXACT}": times.EPOCH_US.told(text) for name, text in there}
        return orjson.dumps(fields)

    def read(self, what: str, value: bytes) -> bytes:
        """Return a message converted to the default format."""
        fields = orjson.loads(value)
        if not isinstance(fields, dict):
            raise ValueError("no JSON object")
        for name in MOMENTS[what]:
            told = fields.get(name)
            if told is not None:
                exact = told if self._time.exact else fields.pop(f"{name}{EXACT}", None)
                fields[name] = self._text(told, exact)
        return orjson.dumps(fields)

    def _text(self, told: Any, exact: Any) -> str:
        if self._time.exact:
            return self._time.text(told)
        text = times.EPOCH_US.text(exact)
        if self._time.told(text) != told:
            raise ValueError(f"{told!r} is not {exact} microseconds")
        return text


class Codec(Protocol):
    """What `Avro` and `Protobuf` have in common."""

    registered_as: str
    suffix: str
    head: bytes
    layout: times.TimeLayout

    def encode(self, what: str, message: dict[str, Any]) -> bytes: ...
    def decode(self, what: str, number: int, data: bytes) -> dict[str, Any]: ...


class RegisteredFormat(ConvertedFormat):
    """Avro or Protobuf, with schemas in a registry: Confluent's wire format, subjects by topic (`<topic>-value`)."""

    def __init__(self, codec: Codec, registry: Any, kafka: KafkaSettings) -> None:
        super().__init__(codec.layout)
        self.is_json = False
        self._codec = codec
        self._registry = registry
        self._subjects = {what: f"{getattr(kafka, f'topic_{what}')}-value" for what in schemas.KINDS}
        self._heads: dict[str, bytes] = {}  # of messages: magic byte, schema's id, and what follows it
        self._writers: dict[int, Any] | None = getattr(codec, "writers", None)  # None: reading needs no schemas

    async def open(self) -> None:
        """Register the schemas that are not registered yet."""
        for what, subject in self._subjects.items():
            schema = schemas.text(what, self._codec.suffix)
            number = await asyncio.to_thread(self._registry.register, subject, schema, self._codec.registered_as)
            self._heads[what] = MAGIC_BYTE + number.to_bytes(4, "big") + self._codec.head
            if self._writers is not None:
                self._codec.add_writer(number, schema)  # type: ignore[attr-defined]

    async def learn(self, messages: Iterable[Message]) -> None:
        """Fetch the schemas that these messages refer to, each once."""
        if self._writers is None:
            return
        ids = {value[1:5] for message in messages if (value := message.value) is not None and value[:1] == MAGIC_BYTE}
        for number in {int.from_bytes(id, "big") for id in ids} - self._writers.keys():
            schema = await asyncio.to_thread(self._registry.schema, number, self._codec.registered_as)
            self._codec.add_writer(number, schema)  # type: ignore[attr-defined]

    def write(self, what: str, message: bytes) -> bytes:
        """Return a message in this format."""
        return self._heads[what] + self._codec.encode(what, orjson.loads(message))

    def read(self, what: str, value: bytes) -> bytes:
        """Return a message converted to the default format."""
        if value[:1] != MAGIC_BYTE or len(value) < times.SCHEMA_ID_BYTES:
            raise ValueError(f"no {self._codec.registered_as} message with the id of its schema")
        number = int.from_bytes(value[1 : times.SCHEMA_ID_BYTES], "big")
        return orjson.dumps(self._codec.decode(what, number, value[times.SCHEMA_ID_BYTES :]))


EXACT = "_us"
"""Suffix of the field that holds a time in microseconds where the field itself has only milliseconds."""

MOMENTS = {
    **{what: schemas.fields(what).times for what in schemas.KINDS},
    "faults": ("event_time", "released_at"),
}
"""The fields of each kind of messages that are times."""


def time_of(what: str, line: bytes) -> str:
    """Return the time of a message in a line of JSON, in any format of times."""
    fields, name = orjson.loads(line), MOMENTS[what][0]
    told = fields.get(f"{name}{EXACT}", fields[name])
    return time_text(told) if isinstance(told, int) else told.replace("T", " ").removesuffix("Z")


def json_format(settings: FormatSettings) -> Format:
    """Return the format of lines of JSON: that of the topics, or the default if these are not JSON."""
    return Format() if settings.time == "sql" else JsonFormat(settings.time)


def format_of(settings: FormatSettings, kafka: KafkaSettings) -> Format:
    """Return the configured format. Raises ConfigurationError if a package is missing that it needs."""
    if settings.value == "json":
        return json_format(settings)
    try:
        from yasdg_app.messages.formats.registry import Registry

        codec: Codec
        if settings.value == "avro":
            from yasdg_app.messages.formats.avro import Avro

            codec = Avro()
        else:
            from yasdg_app.messages.formats.protobuf import Protobuf

            codec = Protobuf()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("yasdg_app"):
            raise
        raise ConfigurationError(
            [f'[FORMAT] value = {settings.value}: the package {error.name} is missing: pip install "yasdg[formats]"']
        ) from None
    return RegisteredFormat(codec, Registry(settings.registry), kafka)
