"""The schemas say what the messages are, and change only so that old and new readers and messages go together."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_many
from google.protobuf import descriptor_pb2
from support import readers

from yasdg_app.messages import records
from yasdg_app.messages.formats import MOMENTS, schemas
from yasdg_app.messages.formats.avro import Avro
from yasdg_app.messages.formats.protobuf import descriptor

RECORDED = Path(__file__).parents[2] / "data" / "schemas"
"""A folder for each version that was released, by number. They stay as they are; a new one is a copy of schemas/."""

VERSIONS = sorted(folder.name for folder in RECORDED.iterdir())
RECORDS: dict[str, Any] = {
    "products": records.ProductMessage, "purchases": records.Purchase, "stockings": records.Stocking,
    "lost_sales": records.LostSaleMessage, "incidents": records.Announcement,
}  # fmt: skip


def avro_of(text: str) -> Any:
    return fastavro.parse_schema(json.loads(text))


def fields_of(text: str) -> Iterator[tuple[str, Any]]:
    return ((field["name"], field) for field in json.loads(text)["fields"])


@pytest.mark.parametrize("what", schemas.KINDS)
def test_they_have_the_fields_of_the_messages_in_their_order(what: str) -> None:
    names = list(RECORDS[what].__annotations__)
    assert list(schemas.fields(what).names) == names
    numbers = {field.name: field.number for field in descriptor("", schemas.text(what, "proto")).message_type[0].field}
    assert list(numbers) == names
    nullable = {name for name, field in fields_of(schemas.text(what, "avsc")) if isinstance(field["type"], list)}
    proto = descriptor("", schemas.text(what, "proto")).message_type[0]
    assert {field.name for field in proto.field if field.proto3_optional} == nullable
    assert {name for name, kind in RECORDS[what].__annotations__.items() if "None" in str(kind)} == nullable


def test_every_time_of_a_fault_is_known() -> None:
    assert set(MOMENTS["faults"]) == {name for name in records.Fault.__annotations__ if name.endswith(("_time", "_at"))}


@pytest.mark.parametrize("what", schemas.KINDS)
def test_protoc_makes_the_same_of_them(what: str, tmp_path: Path) -> None:
    readers.protoc("--descriptor_set_out", str(tmp_path / "set"), what)
    (wanted,) = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file
    for field in wanted.message_type[0].field:
        field.ClearField("json_name")  # which follows from the name
    assert descriptor(f"{what}.proto", schemas.text(what, "proto")) == wanted


def test_the_last_version_is_recorded() -> None:
    files = {path.name: path.read_text() for path in schemas.FOLDER.iterdir()}
    assert {path.name: path.read_text() for path in (RECORDED / VERSIONS[-1]).iterdir()} == files, (
        "schemas/ has changed: copy it to a new folder in tests/data/schemas"
    )


def filled(schema: Any) -> dict[str, Any]:
    """A record that says something in every field."""
    return next(iter(generate_many(schema, 1)))


@pytest.mark.parametrize("what", schemas.KINDS)
@pytest.mark.parametrize("version", VERSIONS)
def test_avro_of_each_version_can_be_read_with_the_other(version: str, what: str) -> None:
    old, new = avro_of((RECORDED / version / f"{what}.avsc").read_text()), avro_of(schemas.text(what, "avsc"))
    for writer, reader in ((old, new), (new, old)):
        record = filled(writer)
        into = io.BytesIO()
        fastavro.schemaless_writer(into, writer, record)
        read: Any = fastavro.schemaless_reader(io.BytesIO(into.getvalue()), writer, reader)
        assert read.keys() == {field["name"] for field in reader["fields"]}
    assert {name: field["type"] for name, field in fields_of(schemas.text(what, "avsc"))}.items() >= {
        name: field["type"] for name, field in fields_of((RECORDED / version / f"{what}.avsc").read_text())
    }.items()


@pytest.mark.parametrize("what", schemas.KINDS)
@pytest.mark.parametrize("version", VERSIONS)
def test_protobuf_of_each_version_can_be_read_with_the_other(version: str, what: str) -> None:
    texts = (RECORDED / version / f"{what}.proto").read_text(), schemas.text(what, "proto")
    old, new = ({field.number: field for field in descriptor("", text).message_type[0].field} for text in texts)
    assert {number: new.get(number) for number in old} == old  # and no number has got another meaning
    assert set(range(1, len(new) + 1)) == new.keys()


# --- A version of before there were any schemas: the messages as they were once ---

ONCE = {"purchases": 10, "products": 11}  # fields
DEFAULTS = {"cost": None, "total_cost": None, "promotion_discount": 0.0, "substituted_from": None}


@pytest.mark.parametrize("what", ONCE)
def test_what_was_added_since_has_a_default_where_it_is_missing(what: str) -> None:
    schema = json.loads(schemas.text(what, "avsc"))
    added = [field["name"] for field in schema["fields"][ONCE[what] :]]
    old = fastavro.parse_schema(schema | {"fields": schema["fields"][: ONCE[what]]})
    into = io.BytesIO()
    fastavro.schemaless_writer(into, old, filled(old))
    avro = Avro()
    avro.add_writer(7, json.dumps(schema | {"fields": schema["fields"][: ONCE[what]]}))
    read = avro.decode(what, 7, into.getvalue())
    assert {name: read[name] for name in added} == {name: DEFAULTS[name] for name in added}
