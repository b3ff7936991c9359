"""What the rules make of texts, and what they expect of those of which they make nothing."""

from datetime import date, datetime, timedelta
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given, strategies
from hypothesis import strategies as st
from support import product_ids

from yasdg_app.config import rules
from yasdg_app.config.rules import InvalidValueError, Rule

START = rules.moment_or_duration("now", "back from now")
CURVE = rules.numbers(3, "one for each")
D, H, M = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("rule", "text", "value"),
    [
        (rules.duration(), "30d", 30 * D),
        (rules.duration(), "1d 12h", 36 * H),
        (rules.duration(), "1d12h30m", 36 * H + 30 * M),
        (rules.duration(), "2w 1y", 379 * D),
        (rules.duration(), ".5 s", timedelta(milliseconds=500)),
        (rules.duration(), "0.1s", timedelta(milliseconds=100)),
        (rules.duration(), "50y", 50 * 365 * D),
        (rules.duration(zero=True), "0", 0 * D),
        (rules.duration(minutes=True), "120s", 2 * M),
        (START, "Now", None),
        (START, "90m", 90 * M),
        (START, "2026-01-01", datetime(2026, 1, 1)),
        (START, "2026-01-01 8:30", datetime(2026, 1, 1, 8, 30)),
        (START, "2026-01-01T08:30:15", datetime(2026, 1, 1, 8, 30, 15)),
        (rules.moment(), "2024-02-29 23:59", datetime(2024, 2, 29, 23, 59)),
        (rules.day(), "2199-12-31", date(2199, 12, 31)),
        (rules.quantities(8), "", ()),
        (rules.quantities(8), "7", (1,)),
        (rules.quantities(8), "80 20", (4, 1)),
        (rules.quantities(8), "8,2", (4, 1)),
        (rules.quantities(8), ".8 , .1, .1", (8, 1, 1)),
        (rules.quantities(8), ".8 .1  .1", (8, 1, 1)),
        (rules.quantities(8), "80,\n15 ,5", (16, 3, 1)),
        (rules.quantities(8), "0.8,0.2", (4, 1)),
        (rules.quantities(8), "25 2.5 2.5", (10, 1, 1)),
        (rules.quantities(8), "0 1000000 0 0.000001", (0, 10**12, 0, 1)),
        (rules.quantities(8), "1 1 1 1 1 1 1 2", (1, 1, 1, 1, 1, 1, 1, 2)),
        (rules.speed(), "MAX", None),
        (rules.speed(), "1e3", 1000),
        (rules.lead_time(), "0", (0 * D, 0 * D, 0 * D)),
        (rules.lead_time(), "2d", (2 * D, 2 * D, 2 * D)),
        (rules.lead_time(), "1d - 3d", (D, 2 * D, 3 * D)),
        (rules.lead_time(), "0-1d-5d", (0 * D, D, 5 * D)),
        (rules.weekdays(), "All", (0, 1, 2, 3, 4, 5, 6)),
        (rules.weekdays(), "friday,monday  Tuesday, friday", (0, 1, 4)),
        (rules.hours(), "Closed", ()),
        (rules.hours(), "08:00-20:00", ((480, 1200),)),
        (rules.hours(), "13:00 – 20:00, 8:00-13:00", ((480, 780), (780, 1200))),
        (rules.hours(), "20:00-02:00", ((1200, 1560),)),
        (rules.hours(), "20:00-00:00", ((1200, 1440),)),
        (rules.hours(), "01:00-02:00, 20:00-04:00", ((60, 120), (1200, 1680))),
        (rules.hours(), "00:00-24:00", ((0, 1440),)),
        (CURVE, "1 2,.5", (1, 2, 0.5)),
        (CURVE, "0,\n0 , 0", (0, 0, 0)),
        (rules.growth(), "-.05", -0.05),
        (rules.growth(), "10", 10),
        (rules.names("x"), "a b, c,a b", ("a b", "c")),
        (rules.product_ids(), "e\u0301 1, CS01, \xe9 1", ("\xe9 1", "CS01")),
        (rules.region(), "", ""),
        (rules.region(), "US", "US"),
        (rules.region(), "DE-BY", "DE-BY"),
        (rules.time_zone(), "UTC", "UTC"),
        (rules.time_zone(), "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
    ],
)
def test_a_text_is_read(rule: Rule[Any], text: str, value: Any) -> None:
    assert rule.read(text) == value


