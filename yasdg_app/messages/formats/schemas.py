"""The schemas in schemas/, and which of their fields are times and decimal numbers."""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from yasdg_app.config.files import PROJECT

KINDS = ("products", "purchases", "stockings", "lost_sales", "incidents")
"""The kinds of messages that have a schema, named as by `yasdg consume`."""

_IN_WHEEL = Path(__file__).parents[2] / "data" / "schemas"
FOLDER = _IN_WHEEL if _IN_WHEEL.exists() else PROJECT / "schemas"


class Fields(NamedTuple):
    """The fields of a kind of messages."""

    names: tuple[str, ...]
    times: tuple[str, ...]
    scales: dict[str, int]  # decimal places of decimal numbers


def text(what: str, suffix: str) -> str:
    """Return the text of a schema; `suffix`: avsc or proto."""
    return (FOLDER / f"{what}.{suffix}").read_text("utf-8")


@lru_cache
def fields(what: str) -> Fields:
    """Return the fields of a kind of messages, by its Avro schema."""
    kinds = {each["name"]: _present(each["type"]) for each in json.loads(text(what, "avsc"))["fields"]}
    logical = {name: kind["logicalType"] for name, kind in kinds.items() if "logicalType" in kind}
    return Fields(
        tuple(kinds),
        tuple(name for name, kind in logical.items() if kind == "timestamp-micros"),
        {name: kinds[name]["scale"] for name, kind in logical.items() if kind == "decimal"},
    )


def filled(message: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return those of these fields of a message that are not null."""
    return [name for name in names if message[name] is not None]


def _present(kind: Any) -> Any:
    """Return the type of a field that is not null."""
    return kind[1] if isinstance(kind, list) else kind
