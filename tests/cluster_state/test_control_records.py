"""What the records of the control topic say holds for all workers alike, or for none."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.small_shops import MINUTE, SECOND, product, record

from yasdg_app.cluster_state.control_records import (
    CUTOFF_MICROSECONDS,
    HORIZON_MICROSECONDS,
    LEAD_MICROSECONDS,
    MAX_CLOCK_SKEW_MICROSECONDS,
    ControlState,
    earliest,
    end_record,
    gap_record,
    horizon,
    incident_record,
    read_control,
)
from yasdg_app.config.settings import INCIDENT_KINDS
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.plan import Gap

STARTED = 1_790_000_000 * SECOND
DAY = 1440 * MINUTE
YEAR = 366 * DAY
NOW = st.integers(0, 30 * DAY).map(lambda passed: STARTED + passed)
CLOCKS = st.builds(
    lambda back, speed: Clock(STARTED - back, STARTED, speed),
    st.integers(0, YEAR), st.none() | st.just(1.0) | st.floats(1e-3, 1e5),
)  # fmt: skip
MINUTES = st.integers(0, 30_000)
CATEGORIES = ["Classics", "Superfoods", "Ünüsual “quotes”"]
PRODUCTS = tuple(product(f"P, {place}", category) for place, category in enumerate(CATEGORIES))


@st.composite
def incidents(draw: st.DrawFn, starts: st.SearchStrategy[int] = MINUTES, name: str = "it") -> Incident:
    kind, start, duration = draw(st.sampled_from(sorted(INCIDENT_KINDS))), draw(starts), 1 + draw(MINUTES)
    longest = 0 if kind == "supply" else duration
    ramp_up = draw(st.integers(0, longest))
    begins = (STARTED // MINUTE + start) * MINUTE
    return Incident(
        name, kind, begins, begins + duration * MINUTE,
        ramp_up * MINUTE, draw(st.integers(0, longest - ramp_up)) * MINUTE,
        draw(st.frozensets(st.sampled_from(CATEGORIES))),
        draw(st.frozensets(st.sampled_from([each.product_id for each in PRODUCTS]))),
        draw(st.floats(0, 100)), draw(st.integers(0, 9999)) if kind in ("promotion", "custom") else 0,
    )  # fmt: skip


REAL_TIME = Clock(STARTED, STARTED, 1.0)
LONG_BEFORE = STARTED - DAY


def said(*rows: ProducerRecord, written: int = LONG_BEFORE, clock: Clock = REAL_TIME) -> ControlState:
    return read_control([record(row, written, offset) for offset, row in enumerate(rows)], clock, PRODUCTS)


# --- What is written can be read ------------------------------------------------------------------------------------


@given(st.lists(incidents(), max_size=4))
def test_incidents_can_be_read_back(each: list[Incident]) -> None:
    named = [replace(incident, name=f"{incident.kind}-{place}") for place, incident in enumerate(each)]
    control = said(*map(incident_record, named))
    assert control.live == tuple(named)


@given(CLOCKS, st.lists(st.tuples(NOW, NOW).filter(lambda pair: pair[0] < pair[1]), max_size=3))
def test_gaps_can_be_read_back(clock: Clock, times: list[tuple[int, int]]) -> None:
    """As a worker writes them: until what the shop's clock shows, by a clock that is not that of the cluster."""
    ahead = MAX_CLOCK_SKEW_MICROSECONDS - SECOND
    spans = [(clock.at(after), clock.at(until), until - ahead) for after, until in times]
    records = [
        record(gap_record(Gap(after, until)), written, offset) for offset, (after, until, written) in enumerate(spans)
    ]
    gaps = tuple(Gap(after, until) for after, until, _ in spans if after < until)
    assert read_control(records, clock, PRODUCTS).gaps == gaps


@given(incidents())
def test_the_topic_is_compacted_and_keeps_whatever_is_of_use(it: Incident) -> None:
    rows = [
        incident_record(it), incident_record(replace(it, name="other")), end_record("it", it.end),
        gap_record(Gap(1, 2)), gap_record(Gap(3, 4)),
    ]  # fmt: skip
    assert len({row.key for row in rows}) == len(rows)


def test_nothing_is_said_at_first() -> None:
    assert said() == ControlState()
    assert ControlState().record_count == 0


