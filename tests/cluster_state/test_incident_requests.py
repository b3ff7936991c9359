"""Incidents as people send them: any JSON is either an incident or told what is wrong with it."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.product_ids import product_ids

from yasdg_app.cluster_state.control_records import ControlState
from yasdg_app.cluster_state.incident_requests import (
    MAX_OVER,
    MAX_RANDOM,
    OVER_MICROSECONDS,
    UPCOMING_MICROSECONDS,
    is_configured,
    listed,
    read_incident,
)
from yasdg_app.config import catalog, rules
from yasdg_app.config.catalog import Product
from yasdg_app.config.ini import SettingsError, parse_incident
from yasdg_app.config.settings import IncidentSettings
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.incidents import Incidents

PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")
KEYS = ("name", "kind", "start", "duration", "ramp_up", "categories", "products", "factor", "discount", "every", "x")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["storm", "1h", "SF01"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=3,
)


def test_texts_numbers_and_lists_say_the_same() -> None:
    texts = {"kind": "promotion", "factor": "2", "discount": "0.2", "products": "SF01, SF02", "duration": "2h"}
    values = {"kind": "promotion", "factor": 2, "discount": 0.2, "products": ["SF01", "SF02"], "duration": "2h"}
    assert read_incident({"name": "a"} | values, PRODUCTS) == parse_incident("a", texts)
    assert read_incident({"name": "a"} | texts | {"categories": []}, PRODUCTS) == parse_incident("a", texts)
    assert parse_incident("a", texts).discount == Decimal("0.2")


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(), ANYTHING))
def test_anything_else_is_told_by_field(sent: dict[str, Any]) -> None:
    try:
        read_incident(sent, PRODUCTS)
    except SettingsError as error:
        assert error.problems
        for problem in error.problems:
            assert "\n" not in problem
        json.dumps(error.problems).encode()


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("sale", True),
        ("storm", True),
        ("storm-20260101T1200", True),
        ("storm-20260101T1200-2", True),
        ("sale-20260101T1200", False),  # comes once, so none is called so
        ("storm-2", False),
        ("Storm", False),
    ],
)
def test_names_of_the_configuration_are_taken_those_of_occurrences_too(name: str, taken: bool) -> None:
    sale = parse_incident("sale", {"kind": "promotion", "start": "2026-01-01"})
    storm = IncidentSettings("storm", "storm", every=parse_incident("x", {"kind": "storm"}).duration)
    assert is_configured(name, (sale, storm)) == taken


def product(product_id: str, category: str) -> Product:
    return replace(PRODUCTS[0], product_id=product_id, category=category)


@pytest.mark.parametrize("category", ["Shakes, Malts & More", ",", "a,b,", ""])
def test_a_list_is_taken_entry_by_entry_whatever_is_in_them(category: str) -> None:
    catalog = (product("A1", "Shakes"), product("B,1", category), *PRODUCTS)
    read = read_incident({"name": "a", "kind": "storm", "categories": [category], "products": ["B,1", "A1"]}, catalog)
    assert (read.categories, read.products) == ((category,), ("B,1", "A1"))
    with pytest.raises(SettingsError, match="categories: Shakes, Juices is not in the catalog"):
        read_incident({"name": "a", "kind": "storm", "categories": ["Shakes, Juices"]}, catalog)


@given(product_id=product_ids())
def test_any_id_can_be_named_however_it_is_composed(product_id: str) -> None:
    catalog = (product(product_id, "Shakes"), *PRODUCTS)
    for form in ("NFC", "NFD"):
        written = normalize(form, product_id)  # type: ignore[arg-type]
        for sent in ([written], [written, product_id], rules.listed([written])):
            read = read_incident({"name": "a", "kind": "storm", "products": sent}, catalog)
            assert read.products == (product_id,)


MINUTE = 60_000_000
NOW = 2_000_000 * MINUTE


def live(name: str, start: int, end: int) -> Incident:
    return Incident(name, "storm", NOW + start * MINUTE, NOW + end * MINUTE, 0, 0, frozenset(), frozenset(), 1.0, 0)


def names(incidents: Incidents, *those: Incident) -> list[str]:
    return [each["name"] for each in listed(incidents, ControlState(those), NOW)]


def test_what_is_over_leaves_the_list_and_what_is_on_or_ahead_does_not() -> None:
    none = Incidents((), lambda local: 0, 1, 0)
    day = OVER_MICROSECONDS // MINUTE
    old, recent = live("old", -2 * day, -day), live("recent", -2 * day, -day + 1)
    never = live("never", 30, 30)  # it was ended before it began
    on, ahead = live("on", -9 * day, 1), live("ahead", 10**6, 10**6 + 1)
    assert names(none, old, recent, never, on, ahead) == ["on", "recent", "never", "ahead"]
    many = [live(f"over-{at:03}", -at - 1, -at) for at in range(500)]
    assert names(none, on, *many) == ["on", *(f"over-{at:03}" for at in reversed(range(MAX_OVER)))]


def test_of_those_that_come_at_random_the_list_has_the_next_ones() -> None:
    settings = [
        IncidentSettings(name, "storm", every=timedelta(minutes=every), duration=timedelta(minutes=5))
        for name, every in (("often", 1), ("seldom", 60))
    ]
    incidents = Incidents(settings, lambda local: 0, 1, 0)
    told = listed(incidents, ControlState(), NOW)
    assert len(told) == MAX_RANDOM
    every_one = incidents.between(NOW, NOW + UPCOMING_MICROSECONDS)
    assert [each["name"] for each in told] == [each.name for each in every_one[:MAX_RANDOM]]
    assert {"often", "seldom"} == {each["name"].partition("-")[0] for each in told}
