"""Whether this worker lives (`/health/`) and is of use (`/ready/`), for whoever restarts workers or waits for them.

It lives as long as its event loop answers. It is ready when it has partitions, its sales and its table are up to date,
and the cluster takes more. Must not change anything, nor keep whoever asks waiting for a cluster that does not answer.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.application import app
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.control_follower import watch
from yasdg_app.pipeline.inventory_agent import PARTITIONS, products_of
from yasdg_app.pipeline.partition_assignment import LEASE
from yasdg_app.pipeline.sales_timer import tills

ANSWER = 1.0  # seconds in which the cluster has to say where the logs end
MOST_BEHIND = 5.0  # seconds that sales or the table may be behind in a worker that is ready
FEW = 100  # purchases that may be on their way to the table, however seldom there is one

LogEnds = Mapping[TP, int]


def owned() -> list[TP]:
    """Return the partitions of purchases that are this worker's now; none during a rebalance or a recovery."""
    return settled_last() if app.ownership.settled else []


def settled_last() -> list[TP]:
    """Return the partitions of purchases that are this worker's, or were before the rebalance that is going on."""
    return [TP(app.ownership.topics[0], partition) for partition in app.ownership.partitions]


def delay_of(partition: int) -> float:
    """Return how far the sales of one of our partitions are behind now, in seconds; 0 if it has no products."""
    return tills.delay(partition) / 1e6 if products_of[partition] else 0.0


def rate_of(partition: int) -> float:
    """Return the mean number of sales of a partition's products in a second while the shop is open."""
    return sum(watch.plan.per_second[product.product_id] for product in products_of[partition])


def lag_of(tp: TP, ends: LogEnds) -> int:
    """Return how many purchases of one of our partitions are in the log and not in the table."""
    # Whatever was appended and applied since the cluster was asked does not make it negative.
    return max(0, ends[tp] - app.ownership.applied[tp])


async def log_ends() -> LogEnds | None:
    """Return the ends of the logs of our partitions, if there are any; None if the cluster does not say in time."""
    if not hasattr(app, "reader"):
        return None  # the shop was not opened yet
    try:
        # Where we have no partition, one of them tells as well whether the cluster answers.
        return await asyncio.wait_for(app.reader.ends(owned() or [TP(app.ownership.topics[0], 0)]), ANSWER)
    except (TimeoutError, KafkaError):
        return None


def reasons(ends: LogEnds | None) -> list[str]:
    """Return why this worker is not ready, in sentences; none if it is. `ends`: None if the cluster did not answer."""
    if app.closing:
        return ["The worker is stopping."]
    tps = owned()
    # While it takes over anew, those of before say how late it is.
    late = _of_sales(tps or settled_last())
    return _of_cluster(ends) + _of_clock() + late + (_of_table(tps, ends or {}) if tps else [_without_partitions()])


def _without_partitions() -> str:
    if not app.ownership.settled:
        return "The worker is joining the group, or recovering its table."
    return f"The worker has no partitions: others have all {PARTITIONS} of them. It takes over when one ends."


def _of_cluster(ends: LogEnds | None) -> list[str]:
    if ends is None:
        return [f"The broker does not answer: it has not told where the logs end within {ANSWER:.0f} s."]
    if owned() and not app.ownership.lease_left:
        return [f"The broker does not answer: the group has not confirmed this worker within {LEASE:.0f} s."]
    return []


def _of_clock() -> list[str]:
    why_not = [tills.jumps.reason] if tills.jumps.reason else []
    through = tills.sold_ahead() if owned() else None
    if through is not None:
        until = time_text(through)[:19]
        why_not.append(f"The log holds sales of the future, up to {until} (UTC): nothing is sold until then.")
    return why_not


def _of_sales(tps: Sequence[TP]) -> list[str]:
    behind = {tp.partition: delay for tp in tps if (delay := delay_of(tp.partition)) > MOST_BEHIND}
    return [f"Sales are {max(behind.values()):.0f} s behind in {_named(behind)}."] if behind else []


def _of_table(tps: Sequence[TP], ends: LogEnds) -> list[str]:
    lags = {tp.partition: lag_of(tp, ends) for tp in tps if tp in ends}
    behind = {partition: lag for partition, lag in lags.items() if lag > max(FEW, MOST_BEHIND * rate_of(partition))}
    return [f"The table lacks {sum(behind.values())} purchases of {_named(behind)}."] if behind else []


def _named(partitions: Mapping[int, float]) -> str:
    return f"partition{'s' if len(partitions) > 1 else ''} {', '.join(map(str, partitions))}"


def readiness(ends: LogEnds | None) -> dict[str, Any]:
    """Return the body of `/ready/`. The worst delay is null as long as there are no partitions."""
    why_not = reasons(ends)
    partitions = [tp.partition for tp in owned()]
    delay = max((delay_of(partition) for partition in app.ownership.partitions), default=None)
    return {
        "ready": not why_not,
        "reasons": why_not,
        "partitions": partitions,
        "delay_seconds": None if delay is None else round(delay, 3),
    }


def datastore_state() -> dict[str, Any] | None:
    """Return how the datastore is doing; None if there is none. It delays itself only: a worker is ready without it."""
    mirror = app.mirror
    if mirror is None:
        return None
    waiting = mirror.waiting
    state = "failing" if mirror.failing else "behind" if waiting else "up_to_date"
    return {"state": state, "rows_waiting": waiting, "lag_seconds": round(mirror.lag, 3)}


@app.page("/health/")
async def health(web: Any, request: Any) -> Any:
    """Say that the event loop answers, and how the datastore is doing if there is one."""
    datastore = datastore_state()
    return web.json({"status": "live"} if datastore is None else {"status": "live", "datastore": datastore})


@app.page("/ready/")
async def ready(web: Any, request: Any) -> Any:
    """Say whether this worker does its work, and if not, why: status 200 or 503."""
    body = readiness(await log_ends())
    return web.json(body, status=200 if body["ready"] else 503)
