"""What the tills tell of themselves costs little, however many products there are."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faust.types import TP
from support.fakes import Life, Member, open_shop
from support.small_shops import PRODUCTS

from yasdg_app.cluster_state import clock_jumps as jumps
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import NO_TIME
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.messages.times import event_time
from yasdg_app.pipeline import sales_generator
from yasdg_app.pipeline.sales_generator import SalesGenerator
from yasdg_app.shop.clock import STABLE_SECONDS, Clock

OPENED, FUTURE = event_time("2026-01-01 00:00:00"), event_time("2190-01-01 00:00:00")


class FakeStore:
    """The rows of a partition, of which only whole columns may be asked for."""

    def __init__(self, *times: int) -> None:
        self._times = np.array(times, dtype=np.int64)

    def column(self, name: str) -> Any:
        assert name == "last_sale"
        return self._times


def generator(member: Member, rows: dict[str, FakeStore]) -> SalesGenerator:
    """A generator of a worker that has these partitions."""
    manifest = SimpleNamespace(opened_at=OPENED, clock=Clock(OPENED, OPENED))
    assignment = PartitionAssignment(member, ("purchases",), {})
    assignment.activate(1, {TP("purchases", partition): 0 for partition in range(len(rows))}, {})
    table: Any = SimpleNamespace(
        store_of=lambda partition: rows[f"p{partition}"], catalog=PartitionedCatalog.of(PRODUCTS, 8)
    )  # fmt: skip
    nothing: Any = None
    return SalesGenerator(open_shop(manifest=manifest), Life(), assignment, nothing, table, nothing)


def sold_ahead(monkeypatch: pytest.MonkeyPatch, **rows: FakeStore) -> tuple[int | None, list[int]]:
    """What is reported of sales ahead of the clock, and of the delay of each partition, in whole days."""
    monkeypatch.setattr(sales_generator, "now", lambda: OPENED + 86_400_000_000)
    these = generator(Member(), rows)
    return these.sold_ahead(), [these.delay(partition) // 86_400_000_000 for partition in range(len(rows))]


def test_no_product_is_looked_at_to_tell_of_sales_of_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sold_ahead(monkeypatch, p0=FakeStore(OPENED + 1, NO_TIME), p1=FakeStore(FUTURE, OPENED)) == (FUTURE, [0, 0])


def test_before_the_first_sale_it_is_the_moment_when_the_shop_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sold_ahead(monkeypatch, p0=FakeStore(NO_TIME, NO_TIME), p1=FakeStore()) == (None, [1, 1])


@pytest.mark.parametrize(("days", "ends"), [(2, True), (0.5, False), (-2, False)])
async def test_a_worker_ends_when_its_clock_has_stayed_more_than_a_day_ahead(
    monkeypatch: pytest.MonkeyPatch, days: float, ends: bool
) -> None:
    said: list[str] = []
    seconds = [0.0, 0.0]  # that have passed, and by which the clock was set
    monkeypatch.setattr(jumps, "steady_time", lambda: int(seconds[0] * 1e6))
    monkeypatch.setattr(sales_generator, "now", lambda: OPENED + int(sum(seconds) * 1e6))
    monkeypatch.setattr(sales_generator, "abort_process", said.append)
    member = Member()
    member.rebalancing = True
    these = generator(member, {})
    these.jumps = jumps.Jumps()
    await these.run_round(0)
    seconds[:] = [10.0, days * 86_400]
    await these.run_round(0)
    assert ("ends. If its time is right, restart this worker." in these.jumps.reason) is ends
    assert said == []
    seconds[0] += STABLE_SECONDS
    await these.run_round(0)
    assert len(said) == ends
    assert all("set forward by 2 d. Nothing is sold" in line for line in said)
    assert these.jumps.needs_end is ends
