"""The fingerprint of a stream: everything that determines it except time, as texts by name.

It is part of the manifest record, and a shop can only be continued with the same fingerprint. It hashes the names and
types of the fields of `Product`; tests/cluster_state/test_manifest_record.py pins it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import islice
from typing import Any

from yasdg_app.config.catalog import Product, fingerprinted
from yasdg_app.config.rules import WEEKDAYS, Span, listed, span_text
from yasdg_app.config.settings import LARGEST_QUANTITY, OUT_OF, SalesSettings, Settings, SupplierSettings

PRODUCTS_PER_CHUNK = 10_000
IMPLIED_DEFAULTS = {"FORMAT.value": "json", "FORMAT.time": "sql"}
"""Values assumed for keys missing from a fingerprint: it is older than the key, or the key has its default."""


def fingerprint_of(settings: Settings, products: Sequence[Product]) -> dict[str, str]:
    """Return the fingerprint of a shop. It excludes the number of sales, which changes no sale."""
    # The digest of `repr([*fingerprinted(products)])`, computed chunk by chunk.
    rows, digest = fingerprinted(products), sha256(b"[")
    for start in range(0, len(products), PRODUCTS_PER_CHUNK):
        chunk = ", ".join(map(repr, islice(rows, PRODUCTS_PER_CHUNK)))
        digest.update(((", " if start else "") + chunk).encode())
    digest.update(b"]")
    return setting_texts(settings) | {"products": digest.hexdigest()[:16]}


def fingerprint_differences(recorded: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """Return the values in which two fingerprints differ, each as a phrase such as "SALES.seed was 42, is 43"."""
    was, now = IMPLIED_DEFAULTS | {**recorded}, IMPLIED_DEFAULTS | {**current}
    return [
        f"{name} was {was.get(name, 'not set')}, is {now.get(name, 'not set')}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]


def setting_texts(settings: Settings) -> dict[str, str]:
    """Return the settings that determine the stream, by "SECTION.key"; products and time are not included.

    Settings with the same meaning have the same texts, however they were written.
    """
    hours, volume, clock = settings.hours, settings.volume, settings.clock
    dates = {str(day): spans for day, spans in sorted(hours.dates)}
    opening = {**dict(zip(WEEKDAYS, hours.week, strict=True)), "on_holidays": hours.on_holidays, **dates}
    sections: dict[str, dict[str, Any]] = {
        "SALES": _sales(settings.sales),
        "INVENTORY": _fields(settings.inventory),
        "CLOCK": {
            "start": "now" if clock.start is None else clock.start,
            "speed": "max" if clock.speed is None else clock.speed,
            "time_zone": clock.time_zone,
        },
        "HOURS": {"holidays": hours.holidays, **{key: _spans(spans) for key, spans in opening.items()}},
        "VOLUME": {
            **dict(zip(WEEKDAYS, volume.week, strict=True)), "months": volume.months, "growth": volume.growth,
        },
        "SUPPLY": _supply(settings.supply, without=("name", "categories")),
    }  # fmt: skip
    for supplier in sorted(settings.suppliers, key=lambda each: each.name):
        sections[f"SUPPLIER {supplier.name}"] = _supply(supplier, without=("name",))
    for each in sorted(settings.incidents, key=lambda each: each.name):
        scope = {"categories": listed(sorted(each.categories)), "products": listed(sorted(each.products))}
        sections[f"INCIDENT {each.name}"] = _fields(each, without=("name",)) | scope
    if settings.faults.any:  # without faults, the fingerprint is the same as before faults existed
        sections["FAULTS"] = _fields(settings.faults)
    if (form := settings.format).value != "json" or form.time != "sql":  # likewise
        sections["FORMAT"] = _fields(form, without=("registry",))
    return {f"{section}.{key}": _text(value) for section, keys in sections.items() for key, value in keys.items()}


def _sales(sales: SalesSettings) -> dict[str, Any]:
    """Return the settings of sales; quantities up to two as `quantity_one_freq`, which is as old as the fingerprint."""
    texts = _fields(sales, without=("products", "number_of_sales", "quantities"))
    if len(sales.quantities) > LARGEST_QUANTITY:
        del texts["quantity_one_freq"]
        return texts | {"quantities": sales.quantities}
    return texts | {"quantity_one_freq": (*sales.quantity_thresholds, OUT_OF)[0]}


def _fields(settings: Any, without: Sequence[str] = ()) -> dict[str, Any]:
    return {key.name: getattr(settings, key.name) for key in fields(settings) if key.name not in without}


def _supply(supplier: SupplierSettings, without: Sequence[str]) -> dict[str, Any]:
    days = [WEEKDAYS[day] for day in sorted(supplier.delivery_days)]
    meant = {"delivery_days": days, "categories": listed(sorted(supplier.categories))}
    return {key: meant.get(key, value) for key, value in _fields(supplier, without).items()}


def _spans(spans: Iterable[Span]) -> list[str]:
    return [span_text(span) for span in spans] or ["closed"]


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case timedelta():
            return _text(value.total_seconds())
        case Decimal():
            return f"{value.normalize():f}"  # .10 is .1
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))  # 8.0 is 8
        case tuple() | list():
            return ", ".join(_text(each) for each in value)
        case _:
            return str(value)
