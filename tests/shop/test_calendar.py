"""The shop is open when its clock says so, wherever it is; and as busy as its settings say, relative to a mean of 1."""

import math
import zoneinfo
from datetime import UTC, date, datetime, timedelta
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.properties import examples

from yasdg_app.config.rules import Span
from yasdg_app.config.settings import ALWAYS, ClockSettings, HoursSettings, VolumeSettings
from yasdg_app.shop.calendar import Calendar, zone
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.randomness import Floats

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Pacific/Apia",  # skipped 30 December 2011
    "Africa/Casablanca",  # sets its clock for Ramadan
    "Asia/Kathmandu",  # 5:45 ahead
    "America/Sao_Paulo",  # skipped the first hour of a day
    "America/St_Johns",  # set its clock at one minute past midnight
    "Africa/Monrovia",  # 44:30 minutes behind until 1972
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
OPENED = 1_700_000_000_000_000
ALWAYS_OPEN, EVEN = HoursSettings(), VolumeSettings()
NEVER: tuple[Span, ...] = ()
SHOP_HOURS: tuple[tuple[Span, ...], ...] = (((480, 720), (780, 1200)),) * 4 + (((480, 1320),), ((600, 1560),), NEVER)
BUSY_WEEK = tuple(tuple(1.0 + (hour * day) % 7 for hour in range(24)) for day in range(1, 8))
SEASONS = (0.7, 0.8, 0.9, 1.0, 1.0, 1.1, 1.3, 1.2, 1.0, 1.0, 1.4, 2.0)


def calendar(
    time_zone: str = "UTC",
    hours: HoursSettings = ALWAYS_OPEN,
    volume: VolumeSettings = EVEN,
    opened_at: int = OPENED,
) -> Calendar:
    return Calendar(ClockSettings(time_zone=time_zone), hours, volume, opened_at)


