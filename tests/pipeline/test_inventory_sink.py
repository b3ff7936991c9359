"""What the mirror writes and when, with a table and a datastore that do as they are told; tests/kafka has real ones."""

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from support.small_shops import IDS, PRODUCTS

from yasdg_app.faust_runtime.table import Rows
from yasdg_app.pipeline import inventory_sink as mirror
from yasdg_app.pipeline.inventory_sink import Mirror
from yasdg_app.sinks.base import DatastoreError, Level


class Store:
    """A datastore in memory, which answers at once."""

    name = "Store"
    batch = 4

    def __init__(self) -> None:
        self.rows: dict[str, Level] = {}
        self.is_new = True  # its connection, when it is opened next
        self.takes = True
        self.calls = 0

    async def open(self) -> bool:
        self.calls += 1
        assert self.calls < 10_000  # somebody tries and tries, and lets nobody else have a turn
        is_new, self.is_new = self.is_new, False
        return is_new

    async def read(self, product_ids: Sequence[str]) -> dict[str, Level]:
        await asyncio.sleep(0)
        return {product_id: self.rows[product_id] for product_id in product_ids if product_id in self.rows}

    async def write(self, levels: Sequence[Level]) -> None:
        await asyncio.sleep(0)
        if not self.takes:
            raise DatastoreError("it is full")
        self.rows |= {level.product_id: level for level in levels}

    async def close(self) -> None: ...


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A worker that has one partition, with all products."""
    rows = Rows(PRODUCTS)
    ownership = SimpleNamespace(settled=True, generation=1, partitions=[0])
    app = SimpleNamespace(ownership=ownership, opening=SimpleNamespace(clock=SimpleNamespace(started=0)))
    monkeypatch.setattr(mirror, "app", app)
    monkeypatch.setattr(mirror, "inventory", SimpleNamespace(rows_of=lambda partition: rows))
    return app


async def test_a_flush_writes_all_that_waits(app: SimpleNamespace) -> None:
    store = Store()
    kept = Mirror(store)
    assert kept.waiting == len(PRODUCTS)
    await kept.flush()
    assert store.rows.keys() == set(IDS)
    assert (kept.waiting, kept.written, kept.lag) == (0, len(PRODUCTS), 0)


async def test_a_flush_ends_when_the_datastore_does_not_take_it(app: SimpleNamespace) -> None:
    store = Store()
    store.takes = False
    kept = Mirror(store)
    await kept.flush()
    assert (kept.failing, kept.failures, kept.waiting) == (True, 1, len(PRODUCTS))


async def test_a_flush_ends_when_a_rebalance_comes_in_between(app: SimpleNamespace) -> None:
    kept = Mirror(Store())
    app.ownership.settled = False
    async with asyncio.timeout(20):
        await kept.flush()
    assert (kept.failing, kept.waiting) == (False, len(PRODUCTS))


async def test_whoever_waits_for_a_flush_can_give_up_whatever_happens(
    app: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, attempts = Mirror(Store()), 0

    async def writes_nothing() -> None:
        nonlocal attempts
        attempts += 1
        assert attempts < 10_000  # nobody else had a turn

    monkeypatch.setattr(kept, "_write_all", writes_nothing)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kept.flush(), 0.2)


async def test_a_flush_does_not_wait_for_the_rest_of_a_round(
    app: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "REST", 1e9)
    store = Store()
    kept = Mirror(store)
    app.should_stop = False
    selling = asyncio.create_task(kept.run())
    while not store.rows:
        await asyncio.sleep(0.01)
    assert kept.waiting == len(PRODUCTS) - store.batch
    async with asyncio.timeout(20):
        await kept.flush()
    assert store.rows.keys() == set(IDS)
    selling.cancel()


@pytest.mark.parametrize("burnt", [0.05, 0.6])
async def test_a_batch_takes_a_fifth_of_the_time_at_most(
    app: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, burnt: float
) -> None:
    store = Store()
    store.batch = len(PRODUCTS)

    async def write(levels: Sequence[Level]) -> None:
        until = time.process_time() + burnt
        while time.process_time() < until:
            await asyncio.sleep(0)

    monkeypatch.setattr(store, "write", write)
    began = time.monotonic()
    await Mirror(store)._try()
    assert time.monotonic() - began >= 5 * burnt


async def test_a_new_connection_in_the_middle_of_a_rebalance_has_all_rows_compared_behind_it(
    app: SimpleNamespace,
) -> None:
    store = Store()
    kept = Mirror(store)
    await kept.flush()
    del store.rows[IDS[0]]
    store.is_new = True  # as from a backup
    app.ownership.settled = False
    await kept._try()
    assert not store.is_new
    app.ownership.settled = True
    await kept._try()
    assert store.rows.keys() == set(IDS)
    assert kept.written == len(PRODUCTS) + 1
