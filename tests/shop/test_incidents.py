"""Incidents come when they are told to or at random, and do the same to the shop however they are asked for."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import IncidentSettings
from yasdg_app.shop.demand import MINUTE, Ints
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.incidents import DAY, LONGEST_DELAY, Incidents

HOUR = 60 * MINUTE
OPENED = 1_700_000_000_000_000  # not a whole minute
MIDNIGHT = OPENED // DAY * DAY + DAY
SEED = 42


def wall(at: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=at)


def utc(time: datetime) -> int:
    return (time - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def product(product_id: str = "SC01", category: str = "Supercharged Smoothies") -> Product:
    return Product(product_id, category, "Item", "20 oz.", 500, None, 100, False, False, False, False, 1, 1, 1)


SOLD = product()
OTHER = product("CS01", "Classic Smoothies")


def incident(start: int = 0, end: int = 60, name: str = "it", kind: str = "custom", **more: object) -> Incident:
    """One whose start and end are given in minutes since MIDNIGHT."""
    plain = Incident(
        name, kind, MIDNIGHT + start * MINUTE, MIDNIGHT + end * MINUTE, 0, 0, frozenset(), frozenset(), 1.0, 0
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def timeline(*settings: IncidentSettings, live: Sequence[Incident] = (), seed: int = SEED) -> Incidents:
    return Incidents(settings, utc, seed, OPENED, live)


def minutes(first: int, last: int) -> Ints:
    """Those from `first` up to `last`, counted from MIDNIGHT."""
    return np.arange(first, last, dtype=np.int64) + MIDNIGHT // MINUTE


def random(name: str, every: timedelta, **more: object) -> IncidentSettings:
    return replace(IncidentSettings(name, "custom", every=every, factor=2.0), **more)  # type: ignore[arg-type]


RANDOM = (
    random("rush", timedelta(hours=5), ramp_up=timedelta(minutes=20), ramp_down=timedelta(minutes=20)),
    random("rare", timedelta(days=40), duration=timedelta(days=3), factor=0.5, discount=Decimal("0.15")),
    random("strike", timedelta(days=2), kind="supply", factor=0.25, duration=timedelta(hours=7)),
)
FIXED = IncidentSettings("storm", "storm", start=wall(MIDNIGHT + 3 * HOUR), factor=0.3)


# --- One incident ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("categories", "products", "concerned"),
    [
        ([], [], [SOLD, OTHER]),
        ([SOLD.category], [], [SOLD]),
        ([], [OTHER.product_id], [OTHER]),
        ([SOLD.category], [OTHER.product_id], [SOLD, OTHER]),
        (["Bakery"], ["B01"], []),
    ],
)
def test_an_incident_concerns_its_products_and_those_of_its_categories(
    categories: list[str], products: list[str], concerned: list[Product]
) -> None:
    it = incident(categories=frozenset(categories), products=frozenset(products))
    assert [each for each in (SOLD, OTHER) if it.concerns(each)] == concerned


def test_ramps_are_looked_at_in_the_middle_of_each_minute() -> None:
    it = incident(1, 8, ramp_up=2 * MINUTE, ramp_down=4 * MINUTE, factor=3.0)
    weight = [0, 0.25, 0.75, 1, 0.875, 0.625, 0.375, 0.125, 0, 0]
    assert it.weight(minutes(0, 10)).tolist() == weight
    assert it.demand(minutes(0, 10)).tolist() == [1 + 2 * each for each in weight]


def test_without_ramps_it_has_its_full_effect_at_once() -> None:
    assert incident(1, 3, factor=0.0).demand(minutes(0, 4)).tolist() == [1, 0, 0, 1]


@given(st.integers(0, 90), st.integers(0, 90), st.integers(0, 60))
def test_a_weight_is_never_below_0_nor_above_1(ramp_up: int, ramp_down: int, length: int) -> None:
    it = incident(5, 5 + length, ramp_up=ramp_up * MINUTE, ramp_down=ramp_down * MINUTE)
    weight = it.weight(minutes(0, 70))
    assert np.all((weight >= 0) & (weight <= 1))
    assert np.all((weight > 0) == (np.arange(70) >= 5) & (np.arange(70) < 5 + length))


def test_supply_has_no_effect_on_demand() -> None:
    it = incident(kind="supply", factor=0.0)
    assert it.demand(minutes(0, 3)).tolist() == [1, 1, 1]
    assert timeline(live=[it]).demand(SOLD, minutes(0, 3)) is None


# --- The timeline ---------------------------------------------------------------------------------------------------


def test_without_incidents_nothing_happens() -> None:
    nothing = timeline()
    assert nothing.between(0, 10**18) == nothing.known() == ()
    assert list(nothing.announcements(0, 10**18)) == []
    assert nothing.demand(SOLD, minutes(0, 5)) is None
    assert nothing.discount(SOLD, minutes(0, 5)) is None
    assert nothing.delivery(SOLD, OPENED, 7) == (OPENED + 7, None)


def test_an_incident_configured_once_comes_at_its_time_on_the_shops_clock() -> None:
    settings = replace(
        FIXED,
        duration=timedelta(hours=2),
        ramp_up=timedelta(minutes=10),
        ramp_down=timedelta(minutes=20),
        categories=("A",),
        products=("B",),
        discount=Decimal("0.0725"),
    )
    in_zone = Incidents([settings], lambda time: utc(time) - HOUR, SEED, OPENED)
    start = MIDNIGHT + 2 * HOUR
    end, ramps, scope = start + 2 * HOUR, (10 * MINUTE, 20 * MINUTE), (frozenset("A"), frozenset("B"))
    assert in_zone.known() == (Incident("storm", "storm", start, end, *ramps, *scope, 0.3, 725),)
    assert in_zone.between(0, 10**18) == in_zone.known()


def test_between_counts_those_that_last_for_some_time_in_the_stretch() -> None:
    first, second = incident(0, 10, "b"), incident(0, 20, "a")
    shop = timeline(live=[first, second, incident(5, 5, "never")])
    start, end = first.start, first.end
    assert shop.between(start - 1, start) == ()
    assert shop.between(start, start + 1) == (second, first)
    assert shop.between(end - 1, end) == (second, first)
    assert shop.between(end, end + 1) == (second,)


def test_live_incidents_replace_live_ones_and_leave_the_rest() -> None:
    shop = timeline(FIXED, *RANDOM, live=[incident(name="old")])
    other = shop.with_live([incident(name="new")])
    assert [each.name for each in shop.known()] == ["old", "storm"]
    assert [each.name for each in other.known()] == ["new", "storm"]
    rest = timeline(FIXED, *RANDOM).between(OPENED, MIDNIGHT + 90 * DAY)
    assert [each for each in other.between(OPENED, MIDNIGHT + 90 * DAY) if each.name != "new"] == list(rest)


# --- At random ------------------------------------------------------------------------------------------------------

EVERY = [timedelta(minutes=7), timedelta(hours=5), timedelta(days=1), timedelta(days=40), timedelta(days=1000)]


@pytest.mark.parametrize("every", EVERY)
def test_random_incidents_come_at_the_configured_rate(every: timedelta) -> None:
    shop = timeline(random("it", every, duration=timedelta(minutes=1)))
    expected = min(20_000, 36_500 * timedelta(days=1) / every)
    until = OPENED + int(expected * (every / timedelta(microseconds=1)))
    came = sum(kind == "start" for _, kind, _ in shop.announcements(OPENED, until))
    assert abs(came - expected) < 4 * expected**0.5


def test_waiting_times_are_exponential() -> None:
    shop = timeline(random("it", timedelta(hours=8)))
    waits = np.diff([each.start for each in shop.between(OPENED, OPENED + 3000 * DAY)]) / (8 * HOUR)
    for quantile in (0.25, 1.0, 2.0):
        share = float(np.exp(-quantile))
        assert abs(np.mean(waits > quantile) - share) < 4 * (share * (1 - share) / len(waits)) ** 0.5


@pytest.mark.parametrize("every", EVERY)
def test_random_incidents_start_at_whole_minutes_of_the_shops_life_under_names_of_their_own(every: timedelta) -> None:
    came = timeline(random("it", every)).between(0, OPENED + 50_000 * MINUTE + 3 * every // timedelta(microseconds=1))
    assert came[0].start >= OPENED
    assert all(each.start % MINUTE == 0 and each.end == each.start + HOUR for each in came)
    assert len({each.name for each in came}) == len(came)
    for each in came:
        time = datetime.fromtimestamp(each.start // 10**6, UTC)
        assert each.name.startswith(f"it-{time:%Y%m%dT%H%M}")


def test_two_that_start_in_the_same_minute_have_different_names() -> None:
    came = timeline(random("it", timedelta(minutes=1))).between(MIDNIGHT, MIDNIGHT + DAY)
    same = [each.name for each in came if each.name.count("-") > 1]
    assert same
    assert all(name.rsplit("-", 1)[0] in {each.name for each in came} for name in same)


def test_each_name_and_seed_has_its_own_times() -> None:
    def starts(name: str, seed: int) -> set[int]:
        shop = timeline(random(name, timedelta(days=1)), seed=seed)
        return {each.start for each in shop.between(OPENED, OPENED + 30 * DAY)}

    assert starts("a", 1) == starts("a", 1)
    assert len(starts("a", 1) & starts("b", 1)) + len(starts("a", 1) & starts("a", 2)) < 3


def test_a_day_does_not_depend_on_the_stretch_it_is_asked_for_in() -> None:
    shop, days = timeline(*RANDOM, FIXED), range(0, 400, 3)
    whole = shop.between(OPENED, MIDNIGHT + 402 * DAY)
    for day in days:
        start, end = MIDNIGHT + day * DAY, MIDNIGHT + (day + 1) * DAY
        alone = timeline(*RANDOM, FIXED).between(start, end)
        assert alone == tuple(each for each in whole if each.start < end and each.end > start)


# --- Demand and discounts -------------------------------------------------------------------------------------------

HERE = incident(0, 30, "here", products=frozenset([SOLD.product_id]), factor=2.0, discount=1000)
EVERYWHERE = incident(20, 50, "everywhere", factor=0.5, discount=5)


def test_factors_of_incidents_at_the_same_time_are_multiplied() -> None:
    shop = timeline(live=[HERE, EVERYWHERE])
    sold, other = shop.demand(SOLD, minutes(0, 60)), shop.demand(OTHER, minutes(0, 60))
    assert sold is not None
    assert other is not None
    assert sold.tolist() == [2.0] * 20 + [1.0] * 10 + [0.5] * 20 + [1.0] * 10
    assert other.tolist() == [1.0] * 20 + [0.5] * 30 + [1.0] * 10


def test_discounts_of_incidents_at_the_same_time_come_one_after_the_other() -> None:
    discount = timeline(live=[HERE, EVERYWHERE]).discount(SOLD, minutes(-10, 60))
    assert discount is not None
    assert discount.tolist() == [0] * 10 + [1000] * 20 + [1005] * 10 + [5] * 20 + [0] * 10  # 10.045 % is half up


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=8))
def test_discounts_combine_without_an_error_of_rounding(discounts: list[int]) -> None:
    live = [incident(name=str(i), discount=discount) for i, discount in enumerate(discounts)]
    combined = timeline(live=live).discount(SOLD, minutes(0, 1))
    exact = 1 - prod((1 - Decimal(discount) / 10_000 for discount in discounts), start=Decimal(1))
    if any(discounts):
        assert combined is not None
        assert combined.tolist() == [int((exact * 10_000).quantize(Decimal(1), ROUND_HALF_UP))]
    else:
        assert combined is None


def test_what_no_incident_touches_needs_no_multiplication() -> None:
    shop = timeline(live=[HERE])
    for untouched, stretch in ((OTHER, (0, 30)), (SOLD, (-9, 0)), (SOLD, (30, 39)), (SOLD, (5, 5))):
        assert shop.demand(untouched, minutes(*stretch)) is None
        assert shop.discount(untouched, minutes(*stretch)) is None


@given(st.integers(0, 60 * 1440), st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_any_split_of_a_stretch_has_the_same_demand_and_discounts(first: int, lengths: list[int]) -> None:
    shop = timeline(FIXED, *RANDOM, live=[HERE, EVERYWHERE])
    edges = [first, *(first + int(edge) for edge in np.cumsum(lengths))]
    stretches = [minutes(start, end) for start, end in pairwise(edges)]
    for of, nothing in ((shop.demand, 1), (shop.discount, 0)):
        whole = of(SOLD, minutes(edges[0], edges[-1]))
        parts = [of(SOLD, stretch) for stretch in stretches]
        joined = [
            np.full(len(stretch), nothing) if part is None else part
            for stretch, part in zip(stretches, parts, strict=True)
        ]
        if whole is None:
            assert all(part is None for part in parts)
        else:
            assert np.array_equal(np.concatenate(joined), whole)


# --- Deliveries -----------------------------------------------------------------------------------------------------


def supply(start: int, end: int, name: str = "it", factor: float = 0.0, **more: object) -> Incident:
    return incident(start, end, name, "supply", factor=factor, **more)


def deliver(live: Sequence[Incident], at: int, lead: int) -> tuple[int, str | None]:
    """Order and lead time in minutes, as is what comes back."""
    arrival, name = timeline(live=live).delivery(SOLD, MIDNIGHT + at * MINUTE, lead * MINUTE)
    assert arrival % MINUTE == 0
    return (arrival - MIDNIGHT) // MINUTE, name


def test_a_delivery_takes_its_lead_time_where_nothing_happens() -> None:
    assert deliver([supply(50, 90)], 0, 49) == (49, None)
    assert deliver([supply(50, 90)], 90, 9) == (99, None)
    assert deliver([incident(0, 90, factor=0.0)], 0, 9) == (9, None)
    assert deliver([supply(0, 90, products=frozenset([OTHER.product_id]))], 0, 9) == (9, None)


def test_no_delivery_comes_while_none_come() -> None:
    assert deliver([supply(50, 90)], 40, 15) == (95, "it")
    assert deliver([supply(50, 90)], 40, 10) == (90, "it")
    assert deliver([supply(50, 90)], 60, 0) == (90, "it")
    assert deliver([supply(50, 90)], 90, 0) == (90, None)
    assert deliver([supply(50, 90, "b"), supply(80, 99_000, "a")], 40, 11) == (99_001, "b")


def test_a_delivery_is_slowed_down_and_sped_up() -> None:
    assert deliver([supply(0, 90, factor=0.3)], 0, 15) == (50, "it")
    assert deliver([supply(0, 90, factor=0.3)], 60, 15) == (96, "it")
    assert deliver([supply(0, 90, factor=3.0)], 0, 15) == (5, None)
    assert deliver([supply(0, 90, "a", 0.5), supply(0, 90, "b", 0.1)], 0, 3) == (60, "a")
    assert deliver([supply(0, 4, "a", 0.5), supply(4, 9, "b", 3.0)], 0, 8) == (6, None)


def test_a_part_of_a_microsecond_counts_as_a_whole_one() -> None:
    assert timeline(live=[supply(0, 90, factor=3.0)]).delivery(SOLD, MIDNIGHT, 100) == (MIDNIGHT + 34, None)


def test_a_delivery_may_come_just_before_none_come_but_not_just_then() -> None:
    shop = timeline(live=[supply(0, 10)])
    assert shop.delivery(SOLD, MIDNIGHT - 1, 0) == (MIDNIGHT - 1, None)
    assert shop.delivery(SOLD, MIDNIGHT - 1, 1) == (MIDNIGHT + 10 * MINUTE, "it")
    fast_then_none = timeline(live=[supply(0, 1, "a", 3.0), supply(1, 2, "b"), supply(2, 9, "c", 0.1)])
    for part in (1, 2):  # of three: it is there within the last microsecond in which it could come
        assert fast_then_none.delivery(SOLD, MIDNIGHT, 3 * MINUTE - part) == (MIDNIGHT + 2 * MINUTE, None)
    assert fast_then_none.delivery(SOLD, MIDNIGHT, 3 * MINUTE - 3) == (MIDNIGHT + MINUTE - 1, None)


FACTORS = st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 1.7, 3.0])
SCOPES = st.sampled_from([frozenset[str](), frozenset([SOLD.product_id]), frozenset([OTHER.product_id])])
TIMES = st.integers(0, 120 * MINUTE) | st.integers(0, 120).map(lambda minute: minute * MINUTE)


@st.composite
def supplies(draw: st.DrawFn) -> list[Incident]:
    found = []
    for i in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, 150))
        end = start + draw(st.integers(0, 60))
        found.append(supply(start, end, str(i), draw(FACTORS), products=draw(SCOPES)))
    return found


def slowly(live: Sequence[Incident], at: int, lead: int) -> int:
    """When a delivery arrives, followed minute by minute."""
    gone = Fraction(0)
    while True:
        end = (at // MINUTE + 1) * MINUTE
        active = [each for each in live if each.start <= at < each.end and each.concerns(SOLD)]
        speed = prod((Fraction(str(each.factor)) for each in active), start=Fraction(1))
        if speed:
            needed = max(lead - gone, Fraction(0)) / speed
            if at - (-needed // 1) < end:
                return int(at - (-needed // 1))
        gone += speed * (end - at)
        at = end


@given(supplies(), TIMES, TIMES)
def test_a_delivery_arrives_when_following_it_minute_by_minute_says(live: list[Incident], at: int, lead: int) -> None:
    arrival, name = timeline(live=live).delivery(SOLD, MIDNIGHT + at, lead)
    assert arrival == slowly(live, MIDNIGHT + at, lead)
    assert (name is not None) == (arrival > MIDNIGHT + at + lead)
    if name is not None:
        first = min((each for each in live if each.name == name), key=lambda each: each.start)
        assert first.factor < 1
        assert first.concerns(SOLD)
        assert first.start < arrival


@given(supplies(), TIMES, st.integers(0, HOUR), TIMES, st.integers(0, HOUR))
def test_what_is_ordered_later_or_takes_longer_does_not_arrive_earlier(
    live: list[Incident], at: int, later: int, lead: int, longer: int
) -> None:
    shop, at = timeline(*RANDOM, live=live), MIDNIGHT + at
    arrival, _ = shop.delivery(SOLD, at, lead)
    assert arrival <= shop.delivery(SOLD, at + later, lead)[0]
    assert arrival <= shop.delivery(SOLD, at, lead + longer)[0]


@given(supplies(), TIMES, TIMES, st.integers(1, 10), FACTORS)
def test_what_happens_after_a_delivery_does_not_change_it(
    live: list[Incident], at: int, lead: int, later: int, factor: float
) -> None:
    shop = timeline(*RANDOM, live=live)
    delivery = shop.delivery(SOLD, MIDNIGHT + at, lead)
    start = (delivery[0] - MIDNIGHT) // MINUTE + later
    with_late = shop.with_live([*live, supply(start, start + 60, "late", factor)])
    assert with_late.delivery(SOLD, MIDNIGHT + at, lead) == delivery


def test_random_supply_incidents_delay_deliveries_on_average_as_much_as_they_last() -> None:
    shop = timeline(random("strike", timedelta(days=2), kind="supply", factor=0.0, duration=timedelta(hours=12)))
    lead = 4000 * DAY
    arrival, name = shop.delivery(SOLD, MIDNIGHT, lead)
    strikes = shop.between(MIDNIGHT, arrival)
    blocked = np.zeros((arrival - MIDNIGHT) // MINUTE + 1, dtype=bool)
    for each in strikes:
        blocked[max(each.start - MIDNIGHT, 0) // MINUTE : (each.end - MIDNIGHT) // MINUTE] = True
    assert arrival == MIDNIGHT + lead + int(blocked.sum()) * MINUTE
    assert name == next(each.name for each in strikes if each.start < arrival)
    assert abs(lead / (arrival - MIDNIGHT) - float(np.exp(-0.25))) < 0.03  # the share of time without a strike


def test_a_delivery_that_never_gets_through_arrives_in_a_hundred_years() -> None:
    never = supply(0, 10**9)
    assert timeline(live=[never]).delivery(SOLD, MIDNIGHT, HOUR) == (MIDNIGHT + HOUR + LONGEST_DELAY, "it")
    crawling = supply(0, 10**9, factor=1e-9)
    assert timeline(live=[crawling]).delivery(SOLD, MIDNIGHT, HOUR) == (MIDNIGHT + HOUR + LONGEST_DELAY, "it")


# --- Announcements --------------------------------------------------------------------------------------------------


def test_starts_and_ends_are_announced_in_order_ends_first() -> None:
    a, b, c, never = incident(0, 10, "a"), incident(10, 20, "b"), incident(5, 10, "c"), incident(5, 5, "never")
    found = list(timeline(live=[a, b, c, never]).announcements(a.start, b.end + 1))
    assert found == [
        (a.start, "start", a),
        (c.start, "start", c),
        (a.end, "end", a),
        (c.end, "end", c),
        (b.start, "start", b),
        (b.end, "end", b),
    ]
    assert list(timeline(live=[a, b]).announcements(a.start + 1, b.end)) == [(a.end, "end", a), (b.start, "start", b)]
    assert list(timeline(live=[a, b]).announcements(b.end, b.end + 1)) == [(b.end, "end", b)]


@given(st.lists(st.integers(0, 60 * 1440), min_size=2, max_size=6).map(sorted))
def test_any_split_of_a_stretch_has_the_same_announcements(edges: list[int]) -> None:
    shop = timeline(FIXED, *RANDOM, live=[HERE, EVERYWHERE])
    times = [MIDNIGHT + edge * MINUTE for edge in edges]
    parts = [each for first, last in pairwise(times) for each in shop.announcements(first, last)]
    assert list(shop.announcements(times[0], times[-1])) == parts


def test_each_incident_that_ever_comes_is_announced_twice() -> None:
    shop = timeline(FIXED, *RANDOM)
    last = MIDNIGHT + 400 * DAY
    found = list(shop.announcements(OPENED, last))
    came = shop.between(OPENED, last)
    assert [each for _, kind, each in found if kind == "start"] == list(came)
    assert {each.name for _, kind, each in found if kind == "end"} == {each.name for each in came if each.end < last}


def test_decades_of_announcements_begin_at_once() -> None:
    endless = timeline(random("it", timedelta(minutes=1))).announcements(OPENED, OPENED + 10**7 * DAY)
    assert next(endless)[0] < OPENED + HOUR
