"""`yasdg plan` shows what a configuration will do, and what may not be meant by it, without any broker."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import orjson
import pytest

from yasdg_app.cluster_state.manifest import OpeningError
from yasdg_app.config import catalog, ini
from yasdg_app.forecast.data import as_data
from yasdg_app.forecast.forecast import forecast_shop
from yasdg_app.forecast.lines import lines
from yasdg_app.forecast.model import Forecast
from yasdg_app.forecast.picture import draw
from yasdg_app.forecast.supply import mean_lead_time
from yasdg_app.text import cell, count, length

PROJECT = Path(__file__).parents[2]
NOW = 1_795_564_800_000_000  # 2026-11-25 00:00 UTC
MAY = "[CLOCK]\nstart = 2026-05-04\n"  # a Monday

Look = Callable[..., Forecast]


@pytest.fixture
def plan_of(tmp_path: Path) -> Look:
    """Looks at a shop of a configuration's text."""

    def plan_of(text: str = "", first: date | None = None, days: int = 7, products: str = "products.csv") -> Forecast:
        (tmp_path / "x.ini").write_text(text)
        shop = ini.load({"YASDG_CONFIG": "x.ini", "YASDG_SALES_PRODUCTS": str(PROJECT / products)}, tmp_path)
        return forecast_shop(shop, catalog.load(shop.sales.products), NOW, first, days)

    return plan_of


def warned(forecast: Forecast, *words: str) -> bool:
    """Whether one of the warnings has all of the words, and is printed."""
    printed = "\n".join(lines(forecast))
    return any(all(word in warning for word in words) and warning in printed for warning in forecast.warnings)


# --- What is expected ---


def test_a_plain_shop_has_its_mean_rate_at_all_hours_and_nothing_to_look_at(plan_of: Look) -> None:
    forecast = plan_of()
    assert np.concatenate([day.customers for day in forecast.days]) == pytest.approx(1800.0)
    assert forecast.warnings == ()
    assert forecast.days[0].date == date(2026, 11, 25)


def test_a_shop_that_begins_now_is_shown_from_todays_midnight_on_its_own_clock(plan_of: Look) -> None:
    forecast = plan_of("[CLOCK]\ntime_zone = America/New_York\n")
    assert forecast.days[0].date == date(2026, 11, 24)
    assert forecast.days[0].total == pytest.approx(43_200)


def test_hours_without_the_shop_are_empty(plan_of: Look) -> None:
    forecast = plan_of("[CLOCK]\nstart = 2026-05-04 12:00\nend = 2026-05-05 06:30\n")
    assert forecast.days[0].open == (False,) * 12 + (True,) * 12
    assert forecast.days[0].total == pytest.approx(12 * 1800)
    assert forecast.days[1].customers[:8].tolist() == pytest.approx([1800.0] * 6 + [900.0, 0.0], rel=1e-6)
    assert not any(forecast.days[2].open)


def test_an_hour_that_the_clock_skips_is_empty_and_one_that_it_shows_twice_is_full(plan_of: Look) -> None:
    text = "[CLOCK]\nstart = 2026-01-01\ntime_zone = Europe/Berlin\n"
    spring, autumn = plan_of(text, date(2026, 3, 29), 1).days[0], plan_of(text, date(2026, 10, 25), 1).days[0]
    assert (spring.customers[2], spring.customers[3]) == (0.0, pytest.approx(1800))
    assert spring.open == (True, True, False) + (True,) * 21
    assert autumn.customers[2] == pytest.approx(3600)


def test_a_date_that_the_clock_skips_is_empty(plan_of: Look) -> None:
    days = plan_of("[CLOCK]\nstart = 2011-12-01\ntime_zone = Pacific/Apia\n", date(2011, 12, 29), 3).days
    assert [day.total for day in days] == pytest.approx([43_200, 0.0, 43_200])


def test_holidays_and_single_days_are_marked(plan_of: Look) -> None:
    forecast = plan_of(MAY + "[HOURS]\nholidays = DE-BY\n2026-05-15 = 09:00-12:00\n", date(2026, 5, 14), 2)
    assert [(day.hours, day.why) for day in forecast.days] == [
        ("closed", "Ascension Day"), ("09:00-12:00", "hours of this date"),
    ]  # fmt: skip


