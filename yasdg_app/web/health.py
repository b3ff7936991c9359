"""Health endpoints of this worker: `/health/` (liveness) and `/ready/` (readiness).

A worker is alive as long as its event loop responds. It is ready when it owns partitions, its sales and its table are
up to date, and the broker accepts records. Must not change anything, nor let a client wait for a broker that does not
answer.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.application import PARTITIONS, app, products_of, tills, watch
from yasdg_app.faust_runtime.partition_assignment import LEASE_SECONDS as LEASE
from yasdg_app.messages.times import time_text

LOG_ENDS_SECONDS = 1.0  # for the broker to return the ends of the logs
MAX_DELAY_SECONDS = 5.0  # of the sales or the table of a worker that is ready
ALLOWED_LAG_PURCHASES = 100  # purchases not yet applied to the table, however low the rate of sales

LogEnds = Mapping[TP, int]


def owned() -> list[TP]:
    """Return the partitions of purchases that this worker owns; none during a rebalance or a recovery."""
    return settled_last() if app.ownership.settled else []


def settled_last() -> list[TP]:
    """Return the partitions of purchases that this worker owns, or owned before the current rebalance."""
    return [TP(app.ownership.topics[0], partition) for partition in app.ownership.partitions]


def delay_of(partition: int) -> float:
    """Return the delay of the sales of an owned partition, in seconds; 0 if it has no products."""
    return tills.delay(partition) / 1e6 if products_of[partition] else 0.0


def rate_of(partition: int) -> float:
    """Return the mean number of sales per second of a partition's products while the shop is open."""
    return sum(watch.plan.per_second[product.product_id] for product in products_of[partition])


def lag_of(tp: TP, ends: LogEnds) -> int:
    """Return the number of purchases of an owned partition that are in the log, but not yet applied to the table."""
    # Purchases that were appended and applied after the query would make it negative.
    return max(0, ends[tp] - app.ownership.applied[tp])


async def log_ends() -> LogEnds | None:
    """Return the ends of the logs of all owned partitions; None if the broker does not answer in time."""
    if not hasattr(app, "reader"):
        return None  # the shop is not open yet
    try:
        # Without owned partitions, querying any one shows whether the broker answers.
        tps = owned() or [TP(app.ownership.topics[0], 0)]
        return await asyncio.wait_for(app.reader.ends(tps), LOG_ENDS_SECONDS)
    except (TimeoutError, KafkaError):
        return None


def reasons(ends: LogEnds | None) -> list[str]:
    """Return why this worker is not ready, as sentences; empty if it is. `ends`: None if the broker did not answer."""
    if app.closing:
        return ["The worker is stopping."]
    tps = owned()
    # During a rebalance, report the delay of the partitions owned before.
    late = _sales_delay(tps or settled_last())
    return _broker(ends) + _clock() + late + (_table_lag(tps, ends or {}) if tps else [_without_partitions()])


def _without_partitions() -> str:
    if not app.ownership.settled:
        return "The worker is joining the group, or restoring its table."
    return f"The worker has no partitions: others own all {PARTITIONS} of them. It takes over when one stops."


def _broker(ends: LogEnds | None) -> list[str]:
    if ends is None:
        return [f"The broker does not answer: it did not return the ends of the logs within {LOG_ENDS_SECONDS:.0f} s."]
    if owned() and not app.ownership.lease_left:
        return [f"The broker does not answer: the group did not confirm this worker's membership within {LEASE:.0f} s."]
    return []


def _clock() -> list[str]:
    found = [tills.jumps.reason] if tills.jumps.reason else []
    through = tills.sold_ahead() if owned() else None
    if through is not None:
        until = time_text(through)[:19]
        found.append(f"The log contains sales of the future, up to {until} (UTC): no sales until then.")
    return found


def _sales_delay(tps: Sequence[TP]) -> list[str]:
    late = {tp.partition: delay for tp in tps if (delay := delay_of(tp.partition)) > MAX_DELAY_SECONDS}
    return [f"Sales are {max(late.values()):.0f} s behind in {_named(late)}."] if late else []


def _table_lag(tps: Sequence[TP], ends: LogEnds) -> list[str]:
    lags = {tp.partition: lag_of(tp, ends) for tp in tps if tp in ends}
    late = {
        partition: lag
        for partition, lag in lags.items()
        if lag > max(ALLOWED_LAG_PURCHASES, MAX_DELAY_SECONDS * rate_of(partition))
    }
    return [f"{sum(late.values())} purchases of {_named(late)} are not in the table yet."] if late else []


def _named(partitions: Mapping[int, float]) -> str:
    return f"partition{'s' if len(partitions) > 1 else ''} {', '.join(map(str, partitions))}"


def readiness(ends: LogEnds | None) -> dict[str, Any]:
    """Return the body of `/ready/`. `ends`: None if the broker did not answer."""
    found = reasons(ends)
    partitions = [tp.partition for tp in owned()]
    delay = max((delay_of(partition) for partition in app.ownership.partitions), default=None)
    return {
        "ready": not found,
        "reasons": found,
        "partitions": partitions,
        "delay_seconds": None if delay is None else round(delay, 3),
    }


def datastore_state() -> dict[str, Any] | None:
    """Return the state of the datastore; None without one. It does not affect readiness."""
    mirror = app.mirror
    if mirror is None:
        return None
    waiting = mirror.waiting
    state = "failing" if mirror.failing else "behind" if waiting else "up_to_date"
    return {"state": state, "rows_waiting": waiting, "lag_seconds": round(mirror.lag, 3)}


@app.page("/health/")
async def health(web: Any, request: Any) -> Any:
    """Return 200: the event loop responds. The body has the state of the datastore, if there is one."""
    datastore = datastore_state()
    return web.json({"status": "live"} if datastore is None else {"status": "live", "datastore": datastore})


@app.page("/ready/")
async def ready(web: Any, request: Any) -> Any:
    """Return 200 if this worker is ready, else 503 and the reasons."""
    body = readiness(await log_ends())
    return web.json(body, status=200 if body["ready"] else 503)
