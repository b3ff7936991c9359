"""Messages as Protocol Buffers, with the schemas of schemas/*.proto. Needs protobuf.

Generated code only runs with its own version of protobuf's runtime or a newer one, so there is none: each file holds
one flat message, and the few lines below make the descriptor that protoc would make (a test compares the two).
"""

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from yasdg_app.messages.formats import schemas, times
from yasdg_app.messages.times import event_time, time_text

_FIELD = re.compile(r"^  (optional |repeated )?(string|int32|int64|bool|double) (\w+) = (\d+);", re.MULTILINE)
_HEADS = (b"\0", b"\2\0")  # that it is the file's first message: in short, and as a list of one number


class Protobuf:
    """Writes and reads messages; attributes as those of `Avro`."""

    registered_as, suffix, head, layout = "PROTOBUF", "proto", _HEADS[0], times.PROTOBUF

    def __init__(self) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        self._own: dict[str, Any] = {}
        for what in schemas.KINDS:
            file = descriptor(f"{what}.proto", schemas.text(what, self.suffix))
            self._pool.Add(file)
            name = f"{file.package}.{file.message_type[0].name}"
            self._own[what] = message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))
        self._nullable = {
            what: {field.name for field in own.DESCRIPTOR.fields if field.has_presence}
            for what, own in self._own.items()
        }

    def encode(self, what: str, message: dict[str, Any]) -> bytes:
        """Return a message, given by the fields of its JSON, in the wire format."""
        _, moments, scales = schemas.fields(what)
        for name in schemas.filled(message, moments):
            message[name] = event_time(message[name])
        for name in schemas.filled(message, scales):
            message[name] = f"{message[name]:.{scales[name]}f}"
        data: bytes = self._own[what](**message).SerializeToString(deterministic=True)
        return data

    def decode(self, what: str, number: int, data: bytes) -> dict[str, Any]:
        """Return the fields of the JSON of a message in the wire format. Raises ValueError if it is invalid.

        `number`: the id of its schema, which is not needed to read it.
        """
        head = next((head for head in _HEADS if data.startswith(head)), None)
        if head is None:
            raise ValueError(f"no first message of the Protobuf schema {number}")
        own = self._own[what]()
        try:
            own.ParseFromString(data[len(head) :])
        except DecodeError as error:
            raise ValueError(f"no Protobuf message of schema {number}: {error}") from error
        names, moments, scales = schemas.fields(what)
        nullable = self._nullable[what]
        message: dict[str, Any] = {
            name: getattr(own, name) if name not in nullable or own.HasField(name) else None for name in names
        }
        for name in schemas.filled(message, moments):
            message[name] = time_text(message[name])
        for name in schemas.filled(message, scales):
            message[name] = float(message[name] or 0)
        return {name: list(value) if hasattr(value, "append") else value for name, value in message.items()}


def descriptor(name: str, text: str) -> descriptor_pb2.FileDescriptorProto:
    """Return the descriptor that protoc makes of a file with one flat message."""
    package, message = (re.search(rf"^{word} (\w+)", text, re.MULTILINE)[1] for word in ("package", "message"))  # type: ignore[index]
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3")
    into = file.message_type.add(name=message)
    kinds = descriptor_pb2.FieldDescriptorProto
    for label, kind, field, number in _FIELD.findall(text):
        own = into.field.add(name=field, number=int(number), type=kinds.Type.Value(f"TYPE_{kind.upper()}"))
        own.label = kinds.LABEL_REPEATED if label == "repeated " else kinds.LABEL_OPTIONAL
        if label == "optional ":
            own.proto3_optional, own.oneof_index = True, len(into.oneof_decl)
            into.oneof_decl.add(name=f"_{field}")
    return file