def test_hours_past_midnight_belong_to_the_next_days_hours(plan_of: Look) -> None:
    forecast = plan_of(MAY + "[HOURS]\nevery_day = closed\nfriday = 20:00-02:00\n")
    assert forecast.days[4].open == (False,) * 20 + (True,) * 4
    assert forecast.days[5].open == (True,) * 2 + (False,) * 22
    assert not warned(forecast, "Closed all day", "2026-05-09")


def test_incidents_of_some_products_are_counted_by_category(plan_of: Look) -> None:
    forecast = plan_of(
        MAY + "[INCIDENT x]\nkind = viral\nstart = 2026-05-05\nduration = 1d\nproducts = CS01\n"
        "[INCIDENT y]\nkind = custom\nstart = 2026-05-05\nduration = 1d\ncategories = Indulgent Smoothies\nfactor = 0\n"
    )
    monday, tuesday = ({name: v[i * 24] for name, v in forecast.by_category.items()} for i in (0, 1))
    assert tuesday["Classic Smoothies"] == pytest.approx(1800 * (102 + 3 * 6) / 242)
    assert tuesday["Indulgent Smoothies"] == 0.0
    assert tuesday["Supercharged Smoothies"] == pytest.approx(monday["Supercharged Smoothies"])


def test_random_incidents_are_those_that_will_come(plan_of: Look) -> None:
    forecast = plan_of(MAY + "[INCIDENT x]\nkind = storm\nevery = 1d\n", days=31)
    here = forecast.plan.incidents.between(int(forecast.edges[0]), int(forecast.edges[-1]))
    assert forecast.incidents == here
    assert 15 < len(here) < 55


def test_a_run_of_so_many_sales_ends_when_they_are_expected(plan_of: Look) -> None:
    forecast = plan_of(MAY + "[SALES]\nnumber_of_sales = 1800\n")
    assert forecast.last_sale == forecast.edges[1]
    assert any("about 2026-05-04 01:00" in line for line in lines(forecast))


@pytest.mark.parametrize(
    ("clock", "seconds", "closes"),
    [
        ("start = 10d\nspeed = 11\n", 86_400, False),
        ("start = 10d\nend = 2d\nspeed = 48\n", 3600, True),
        ("start = 10d\nend = 20d\nspeed = 11\n", 86_400, False),
        ("start = 10d\nspeed = .5\n", None, False),
    ],
)
def test_how_long_the_way_to_the_present_is(plan_of: Look, clock: str, seconds: float | None, closes: bool) -> None:
    catch_up = plan_of(f"[CLOCK]\n{clock}").catch_up
    assert catch_up is not None
    assert (catch_up.seconds, catch_up.closes) == (seconds, closes)
    days = 2 if closes else 10
    assert catch_up.customers == pytest.approx(days * 43_200, rel=1e-6)
    assert catch_up.restocks == pytest.approx(catch_up.customers * 1.2 / 15)


def test_larger_quantities_take_more_restocks_and_as_many_customers(plan_of: Look) -> None:
    ways = ("quantity_one_freq = 8", "quantities = 80 20", "quantities = 80 10 10", "quantities = 1 1 1 1 1 1 1 1")
    expected = (1.2, 1.2, 1.3, 4.5)
    for way, mean in zip(ways, expected, strict=True):
        catch_up = plan_of(f"[SALES]\n{way}\n[CLOCK]\nstart = 10d\nend = 2d\nspeed = 48\n").catch_up
        assert catch_up is not None
        assert catch_up.customers == pytest.approx(2 * 43_200, rel=1e-6)
        assert catch_up.restocks == pytest.approx(catch_up.customers * mean / 15)


def test_categories_beyond_the_first_few_are_put_together(plan_of: Look, tmp_path: Path) -> None:
    head, *rows = (PROJECT / "products.csv").read_text().splitlines()
    rows = [row.replace("Classic Smoothies", f"Kind {number}") for number, row in enumerate(rows)]
    (tmp_path / "many.csv").write_text("\n".join([head, *rows]))
    forecast = plan_of(products=str(tmp_path / "many.csv"))
    assert len(forecast.by_category) == 8
    assert list(forecast.by_category)[-1] == "others"
    assert forecast.days[0].total == pytest.approx(43_200)


