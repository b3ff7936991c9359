"""What is asked of a registry, and what is said when it does not answer as it should."""

import asyncio
import io
import json
from typing import Any

import fastavro
import pytest
from confluent_kafka.schema_registry import Schema
from oracles import golden
from support import readers
from support.http_answers import answering

from yasdg_app.kafka.embedded.node import free_port
from yasdg_app.messages.formats import UNREADABLE_VALUE, Format, RegisteredFormat, avro, schemas
from yasdg_app.messages.formats.errors import RegistryError
from yasdg_app.messages.formats.registry import Registry


def said(address: str, schema: str = '{"type": "string"}') -> str:
    with pytest.raises(RegistryError) as caught:
        Registry(f"http://user:secret@{address}/").register("demo.purchases-value", schema, "AVRO")
    text = str(caught.value)
    assert "secret" not in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_wants_another_password_is_told_of(status: int) -> None:
    with answering(status, json.dumps({"error_code": status, "message": "Unauthorized"}).encode()) as address:
        assert said(address) == (
            f"The schema registry http://{address}/ denies access: Unauthorized. "
            "Set user and password in [FORMAT] registry"
        )


def test_a_schema_that_is_not_compatible_is_told_of() -> None:
    with answering(
        409, json.dumps({"error_code": 409, "message": "It is incompatible\nwith more lines"}).encode()
    ) as address:
        assert said(address) == (
            f"The schema registry http://{address}/ refuses the schema of demo.purchases-value, which is not "
            "compatible with the one that it has: It is incompatible. Give the topic another name, or let its "
            "owner remove the subject"
        )


def test_whatever_else_it_says_is_told() -> None:
    with answering(422, json.dumps({"error_code": 42201, "message": "Invalid schema"}).encode()) as address:
        assert said(address).endswith("refuses the schema of demo.purchases-value: Invalid schema (422)")
    with answering(404, b"<html>Not here</html>") as address:
        assert "refuses the schema of demo.purchases-value: Unknown Schema Registry Error" in said(address)


@pytest.mark.parametrize("body", [b"[]", b"3", b"{}"])
def test_a_server_that_is_no_registry_is_reported(body: bytes) -> None:
    with answering(200, body) as address:
        assert f"http://{address}/" in said(address)


def test_a_registry_that_is_not_there_is_told_of() -> None:
    address = f"127.0.0.1:{free_port()}"
    text = said(address)
    assert text.startswith(f"The schema registry http://{address}/ does not answer: ")
    assert text.endswith(" Is it running, and [FORMAT] registry right?")


# --- Ids of schemas ---


def test_an_id_is_asked_for_once() -> None:
    form = readers.form_named("avro")
    client, asked = readers.client_of(form), list[int]()
    get_schema = client.get_schema
    client.get_schema = lambda number, *rest: asked.append(number) or get_schema(number, *rest)  # type: ignore[func-returns-value, method-assign]
    wire = form.write("purchases", golden.purchases()[0])
    unknown = b"\0\0\0\0\x63" + wire[5:]
    for _ in range(2):
        assert readers.read_back(form, "purchases", wire, unknown, b"hello") == [
            golden.purchases()[0],
            UNREADABLE_VALUE,
            UNREADABLE_VALUE,
        ]
    assert asked == [0x63]


def test_what_was_registered_is_not_asked_for() -> None:
    form = readers.form_named("avro")
    client = readers.client_of(form)
    client.get_schema = None  # type: ignore[assignment, method-assign]
    for what, message in MESSAGES.items():
        (value,) = readers.read_back(form, what, form.write(what, message))
        assert json.loads(value or b"null") == json.loads(message), what


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
def test_an_id_of_which_the_registry_tells_nothing_is_that_of_no_schema(status: int) -> None:
    with answering(status, json.dumps({"error_code": status, "message": "No"}).encode()) as address:
        assert Registry(f"http://{address}").schema(99, "AVRO") is None


@pytest.mark.parametrize("status", [401, 500])
def test_a_registry_that_cannot_tell_of_an_id_is_told_of(status: int) -> None:
    with (
        answering(status, json.dumps({"error_code": status, "message": "No"}).encode()) as address,
        pytest.raises(RegistryError, match="denies access" if status == 401 else "refuses"),
    ):
        Registry(f"http://{address}").schema(99, "AVRO")


