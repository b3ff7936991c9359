"""The golden file is what `yasdg generate` makes, and holds every case that a reader has to take."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from oracles import golden

from yasdg_app.cluster_state.lifetime import first_moment
from yasdg_app.config import catalog, ini
from yasdg_app.config.settings import FormatSettings
from yasdg_app.messages.formats import json_format
from yasdg_app.shop.plan import Plan
from yasdg_app.truth.offline_stream import FOREVER, stream

PROJECT = Path(__file__).parents[1]


@pytest.mark.parametrize("time", golden.TIMES)
def test_it_is_what_yasdg_generate_makes(time: str) -> None:
    """If this is meant to change: YASDG_CONFIG=tests/data/golden.ini yasdg generate -n 10000 | gzip -9n > FILE."""
    shop = ini.load({"YASDG_CONFIG": str(golden.SHOP)}, PROJECT)
    plan = Plan.of(shop, catalog.load(shop.sales.products), first_moment(shop, FOREVER))
    parts = stream("purchases", plan, FOREVER, rows=golden.COUNT, form=json_format(FormatSettings(time=time)))
    assert b"".join(part.text for part in parts).splitlines() == golden.purchases(time)


def test_every_field_says_something() -> None:
    rows = [json.loads(line, parse_float=Decimal) for line in golden.purchases()]
    assert len(rows) == len({row["transaction_id"] for row in rows}) == golden.COUNT
    assert {len({row[name] for row in rows}) > 1 for name in rows[0]} == {True}
    assert {None, "CS02"} < {row["substituted_from"] for row in rows}
    assert {row["promotion_discount"] for row in rows} == {Decimal("0.0"), Decimal("0.1505")}
    assert all(row["total_purchase"] == round(row["total_purchase"], 2) for row in rows)


def test_times_can_be_had_in_every_way() -> None:
    first = {time: json.loads(golden.purchases(time)[0])["transaction_time"] for time in golden.TIMES}
    assert first == {
        "sql": "2026-06-01 00:01:45.131419",
        "iso-z": "2026-06-01T00:01:45.131419Z",
        "epoch_ms": 1_780_272_105_131,
        "epoch_us": 1_780_272_105_131_419,
    }
    for time in golden.TIMES:
        assert len({line.partition(b",")[2] for line in golden.purchases(time)}) == golden.COUNT