ODD: list[Any] = [
    (b"incident/a", None), (b"incident/a", b""), (b"incident/a", b"{}"), (b"incident/a", b"\xff"), (b"end/it", b"[]"),
    (b"end/it", b'{"end": "yesterday"}'), (b"gap/x", b'{"after": 1}'), (None, b"x"), (b"\xff\xfe", b"{}"),
    (b"other/it", b"{}"), (b"end/nobody", b'{"end": "2026-01-01 00:00:00.000000"}'),
]  # fmt: skip


@given(incidents(), st.lists(st.sampled_from(ODD)))
def test_what_is_none_of_its_own_is_left_out(it: Incident, odd: list[Any]) -> None:
    control = said(incident_record(it), *(ProducerRecord(key, value, 0) for key, value in odd))
    assert (control.live, control.gaps) == ((it,), ())


# --- In time, or for nobody -----------------------------------------------------------------------------------------


@given(CLOCKS, incidents(), NOW)
def test_what_was_written_too_late_for_its_time_has_no_effect(clock: Clock, it: Incident, written: int) -> None:
    in_time = it.start >= clock.at(written // 1000 * 1000 + CUTOFF_MICROSECONDS)
    assert said(incident_record(it), written=written, clock=clock).live == ((it,) if in_time else ())


@given(CLOCKS, incidents(), NOW, MINUTES)
def test_so_has_an_ending(clock: Clock, it: Incident, written: int, minute: int) -> None:
    end = (STARTED // MINUTE + minute) * MINUTE
    records = [record(incident_record(it), LONG_BEFORE - 2 * YEAR), record(end_record("it", end), written, 1)]
    (now,) = read_control(records, clock, PRODUCTS).live
    if end < clock.at(written // 1000 * 1000 + CUTOFF_MICROSECONDS):
        assert now == it
    else:
        assert now.end == min(max(end, it.start), it.end)


@given(CLOCKS, NOW, st.integers(0, 30 * DAY), st.integers(0, HORIZON_MICROSECONDS // 2))
def test_who_read_before_it_was_written_goes_no_further_than_its_earliest_time(
    clock: Clock, read_at: int, later: int, slow: int
) -> None:
    """The clocks of the writer, the reader and the cluster agree to a second or two."""
    now = read_at + later
    set_for = earliest(clock, now)
    assert set_for % MINUTE == 0
    assert set_for >= clock.at(now + LEAD_MICROSECONDS)
    assert set_for > horizon(clock, read_at) or clock.at(now + LEAD_MICROSECONDS) == clock.at(
        read_at + HORIZON_MICROSECONDS
    )
    it = Incident("it", "storm", set_for, set_for + MINUTE, 0, 0, frozenset(), frozenset(), 0.5, 0)
    assert said(incident_record(it), written=now + slow, clock=clock).live == (it,)  # written at once, it is in time


@given(CLOCKS, incidents(), NOW, st.integers(0, 30 * DAY))
def test_what_has_an_effect_lies_behind_what_was_done_by_whoever_did_not_know(
    clock: Clock, it: Incident, written: int, before: int
) -> None:
    """At a moment: event time that hardly passes is not worth more words."""
    read_at = written // 1000 * 1000 - before
    if said(incident_record(it), written=written, clock=clock).live:
        assert it.start >= horizon(clock, read_at)


# --- Ended ----------------------------------------------------------------------------------------------------------


@given(incidents(), st.lists(st.integers(-1000, 70_000), min_size=1, max_size=3))
def test_an_ending_never_moves_the_end_before_the_start_nor_later(it: Incident, minutes: list[int]) -> None:
    ends = [(STARTED // MINUTE + minute) * MINUTE for minute in minutes]
    (now,) = said(incident_record(it), *(end_record("it", end) for end in ends)).live
    assert it.start <= now.end <= it.end
    assert now.end == max(it.start, min(it.end, *ends))
    assert (now.name, now.start, now.factor, now.discount) == (it.name, it.start, it.factor, it.discount)


@given(incidents(), MINUTES)
def test_until_its_end_an_ended_one_has_the_effect_that_it_had(it: Incident, minute: int) -> None:
    end = it.start + minute * MINUTE
    (now,) = said(incident_record(it), end_record("it", end)).live
    before = np.arange(it.start // MINUTE - 5, now.end // MINUTE)
    behind = np.arange(now.end // MINUTE, now.end // MINUTE + 100)
    assert np.array_equal(now.weight(before), it.weight(before))
    assert not now.weight(behind).any()