def test_of_ids_without_a_schema_the_last_ones_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro, "MAX_UNKNOWN_SCHEMA_IDS", 10)
    form = readers.form_named("avro")
    client, asked = readers.client_of(form), list[int]()
    get_schema = client.get_schema
    client.get_schema = lambda number, *rest: asked.append(number) or get_schema(number, *rest)  # type: ignore[func-returns-value, method-assign]
    wire = form.write("purchases", golden.purchases()[0])
    unknown = [b"\0" + number.to_bytes(4, "big") + wire[5:] for number in range(100, 120)]
    wanted = [golden.purchases()[0], *[UNREADABLE_VALUE] * 20]
    assert readers.read_back(form, "purchases", wire, *unknown) == wanted
    assert sorted(asked) == [*range(100, 120)]
    assert len(codec_of(form).writers) == len(schemas.KINDS) + 10
    asked.clear()
    assert readers.read_back(form, "purchases", wire, *unknown) == wanted
    assert len(asked) == 10


def codec_of(form: Format) -> avro.Avro:
    assert isinstance(form, RegisteredFormat)
    assert isinstance(form._codec, avro.Avro)
    return form._codec


def test_a_message_of_a_later_version_is_read() -> None:
    form = readers.form_named("avro")
    later = json.loads(schemas.text("purchases", "avsc"))
    later["fields"].append({"name": "coupon", "type": ["null", "string"], "default": None})
    number = readers.client_of(form).register_schema("demo.purchases-value", Schema(json.dumps(later), "AVRO"))
    record = readers.deserialiser("avro", "purchases", "demo.purchases", readers.client_of(form))(
        form.write("purchases", golden.purchases()[0])
    )
    into = io.BytesIO()
    fastavro.schemaless_writer(into, fastavro.parse_schema(later), record | {"coupon": "spring"})
    value = b"\0" + number.to_bytes(4, "big") + into.getvalue()
    assert readers.read_back(form, "purchases", value) == [golden.purchases()[0]]


def test_a_schema_of_another_kind_is_none_of_ours() -> None:
    form = readers.form_named("avro")
    number = readers.client_of(form).register_schema("other", Schema(schemas.text("stockings", "proto"), "PROTOBUF"))
    assert readers.read_back(form, "purchases", b"\0" + number.to_bytes(4, "big") + b"\0\0") == [UNREADABLE_VALUE]


@pytest.mark.parametrize("name", readers.REGISTERED)
def test_schemas_are_registered_by_topic_and_once(name: str) -> None:
    form = readers.form_named(name)
    client = readers.client_of(form)
    asyncio.run(form.open())
    assert sorted(client.get_subjects()) == sorted(f"demo.{what}-value" for what in schemas.KINDS)
    for what in schemas.KINDS:
        assert client.get_versions(f"demo.{what}-value") == [1]
        registered = client.get_latest_version(f"demo.{what}-value")
        assert registered.schema.schema_str == schemas.text(what, {"avro": "avsc", "protobuf": "proto"}[name])
        assert form.write(what, MESSAGES[what])[:5] == b"\0" + registered.schema_id.to_bytes(4, "big")


MESSAGES = {
    "products": b'{"product_id":"A","category":"","item":"","size":"","price":1.0,"inventory":1,"contains_fruit":true,'
    b'"contains_veggies":true,"contains_nuts":true,"contains_caffeine":true,"range_weight":1,"cost":null}',
    "purchases": golden.purchases()[0],
    "stockings": b'{"event_time":"2026-01-01 00:00:00.000000","product_id":"A","existing_level":1,"stock_quantity":1,'
    b'"new_level":2,"stocking_id":"A-R000001"}',
    "lost_sales": b'{"event_time":"2026-01-01 00:00:00.000000","product_id":"A","quantity":1,"value":1.0,"reason":"",'
    b'"level":0,"promised":null,"incident":null,"substitute":null,"lost_sale_id":"A-L000001"}',
    "incidents": b'{"event_time":"2026-01-01 00:00:00.000000","incident":"a","kind":"storm","phase":"start",'
    b'"start":"2026-01-01 00:00:00.000000","end":"2026-01-01 00:00:00.000000","ramp_up":0.0,"ramp_down":0.0,'
    b'"factor":1.0,"discount":0.0,"categories":[],"products":[]}',
}


# --- A library whose names have changed is not an absent registry --------------------------------------------------


@pytest.mark.parametrize("error", [AttributeError, TypeError, NameError, ImportError])
def test_a_name_that_the_library_has_no_more_is_no_silence(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(*_: Any) -> int:
        raise error("on purpose")

    registry = Registry("http://127.0.0.1:1/")
    monkeypatch.setattr(registry._client, "register_schema", register)
    with pytest.raises(error, match="on purpose"):
        registry.register("demo.purchases-value", "{}", "AVRO")


def test_without_the_function_that_reads_avro_no_message_is_taken_for_a_foreign_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = readers.form_named("avro")
    asyncio.run(form.open())
    value = form.write("purchases", golden.purchases()[0])
    monkeypatch.delattr(fastavro, "schemaless_reader")
    with pytest.raises(AttributeError):
        codec_of(form).decode("purchases", int.from_bytes(value[1:5], "big"), value[5:])
