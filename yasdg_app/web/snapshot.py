"""A snapshot of the page's data: the partial snapshots of all workers as one JSON object; see docs/views.md."""

from typing import Any

import msgspec

from yasdg_app.aggregates.windows import WINDOW_MINUTES
from yasdg_app.cluster_state.incident_requests import listed
from yasdg_app.messages.reference import amount
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.shop.demand import MINUTE
from yasdg_app.web import reconcile as merging
from yasdg_app.web.partial_snapshot import CHART_MINUTES, PartialSnapshots
from yasdg_app.web.response_fields import count_fields, missing_fields, product_fields, worker_fields
from yasdg_app.web.results import Gathered, PartialSnapshot, SalesHistory
from yasdg_app.web.scatter_gather import ScatterGather, WorkerDirectory

Snapshot = dict[str, Any]


class SnapshotBuilder:
    """Builds snapshots. The sales history is kept until a newer one is known, so one query suffices for most.

    Parameters
    ----------
    pipeline
        The parts of this worker.
    snapshots
        This worker's part of a snapshot.
    scatter_gather, directory
        The other workers, and their URLs.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        snapshots: PartialSnapshots,
        scatter_gather: ScatterGather,
        directory: WorkerDirectory,
    ) -> None:
        self._pipeline = pipeline
        self._snapshots = snapshots
        self._scatter_gather = scatter_gather
        self._directory = directory
        self._past: SalesHistory | None = None
        self._known_from: int | None = None  # event time from which its sales are known

    async def build(self, now: int, pace: float) -> Snapshot:
        """Return a snapshot. `now`: event time in microseconds; `pace`: seconds of event time per second."""
        gathered = await self._gather(None if self._past is None else self._past.through)
        parts = gathered.owning
        until = merging.complete_through(parts)
        through = None if until is None else until // MINUTE * MINUTE
        # While a partition is missing, no later minute is known to be complete.
        if through is not None and (self._past is None or (through != self._past.through and not gathered.missing)):
            gathered = await self._gather(through)
            parts = gathered.owning
        past = merging.merge_history(parts)
        if past is not None and (self._past is None or not gathered.missing):
            self._past, self._known_from = past, merging.complete_from(parts)
        return self._snapshot(gathered, parts, now, pace)

    async def _gather(self, through: int | None) -> Gathered[PartialSnapshot]:
        query = {"what": "live"} | ({} if through is None else {"through": str(through)})
        own = self._snapshots.snapshot
        return await self._scatter_gather.gather(PartialSnapshot, lambda: own(through), **query)

    def _snapshot(
        self, gathered: Gathered[PartialSnapshot], parts: list[PartialSnapshot], now: int, pace: float
    ) -> Snapshot:
        shop, catalog, follower = self._pipeline.shop, self._pipeline.catalog, self._pipeline.follower
        totals = merging.merge_totals(parts)
        states = worker_fields(gathered, self._directory)
        return {
            "now": time_text(now),
            "pace": pace,
            "time_zone": shop.settings.clock.time_zone,
            "opened_at": time_text(shop.manifest.opened_at),
            "behind": None if gathered.missing else max(each["behind"] or 0.0 for each in states),
            "through": None if self._past is None else time_text(self._past.through),
            "partitions": shop.settings.kafka.partitions,
            "missing": missing_fields(gathered.missing),
            "workers": states,
            "products": [msgspec.structs.asdict(line) for line in merging.merge_products(parts, catalog.indexes)],
            "products_in_all": len(catalog),
            "windows": {} if self._past is None else self._windows(self._past),
            "series": None if self._past is None else self._series(self._past),
            "totals": {
                "sales": totals.sales,
                "units": totals.units,
                "revenue": amount(totals.cents),
                "restocks": totals.restocks,
                "lost_sales": totals.lost_sales,
            },
            "restocks": merging.latest((part.restocks for part in parts), "stocking_id"),
            "lost_sales": merging.latest((part.lost_sales for part in parts), "lost_sale_id"),
            "incidents": listed(follower.plan.incidents, follower.state, now),
        }

    def _windows(self, past: SalesHistory) -> dict[str, Any]:
        catalog = self._pipeline.catalog
        return {
            name: {
                "complete": merging.is_complete(self._known_from, past.through - WINDOW_MINUTES[name] * MINUTE),
                "categories": [
                    {"category": key, **count_fields(count)} for key, count in sorted(window.categories.items())
                ],
                "products": [product_fields(row, catalog[row.key]) for row in window.products],
            }
            for name, window in past.windows.items()
        }

    def _series(self, past: SalesHistory) -> dict[str, Any]:
        known_from = self._known_from
        first_known = 0 if known_from is None else -(-(known_from - past.first) // MINUTE)  # first complete minute
        return {
            "first": time_text(past.first),
            "minutes": CHART_MINUTES,
            "categories": {
                category: {
                    "sales": [sales if at >= first_known else None for at, (sales, _) in enumerate(minutes)],
                    "revenue": [amount(cents) if at >= first_known else None for at, (_, cents) in enumerate(minutes)],
                }
                for category, minutes in sorted(past.series.items())
            },
        }
