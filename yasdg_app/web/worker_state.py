"""The state of this worker, as the page and `/workers/` show it, and the partitions that it answers for."""

import asyncio
import time
from collections import deque
from typing import Any

from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.web.health import Health, LogEnds
from yasdg_app.web.results import PartialState, WorkerState

RECORD_SECONDS = 1.0
"""Between two recordings of the number of sales."""
RATE_SECONDS = 10
"""Over which the rate of sales is measured."""
LOG_ENDS_WAIT_SECONDS = 0.3
"""For the broker to return the ends of the logs."""
LOG_ENDS_VALID_SECONDS = 5.0
"""For which its last answer is used."""


class LogEndsCache:
    """The ends of the logs as the broker last returned them, so that no request waits for an unreachable broker."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._ends: LogEnds | None = None
        self._as_of = float("-inf")  # time.monotonic()
        self._query: asyncio.Task[None] | None = None

    async def get(self) -> LogEnds | None:
        """Return the ends of the logs; None if the broker has not returned them lately."""
        if self._query is None or self._query.done():
            self._query = asyncio.create_task(self._refresh())
        await asyncio.wait([self._query], timeout=LOG_ENDS_WAIT_SECONDS)
        return self._ends if time.monotonic() - self._as_of < LOG_ENDS_VALID_SECONDS else None

    async def _refresh(self) -> None:
        as_of = time.monotonic()
        ends = await self._health.log_ends()
        if ends is not None:
            self._ends, self._as_of = ends, as_of


class StateReporter:
    """Reports the state of this worker.

    Parameters
    ----------
    pipeline
        The parts of the worker.
    health
        Whether it is ready.
    """

    def __init__(self, pipeline: Pipeline, health: Health) -> None:
        self._counts = pipeline.shop.counts
        self._assignment = pipeline.assignment
        self._health = health
        self._log_ends = LogEndsCache(health)
        # time.monotonic(), and the sales by then
        self._sales: deque[tuple[float, int]] = deque(maxlen=int(RATE_SECONDS / RECORD_SECONDS) + 1)

    def record_sales(self) -> None:
        """Record the number of sales; to be called every RECORD_SECONDS."""
        self._sales.append((time.monotonic(), self._counts["sales"]))

    def _sales_rate(self) -> float:
        """Return the number of sales per second over the last RATE_SECONDS."""
        if not self._sales:
            return 0.0
        (since, before), now = self._sales[0], time.monotonic()
        return (self._counts["sales"] - before) / (now - since) if now > since else 0.0

    async def partial_state(self) -> PartialState:
        """Return the state of this worker, and its partitions."""
        ends = await self.log_ends()
        return PartialState(**self.claim(), state=self.state(ends))

    async def log_ends(self) -> LogEnds | None:
        """Return the ends of the logs of all owned partitions; None if the broker has not returned them lately."""
        return await self._log_ends.get()

    def state(self, ends: LogEnds | None) -> WorkerState:
        """Return the state of this worker. `ends`: the ends of the logs, None if they are unknown."""
        health, reasons, tps = self._health, self._health.reasons(ends), self._health.owned()
        lag = None if ends is None else sum(health.lag_of(tp, ends) for tp in tps if tp in ends)
        delay = max((health.delay_of(tp.partition) for tp in tps), default=None)
        rate = round(self._sales_rate(), 3)
        return WorkerState(not reasons, reasons, lag, rate, None if delay is None else round(delay, 3))

    def claim(self) -> dict[str, Any]:
        """Return the generation of the group and the partitions that this worker owns in it, as in a PartialResult."""
        if not self._assignment.is_active:
            return {"generation": None, "partitions": []}
        return {"generation": self._assignment.generation, "partitions": self._assignment.partitions}

    def owned_partitions(self) -> list[int]:
        """Return the partitions that this worker owns; none during a rebalance."""
        return self._assignment.partitions if self._assignment.is_active else []