DURATION = "a duration such as 30d or 1d 12h, up to 50y"
MOMENT = (
    "now, a date or time such as 2026-01-01 08:30 from 1971 to 2199, "
    "or a duration back from now such as 30d, up to 50y"
)  # fmt: skip
LEAD_TIME = "0, a duration such as 2d, the least and the longest such as 1d - 3d, or with the most frequent between"
HOURS = "closed, or hours such as 08:00-12:00, 13:00-20:00, from 00:00 to 24:00"
EMPTY = "hours that end at another time than they begin; the whole day is 00:00-24:00"
DAYS = "all, or days of the week such as monday, friday"
NUMBERS = "3 numbers from 0 to 1000000, one for each"
GROWTH = "a number above -1, up to 10, such as .1 for 10 % a year"
ZONE = "the name of a time zone, such as UTC or Europe/Berlin"
REGION = "a country such as DE, one with its subdivision such as DE-BY, or nothing"


QUANTITIES = (
    "1 to 8 numbers from 0 to 1000000 with at most six decimals, for sales of 1, 2, … units, the last one above 0, "
    "such as 80 15 5"
)


@pytest.mark.parametrize(
    ("rule", "texts", "expected"),
    [
        (rules.duration(), ["", "0", "30", "0s", "d", "1x", "-1d", "1d,2h", "1_0d", "٣d", "51y", "1M",
                            "9" * 5000 + "y"], DURATION),
        (rules.duration(zero=True, minutes=True), ["1s", "x"],
         "0, or a duration of whole minutes such as 30m or 1d 12h, up to 50y"),
        (START, ["", "never", "2026-1-1", "2026-02-30", "2026-01-01 24:00", "2026-01-01 08:60", "0d", "1970-12-31",
                 "2200-01-01", "2026-01-01 08:30Z", "2026-01-01 08", "08:30", "51y"], MOMENT),
        (rules.quantities(8), ["0", "1 0", "1 -1", "1 x", "1 1e3", "1,,2", "1 .0000001", "1 1000000.1"], QUANTITIES),
        (rules.quantities(8), ["1 1 1 1 1 1 1 1 1"], f"{QUANTITIES}; there are 9"),
        (rules.quantities(8), ["0,8 0,2", "0,8, 0,2", "8, 1,5", ".8 , .1 .1", "80, 15 5", "0,8\t.2"],
         f"{QUANTITIES}; separated by blanks or by commas, not by both, and with decimal points: 0.8 0.2 or 0.8, 0.2"),
        (rules.speed(), ["0", "-1", "inf", "nan", "1e999", ""], "max, or a number above 0 such as 60"),
        (rules.lead_time(), ["", "1d -", "1", "1d-2d-3d-4d", "x"], LEAD_TIME),
        (rules.lead_time(), ["3d - 1d", "1d - 5d - 2d"], f"{LEAD_TIME}; in this order"),
        (rules.weekdays(), ["", "1", "monday,,friday"], DAYS),
        (rules.weekdays(), ["monday fri"], f"{DAYS}; did you mean friday?"),
        (rules.hours(), ["", "8-20", "08:00", "08:00-25:00", "24:00-02:00", "08:00-24:01", "08:60-09:00",
                         "08:00-20:00,", "08:00-12:00 13:00-20:00", "open"], HOURS),
        (rules.hours(), ["08:00-08:00", "00:00-00:00"], EMPTY),
        (rules.hours(), ["08:00-13:00, 12:00-20:00", "12:00-20:00, 08:00-13:00"],
         "hours that do not overlap; 08:00-13:00 and 12:00-20:00 do"),
        (CURVE, ["", "1,,2", "1 2 x", "1 2 -3", "1 2 1000001", "1 2 nan", "1 2 1e999"], NUMBERS),
        (CURVE, ["1 2"], f"{NUMBERS}; there are 2"),
        (CURVE, ["1"], f"{NUMBERS}; there is 1"),
        (rules.numbers(3, "one for each", all_zero=False), ["0 0 0"], f"{NUMBERS}, not all of them 0"),
        (rules.growth(), ["-1", "10.1", "", "--1", "-", "10 %"], GROWTH),
        (rules.names("names"), ["", ",", "a,"], "names with commas between them"),
        (rules.choice("catch_up", "skip"), ["catchup"], "catch_up or skip; did you mean catch_up?"),
        (rules.choice("catch_up", "skip"), [""], "catch_up or skip"),
        (rules.time_zone(), ["europe/berlin", "Berlin", "Europe/Berln"], f"{ZONE}; did you mean Europe/Berlin?"),
        (rules.time_zone(), ["New York"], f"{ZONE}; did you mean America/New_York?"),
        (rules.time_zone(), ["", "/", "..", "x" * 60], ZONE),
        (rules.region(), ["de-by"], f"{REGION}; did you mean DE-BY?"),
        (rules.region(), ["DE-"], f"{REGION}; did you mean DE?"),
        (rules.region(), ["Germany"], f"{REGION}; did you mean DE?"),
        (rules.region(), ["XX"], REGION),
    ],
)  # fmt: skip
def test_a_text_is_refused_with_what_was_expected(rule: Rule[Any], texts: list[str], expected: str) -> None:
    for text in texts:
        with pytest.raises(InvalidValueError) as caught:
            rule.read(text)
        assert (text, str(caught.value)) == (text, expected)


