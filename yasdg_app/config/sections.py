"""The sections of the configuration file: their keys with rules, the secret keys, and the environment variables."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from yasdg_app.config import rules
from yasdg_app.config.rules import WEEKDAYS, Rule
from yasdg_app.config.settings import (
    ClockSettings,
    DatastoreSettings,
    FaultSettings,
    FormatSettings,
    IncidentSettings,
    InventorySettings,
    KafkaSettings,
    SalesSettings,
    SupplierSettings,
    WebSettings,
)


def _rules_of_class(kind: type[Any]) -> dict[str, Rule[Any]]:
    return {key.name: key.metadata["rule"] for key in fields(kind) if "rule" in key.metadata}


_BY_HOUR = rules.numbers(24, "one for each hour of the day")
_SUPPLIER_RULES = _rules_of_class(SupplierSettings)
SECTIONS: dict[str, dict[str, Rule[Any]]] = {
    "KAFKA": _rules_of_class(KafkaSettings),
    "SALES": _rules_of_class(SalesSettings),
    "INVENTORY": _rules_of_class(InventorySettings),
    "CLOCK": _rules_of_class(ClockSettings),
    "HOURS": {
        **dict.fromkeys(("every_day", *WEEKDAYS), rules.hours()),
        "holidays": rules.region(),
        "on_holidays": rules.hours(),
    },
    "VOLUME": {
        **dict.fromkeys(("every_day", *WEEKDAYS), _BY_HOUR),
        "months": rules.numbers(12, "one for each month", all_zero=False),
        "growth": rules.growth(),
    },
    "SUPPLY": {key: rule for key, rule in _SUPPLIER_RULES.items() if key != "categories"},
    "FAULTS": _rules_of_class(FaultSettings),
    "WEB": _rules_of_class(WebSettings),
    "FORMAT": _rules_of_class(FormatSettings),
    "DATASTORE": _rules_of_class(DatastoreSettings),
}
_SECTIONS_WITH_SECRETS: dict[str, type[Any]] = {
    "KAFKA": KafkaSettings, "WEB": WebSettings, "FORMAT": FormatSettings, "DATASTORE": DatastoreSettings,
}  # fmt: skip
SECRET_KEYS = {
    (section, key.name)
    for section, kind in _SECTIONS_WITH_SECRETS.items()
    for key in fields(kind)
    if key.metadata["secret"]
}
"""Section and key of values that must never be shown."""
REPEATED_SECTIONS = {"SUPPLIER": _SUPPLIER_RULES, "INCIDENT": _rules_of_class(IncidentSettings)}
"""Rules of sections that may occur any number of times, as [KIND name]."""
VARIABLES = {f"YASDG_{section}_{key}".upper(): (section, key) for section, keys in SECTIONS.items() for key in keys}
AMBIGUOUS_SECTIONS = ("WEB", "FORMAT", "DATASTORE")
"""Sections with ambiguous keys, such as port or time: never suggested as the place of a misplaced key."""


def rules_of(section: str) -> Mapping[str, Rule[Any]]:
    """Return the rules of a section by key; `section`: its name, or "KIND name" for a repeated section."""
    return SECTIONS[section] if section in SECTIONS else REPEATED_SECTIONS[section.partition(" ")[0]]