# --- What a person should see ---


def test_a_start_in_the_future_is_refused(plan_of: Look) -> None:
    with pytest.raises(OpeningError, match="is in the future"):
        plan_of("[CLOCK]\nstart = 2030-01-01\n")


def test_a_shelf_that_lasts_for_less_than_an_order_takes(plan_of: Look) -> None:
    forecast = plan_of(MAY + "[SUPPLY]\nlead_time = 1d\n")
    assert warned(forecast, "too little of 27 products", "min_inventory is 10", "IS01 9", "an order takes", "or more")
    assert forecast.lost > 0.9 * forecast.customers


def test_what_the_warning_says_would_do_does(plan_of: Look) -> None:
    text = MAY + "[SALES]\nmin_sale_freq = 60\nmax_sale_freq = 60\n[SUPPLY]\nlead_time = 6h\n"
    assert warned(plan_of(text + "[INVENTORY]\nmin_inventory = 5\n"), "min_inventory and restock_amount of 45 or more")
    assert not plan_of(text + "[INVENTORY]\nmin_inventory = 45\nrestock_amount = 45\n").lost


def test_a_shelf_that_is_too_little_before_the_first_delivery(plan_of: Look) -> None:
    text = MAY + "[SUPPLY]\nlead_time = 1d\n[INVENTORY]\nmin_inventory = 100000\nrestock_amount = 200000\n"
    assert warned(plan_of(text), "does not last until the first delivery")


def test_failing_deliveries_are_no_wrong_setting(plan_of: Look) -> None:
    forecast = plan_of(MAY + "[INCIDENT x]\nkind = supply\nstart = 2026-05-06\nduration = 2d\n")
    lost = [day.lost.sum() / day.total for day in forecast.days]
    assert lost[:2] == [0.0, 0.0]
    assert min(lost[2:4]) > 0.9
    assert lost[4:] == [0.0, 0.0, 0.0]
    assert forecast.warnings == ()


def test_a_promotion_in_closed_hours(plan_of: Look) -> None:
    text = (
        MAY + "[HOURS]\nevery_day = 08:00-20:00\n[INCIDENT x]\nkind = promotion\nstart = 2026-05-05 {}\nduration = 2h\n"
    )
    assert warned(plan_of(text.format("21:00")), "[INCIDENT x] lies in closed hours")
    assert not plan_of(text.format("19:00")).warnings


def test_an_incident_that_the_shop_does_not_live_to_see(plan_of: Look) -> None:
    text = "[CLOCK]\nstart = 2026-05-04\nend = 2026-05-11\n[INCIDENT x]\nkind = storm\nstart = {}\n"
    assert warned(plan_of(text.format("2026-05-03")), "[INCIDENT x] ends before")
    assert warned(plan_of(text.format("2026-05-12")), "[INCIDENT x] begins after")
    assert not plan_of(text.format("2026-05-06")).warnings


def test_an_incident_that_changes_nothing(plan_of: Look) -> None:
    text = MAY + "[INCIDENT x]\nkind = custom\nfactor = 1\nstart = 2026-05-05\n"
    assert warned(plan_of(text), "[INCIDENT x]", "changes nothing")