@given(
    parts=strategies.lists(
        strategies.tuples(strategies.integers(0, 1000), strategies.sampled_from("smhdw")), min_size=1, max_size=4
    ),
    between=strategies.sampled_from(["", " "]),
)
def test_durations_add_up(parts: list[tuple[int, str]], between: str) -> None:
    length = {"s": timedelta(seconds=1), "m": M, "h": H, "d": D, "w": 7 * D}
    total = sum((count * length[unit] for count, unit in parts), timedelta(0))
    text = between.join(f"{count}{unit}" for count, unit in parts)
    if total <= rules.MAX_DURATION:
        assert rules.duration(zero=True).read(text) == total
    else:
        with pytest.raises(InvalidValueError):
            rules.duration().read(text)


@given(length=strategies.timedeltas(min_value=timedelta(microseconds=1), max_value=rules.MAX_DURATION))
def test_a_duration_is_exact_to_the_microsecond(length: timedelta) -> None:
    whole, rest = divmod(length, timedelta(seconds=1))
    assert rules.duration().read(f"{whole}.{rest // timedelta(microseconds=1):06}s") == length


@given(edges=strategies.sets(strategies.integers(0, 2880), min_size=2, max_size=8))
def test_hours_are_read_as_they_are_shown(edges: set[int]) -> None:
    marks = sorted(edges)
    spans = tuple(zip(marks[::2], marks[1::2], strict=False))
    # Only the last may go on past midnight, for less than a day.
    spans = tuple(span for span in spans if span[0] < 1440 and (span[1] <= 1440 or span[1] - span[0] < 1440))
    text = ", ".join(rules.span_text(span) for span in spans) or "closed"
    assert rules.hours().read(text) == spans


@given(at=strategies.datetimes(datetime(1971, 1, 1), datetime(2199, 12, 31)))
def test_a_time_is_read_to_the_second(at: datetime) -> None:
    at = at.replace(microsecond=0)
    assert START.read(str(at)) == START.read(at.isoformat()) == at


@given(text=strategies.text(strategies.sampled_from("0123456789.:-, dhmy\n") | strategies.characters(), max_size=30))
@pytest.mark.parametrize(
    "rule",
    [START, rules.duration(), rules.moment(), rules.day(), rules.hours(), rules.lead_time(), rules.weekdays(), CURVE,
     rules.growth(), rules.speed(), rules.name(), rules.names("x"), rules.choice("a", "b")],
)  # fmt: skip
def test_whatever_the_text_it_is_a_value_or_refused_in_one_line(rule: Rule[Any], text: str) -> None:
    try:
        rule.read(text)
    except InvalidValueError as error:
        assert str(error).isprintable()


# --- What is meant --------------------------------------------------------------------------------------------------

