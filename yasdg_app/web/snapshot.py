"""A snapshot of the page's data: the partial snapshots of all workers as one JSON object; see docs/views.md."""

from typing import Any

import msgspec

from yasdg_app.aggregates.windows import WINDOWS
from yasdg_app.application import PARTITIONS, app, assortment, watch
from yasdg_app.cluster_state.incident_requests import listed
from yasdg_app.messages.reference import amount
from yasdg_app.messages.times import time_text
from yasdg_app.shop.demand import MINUTE
from yasdg_app.web import reconcile as merging
from yasdg_app.web.partial_snapshot import CHART_MINUTES, partial_snapshot
from yasdg_app.web.results import (
    Gathered,
    MissingPartitions,
    PartialSnapshot,
    PartialState,
    SalesCount,
    SalesHistory,
)
from yasdg_app.web.scatter_gather import known_workers, own_url, scatter_gather

Snapshot = dict[str, Any]


class SnapshotBuilder:
    """Builds snapshots. The sales history is kept until a newer one is known, so one query suffices for most."""

    def __init__(self) -> None:
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
        return await scatter_gather.gather(PartialSnapshot, lambda: partial_snapshot(through), **query)

    def _snapshot(
        self, gathered: Gathered[PartialSnapshot], parts: list[PartialSnapshot], now: int, pace: float
    ) -> Snapshot:
        totals = merging.merge_totals(parts)
        states = states_of(gathered)
        return {
            "now": time_text(now),
            "pace": pace,
            "time_zone": app.shop.clock.time_zone,
            "opened_at": time_text(app.opening.opened_at),
            "behind": None if gathered.missing else max(each["behind"] or 0.0 for each in states),
            "through": None if self._past is None else time_text(self._past.through),
            "partitions": PARTITIONS,
            "missing": missing_of(gathered.missing),
            "workers": states,
            "products": [msgspec.structs.asdict(line) for line in merging.merge_products(parts, assortment.places)],
            "products_in_all": len(assortment),
            "windows": {} if self._past is None else _windows(self._past, self._known_from),
            "series": None if self._past is None else _series(self._past, self._known_from),
            "totals": {
                "sales": totals.sales,
                "units": totals.units,
                "revenue": amount(totals.cents),
                "restocks": totals.restocks,
                "lost_sales": totals.lost_sales,
            },
            "restocks": merging.latest((part.restocks for part in parts), "stocking_id"),
            "lost_sales": merging.latest((part.lost_sales for part in parts), "lost_sale_id"),
            "incidents": listed(watch.plan.incidents, watch.said, now),
        }


def missing_of(missing: list[MissingPartitions]) -> list[dict[str, Any]]:
    """Return missing partitions as in a response."""
    return [each._asdict() for each in missing]


def states_of(gathered: Gathered[Any]) -> list[dict[str, Any]]:
    """Return the state of each worker as in a response, including those that did not answer."""
    assigned = known_workers()
    return [
        {"url": url, "asked": url == own_url(), **_state(gathered, url, assigned.get(url, []))}
        for url in sorted({*gathered.parts, *gathered.silent})
    ]


def _state(gathered: Gathered[Any], url: str, assigned: list[int]) -> dict[str, Any]:
    part: PartialState | None = gathered.parts.get(url)
    if part is None:
        unknown = dict.fromkeys(("lag", "rate", "behind"))
        return {"partitions": assigned, "ready": False, "reasons": [f"It {gathered.silent[url]}."], **unknown}
    return {"partitions": part.partitions, **msgspec.structs.asdict(part.state)}


def count_of(count: tuple[int, int, int]) -> dict[str, Any]:
    """Return a count as in a response."""
    sales, units, cents = count
    return {"sales": sales, "units": units, "revenue": amount(cents)}


def product_sales(row: SalesCount) -> dict[str, Any]:
    """Return the sales of a product as in a response."""
    product = assortment[row.key]
    return {
        "product_id": row.key,
        "item": product.item,
        "category": product.category,
        **count_of((row.sales, row.units, row.cents)),
    }


def _windows(past: SalesHistory, known_from: int | None) -> dict[str, Any]:
    return {
        name: {
            "complete": merging.is_complete(known_from, past.through - WINDOWS[name] * MINUTE),
            "categories": [{"category": key, **count_of(count)} for key, count in sorted(window.categories.items())],
            "products": [product_sales(row) for row in window.products],
        }
        for name, window in past.windows.items()
    }


def _series(past: SalesHistory, known_from: int | None) -> dict[str, Any]:
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


def is_open() -> bool:
    """Return whether the shop is open."""
    return hasattr(app, "opening") and hasattr(app, "control")
