"""Incidents as people send them: any JSON is either an incident or told what is wrong with it."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app import catalog
from yasdg_app.incidents import is_configured, read_incident
from yasdg_app.settings import IncidentSettings, SettingsError, incident

PRODUCTS = catalog.load(Path(__file__).parents[1] / "products.csv")
KEYS = ("name", "kind", "start", "duration", "ramp_up", "categories", "products", "factor", "discount", "every", "x")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["storm", "1h", "SF01"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=3,
)


def test_texts_numbers_and_lists_say_the_same() -> None:
    texts = {"kind": "promotion", "factor": "2", "discount": "0.2", "products": "SF01, SF02", "duration": "2h"}
    values = {"kind": "promotion", "factor": 2, "discount": 0.2, "products": ["SF01", "SF02"], "duration": "2h"}
    assert read_incident({"name": "a"} | values, PRODUCTS) == incident("a", texts)
    assert read_incident({"name": "a"} | texts | {"categories": []}, PRODUCTS) == incident("a", texts)
    assert incident("a", texts).discount == Decimal("0.2")


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
    sale = incident("sale", {"kind": "promotion", "start": "2026-01-01"})
    storm = IncidentSettings("storm", "storm", every=incident("x", {"kind": "storm"}).duration)
    assert is_configured(name, (sale, storm)) == taken
