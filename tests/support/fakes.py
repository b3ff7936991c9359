"""Stand-ins for the arguments of a pipeline: an open shop, the worker's life, its group membership."""

import asyncio
from collections.abc import Coroutine, Mapping
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from support.small_shops import PRODUCTS
from yasdg_app.cluster_state.running_shop import OpenedShop, RunningShop
from yasdg_app.config.settings import Settings
from yasdg_app.messages.times import event_time
from yasdg_app.shop.clock import Clock

OPENED_AT = event_time("2026-01-01 00:00:00")


def open_shop(settings: Settings | None = None, products: Any = PRODUCTS, **opened: Any) -> RunningShop:
    """Return an open shop without a cluster; `opened`: parts of the opened shop that replace the default ones."""
    manifest = SimpleNamespace(opened_at=OPENED_AT, clock=Clock(OPENED_AT, OPENED_AT), producer_id=1)
    parts = dict.fromkeys(("control", "producer", "reader", "own_reader")) | {"manifest": manifest} | opened
    shop = RunningShop.of(settings or Settings(), products)
    shop._opened = OpenedShop(**parts)
    return shop


class Life:
    """The life of a worker that never ends."""

    def __init__(self) -> None:
        self.is_closing = False
        self.should_stop = False
        self.stops_requested = 0
        self.crashes: list[BaseException] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def crash(self, reason: BaseException) -> None:
        self.crashes.append(reason)
        self.should_stop = True

    def request_stop(self) -> None:
        self.stops_requested += 1

    async def sleep(self, n: float) -> None:
        await asyncio.sleep(n)

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            self.tasks.append(asyncio.get_running_loop().create_task(work))
        except RuntimeError:  # without a running loop there is nothing to read
            work.close()


class Member:
    """A group member that confirms everything it is told to."""

    def __init__(self) -> None:
        self.consumer_generation_id = 1
        self.rebalancing = False
        self.confirms = True
        self.committed: list[Mapping[TP, tuple[int, str]]] = []
        self.sought: list[Mapping[TP, int]] = []

    async def confirm(self, positions: Mapping[TP, tuple[int, str]]) -> bool:
        self.committed.append(positions)
        return self.confirms

    async def seek(self, positions: Mapping[TP, int]) -> None:
        self.sought.append(positions)
