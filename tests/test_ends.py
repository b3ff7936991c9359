"""How a worker ends: soon after a crash, in order when it is told to, and with the status of what happened."""

import asyncio
import signal
import threading
from typing import Any

import pytest
from support.small_shops import PRODUCTS

from yasdg_app.app import create_app
from yasdg_app.config.settings import Settings
from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.faust_runtime.worker import MAX_SHUTDOWN_SECONDS, ShopWorker
from yasdg_app.process import exits
from yasdg_app.process.exits import EXIT_AFTER_CRASH_SECONDS, abort_soon

ERROR = ZeroDivisionError("by zero")


class Exit(BaseException):
    """The process would end."""


class Ends:
    """What was begun so that the process ends: timers, and exits at once."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Any]] = []
        self.crashed: list[bool] = []  # whether the app had crashed when a timer began
        self.has_threads = True
        self.app: ShopApp

    def __call__(self, seconds: float, action: Any, arguments: Any) -> "Ends":
        self.timers.append((seconds, arguments[0]))
        self.crashed.append(self.app.crashed)
        return self

    def start(self) -> None:
        if not self.has_threads:
            raise RuntimeError("can't start new thread")


def leave(status: int) -> None:
    raise Exit(status)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    found = Ends()
    found.app = create_app(Settings(), PRODUCTS)
    monkeypatch.setattr(threading, "Timer", found)
    monkeypatch.setattr(exits.os, "_exit", leave)
    return found


@pytest.fixture
async def worker(ends: Ends) -> ShopWorker:
    its = ShopWorker(ends.app, override_logging=False, loop=asyncio.get_running_loop())
    its._starting_fut = asyncio.get_running_loop().create_future()
    return its


def test_what_has_crashed_is_known_to_have_before_its_end_begins(ends: Ends) -> None:
    ends.app._crash(ERROR)
    assert ends.timers == [(EXIT_AFTER_CRASH_SECONDS, 1)]
    assert ends.crashed == [True]


def test_where_no_thread_can_be_had_it_ends_at_once(ends: Ends) -> None:
    ends.has_threads = False
    with pytest.raises(Exit, match="1"):
        ends.app._crash(ERROR)
    assert ends.app.crash_reason is ERROR
    with pytest.raises(Exit, match="1"):
        abort_soon()


async def test_a_crash_while_the_books_are_closed_does_not_cut_that_short(ends: Ends, worker: ShopWorker) -> None:
    ends.app._stops_selling = True
    ends.app._crash(ERROR)
    worker._signal_stop_time = 1.0
    worker._crash(ERROR)
    assert ends.timers == []
    assert worker.crash_reason is ERROR


async def test_a_crash_of_the_worker_ends_it_soon(ends: Ends, worker: ShopWorker) -> None:
    worker._crash(ERROR)
    assert ends.timers[-1] == (EXIT_AFTER_CRASH_SECONDS, 1)


@pytest.mark.parametrize("has_threads", [True, False])
async def test_a_stop_is_bounded_with_or_without_a_thread(
    ends: Ends, worker: ShopWorker, monkeypatch: pytest.MonkeyPatch, has_threads: bool
) -> None:
    later: list[float] = []
    monkeypatch.setattr(worker, "_stop_on_signal", lambda _: asyncio.sleep(0))
    monkeypatch.setattr(worker.loop, "call_later", lambda seconds, *_: later.append(seconds))
    ends.has_threads = has_threads
    worker._schedule_shutdown(signal.SIGTERM)
    assert [seconds for seconds, _ in ends.timers] == [MAX_SHUTDOWN_SECONDS]
    assert later == ([] if has_threads else [MAX_SHUTDOWN_SECONDS])
    assert worker._signal_stop_future is not None
    await worker._signal_stop_future


@pytest.mark.parametrize(("crashes", "status"), [(False, 0), (True, 1)])
async def test_the_status_of_a_stop_is_that_of_a_failure_if_it_has_crashed(
    ends: Ends, worker: ShopWorker, monkeypatch: pytest.MonkeyPatch, crashes: bool, status: int
) -> None:
    later: list[Any] = []
    monkeypatch.setattr(worker, "stop", lambda: asyncio.sleep(0))
    monkeypatch.setattr(worker.loop, "call_later", lambda _, action, *its: later.append((action, its)))
    if crashes:
        ends.app._crash(ERROR)
    await worker._stop_on_signal(signal.SIGTERM)
    ((action, its),) = later
    with pytest.raises(Exit, match=str(status)):
        action(*its)