def test_days_on_which_nobody_comes(plan_of: Look) -> None:
    forecast = plan_of(
        MAY + "[HOURS]\nsunday = closed\n[VOLUME]\nmonday = 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    )
    assert warned(forecast, "Closed all day: Sun 2026-05-10")
    later = plan_of(
        MAY + "[HOURS]\nmonday = 08:00-09:00\n"
        "[VOLUME]\nmonday = 1 1 1 1 1 1 1 0 0 0 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n", days=1,
    )  # fmt: skip
    assert warned(later, "Open, but no customers arrive: Mon 2026-05-04")


def test_days_before_the_shop_begins(plan_of: Look) -> None:
    assert warned(
        plan_of(MAY, date(2026, 4, 1)), "closed in all of 2026-04-01 to 2026-04-07", "before its first moment"
    )


def test_a_long_way_to_the_present(plan_of: Look) -> None:
    assert warned(plan_of("[CLOCK]\nstart = 20d\nspeed = 60\n"), "8 h 8 min until it is live", "speed 60")
    assert warned(plan_of("[CLOCK]\nstart = 20d\nspeed = 1\n"), "never live")
    assert not plan_of("[CLOCK]\nstart = 20d\nspeed = 6000\n").warnings


def test_more_than_a_disk_or_a_worker_takes(plan_of: Look) -> None:
    fast = "[SALES]\nmin_sale_freq = 0\nmax_sale_freq = .00002\n"
    forecast = plan_of(fast + "[CLOCK]\nstart = 2d\n")
    assert warned(forecast, "more than most disks can hold")
    assert warned(forecast, "In the busiest hour 100,000 customers/s arrive")
    assert warned(plan_of("[CLOCK]\nstart = 20d\nspeed = 200000\n"), "At speed 200000", "fall behind its clock")


# --- How it is shown ---


def test_the_lines_say_it_all(plan_of: Look) -> None:
    forecast = plan_of(
        "[CLOCK]\nstart = 2026-05-04\ntime_zone = Europe/Berlin\n[HOURS]\nevery_day = 08:00-12:00, 13:00-20:00\n"
        "[INVENTORY]\nmin_inventory = 5000\nrestock_amount = 9000\n"
        "[SUPPLY]\nlead_time = 1h - 2h\n[SUPPLIER s]\ncategories = Classic Smoothies\ndelivery_days = monday, friday\n"
        "[INCIDENT x]\nkind = promotion\nstart = 2026-05-05 10:00\nduration = 3h\nproducts = SC01\ndiscount = .125\n"
    )
    printed = list(lines(forecast))
    for line in (
        "Tue 2026-05-05  08:00-12:00, 13:00-20:00     20,068",
        "Mon 04   ·   ·   ·   ·   ·   ·   ·   ·  1800  1800",
        "x  2026-05-05 10:00  2026-05-05 13:00  promotion  demand × 2.5, −12.5 % price  SC01",
        "  s: delivers at once; on Monday, Friday only: 22 h 17 min on average; of Classic Smoothies",
        "  supplier: takes 1 h to 2 h, mostly 1 h 30 min",
    ):
        assert any(shown.startswith(line) for shown in printed), "\n".join(printed)


def test_a_year_is_shown_by_months_and_as_a_usual_week(plan_of: Look) -> None:
    printed = list(lines(plan_of("[CLOCK]\nstart = 2025-01-01\n[INCIDENT x]\nkind = storm\nevery = 2d\n", days=365)))
    assert any(line.startswith("2025-02  28 of 28 days") for line in printed)
    assert any(line.startswith("Sun  ") for line in printed)
    assert any("more; --json prints all" in line for line in printed)
    assert len(printed) < 80


def test_the_data_is_json_and_complete(plan_of: Look) -> None:
    forecast = plan_of(
        "[CLOCK]\nstart = 2026-05-04\ntime_zone = America/New_York\n[INCIDENT x]\nkind = storm\nevery = 1d\n"
    )
    data = json.loads(orjson.dumps(as_data(forecast)))
    assert data["customers"] == pytest.approx(sum(sum(day["customers"]) for day in data["days"]))
    assert data["clock"]["start"] == "2026-05-04T00:00:00-04:00"
    assert [each["name"] for each in data["incidents"]] == [each.name for each in forecast.incidents]
    assert data["warnings"] == list(forecast.warnings)


@pytest.mark.parametrize(
    ("number", "shown", "short"),
    [
        (0, "0", "0"),
        (1.23, "1.2", "1.2"),
        (9999, "9,999", "9999"),
        (12_345, "12,345", "12.3k"),
        (3.4e6, "3.4 million", "3.4M"),
        (2.5e9, "2.5 billion", "2.5G"),
    ],
)
def test_numbers_for_people(number: float, shown: str, short: str) -> None:
    assert (count(number), cell(number)) == (shown, short)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.02, "0.02 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599.9, "1 h"),
        (90_000, "1 d 1 h"),
        (86_399.9, "1 d"),
    ],
)
def test_lengths_for_people(seconds: float, shown: str) -> None:
    assert length(seconds) == shown


