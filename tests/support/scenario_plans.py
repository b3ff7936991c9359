"""Shops of the scenarios, for tests of the truth about them."""

from datetime import datetime
from pathlib import Path

from yasdg_app.config import catalog, ini
from yasdg_app.shop.plan import Plan

PROJECT = Path(__file__).parents[2]
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
SECOND = 1_000_000


def plan_of(scenario: str, start: str, **values: str) -> Plan:
    given = {"YASDG_SALES_NUMBER_OF_SALES": "0"} | {f"YASDG_{key}": value for key, value in values.items()}
    of = ini.load({"YASDG_CONFIG": f"config/scenarios/{scenario}.ini", "YASDG_CLOCK_START": start} | given, PROJECT)
    products = catalog.load(of.sales.products)
    assert isinstance(of.clock.start, datetime)
    return Plan.of(of, products, Plan.of(of, products, 0).calendar.utc(of.clock.start))
