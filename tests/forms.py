"""Every format, and how whoever reads the topics gets its messages back: with Confluent's own deserialisers."""

import asyncio
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

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry._sync.mock_schema_registry_client import MockSchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from yasdg_app.formats import Format, RegisteredFormat, format_of, schemas
from yasdg_app.settings import FormatSettings, KafkaSettings

PROJECT = Path(__file__).parents[1]
REGISTERED = ("avro", "protobuf")
TIMES = ("sql", "iso-z", "epoch_ms", "epoch_us")
NAMES = (*TIMES, *REGISTERED)
Read = Callable[[bytes], dict[str, Any]]


def form_named(name: str, registry: str = "") -> Format:
    """A format, its schemas in a registry of its own, which is Confluent's stand-in for one unless another is given."""
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
    """Values as they are read from a topic."""
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
    """Confluent's own for a topic."""
    context = SerializationContext(topic, MessageField.VALUE)
    if name == "avro":
        avro: Any = AvroDeserializer(client)
        return lambda value: avro(value, context)
    # It asks a registry for the schema in another form than that in which it was registered; the stand-in has no other.
    real = None if isinstance(client, MockSchemaRegistryClient) else client
    protobuf: Any = ProtobufDeserializer(message_class(what), {"use.deprecated.format": False}, real)

    def read(value: bytes) -> dict[str, Any]:
        message = protobuf(value, context)
        return {
            field.name: None
            if field.has_presence and not message.HasField(field.name)
            else getattr(message, field.name)
            for field in message.DESCRIPTOR.fields
        }

    return read


@lru_cache
def message_class(what: str) -> Any:
    """The class that protoc makes of a schema."""
    with TemporaryDirectory() as folder:
        protoc("--python_out", folder, what)
        spec = importlib.util.spec_from_file_location(f"{what}_pb2", Path(folder) / f"{what}_pb2.py")
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    name = json.loads(schemas.text(what, "avsc"))["name"]
    return getattr(module, name)


def protoc(option: str, to: str, what: str) -> None:
    folder = PROJECT / "schemas"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"{option}={to}", f"{what}.proto"]
    subprocess.run(command, check=True, capture_output=True)