KEYS = ("min_sale_freq", "max_sale_freq", "number_of_sales", "ssl_ca_file", "sasl_protocol", "add_supp_freq_group1")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("MIN-SALE-FREQ", "min_sale_freq"), ("minsalefreq", "min_sale_freq"), ("min_sales_freq", "min_sale_freq"),
        ("max_sale_frq", "max_sale_freq"), ("max_slae_freq", "max_sale_freq"), ("numbers_of_sales", "number_of_sales"),
        # of another meaning, or of two
        ("mix_sale_freq", ""), ("mn_sale_freq", "min_sale_freq"), ("m_sale_freq", ""), ("sale_freq", ""),
        ("ssl_protocol", ""), ("", ""), ("sasl_ca_file", ""), ("add_supp_freq_group2", ""), ("add_supp_freq_group", ""),
        ("max_inventory", ""),
    ],
)  # fmt: skip
def test_a_key_is_meant_only_if_no_more_than_a_letter_differs(word: str, meant: str) -> None:
    assert rules.did_you_mean(word, KEYS) == (f"; did you mean {meant}?" if meant else "")


def test_of_two_that_may_be_meant_none_is_named() -> None:
    assert rules.did_you_mean("colour", ["color", "colours"]) == ""
    assert rules.did_you_mean("epoch_s", ["epoch_ms", "epoch_us"]) == ""
    assert rules.did_you_mean("s", ["sunday", "saturday"], cut_short=True) == ""
    assert rules.did_you_mean("CS2", ["CS02", "CS12", "CS20"]) == "; did you mean CS02?"
    assert rules.did_you_mean("CS04", ["CS01", "CS02", "CS03"]) == ""


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("BERLIN", "Europe/Berlin"), ("europe berlin", "Europe/Berlin"), ("Europe/Berln", "Europe/Berlin"),
        ("Sao Paulo", "America/Sao_Paulo"), ("utc", "UTC"), ("Istanbul", "Europe/Istanbul"),  # as Asia/Istanbul
        # a clock that is another
        ("GMT+2", ""), ("UTC+1", ""), ("IST", ""), ("BST", ""), ("EST5", ""), ("Lublin", ""), ("Europe/Bern", ""),
        ("Asia/Bejing", ""), ("Eastern", ""), ("Mountain", ""), ("Asia/Delhi", ""), ("Europe/Lublin", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_time_zone_is_meant_only_if_its_clock_is_the_one(text: str, meant: str) -> None:
    with pytest.raises(rules.InvalidValueError) as error:
        rules.time_zone().read(text)
    assert str(error.value) == f"{ZONE}{f'; did you mean {meant}?' if meant else ''}"


@pytest.mark.parametrize(("text", "meant"), [("de", "DE"), ("germny", "DE"), ("DF", ""), ("DE-BX", ""), ("us-cal", "")])
def test_a_region_is_meant_only_if_it_is_that_one(text: str, meant: str) -> None:
    with pytest.raises(rules.InvalidValueError) as error:
        rules.region().read(text)
    assert str(error.value) == f"{REGION}{f'; did you mean {meant}?' if meant else ''}"


# --- Lists of names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('"Shakes, Malts & More", Classic Smoothies', ("Shakes, Malts & More", "Classic Smoothies")),
        ('"A ""B"", C","D"', ('A "B", C', "D")),
        ('6" Subs, A', ('6" Subs', "A")),
        ("A,\n  B C\r\n, D", ("A", "B C", "D")),
        ('\xa0"A, B"\xa0', ("A, B",)),
    ],
)
def test_names_with_commas_stand_in_quotes(text: str, wanted: tuple[str, ...]) -> None:
    assert rules.names("names").read(text) == wanted


@pytest.mark.parametrize("text", ['"A, B', '"A" B, C', '"", A', '""', "A, ,B"])
def test_quotes_that_do_not_pair_up_are_refused(text: str) -> None:
    with pytest.raises(rules.InvalidValueError, match=r"^names with commas between them"):
        rules.names("names").read(text)


@given(st.lists(st.text(st.sampled_from('ab ,"')).map(str.strip).filter(bool), min_size=1, unique=True))
def test_listed_names_are_read_as_they_were(names: list[str]) -> None:
    assert rules.names("names").read(rules.listed(names)) == tuple(names)


@given(st.lists(product_ids.product_ids(), min_size=1, unique=True))
def test_any_listed_ids_are_read_as_they_were(ids: list[str]) -> None:
    assert rules.product_ids().read(rules.listed(ids)) == tuple(ids)
    assert rules.product_ids().read(normalize("NFD", rules.listed(ids))) == tuple(ids)
