"""What somebody else writes to the control topic counts within the limits of requests, or for no worker at all."""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.properties import examples
from support.small_shops import DAY, HOUR, MINUTE, OPENED, PRODUCTS, SECOND, record

from yasdg_app.cluster_state.control_records import ControlState, end_record, gap_record, incident_record, read_control
from yasdg_app.cluster_state.incident_requests import MAX_OVER, described, listed
from yasdg_app.config.settings import MAX_DISCOUNT, MAX_DURATION, MAX_FACTOR, SalesSettings, Settings
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.messages.times import time_text
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.incident import LATEST_START, Incident
from yasdg_app.shop.plan import MAX_CUSTOMERS_PER_CELL, Gap, Plan
from yasdg_app.shop.till import Till

CLOCK = Clock(OPENED, OPENED, 1.0)
WRITTEN = OPENED + HOUR
START = (OPENED // MINUTE + 120) * MINUTE
YEARS_50 = 50 * 365 * DAY
PLAN = Plan.of(Settings(sales=SalesSettings(max_sale_freq=120.0)), PRODUCTS, OPENED)

VALID = Incident("it", "custom", START, START + HOUR, 0, 0, frozenset(), frozenset(), 2.0, 0)
VALUE: dict[str, Any] = json.loads(incident_record(VALID).value or b"")


def said(*rows: ProducerRecord, written: int = WRITTEN) -> ControlState:
    return read_control([record(row, written, place) for place, row in enumerate(rows)], CLOCK, PRODUCTS)


def changed(**fields: Any) -> ProducerRecord:
    return ProducerRecord(b"incident/it", json.dumps(VALUE | fields).encode(), 0)


# --- The limits: pinned, since what counted once counts for ever ------------------------------------------------------


PINNED = [
    replace(VALID, factor=0.0),
    replace(VALID, factor=100.0),
    replace(VALID, factor=5e-324),
    replace(VALID, discount=9_999),
    replace(VALID, kind="promotion", factor=1.0, discount=9_999),
    replace(VALID, end=START + MINUTE),
    replace(VALID, end=START + YEARS_50),
    replace(VALID, ramp_up=HOUR),
    replace(VALID, ramp_down=HOUR),
    replace(VALID, end=START + YEARS_50, ramp_up=YEARS_50 // 2, ramp_down=YEARS_50 // 2),
    replace(VALID, start=7_258_118_340 * SECOND, end=7_258_118_340 * SECOND + YEARS_50),  # 2199-12-31 23:59
    replace(VALID, name="a" * 40),
    replace(VALID, name="-_0"),
    *(replace(VALID, kind=kind) for kind in ("storm", "power_outage", "promotion", "viral", "road_works", "supply")),
    replace(VALID, categories=frozenset(each.category for each in PRODUCTS)),
    replace(VALID, products=frozenset(each.product_id for each in PRODUCTS)),
]


@pytest.mark.parametrize("each", PINNED)
def test_what_counted_once_counts_for_ever(each: Incident) -> None:
    """Never to be changed, but for more: a record that does not count any more changes the past of a shop."""
    assert said(incident_record(each)).live == (each,)


def test_limits_are_only_ever_widened() -> None:
    assert MAX_FACTOR >= 100
    assert MAX_DISCOUNT >= 9_999
    assert MAX_DURATION.days >= 50 * 365
    assert LATEST_START >= 10**16
    assert MAX_CUSTOMERS_PER_CELL >= 1_000_000


def test_a_record_of_the_first_version_reads_as_it_did() -> None:
    value = """
        {"name": "flash-sale", "kind": "promotion", "start": "2024-03-01 12:00:00.000000",
         "end": "2024-03-01 14:00:00.000000", "ramp_up": 600000000, "ramp_down": 0, "categories": ["Classics"],
         "products": ["SF01"], "factor": 2, "discount": 2000}
    """
    row = ProducerRecord(b"incident/flash-sale", value.encode(), 0)
    ended = ProducerRecord(b"end/flash-sale", b'{"end":"2024-03-01 13:00:00.000000"}', 0)
    gap = ProducerRecord(
        b"gap/2024-03-01 09:25:00.124000/2024-03-01 10:00:00.000001",
        b'{"after":"2024-03-01 09:25:00.124000","until":"2024-03-01 10:00:00.000001"}',
        0,
    )
    noon = 1_709_294_400 * SECOND
    assert said(row, ended, gap) == ControlState(
        (
            Incident(
                "flash-sale", "promotion", noon, noon + HOUR, 10 * MINUTE, 0, frozenset(["Classics"]),
                frozenset(["SF01"]), 2.0, 2000, noon + 2 * HOUR,
            ),
        ),
        (Gap(1_709_285_100_124_000, 1_709_287_200_000_001),),
    )  # fmt: skip


# --- What is beyond them is ignored -----------------------------------------------------------------------------------


BEYOND: list[dict[str, Any]] = [
    {"factor": 1e300}, {"factor": -1}, {"factor": 100.00001}, {"factor": float("nan")}, {"factor": float("inf")},
    {"factor": 10**400}, {"factor": None}, {"factor": "2"},
    {"discount": 10_000}, {"discount": 1_000_000}, {"discount": -1}, {"discount": 2**64}, {"discount": 0.5},
    {"kind": "storm", "discount": 1},
    {"ramp_up": -MINUTE}, {"ramp_up": 2**63}, {"ramp_down": 10**30}, {"ramp_up": HOUR, "ramp_down": MINUTE},
    {"ramp_up": 1}, {"kind": "supply", "ramp_up": MINUTE},
    {"kind": "earthquake"}, {"kind": ""}, {"kind": "Storm"},
    {"end": time_text(START)}, {"end": time_text(START - MINUTE)}, {"end": time_text(START + HOUR + 1)},
    {"end": time_text(START + YEARS_50 + MINUTE)}, {"start": time_text(START + 1)},
    {"start": "0001-01-01 00:00:00.000000"}, {"end": "9999-12-31 23:59:00.000000"},
    {"start": "9999-12-31 23:58:00.000000", "end": "9999-12-31 23:59:00.000000"},
    {"start": "2024-03-01T12:00:00.000000"}, {"start": "2024-03-01 12:00:00+02:00"}, {"start": "2024-03-01"},
    {"start": "2024-02-30 12:00:00.000000"}, {"start": "٢٠٢٤-03-01 12:00:00.000000"}, {"start": 1_709_294_400},
    {"name": "other"}, {"name": "it\n"}, {"name": ""},
    {"products": ["nowhere"]}, {"categories": ["Nothing"]}, {"products": ["SF01", "nowhere"]},
    {"products": [f"P{number}" for number in range(100_000)]}, {"products": "SF01"}, {"products": [["SF01"]]},
    {"more": 1},
]  # fmt: skip


@pytest.mark.parametrize("fields", BEYOND, ids=lambda fields: str(fields)[:60])
def test_an_incident_beyond_the_limits_of_requests_is_ignored(fields: dict[str, Any]) -> None:
    assert said(changed(**fields)) == ControlState()
    assert said(incident_record(VALID), changed(**fields)).live == (VALID,)


NESTED = b"[" * 100_000 + b"]" * 100_000
ODD: list[tuple[bytes | None, bytes | None]] = [
    (None, None), (b"", b""), (b"incident/it", None), (b"incident/it", b""), (b"incident/it", NESTED),
    (b"incident/it", b'{"name":' + NESTED + b"}"), (b"incident/it", b'{"categories":' + NESTED + b"}"),
    (b"incident/it", b'{"more":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001), (b"end/it", b'{"end":' + NESTED + b"}"),
    (b"incident/it", b"9" * 5_000), (b"incident/it", incident_record(VALID).value + b" " * 1_048_000),  # type: ignore[operator]
    (b"incident/\xff", incident_record(VALID).value), (b"incident", incident_record(VALID).value),
    (b"incident/it", b'{"name":"\\ud800"}'), (b"gap/x", gap_record(Gap(OPENED, WRITTEN)).value),
    (b"gap/" + NESTED, NESTED),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), ODD, ids=lambda it: str(it)[:30])
def test_what_is_no_record_of_a_shop_is_ignored(key: bytes | None, value: bytes | None) -> None:
    assert said(ProducerRecord(key, value, 0)) == ControlState()  # type: ignore[arg-type]


def test_a_second_incident_of_a_name_does_not_take_the_place_of_the_first() -> None:
    assert said(incident_record(VALID), incident_record(replace(VALID, factor=0.0))).live == (VALID,)


@pytest.mark.parametrize(
    "end", ["9999-12-31 23:59:00.000000", "0001-01-01 00:00:00.000000", time_text(START + 1), "yesterday", 5, None]
)
def test_an_odd_ending_ends_nothing_early(end: object) -> None:
    (live,) = said(incident_record(VALID), ProducerRecord(b"end/it", json.dumps({"end": end}).encode(), 0)).live
    assert live.end == VALID.end


# --- Gaps: time that has passed, and nothing else ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "until"),
    [
        (OPENED + MINUTE, WRITTEN + 366 * DAY),
        (WRITTEN + DAY, WRITTEN + 2 * DAY),
        (OPENED + MINUTE, WRITTEN + 25 * HOUR),
        (OPENED + HOUR, OPENED + MINUTE),
        (OPENED + MINUTE, OPENED + MINUTE),
        (OPENED - 1, OPENED + MINUTE),
        (-62_135_596_800 * SECOND, OPENED + MINUTE),
    ],
)
def test_a_gap_of_time_that_has_not_passed_or_is_none_is_ignored(after: int, until: int) -> None:
    assert said(gap_record(Gap(after, until))) == ControlState()


@pytest.mark.parametrize("speed", [None, 0.001, 1.0, 60.0, 1e6])
def test_a_gap_until_now_counts_at_every_speed(speed: float | None) -> None:
    clock = Clock(OPENED - 30 * DAY, OPENED, speed)
    gap = Gap(OPENED - 30 * DAY, clock.at(WRITTEN))
    assert read_control([record(gap_record(gap), WRITTEN - MINUTE)], clock, PRODUCTS).gaps == (gap,)
    ahead = Gap(gap.after, max(gap.until, WRITTEN) + 25 * HOUR)
    assert read_control([record(gap_record(ahead), WRITTEN)], clock, PRODUCTS).gaps == ()


@pytest.mark.parametrize("ahead", [MINUTE, 6 * MINUTE, HOUR, 23 * HOUR])
def test_a_gap_of_a_worker_whose_clock_was_ahead_counts_as_it_always_did(ahead: int) -> None:
    gap = Gap(OPENED + MINUTE, WRITTEN + ahead)
    assert said(gap_record(gap)) == ControlState((), (gap,))


def test_where_the_cluster_tells_no_time_gaps_count_and_nothing_else() -> None:
    """As they always did: such a topic was not made by a shop."""
    gap = Gap(OPENED, WRITTEN)
    assert said(gap_record(gap), incident_record(VALID), written=0) == ControlState((), (gap,))


# --- Any bytes at all -------------------------------------------------------------------------------------------------


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["storm", time_text(START)]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
MUTATED = st.dictionaries(st.sampled_from(sorted(VALUE)), JSON, max_size=2).map(lambda fields: changed(**fields))
SPANS = st.tuples(st.integers(-(2**56), 2**56), st.integers(-(2**56), 2**56)) | st.tuples(
    st.integers(OPENED, OPENED + DAY), st.integers(OPENED, OPENED + DAY)
)
VALID_ONES = st.builds(
    lambda name, kind, start, length, factor: incident_record(
        replace(VALID, name=name, kind=kind, start=START + start * MINUTE, end=START + (start + length) * MINUTE,
                factor=factor)
    ),
    st.sampled_from("abcdefgh"), st.sampled_from(["custom", "supply", "storm"]), st.integers(0, 90),
    st.integers(1, 2_000), st.sampled_from([0.0, 0.3, 100.0, 100.0, 100.0]),
)  # fmt: skip
KEYS = st.none() | st.binary() | st.sampled_from([b"incident/it", b"end/it", b"gap/x", b"here", b"incident/a"])
ROWS = st.one_of(
    st.builds(ProducerRecord, KEYS, st.none() | st.binary() | JSON.map(lambda it: json.dumps(it).encode()), st.just(0)),
    MUTATED,
    SPANS.map(lambda span: _gap(*span)),
    VALID_ONES,
    st.integers(0, 10_000).map(lambda minute: end_record("a", START + minute * MINUTE)),
)
TIMES = st.sampled_from([WRITTEN, 0, -1000, 2**62, OPENED]) | st.integers(-(2**63), 2**63 - 1)


def _gap(after: int, until: int) -> ProducerRecord:
    try:
        return gap_record(Gap(after, until))
    except (ValueError, OverflowError):  # no calendar has it
        return ProducerRecord(b"gap/x", json.dumps({"after": str(after), "until": str(until)}).encode(), 0)


def rung_up(plan: Plan, hours: Iterable[int]) -> None:
    for hour in hours:
        till = Till(plan, PRODUCTS[:2])
        till._next_cell = plan.grid.cell_at(START + hour * HOUR)
        till._compute(till._next_cell, 60)


@settings(deadline=None, max_examples=examples(150))
@example([(changed(factor=1e300), WRITTEN)])
@example([(incident_record(VALID), WRITTEN), (end_record("it", START), WRITTEN)])
@example([(incident_record(replace(VALID, name=f"n{n}", factor=100.0)), WRITTEN) for n in range(200)])
@given(st.lists(st.tuples(ROWS, TIMES), max_size=12))
def test_whatever_is_on_the_topic_the_shop_can_be_run_and_shown(rows: list[tuple[ProducerRecord, int]]) -> None:
    records = [record(row, written, place) for place, (row, written) in enumerate(rows)]
    control = read_control(records, CLOCK, PRODUCTS)
    plan = PLAN.with_control(control.live, control.gaps)
    small = replace(plan, max_factor=1_000.0)  # the machine is shared; see the test of the highest factor
    rung_up(small, (0, 1))
    list(plan.incidents.announcements(OPENED, OPENED + 400 * DAY))
    for now in (OPENED, START, START + YEARS_50):
        shown = {each["name"]: each["state"] for each in listed(plan.incidents, control, now)}
        left = {incident.name for incident in control.live if not incident.is_over(now)}
        assert {name for name, state in shown.items() if state in ("ahead", "on")} == left
        assert len(shown) <= len(left) + MAX_OVER
        for each in control.live:
            json.dumps(described(each, control, now)).encode()
    plan.incidents.delivery(PRODUCTS[0], OPENED, HOUR)


def test_incidents_together_bring_no_more_customers_than_a_till_can_hold() -> None:
    """Five of factor 100 at the same time would be ten thousand million times as many."""
    live = [replace(VALID, name=f"n{n}", factor=100.0) for n in range(200)]
    plan = PLAN.with_control(live, ())
    first = plan.grid.cell_at(START)
    activity = np.ones(2)
    expected = sum(plan.expected(each, first, activity) for each in PRODUCTS)
    assert float(np.max(expected)) <= MAX_CUSTOMERS_PER_CELL * (1 + 1e-9)
    assert plan.rush(first, 2) == plan.max_factor >= 100
    closed = PLAN.with_control([*live, replace(VALID, name="z", kind="power_outage", factor=0.0)], ())
    assert not closed.expected(PRODUCTS[0], first, activity).any()


@pytest.mark.parametrize("mean", [0.000002, 0.01, 1.0, 1e9])
def test_a_single_incident_has_all_of_its_effect_in_every_shop(mean: float) -> None:
    plan = Plan.of(Settings(sales=SalesSettings(min_sale_freq=mean, max_sale_freq=mean)), PRODUCTS, OPENED)
    plan = plan.with_control([replace(VALID, factor=100.0)], ())
    first = plan.grid.cell_at(START + MINUTE)
    assert plan.factor(plan.during(first, 1), first, 1) == pytest.approx(100.0)


@pytest.mark.parametrize("mean", [0.001, 0.01, 1.0, 3600.0])
@pytest.mark.parametrize("factors", [(20.0, 15.0), (100.0, 10.0), (10.0, 10.0, 10.0)])
def test_incidents_whose_customers_fit_into_memory_have_all_of_their_effect_together(
    mean: float, factors: tuple[float, ...]
) -> None:
    plan = Plan.of(Settings(sales=SalesSettings(min_sale_freq=mean, max_sale_freq=mean)), PRODUCTS, OPENED)
    live = [replace(VALID, name=f"n{place}", factor=factor) for place, factor in enumerate(factors)]
    plan = plan.with_control(live, ())
    first = plan.grid.cell_at(START + MINUTE)
    assert plan.factor(plan.during(first, 1), first, 1) == pytest.approx(math.prod(factors))