def micros(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


def minutes_of(first: str, days: int) -> Ints:
    start = micros(first) // MINUTE
    return np.arange(start, start + days * 1440, dtype=np.int64)


# A week from Monday far from any change of the clock, in a zone that has none.
WEEK = minutes_of("2023-05-01", 7)


# --- Hours, against an oracle that looks at the clock itself -------------------------------------------------


zone_of = cache(zone)


@cache
def changes(name: str) -> tuple[int, ...]:
    """The minutes in which the clock of a zone was set from 1971 to 2060, or was to be."""
    days = [EPOCH + timedelta(days=n) for n in range(365, 365 * 91)]
    offsets = [day.astimezone(zone_of(name)).utcoffset() for day in days]
    found = []
    for (day, before), (_, after) in pairwise(zip(days, offsets, strict=True)):
        if before != after:
            moments = [day + timedelta(minutes=n) for n in range(1441)]
            at = next(moment for moment in moments if moment.astimezone(zone_of(name)).utcoffset() == after)
            found.append((at - EPOCH) // timedelta(minutes=1))
    return tuple(found)


def spans_hold(hours: HoursSettings, wall: datetime) -> bool:
    minute = wall.hour * 60 + wall.minute
    today, yesterday = (
        dict(hours.dates).get(day, hours.week[day.weekday()]) for day in (wall.date(), wall.date() - timedelta(days=1))
    )
    return any(a <= minute < b for a, b in today) or any(a <= minute + 1440 < b for a, b in yesterday)


def open_throughout(name: str, hours: HoursSettings, minute: int) -> bool:
    moments = (EPOCH + timedelta(minutes=minute, seconds=n) for n in (0, 15, 29, 30, 45, 59))
    return all(spans_hold(hours, moment.astimezone(zone_of(name)).replace(tzinfo=None)) for moment in moments)


def days_hours() -> st.SearchStrategy[tuple[Span, ...]]:
    def spans(edges: list[int]) -> tuple[Span, ...]:
        edges.sort()
        return tuple(zip(edges[::2], edges[1::2], strict=False))

    by_day = st.lists(st.integers(0, 1440), max_size=4, unique=True).map(spans)
    past_midnight = st.tuples(st.integers(0, 1439), st.integers(1441, 2200)).map(lambda span: (span,))
    return by_day | past_midnight | st.just(ALWAYS)


@settings(max_examples=examples(150))
@given(st.data())
def test_a_minute_is_open_when_the_clock_shows_open_hours_for_all_of_it(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(ZONES))
    minute = data.draw(st.sampled_from(changes(name))) + data.draw(st.integers(-1500, 1500) | st.integers(-90, 0))
    day = (EPOCH + timedelta(minutes=minute)).date()
    week = tuple(data.draw(st.lists(days_hours(), min_size=7, max_size=7)))
    dates = data.draw(st.dictionaries(st.integers(-1, 1).map(lambda n: day + timedelta(days=n)), days_hours()))
    hours = HoursSettings(week=week, dates=tuple(dates.items()))
    window = np.arange(minute, minute + 90, dtype=np.int64)
    active = calendar(name, hours).activity(window) > 0
    assert active.tolist() == [open_throughout(name, hours, n) for n in window.tolist()]


@settings(max_examples=examples(300))
@given(st.sampled_from(ZONES), st.data())
def test_whether_it_is_open_at_a_moment(name: str, data: st.DataObject) -> None:
    at = data.draw(st.sampled_from(changes(name))) * MINUTE + data.draw(st.integers(-DAY, DAY))
    hours = HoursSettings(week=SHOP_HOURS)
    shop = calendar(name, hours)
    wall = (EPOCH + timedelta(microseconds=at)).astimezone(zone_of(name)).replace(tzinfo=None, fold=0)
    assert shop.local(at) == wall
    assert shop.weekday(at) == wall.weekday()
    assert shop.is_open(at) == spans_hold(hours, wall)


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"])
def test_in_ten_years_the_shop_is_active_in_its_hours_and_in_no_other_minute(name: str) -> None:
    minutes = minutes_of("2005-01-01", 3652)
    active = calendar(name, HoursSettings(week=SHOP_HOURS)).activity(minutes) > 0
    quarters = minutes[::15] * 60  # every clock is set by multiples of a quarter of an hour here
    offsets = [datetime.fromtimestamp(at, zone_of(name)).utcoffset() or timedelta(0) for at in quarters.tolist()]
    shown = minutes + np.repeat([offset // timedelta(minutes=1) for offset in offsets], 15)
    week = np.zeros(7 * 1440, dtype=np.bool_)
    for day, spans in enumerate(SHOP_HOURS):
        for first, end in spans:
            week[np.arange(day * 1440 + first, day * 1440 + end) % len(week)] = True
    assert np.array_equal(active, week[(shown + 3 * 1440) % len(week)])


def test_the_hour_that_comes_twice_counts_twice_and_the_one_that_is_skipped_never() -> None:
    at_night = calendar("Europe/Berlin", HoursSettings(week=(((120, 180),),) * 7))  # from 2:00 to 3:00
    assert np.count_nonzero(at_night.activity(minutes_of("2024-10-27", 1))) == 120
    assert np.count_nonzero(at_night.activity(minutes_of("2024-03-31", 1))) == 0
    assert np.count_nonzero(at_night.activity(minutes_of("2024-04-01", 1))) == 60


def test_a_minute_that_is_open_in_part_is_closed() -> None:
    monrovia = calendar("Africa/Monrovia", HoursSettings(week=(((600, 660),),) * 7))  # from 10:44:30 to 11:44:30 UTC
    opened = minutes_of("1971-06-01", 1)[monrovia.activity(minutes_of("1971-06-01", 1)) > 0]
    assert opened.tolist() == list(range(micros("1971-06-01T10:45") // MINUTE, micros("1971-06-01T11:44") // MINUTE))
    # In the middle of a minute the clock was set from 0:00 to 0:44:30: half of that minute belongs to the day before.
    monrovia = calendar("Africa/Monrovia", HoursSettings(week=(((0, 60),),) * 7))
    opened = minutes_of("1972-01-07", 1)[monrovia.activity(minutes_of("1972-01-07", 1)) > 0]
    assert opened.tolist() == list(range(micros("1972-01-07T00:45") // MINUTE, micros("1972-01-07T01:00") // MINUTE))


def test_hours_past_midnight_belong_to_the_day_they_began_on() -> None:
    friday_night = HoursSettings(week=(NEVER,) * 4 + (((1320, 1560),),) + (NEVER,) * 2)
    opened = WEEK[calendar(hours=friday_night).activity(WEEK) > 0]
    assert opened.tolist() == list(range(micros("2023-05-05T22:00") // MINUTE, micros("2023-05-06T02:00") // MINUTE))


def test_a_date_goes_before_a_holiday_and_a_holiday_before_the_week() -> None:
    hours = HoursSettings(
        week=SHOP_HOURS,
        dates=((date(2024, 12, 25), ((0, 60),)), (date(2024, 12, 24), NEVER)),
        holidays="DE-BY",
        on_holidays=((600, 660),),
    )
    shop = calendar("Europe/Berlin", hours)
    assert shop.spans(date(2024, 12, 23)) == SHOP_HOURS[0]
    assert shop.spans(date(2024, 12, 24)) == NEVER
    assert shop.spans(date(2024, 12, 25)) == ((0, 60),)
    assert shop.spans(date(2024, 12, 26)) == ((600, 660),)
    # By its own clock: Christmas begins at 23:00 UTC the day before.
    opened = minutes_of("2024-12-24", 1)[shop.activity(minutes_of("2024-12-24", 1)) > 0]
    assert opened.tolist() == list(range(micros("2024-12-24T23:00") // MINUTE, micros("2024-12-25") // MINUTE))


def test_holidays_are_those_of_the_country_or_its_part() -> None:
    epiphany = date(2030, 1, 6)
    holiday: tuple[Span, ...] = ((1, 2),)
    bavaria, germany, nowhere = (
        calendar(hours=HoursSettings(holidays=where, on_holidays=holiday)) for where in ("DE-BY", "DE", "")
    )
    assert bavaria.spans(epiphany) == holiday
    assert germany.spans(epiphany) == nowhere.spans(epiphany) == ALWAYS
    assert germany.spans(date(1995, 10, 3)) == germany.spans(date(2050, 12, 25)) == holiday


# --- Volume ---------------------------------------------------------------------------------------------------------


factors = st.floats(0.01, 100)
weeks = st.lists(st.lists(factors, min_size=24, max_size=24).map(tuple), min_size=7, max_size=7).map(tuple)


@pytest.mark.parametrize("name", ZONES)
def test_by_default_every_minute_is_as_busy_as_any(name: str) -> None:
    shop = calendar(name)
    assert set(shop.activity(minutes_of("2011-12-01", 60)).tolist()) == {1.0}
    assert shop.peak == 1.0


@given(st.sampled_from(ZONES), st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_equal_factors_are_exactly_one_whatever_they_are(name: str, factor: float, month: float) -> None:
    volume = VolumeSettings(week=((factor,) * 24,) * 7, months=(month,) * 12)
    one_day_off = HoursSettings(dates=((date(2022, 1, 1), NEVER),))
    shop = calendar(name, one_day_off, volume)
    assert set(shop.activity(minutes_of("2020-02-28", 3)).tolist()) == {1.0}
    assert shop.peak == 1.0


@given(weeks, st.lists(days_hours(), min_size=7, max_size=7).map(tuple))
def test_the_mean_over_the_open_minutes_of_a_week_is_one(
    week: tuple[tuple[float, ...], ...], spans: tuple[tuple[Span, ...], ...]
) -> None:
    shop = calendar(hours=HoursSettings(week=spans), volume=VolumeSettings(week=week))
    activity = shop.activity(WEEK)
    if activity.any():
        assert activity[activity > 0].mean() == pytest.approx(1.0, rel=1e-12)
        assert activity.max() <= shop.peak * (1 + 1e-12)


@given(st.lists(factors, min_size=12, max_size=12).map(tuple))
@settings(max_examples=examples(10))
def test_the_mean_over_a_year_is_one(months: tuple[float, ...]) -> None:
    shop = calendar(volume=VolumeSettings(months=months))
    activity = shop.activity(minutes_of("2023-01-01", 365))
    assert activity.mean() == pytest.approx(1.0, rel=1e-12)
    assert activity.max() <= shop.peak * (1 + 1e-12)


def at_hour(shop: Calendar, text: str) -> float:
    minute = micros(text) // MINUTE
    return float(shop.activity(np.array([minute - 1, minute])).mean())


def test_an_hour_and_a_month_are_what_they_are_said_to_be_in_their_middle() -> None:
    shop = calendar(volume=VolumeSettings(week=BUSY_WEEK))
    noon, one = at_hour(shop, "2023-05-03T12:30"), at_hour(shop, "2023-05-03T13:30")
    assert one / noon == pytest.approx(BUSY_WEEK[2][13] / BUSY_WEEK[2][12], rel=0.03)
    assert at_hour(shop, "2023-05-03T13:00") == pytest.approx((noon + one) / 2)
    # From Sunday's last hour to Monday's first.
    sunday, monday = at_hour(shop, "2023-05-07T23:30"), at_hour(shop, "2023-05-08T00:30")
    assert at_hour(shop, "2023-05-08T00:00") == pytest.approx((sunday + monday) / 2, rel=0.01)

    shop = calendar(volume=VolumeSettings(months=SEASONS))
    june, july = at_hour(shop, "2023-06-16"), at_hour(shop, "2023-07-16T12:00")
    assert july / june == pytest.approx(1.3 / 1.1, rel=1e-4)
    assert at_hour(shop, "2024-02-15T12:00") / june == pytest.approx(0.8 / 1.1, rel=1e-4)  # of 29 days
    december, january = at_hour(shop, "2023-12-16T12:00"), at_hour(shop, "2024-01-16T12:00")
    assert at_hour(shop, "2024-01-01") == pytest.approx((december + january) / 2, rel=1e-4)


def test_the_curve_goes_by_the_shops_clock() -> None:
    volume = VolumeSettings(week=BUSY_WEEK)
    summer, winter, utc = minutes_of("2023-07-05", 1), minutes_of("2023-01-04", 1), minutes_of("2023-07-05", 2)
    berlin, greenwich = calendar("Europe/Berlin", volume=volume), calendar(volume=volume)
    assert np.array_equal(berlin.activity(summer), greenwich.activity(utc)[120:1560])
    assert np.array_equal(berlin.activity(winter), greenwich.activity(utc)[60:1500])


@pytest.mark.parametrize("name", ["UTC", "Asia/Kathmandu", "Africa/Monrovia"])
def test_neighbouring_open_minutes_differ_little(name: str) -> None:
    shop = calendar(name, HoursSettings(week=SHOP_HOURS), VolumeSettings(BUSY_WEEK, SEASONS, 0.5))
    activity = shop.activity(minutes_of("1970-06-01", 365))  # the shop was to open later: a day at its opening, too
    activity = np.concatenate([activity, shop.activity(np.arange(OPENED // MINUTE - 1440, OPENED // MINUTE + 1440))])
    opened = (activity[1:] > 0) & (activity[:-1] > 0)
    steepest = max(abs(a - b) for a, b in pairwise([factor for day in BUSY_WEEK for factor in day])) / 60
    assert np.abs(np.diff(activity))[opened].max() < steepest / 4 * max(SEASONS) * 1.1  # the mean factor is about 4


# --- Growth ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("growth", [0.1, -0.3, 2.0])
def test_growth_is_compound_from_year_to_year_and_even_within_one(growth: float) -> None:
    shop = calendar(volume=VolumeSettings(growth=growth))

    def after(years: float) -> float:
        return float(shop.activity(np.array([OPENED // MINUTE + int(years * 1461 * 360)]))[0])

    assert after(-3) == after(-0.001) == 1.0
    assert after(0.5) == pytest.approx(1 + growth / 2, rel=1e-5)
    assert after(1) == pytest.approx(1 + growth, rel=1e-5)
    assert after(12.25) == pytest.approx((1 + growth) ** 12 * (1 + growth / 4), rel=1e-5)


def test_growth_is_continuous() -> None:
    shop = calendar(volume=VolumeSettings(growth=0.5))
    activity = shop.activity(np.arange(OPENED // MINUTE - 1440, OPENED // MINUTE + 4 * 526_000))
    assert np.diff(activity).min() >= 0
    assert np.diff(activity).max() < 2 * 0.5 * 1.5**3 / 526_000


# --- The same whoever asks, and how ---------------------------------------------------------------------------------


BUSY = VolumeSettings(BUSY_WEEK, SEASONS, 0.1)


@cache
def shop_in(name: str) -> Calendar:
    return calendar(name, HoursSettings(week=SHOP_HOURS, holidays="US"), BUSY)


@given(st.sampled_from(ZONES), st.integers(0, 40_000_000), st.integers(1, 5000), st.data())
def test_any_split_of_a_range_gives_the_same_values(name: str, first: int, count: int, data: st.DataObject) -> None:
    minutes = np.arange(first, first + count, dtype=np.int64)
    cuts = data.draw(st.lists(st.integers(0, count), max_size=5))
    whole = shop_in(name).activity(minutes)
    fresh = calendar(name, HoursSettings(week=SHOP_HOURS, holidays="US"), BUSY)
    parts: list[Floats] = [fresh.activity(part) for part in reversed(np.split(minutes, sorted(cuts)))]
    assert np.concatenate(parts[::-1]).tobytes() == whole.tobytes()
    shuffled = data.draw(st.permutations(range(min(count, 20))))
    assert fresh.activity(minutes[shuffled]).tolist() == whole[shuffled].tolist()
    one = data.draw(st.integers(0, count - 1))
    assert fresh.activity(minutes[one : one + 1])[0] == whole[one]


def test_every_machine_computes_the_same_to_the_last_bit() -> None:
    shop = calendar("Europe/Berlin", HoursSettings(week=SHOP_HOURS), BUSY)
    activity = shop.activity(minutes_of("2024-01-01", 366))
    assert blake2b(activity.astype("<f8").tobytes(), digest_size=8).hexdigest() == "544925a09ffaeb43"


def test_what_is_done_to_an_answer_does_not_change_the_next() -> None:
    shop = shop_in("UTC")
    before = shop.activity(WEEK[:1440])
    kept = before.copy()
    before[:] = -1
    assert np.array_equal(shop.activity(WEEK[:1440]), kept)


def test_the_zone_is_that_of_the_package_whatever_the_system_has(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    tokyo = files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "Europe" / "Berlin").write_bytes(tokyo)
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    try:
        assert zone("Europe/Berlin").key == "Europe/Berlin"
        assert zone("Europe/Berlin").utcoffset(datetime(2024, 1, 1)) == timedelta(hours=1)
    finally:
        zoneinfo.reset_tzpath()


@pytest.mark.parametrize("name", ["Europe/Nowhere", "Europe", "", "zone.tab", "../zones", "europe/berlin"])
def test_a_zone_that_does_not_exist(name: str) -> None:
    with pytest.raises(zoneinfo.ZoneInfoNotFoundError):
        zone(name)


# --- Times on the clock ---------------------------------------------------------------------------------------------


@given(st.sampled_from(ZONES), st.data())
def test_what_the_clock_shows_leads_back_to_the_first_moment_that_it_does(name: str, data: st.DataObject) -> None:
    shop = calendar(name)
    at = data.draw(st.sampled_from(changes(name))) * MINUTE + data.draw(st.integers(-DAY, DAY))
    first = shop.utc(shop.local(at))
    assert first <= at
    assert shop.local(first) == shop.local(at)


@pytest.mark.parametrize(
    ("name", "wall", "utc"),
    [
        ("Europe/Berlin", "2024-07-01T12:00", "2024-07-01T10:00"),
        ("Europe/Berlin", "2024-10-27T02:30", "2024-10-27T00:30"),  # comes twice
        ("Europe/Berlin", "2024-03-31T02:30", "2024-03-31T01:30"),  # does not exist: 3:30
        ("Australia/Lord_Howe", "2024-10-06T02:10", "2024-10-05T15:40"),  # 2:40
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T22:00"),  # noon of the 31st
        ("UTC", "2024-01-01T00:00:00.000001", "2024-01-01T00:00:00.000001"),
    ],
)
def test_a_time_on_the_clock_becomes_one_of_the_stream(name: str, wall: str, utc: str) -> None:
    assert calendar(name).utc(datetime.fromisoformat(wall)) == micros(utc)


@pytest.mark.parametrize(
    ("name", "after", "weekday", "first"),
    [
        ("UTC", "2024-01-01T10:00", 2, "2024-01-03T00:00"),
        ("UTC", "2024-01-01T10:00", 0, "2024-01-01T10:00"),
        ("Europe/Berlin", "2024-01-01T10:00", 6, "2024-01-06T23:00"),
        ("Europe/Berlin", "2024-01-01T23:00", 1, "2024-01-01T23:00"),
        ("Europe/Berlin", "2024-01-01T22:59:59.999999", 1, "2024-01-01T23:00"),
        ("America/Sao_Paulo", "2018-11-03T12:00", 6, "2018-11-04T03:00"),  # begins at 1:00
        ("Pacific/Apia", "2011-12-29T12:00", 4, "2012-01-05T10:00"),  # the 30th, a Friday, was skipped
        ("Pacific/Apia", "2011-12-29T12:00", 5, "2011-12-30T10:00"),
        ("America/St_Johns", "2010-11-07T02:00", 6, "2010-11-07T02:30"),
        # A minute past midnight it was 23:01 of Saturday again: Sunday began twice.
        ("America/St_Johns", "2010-11-07T02:31", 6, "2010-11-07T03:30"),
    ],
)
def test_the_next_of_some_weekdays_begins_at_midnight(name: str, after: str, weekday: int, first: str) -> None:
    assert calendar(name).next_midnight_on(micros(after), [weekday]) == micros(first)


@given(st.sampled_from(ZONES), st.sets(st.integers(0, 6), min_size=1), st.data())
def test_no_earlier_moment_lies_on_one_of_the_weekdays(name: str, weekdays: set[int], data: st.DataObject) -> None:
    shop = calendar(name)
    at = data.draw(st.sampled_from(changes(name))) * MINUTE + data.draw(st.integers(-DAY, DAY))
    found = shop.next_midnight_on(at, weekdays)
    assert shop.weekday(found) in weekdays
    assert at <= found < at + 14 * DAY
    assert found == at or shop.weekday(found - 1) not in weekdays
    assert all(shop.weekday(moment) not in weekdays for moment in range(at, found, math.ceil(HOUR / 4)))


def test_without_weekdays_there_is_no_next() -> None:
    with pytest.raises(ValueError, match="no weekdays"):
        calendar().next_midnight_on(OPENED, [])


# --- Shops that hardly anybody would want ---------------------------------------------------------------------------


def test_a_shop_that_opens_on_some_dates_only() -> None:
    market = HoursSettings(week=(NEVER,) * 7, dates=((date(2023, 5, 3), ((480, 720),)),))
    shop = calendar(hours=market)
    assert np.count_nonzero(shop.activity(WEEK) == 1.0) == np.count_nonzero(shop.activity(WEEK)) == 240
    assert shop.peak == 1.0


def test_a_shop_that_nobody_ever_comes_to() -> None:
    shop = calendar(volume=VolumeSettings(week=((0.0,) * 24,) * 7))
    assert not shop.activity(WEEK).any()


def test_no_minutes_have_no_activity() -> None:
    assert shop_in("UTC").activity(WEEK[:0]).shape == (0,)
