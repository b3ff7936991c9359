"""Each ready-made scenario is a shop as it says, and does what `yasdg plan` says it will."""

import runpy
from datetime import date
from functools import lru_cache
from pathlib import Path

import pytest

from yasdg_app.config import catalog, checks, ini
from yasdg_app.forecast.forecast import forecast_shop
from yasdg_app.forecast.lines import lines
from yasdg_app.forecast.model import Forecast
from yasdg_app.shop.sales import NO_PRODUCT, EventCursor
from yasdg_app.shop.till import ResumePoint, Till

PROJECT = Path(__file__).parents[2]
SCENARIOS = sorted(path.stem for path in (PROJECT / "config" / "scenarios").glob("*.ini"))
NOW = 1_795_564_800_000_000  # 2026-11-25 00:00 UTC
MINUTE, DAY = 60_000_000, 86_400_000_000
PRODUCTS = {"bookshop": 40, "hardware": 10_000}  # the others sell the smoothies


@lru_cache
def forecast(name: str, first: date | None = None, days: int = 7) -> Forecast:
    shop = ini.load({"YASDG_CONFIG": f"config/scenarios/{name}.ini"}, PROJECT)
    products = catalog.load(shop.sales.products)
    assert not checks.check_products(shop, products)
    return forecast_shop(shop, products, NOW, first, days)


def came(till: Till, until: int) -> tuple[int, int]:
    """Customers up to an event time, and those of them who found too little."""
    asked = lost = 0
    while till.watermark < until:
        served = till.generate_until(until)
        asked += int((served.sales.requested_product == NO_PRODUCT).sum()) + len(served.lost)
        lost += len(served.lost)
    return asked, lost


def test_there_are_eight() -> None:
    assert SCENARIOS == ["bookshop", "chain", "dirty", "hardware", "seed", "supply-crisis", "week", "year"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_begins_with_three_lines_that_say_what_it_shows_and_how_to_run_it(name: str) -> None:
    text = (PROJECT / "config" / "scenarios" / f"{name}.ini").read_text()
    comment, _, keys = text.partition("\n\n")
    assert [line[:2] for line in comment.splitlines()] == ["; "] * 3
    assert f"YASDG_CONFIG=config/scenarios/{name}.ini" in comment
    assert "make run" in comment
    assert "\n;" not in keys


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_keeps_its_data_apart_from_the_shop_of_the_default_configuration(name: str) -> None:
    kafka = forecast(name).settings.kafka
    assert kafka.data_dir == PROJECT / ".yasdg" / "scenarios" / name
    assert kafka.embedded


def planned(seen: Forecast, begin: int, end: int) -> float:
    """Customers whom the plan expects, product by product and cell by cell."""
    plan, total = seen.plan, 0.0
    for first in range(plan.grid.cell_at(begin), plan.grid.cell_at(end), 20_000):
        activity = plan.activity(first, min(20_000, plan.grid.cell_at(end) - first))
        total += sum(float(plan.expected(product, first, activity).sum()) for product in plan.products)
    return total


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_foreseen_is_the_sum_of_what_the_plan_expects(name: str) -> None:
    seen = forecast(name)
    total = planned(seen, max(int(seen.edges[0]), seen.plan.opened_at), int(seen.edges[48]))
    assert seen.days[0].total + seen.days[1].total == pytest.approx(total, rel=1e-9)
    assert sum(float(values.sum()) for values in seen.by_category.values()) == pytest.approx(seen.customers)


@pytest.mark.parametrize("name", SCENARIOS)
def test_as_many_customers_come_as_the_plan_expects(name: str) -> None:
    seen = forecast(name)
    # The first day; of the chain's, half a minute at noon; of the hardware chain's, some minutes of the second day.
    begin, end = seen.plan.opened_at, seen.plan.opened_at + DAY
    if name == "chain":
        begin = int(seen.edges[12])
        end = begin + MINUTE // 2
    elif name == "hardware":
        begin = int(seen.edges[37])
        end = begin + 10 * MINUTE
    customers, _ = came(Till(seen.plan, seen.plan.products, ResumePoint(EventCursor(begin, ""))), end - 1)
    expected = planned(seen, begin, end)
    assert expected > 200
    assert abs(customers - expected) < 5 * expected**0.5


@pytest.mark.parametrize("name", SCENARIOS)
def test_usually_hardly_anybody_finds_too_little(name: str) -> None:
    seen = forecast(name)
    assert seen.lost < 0.03 * seen.customers


def test_in_the_crisis_many_find_too_little_of_what_does_not_come_and_before_nobody() -> None:
    weeks = forecast("supply-crisis", date(2026, 4, 6), 21).days
    before, crisis = weeks[:7], weeks[7:16]
    share = [sum(day.lost.sum() for day in days) / sum(day.total for day in days) for days in (before, crisis)]
    assert share[0] < 0.02
    assert 0.2 < share[1] < 0.6


def test_the_estimate_of_what_is_lost_is_near_what_will_be() -> None:
    seen = forecast("supply-crisis", days=70)
    customers, lost = came(Till(seen.plan, seen.plan.products), int(seen.edges[-1]))
    assert seen.lost / seen.customers == pytest.approx(lost / customers, abs=0.015)


def test_the_year_has_five_million_sales_with_storms_and_promotions_in_them() -> None:
    seen = forecast("year", days=365)
    assert 4.5e6 < seen.customers < 5.5e6
    assert {"storm", "promotion", "viral"} <= {each.kind for each in seen.incidents}


def test_the_hardware_chains_catalog_is_what_its_program_writes() -> None:
    program = runpy.run_path(str(PROJECT / "config" / "scenarios" / "hardware.py"))
    written = (PROJECT / "config" / "scenarios" / "hardware.csv").read_bytes()
    assert program["catalog"]().encode() == written
    assert len(written) < 800_000
    assert program["CATEGORY_WEIGHTS"].keys() == {product.category for product in forecast("hardware").plan.products}


def test_the_bookshop_wraps_gifts_more_often_than_other_books() -> None:
    groups = {product.supplement_group: product.size for product in forecast("bookshop").plan.products}
    assert groups.keys() == {1, 2}
    assert {product.category for product in forecast("bookshop").plan.products if product.supplement_group == 1} > {
        "Children"
    }


def test_the_seeds_shop_has_the_values_of_the_seed() -> None:
    shop = forecast("seed").settings
    original = PROJECT / "tests" / "data" / "original_configuration.ini"
    seed = ini.load({"YASDG_CONFIG": str(original)}, PROJECT)
    assert (shop.sales, shop.inventory) == (seed.sales, seed.inventory)


@pytest.mark.parametrize("name", SCENARIOS)
def test_its_plan_can_be_printed(name: str) -> None:
    seen = forecast(name)
    printed = list(lines(seen))
    assert f"{name}.ini: {PRODUCTS.get(name, 27)} products" in printed[0]
    for day in seen.days:
        assert any(line.startswith(f"{day.date:%a} {day.date}  {day.hours}") for line in printed)
    for each in seen.incidents:
        assert any(line.startswith(each.name) for line in printed)
    assert all(line.isprintable() for line in printed)
