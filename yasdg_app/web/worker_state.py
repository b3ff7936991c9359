"""The state of this worker, as the page and `/workers/` show it, and the partitions that it answers for."""

import asyncio
import time
from collections import deque
from typing import Any

from yasdg_app.application import app
from yasdg_app.web.health import LogEnds, delay_of, lag_of, log_ends, owned, reasons
from yasdg_app.web.results import WorkerState

RATE_SECONDS = 10  # over which the rate of sales is measured
LOG_ENDS_WAIT_SECONDS = 0.3  # for the broker to return the ends of the logs
LOG_ENDS_VALID_SECONDS = 5.0  # for which its last answer is used

_sales: deque[tuple[float, int]] = deque(maxlen=RATE_SECONDS + 1)  # time.monotonic(), and the sales by then


@app.timer(1.0)
async def record_sales() -> None:
    """Record the number of sales, once a second."""
    _sales.append((time.monotonic(), app.counts["sales"]))


def sales_rate() -> float:
    """Return the number of sales per second over the last RATE_SECONDS."""
    if not _sales:
        return 0.0
    (since, before), now = _sales[0], time.monotonic()
    return (app.counts["sales"] - before) / (now - since) if now > since else 0.0


class LogEndsCache:
    """The ends of the logs as the broker last returned them, so that no request waits for an unreachable broker."""

    def __init__(self) -> None:
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
        ends = await log_ends()
        if ends is not None:
            self._ends, self._as_of = ends, as_of


log_ends_cache = LogEndsCache()


def worker_state(ends: LogEnds | None) -> WorkerState:
    """Return the state of this worker. `ends`: the ends of the logs, None if they are unknown."""
    not_ready, tps = reasons(ends), owned()
    lag = None if ends is None else sum(lag_of(tp, ends) for tp in tps if tp in ends)
    delay = max((delay_of(tp.partition) for tp in tps), default=None)
    return WorkerState(
        not not_ready, not_ready, lag, round(sales_rate(), 3), None if delay is None else round(delay, 3)
    )


def claim() -> dict[str, Any]:
    """Return the generation of the group and the partitions that this worker owns in it, as in a PartialResult."""
    ownership = app.ownership
    if not ownership.settled:
        return {"generation": None, "partitions": []}
    return {"generation": ownership.generation, "partitions": ownership.partitions}


def owned_partitions() -> list[int]:
    """Return the partitions that this worker owns; none during a rebalance."""
    return app.ownership.partitions if app.ownership.settled else []
