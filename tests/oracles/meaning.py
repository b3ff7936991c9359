"""What a message says, as Confluent's deserialisers have it."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from yasdg_app.messages.formats import MOMENTS, schemas
from yasdg_app.messages.times import event_time


def meaning(what: str, message: bytes, name: str) -> dict[str, Any]:
    """`message`: in the default format; `name`: avro or protobuf."""
    fields: dict[str, Any] = json.loads(message)
    for field in MOMENTS[what]:
        if fields[field] is not None:
            at = event_time(fields[field])
            fields[field] = at if name == "protobuf" else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    for field, scale in schemas.fields(what).scales.items():
        if fields[field] is not None:
            exact = Decimal(repr(fields[field])).quantize(Decimal(10) ** -scale)
            fields[field] = str(exact) if name == "protobuf" else exact
    return fields
