"""What the mirror writes and when, with a table and a datastore that do as they are told; tests/kafka has real ones."""

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from support.fakes import Life, Member, open_shop
from support.small_shops import IDS, PRODUCTS

from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import PartitionStore
from yasdg_app.pipeline import inventory_sink
from yasdg_app.pipeline.inventory_sink import InventorySink
from yasdg_app.sinks.base import DatastoreError, StoredLevel


class Store:
    """A datastore in memory, which answers at once."""

    name = "Store"
    batch = 4

    def __init__(self) -> None:
        self.rows: dict[str, StoredLevel] = {}
        self.is_new = True  # its connection, when it is opened next
        self.takes = True
        self.calls = 0

    async def open(self) -> bool:
        self.calls += 1
        assert self.calls < 10_000  # somebody tries and tries, and lets nobody else have a turn
        is_new, self.is_new = self.is_new, False
        return is_new

    async def read(self, product_ids: Sequence[str]) -> dict[str, StoredLevel]:
        await asyncio.sleep(0)
        return {product_id: self.rows[product_id] for product_id in product_ids if product_id in self.rows}

    async def write(self, levels: Sequence[StoredLevel]) -> None:
        await asyncio.sleep(0)
        if not self.takes:
            raise DatastoreError("it is full")
        self.rows |= {level.product_id: level for level in levels}

    async def close(self) -> None: ...


class Worker:
    """A worker that has one partition, with all products."""

    def __init__(self) -> None:
        self.rows = PartitionStore(PRODUCTS)
        self.member = Member()
        self.assignment = PartitionAssignment(self.member, ("purchases",), {})
        self.assignment.activate(1, {TP("purchases", 0): 0}, {})

    def sink(self, store: Store) -> InventorySink:
        table: Any = SimpleNamespace(store_of=lambda partition: self.rows)
        manifest = SimpleNamespace(clock=SimpleNamespace(started=0))
        return InventorySink(open_shop(manifest=manifest), Life(), self.assignment, table, store)


@pytest.fixture
def worker() -> Worker:
    return Worker()


async def test_a_flush_writes_all_that_waits(worker: Worker) -> None:
    store = Store()
    kept = worker.sink(store)
    assert kept.waiting == len(PRODUCTS)
    await kept.flush()
    assert store.rows.keys() == set(IDS)
    assert (kept.waiting, kept.written, kept.lag) == (0, len(PRODUCTS), 0)


async def test_a_flush_ends_when_the_datastore_does_not_take_it(worker: Worker) -> None:
    store = Store()
    store.takes = False
    kept = worker.sink(store)
    await kept.flush()
    assert (kept.failing, kept.failures, kept.waiting) == (True, 1, len(PRODUCTS))


async def test_a_flush_ends_when_a_rebalance_comes_in_between(worker: Worker) -> None:
    kept = worker.sink(Store())
    worker.member.rebalancing = True
    async with asyncio.timeout(20):
        await kept.flush()
    assert (kept.failing, kept.waiting) == (False, len(PRODUCTS))


async def test_whoever_waits_for_a_flush_can_give_up_whatever_happens(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, attempts = worker.sink(Store()), 0

    async def writes_nothing() -> None:
        nonlocal attempts
        attempts += 1
        assert attempts < 10_000  # nobody else had a turn

    monkeypatch.setattr(kept, "_write_all", writes_nothing)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kept.flush(), 0.2)


async def test_a_flush_does_not_wait_for_the_rest_of_a_round(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory_sink, "REST_FACTOR", 1e9)
    store = Store()
    kept = worker.sink(store)
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
    worker: Worker, monkeypatch: pytest.MonkeyPatch, burnt: float
) -> None:
    store = Store()
    store.batch = len(PRODUCTS)

    async def write(levels: Sequence[StoredLevel]) -> None:
        until = time.process_time() + burnt
        while time.process_time() < until:
            await asyncio.sleep(0)

    monkeypatch.setattr(store, "write", write)
    began = time.monotonic()
    await worker.sink(store)._try()
    assert time.monotonic() - began >= 5 * burnt


async def test_a_new_connection_in_the_middle_of_a_rebalance_has_all_rows_compared_behind_it(
    worker: Worker,
) -> None:
    store = Store()
    kept = worker.sink(store)
    await kept.flush()
    del store.rows[IDS[0]]
    store.is_new = True  # as from a backup
    worker.member.rebalancing = True
    await kept._try()
    assert not store.is_new
    worker.member.rebalancing = False
    await kept._try()
    assert store.rows.keys() == set(IDS)
    assert kept.written == len(PRODUCTS) + 1


async def test_a_name_that_is_gone_ends_the_worker_and_is_no_absent_datastore(worker: Worker) -> None:
    store: Any = Store()
    store.read = None  # TypeError: it cannot be called
    kept = worker.sink(store)
    for writing in (kept.run, kept.flush):
        with pytest.raises(TypeError):
            await writing()
        assert (kept.failing, kept.failures, kept.waiting) == (False, 0, len(PRODUCTS))