@pytest.mark.parametrize(
    ("days", "hours"), [("all", 0), ("monday", 72 * 6 / 7), ("monday, thursday", (24 * 2 + 36 * 3) / 7)]
)
def test_the_mean_wait_for_a_delivery_day(days: str, hours: float, plan_of: Look) -> None:
    supplier = plan_of(f"[SUPPLY]\nlead_time = 1h - 2h - 6h\ndelivery_days = {days}\n").settings.supply
    assert mean_lead_time(supplier).total_seconds() / 3600 == pytest.approx(3 + hours)


# --- The picture ---

VIRAL = "[INCIDENT {n}xxxxxxxxxxxxxxxxxxxx]\nkind = viral\nstart = 2026-05-06 {n}:00\n"
SHOPS = {
    "plain": (MAY, 7),
    "one day": (MAY, 1),
    "never open": (MAY + "[HOURS]\nevery_day = closed\nfriday = 10:00-11:00\n", 3),
    "month": (MAY + "[SUPPLY]\nlead_time = 1d\n", 31),
    "year": ("[CLOCK]\nstart = 2025-01-01\n[HOURS]\nholidays = DE\n[INCIDENT x]\nkind = storm\nevery = 2d\n", 365),
    "many": (MAY + "".join(VIRAL.format(n=hour) for hour in range(10, 20)), 7),
}  # fmt: skip


@pytest.mark.parametrize("shop", SHOPS)
def test_a_picture_is_a_valid_file_and_the_same_each_time(plan_of: Look, shop: str) -> None:
    forecast = plan_of(*(SHOPS[shop][0], None, SHOPS[shop][1]))
    png, svg = draw(forecast, ".png"), draw(forecast, ".svg")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (1200, 800)
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert (draw(forecast, ".png"), draw(forecast, ".svg")) == (png, svg)


def texts(svg: bytes) -> list[str]:
    return [(element.text or "").strip() for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_of_the_docs_is_the_one_that_is_drawn_now() -> None:
    shop = ini.load({"YASDG_CONFIG": "config/scenarios/week.ini"}, PROJECT)
    svg = draw(forecast_shop(shop, catalog.load(shop.sales.products), NOW), ".svg")
    assert texts((PROJECT / "docs" / "pictures" / "week.svg").read_bytes()) == texts(svg)
    assert {"viral-video", "storm ×0.3, 13:00 to 18:00", "Classic Smoothies", "Corpus Christi"} <= set(texts(svg))


# --- The command ---


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith("YASDG_") and key != "DISPLAY"}
    return subprocess.run(
        [sys.executable, "-m", "yasdg_app", "plan", *arguments],
        cwd=folder, env=clean | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_the_command_needs_no_broker_and_leaves_nothing_but_the_picture(tmp_path: Path) -> None:
    nowhere = {"YASDG_KAFKA_BOOTSTRAP_SERVERS": "nowhere.invalid:1", "YASDG_CLOCK_START": "2026-05-04"}
    first = run(tmp_path, "--picture", "plan.svg", PYTHONHASHSEED="1", **nowhere)
    assert (first.returncode, first.stderr) == (0, "")
    assert "Mon 2026-05-04  00:00-24:00     43,200" in first.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["plan.svg"]
    drawn = (tmp_path / "plan.svg").read_bytes()
    again = run(tmp_path, "--json", "--days", "7", "--picture", "plan.svg", PYTHONHASHSEED="2", **nowhere)
    assert (tmp_path / "plan.svg").read_bytes() == drawn
    assert len(json.loads(again.stdout)["days"]) == 7


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--picture", "plan.pdf"), "plan.pdf: expected a name that ends in .png or .svg"),
        (("--from", "5.1.2026"), "5.1.2026: expected a date from 1971-01-01 to 2199-12-31, such as 2026-12-24"),
        (("--picture", "nowhere/plan.svg"), "nowhere/plan.svg: cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path, arguments: tuple[str, ...], error: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode != 0
    assert error in done.stderr.splitlines()[-1]
