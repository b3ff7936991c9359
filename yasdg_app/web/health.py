"""Health endpoints of this worker: `/health/` (liveness) and `/ready/` (readiness).

A worker is alive as long as its event loop responds. It is ready when it owns partitions, its sales and its table are
up to date, and the broker accepts records. Must not change anything, nor let a client wait for a broker that does not
answer.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.faust_runtime.partition_assignment import LEASE_SECONDS
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.web.responses import json_response

LOG_ENDS_SECONDS = 1.0  # for the broker to return the ends of the logs
MAX_DELAY_SECONDS = 5.0  # of the sales or the table of a worker that is ready
ALLOWED_LAG_PURCHASES = 100  # purchases not yet applied to the table, however low the rate of sales

LogEnds = Mapping[TP, int]


class Health:
    """Whether this worker does its work.

    Parameters
    ----------
    pipeline
        The parts of the worker.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._assignment = pipeline.assignment

    # --- Pages ---

    async def health(self, request: web.Request) -> web.Response:
        """Return 200: the event loop responds. The body has the state of the datastore, if there is one."""
        datastore = self._datastore_state()
        return json_response({"status": "live"} if datastore is None else {"status": "live", "datastore": datastore})

    async def ready(self, request: web.Request) -> web.Response:
        """Return 200 if this worker is ready, else 503 and the reasons."""
        body = self.readiness(await self.log_ends())
        return json_response(body, 200 if body["ready"] else 503)

    def readiness(self, ends: LogEnds | None) -> dict[str, Any]:
        """Return the body of `/ready/`. `ends`: None if the broker did not answer."""
        reasons = self.reasons(ends)
        delay = max((self.delay_of(partition) for partition in self._assignment.partitions), default=None)
        return {
            "ready": not reasons,
            "reasons": reasons,
            "partitions": [tp.partition for tp in self.owned()],
            "delay_seconds": None if delay is None else round(delay, 3),
        }

    def _datastore_state(self) -> dict[str, Any] | None:
        """Return the state of the datastore; None without one. It does not affect readiness."""
        sink = self._pipeline.sink
        if sink is None:
            return None
        waiting = sink.waiting
        state = "failing" if sink.failing else "behind" if waiting else "up_to_date"
        return {"state": state, "rows_waiting": waiting, "lag_seconds": round(sink.lag, 3)}

    # --- Partitions ---

    def owned(self) -> list[TP]:
        """Return the partitions of purchases that this worker owns; none during a rebalance or a recovery."""
        return self.owned_last() if self._assignment.is_active else []

    def owned_last(self) -> list[TP]:
        """Return the partitions of purchases that this worker owns, or owned before the current rebalance."""
        return [TP(self._assignment.topics[0], partition) for partition in self._assignment.partitions]

    def delay_of(self, partition: int) -> float:
        """Return the delay of the sales of an owned partition, in seconds; 0 if it has no products."""
        has_products = self._pipeline.catalog.products_in(partition)
        return self._pipeline.sales.delay(partition) / 1e6 if has_products else 0.0

    def rate_of(self, partition: int) -> float:
        """Return the mean number of sales per second of a partition's products while the shop is open."""
        per_second = self._pipeline.follower.plan.per_second
        return sum(per_second[product.product_id] for product in self._pipeline.catalog.products_in(partition))

    def lag_of(self, tp: TP, ends: LogEnds) -> int:
        """Return the number of purchases of an owned partition that are in the log, but not yet in the table."""
        # Purchases that were appended and applied after the query would make it negative.
        return max(0, ends[tp] - self._assignment.positions[tp])

    async def log_ends(self) -> LogEnds | None:
        """Return the ends of the logs of all owned partitions; None if the broker does not answer in time."""
        shop = self._pipeline.shop
        if not shop.is_open:
            return None
        try:
            # Without owned partitions, querying any one shows whether the broker answers.
            tps = self.owned() or [TP(self._assignment.topics[0], 0)]
            return await asyncio.wait_for(shop.reader.ends(tps), LOG_ENDS_SECONDS)
        except (TimeoutError, KafkaError):
            return None

    # --- Reasons ---

    def reasons(self, ends: LogEnds | None) -> list[str]:
        """Return why this worker is not ready, as sentences; empty if it is. `ends`: None if the broker is silent."""
        if self._pipeline.life.is_closing:
            return ["The worker is stopping."]
        tps = self.owned()
        # During a rebalance, report the delay of the partitions owned before.
        late = self._sales_delay(tps or self.owned_last())
        table = self._table_lag(tps, ends or {}) if tps else [self._without_partitions()]
        return self._broker(ends) + self._clock() + late + table

    def _without_partitions(self) -> str:
        if not self._assignment.is_active:
            return "The worker is joining the group, or restoring its table."
        number = self._pipeline.shop.settings.kafka.partitions
        return f"The worker has no partitions: others own all {number} of them. It takes over when one stops."

    def _broker(self, ends: LogEnds | None) -> list[str]:
        problem = ""
        if ends is None:
            problem = f"it did not return the ends of the logs within {LOG_ENDS_SECONDS:.0f} s"
        elif self.owned() and not self._assignment.has_lease:
            problem = f"the group did not confirm this worker's membership within {LEASE_SECONDS:.0f} s"
        return [f"The broker does not answer: {problem}."] if problem else []

    def _clock(self) -> list[str]:
        sales = self._pipeline.sales
        found = [sales.jumps.reason] if sales.jumps.reason else []
        through = sales.sold_ahead() if self.owned() else None
        if through is not None:
            until = time_text(through)[:19]
            found.append(f"The log contains sales of the future, up to {until} (UTC): no sales until then.")
        return found

    def _sales_delay(self, tps: Sequence[TP]) -> list[str]:
        late = {tp.partition: delay for tp in tps if (delay := self.delay_of(tp.partition)) > MAX_DELAY_SECONDS}
        return [f"Sales are {max(late.values()):.0f} s behind in {_named(late)}."] if late else []

    def _table_lag(self, tps: Sequence[TP], ends: LogEnds) -> list[str]:
        lags = {tp.partition: self.lag_of(tp, ends) for tp in tps if tp in ends}
        late = {
            partition: lag
            for partition, lag in lags.items()
            if lag > max(ALLOWED_LAG_PURCHASES, MAX_DELAY_SECONDS * self.rate_of(partition))
        }
        return [f"{sum(late.values())} purchases of {_named(late)} are not in the table yet."] if late else []


def _named(partitions: Mapping[int, float]) -> str:
    return f"partition{'s' if len(partitions) > 1 else ''} {', '.join(map(str, partitions))}"
