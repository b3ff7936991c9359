"""All formats, and how consumers decode their messages: with Confluent's own deserialisers."""

import asyncio
import base64
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from yasdg_app.config.settings import FormatSettings, KafkaSettings
from yasdg_app.messages.formats import Format, RegisteredFormat, format_of, schemas

PROJECT = Path(__file__).parents[2]
REGISTERED = ("avro", "protobuf")
TIMES = ("sql", "iso-z", "epoch_ms", "epoch_us")
NAMES = (*TIMES, *REGISTERED)
Read = Callable[[bytes], dict[str, Any]]


def form_named(name: str, registry: str = "") -> Format:
    """Return a format with its schemas in a new registry: Confluent's mock, unless another one is given."""
    registered = name in REGISTERED
    settings = FormatSettings(
        value=name if registered else "json",
        registry=registry or f"mock://{name}",
        time="sql" if registered else name,
    )
    form = format_of(settings, KafkaSettings())
    asyncio.run(form.open())
    return form


def messages(values: Sequence[bytes | None]) -> list[Any]:
    """Return values as they are read from a topic."""
    return [
        SimpleNamespace(offset=offset, timestamp=0, key=b"key", value=value, headers=())
        for offset, value in enumerate(values)
    ]


def read_back(form: Format, what: str, *values: bytes | None) -> list[bytes | None]:
    return [message.value for message in asyncio.run(form.plain(what, messages(values)))]


def client_of(form: Format) -> SchemaRegistryClient:
    assert isinstance(form, RegisteredFormat)
    client: SchemaRegistryClient = form._registry._client
    return client


def deserialiser(name: str, what: str, topic: str, client: SchemaRegistryClient) -> Read:
    """Return Confluent's own deserialiser for a topic."""
    context = SerializationContext(topic, MessageField.VALUE)
    if name == "avro":
        avro: Any = AvroDeserializer(client)
        return lambda value: avro(value, context)
    protobuf: Any = ProtobufDeserializer(
        message_class(what), {"use.deprecated.format": False}, with_descriptors(client)
    )

    def read(value: bytes) -> dict[str, Any]:
        message = protobuf(value, context)
        return {
            field.name: None
            if field.has_presence and not message.HasField(field.name)
            else getattr(message, field.name)
            for field in message.DESCRIPTOR.fields
        }

    return read


def with_descriptors(client: Any) -> SchemaRegistryClient:
    """Return a registry that also returns schemas as descriptors, as the deserialiser requests them.

    Confluent's does; its mock has only what was registered, and Apicurio's response to `format=serialized` is not the
    base64 that Confluent's client expects.
    """
    as_text = client.get_schema

    def get_schema(number: int, subject: str | None = None, fmt: str | None = None, *rest: Any) -> Schema:
        schema: Schema = as_text(number, subject)
        if fmt != "serialized":
            return schema
        with TemporaryDirectory() as folder:
            (Path(folder) / "any.proto").write_text(schema.schema_str or "")
            protoc("--descriptor_set_out", f"{folder}/set", "any", Path(folder))
            (file,) = FileDescriptorSet.FromString((Path(folder) / "set").read_bytes()).file
        return Schema(base64.b64encode(file.SerializeToString()).decode(), "PROTOBUF")

    client.get_schema = lru_cache(get_schema)
    registry: SchemaRegistryClient = client
    return registry


@lru_cache
def message_class(what: str) -> Any:
    """Return the class that protoc makes of a schema."""
    with TemporaryDirectory() as folder:
        protoc("--python_out", folder, what)
        spec = importlib.util.spec_from_file_location(f"{what}_pb2", Path(folder) / f"{what}_pb2.py")
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    name = json.loads(schemas.text(what, "avsc"))["name"]
    return getattr(module, name)


def protoc(option: str, to: str, what: str, folder: Path = PROJECT / "schemas") -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"{option}={to}", f"{what}.proto"]
    subprocess.run(command, check=True, capture_output=True)
