"""What the tills tell of themselves costs little, however many products there are."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from yasdg_app.messages import event_time
from yasdg_app.shop.clock import Clock
from yasdg_app.streams import tills
from yasdg_app.streams.table import NO_TIME

OPENED, FUTURE = event_time("2026-01-01 00:00:00"), event_time("2190-01-01 00:00:00")


class Rows:
    """The rows of a partition, of which only whole columns may be asked for."""

    def __init__(self, *times: int) -> None:
        self._times = np.array(times, dtype=np.int64)

    def column(self, name: str) -> Any:
        assert name == "last_sale"
        return self._times


def sold_ahead(monkeypatch: pytest.MonkeyPatch, **rows: Rows) -> tuple[int | None, list[int]]:
    """What is told of sales ahead of the clock, and of the delay of each partition, in whole days."""
    monkeypatch.setattr(tills, "inventory", SimpleNamespace(rows_of=lambda partition: rows[f"p{partition}"]))
    monkeypatch.setattr(tills.app, "ownership", SimpleNamespace(partitions=range(len(rows)), generation=1))
    opening = SimpleNamespace(opened_at=OPENED, clock=Clock(OPENED, OPENED))
    monkeypatch.setattr(tills.app, "opening", opening, raising=False)
    monkeypatch.setattr(tills, "_now", lambda: OPENED + 86_400_000_000)
    these = tills.Tills()
    return these.sold_ahead(), [these.delay(partition) // 86_400_000_000 for partition in range(len(rows))]


def test_no_product_is_looked_at_to_tell_of_sales_of_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sold_ahead(monkeypatch, p0=Rows(OPENED + 1, NO_TIME), p1=Rows(FUTURE, OPENED)) == (FUTURE, [0, 0])


def test_before_the_first_sale_it_is_the_moment_when_the_shop_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sold_ahead(monkeypatch, p0=Rows(NO_TIME, NO_TIME), p1=Rows()) == (None, [1, 1])
