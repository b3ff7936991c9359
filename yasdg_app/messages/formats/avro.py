"""Messages as Avro records, with the schemas of schemas/*.avsc. Needs fastavro.

fastavro is given schemas without logical types: what they mean is known here, and its own objects for times and decimal
numbers take most of its time.
"""

import io
import json
from collections import deque
from typing import Any

import fastavro

from yasdg_app.messages.formats import schemas, times
from yasdg_app.messages.times import event_time, time_text

MAX_UNKNOWN_SCHEMA_IDS = 10_000  # remembered ids that are not schemas of ours; other producers may invent more


class Avro:
    """Writes and reads records.

    Attributes
    ----------
    registered_as
        Its name in the registry.
    suffix
        Of the files of its schemas.
    head
        Bytes between the schema's id and the record.
    layout
        Where the time stands in a purchase, and how.
    writers
        The schemas by which messages were written, by their ids in the registry; None: that of no message of ours, of
        which the last ones are kept.
    """

    registered_as, suffix, head, layout = "AVRO", "avsc", b"", times.AVRO

    def __init__(self) -> None:
        self._own = {what: parsed(schemas.text(what, self.suffix)) for what in schemas.KINDS}
        self.writers: dict[int, Any] = {}
        self._misses: deque[int] = deque()

    def add_writer(self, number: int, schema: str | None) -> None:
        """Note what the registry has under an id; None: nothing, or something else than an Avro schema."""
        try:
            writer = None if schema is None else parsed(schema)
        except Exception:  # any error: the schema is foreign; ours were parsed in the same way
            writer = None
        self.writers[number] = writer
        if writer is None:
            self._misses.append(number)
            if (
                len(self._misses) > MAX_UNKNOWN_SCHEMA_IDS
                and self.writers.get(oldest := self._misses.popleft()) is None
            ):
                self.writers.pop(oldest, None)

    def encode(self, what: str, message: dict[str, Any]) -> bytes:
        """Return a message, given by the fields of its JSON, as an Avro record."""
        _, moments, scales = schemas.fields(what)
        for name in schemas.filled(message, moments):
            message[name] = event_time(message[name])
        for name in schemas.filled(message, scales):
            message[name] = _unscaled(round(message[name] * 10 ** scales[name]))
        into = io.BytesIO()
        fastavro.schemaless_writer(into, self._own[what], message)
        return into.getvalue()

    def decode(self, what: str, number: int, data: bytes) -> dict[str, Any]:
        """Return the fields of the JSON of an Avro record. Raises ValueError if it is invalid.

        `number`: the id of its schema.
        """
        writer, own, read = self.writers.get(number), self._own[what], fastavro.schemaless_reader
        _, moments, scales = schemas.fields(what)
        if writer is None:
            raise ValueError(f"the registry has no Avro schema {number}")
        rest = io.BytesIO(data)
        try:
            message: Any = read(rest, writer, own)
            for name in schemas.filled(message, moments):
                message[name] = time_text(message[name])
            for name in schemas.filled(message, scales):
                message[name] = int.from_bytes(_bytes(message[name]), "big", signed=True) / 10 ** scales[name]
        except Exception as error:  # any error: the bytes are foreign
            raise ValueError(f"no Avro record of schema {number}: {error!r}") from error
        if rest.read(1):
            raise ValueError(f"more than an Avro record of schema {number}")
        return dict(message)


def parsed(schema: str) -> Any:
    """Return a schema parsed by fastavro, without logical types."""
    return fastavro.parse_schema(_bare(json.loads(schema)))


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if isinstance(schema, dict):
        return {key: _bare(value) for key, value in schema.items() if key not in ("logicalType", "precision", "scale")}
    return schema


def _unscaled(value: int) -> bytes:
    """Return an unscaled decimal as Avro encodes it: big-endian two's complement, as short as possible."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _bytes(value: bytes | str) -> bytes:
    return value.encode("iso-8859-1") if isinstance(value, str) else value  # the default of a field
