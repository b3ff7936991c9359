"""Whatever repeats the fields of a message has those of its record: decoders, and the tables of the example jobs.

The schemas for Avro and Protobuf are compared in formats/test_schemas.py, the fast encoders in test_records.py.
"""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

from yasdg_app.messages import decoders
from yasdg_app.messages.formats import schemas
from yasdg_app.messages.records import Fault, LostSaleMessage, ProductMessage, Purchase, Stocking

EXAMPLES = Path(__file__).parents[2] / "examples"
RECORDS: dict[str, Any] = {"purchases": Purchase, "stockings": Stocking, "products": ProductMessage}
SHARES = {"member_discount", "promotion_discount"}
"""Decimal numbers with four places; all other amounts have two."""


def sql_type(kind: str, name: str) -> str:
    """The type in SQL of a field of a message."""
    fields = schemas.fields(kind)
    if name in fields.times:
        return "timestamp"
    if name in fields.scales:
        return f"decimal({5 if name in SHARES else 12},{fields.scales[name]})"
    hint = str(RECORDS[kind].__annotations__[name])
    return next(sql for python, sql in PYTHON_TO_SQL.items() if python in hint)


PYTHON_TO_SQL = {"bool": "boolean", "int": "int", "float": "double", "str": "string"}


def columns(declaration: str) -> dict[str, str]:
    """The columns of a table, `name type, ...`, in their order; computed columns, watermarks and keys left out."""
    text = re.sub(r"--.*", "", declaration).lower().replace("`", "")
    found = re.findall(r"(?:^|,)\s*(\w+) (timestamp(?:\(6\))?|decimal\(\d+, ?\d\)|[a-z]+)(?=\s*(?:,|$))", text)
    return {name: re.sub(r"\(6\)|(?<=,) ", "", kind) for name, kind in found}


def wanted(kind: str) -> dict[str, str]:
    return {name: sql_type(kind, name) for name in RECORDS[kind].__annotations__}


@pytest.mark.parametrize(
    ("struct", "record"),
    [
        (decoders.SaleEvent, Purchase),
        (decoders.ValidSale, Purchase),
        (decoders.LostSaleEvent, LostSaleMessage),
        (decoders.ValidLostSale, LostSaleMessage),
        (decoders.FaultKey, Fault),
        (decoders.RestockKey, Stocking),
    ],
)
def test_a_decoder_reads_fields_of_the_record_with_their_types(struct: type[msgspec.Struct], record: Any) -> None:
    decoded, recorded = get_type_hints(struct), get_type_hints(record)
    assert decoded
    for name, hint in decoded.items():
        expected = str(recorded[name])
        if "datetime" in str(hint):  # a time is text in the message
            expected = expected.replace("str", datetime.__module__ + ".datetime")
        assert str(hint).replace("<class '", "").rstrip("'>") == expected.replace("<class '", "").rstrip("'>")


@pytest.mark.parametrize("kind", RECORDS)
def test_flink_has_the_fields_of_the_record(kind: str) -> None:
    text = (EXAMPLES / "flink" / "tables.sql").read_text()
    declaration = re.search(rf"CREATE TABLE {kind} \((.*?)\n\) WITH", text, re.DOTALL)
    assert declaration is not None
    assert columns(declaration[1]) == wanted(kind)


@pytest.mark.parametrize("kind", RECORDS)
def test_spark_has_the_fields_of_the_record(kind: str) -> None:
    text = (EXAMPLES / "spark" / "job.py").read_text()
    declaration = re.search(rf'^{kind[:-1].upper()} = f?"""(.*?)"""', text, re.DOTALL | re.MULTILINE)
    assert declaration is not None
    filled = declaration[1].replace("{AMOUNT}", "decimal(12,2)").replace("{SHARE}", "decimal(5,4)")
    assert columns(filled.replace("\n", " ").strip()) == wanted(kind)


@pytest.mark.parametrize("kind", RECORDS)
def test_pinot_has_the_fields_of_the_record(kind: str) -> None:
    schema = json.loads((EXAMPLES / "pinot" / f"{kind}_schema.json").read_text())
    fields = [field for key, specs in schema.items() if key.endswith("FieldSpecs") for field in specs]
    computed = {"sold_at", "stocked_at", "__metadata$recordTimestamp"}  # times as Pinot's own type
    assert {field["name"] for field in fields} - computed == set(RECORDS[kind].__annotations__)


def test_beam_has_the_fields_of_the_purchase_in_their_order() -> None:
    text = (EXAMPLES / "beam" / "Sales.java").read_text()
    declaration = re.search(r"Schema PURCHASE = (.*?)\.build\(\);", text, re.DOTALL)
    assert declaration is not None
    assert re.findall(r'Field\("(\w+)"', declaration[1]) == list(Purchase.__annotations__)
