"""What the page shows at a moment: the shares of all workers as one JSON object. docs/views.md tells of its fields."""

from typing import Any

import msgspec

from yasdg_app.aggregates.windows import WINDOWS
from yasdg_app.application import app
from yasdg_app.cluster_state.incident_requests import listed
from yasdg_app.messages.reference import amount
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.control_follower import watch
from yasdg_app.pipeline.inventory_agent import PARTITIONS, assortment
from yasdg_app.shop.demand import MINUTE
from yasdg_app.web import reconcile as merging
from yasdg_app.web.partial_results import SHOWN_MINUTES, live_share
from yasdg_app.web.reconcile import Counted, Gathered, LiveShare, Missing, Past, StateShare
from yasdg_app.web.scatter_gather import asker, here, workers

Snapshot = dict[str, Any]


class Looker:
    """Looks at the whole stream. What is past is kept while it does not get older: it needs no second question."""

    def __init__(self) -> None:
        self._past: Past | None = None
        self._since: int | None = None  # event time from which on it is known

    async def look(self, now: int, pace: float) -> Snapshot:
        """Return what there is to see when event time is `now`, and passes `pace` times as fast as time."""
        gathered = await self._gather(None if self._past is None else self._past.through)
        shares = merging.owning(gathered)
        until = merging.complete_through(shares)
        through = None if until is None else until // MINUTE * MINUTE
        # While a part is missing nobody knows of a later minute that is whole.
        if through is not None and (self._past is None or (through != self._past.through and not gathered.missing)):
            gathered = await self._gather(through)
            shares = merging.owning(gathered)
        past = merging.past(shares)
        if past is not None and (self._past is None or not gathered.missing):
            self._past, self._since = past, merging.complete_from(shares)
        return self._snapshot(gathered, shares, now, pace)

    async def _gather(self, through: int | None) -> Gathered[LiveShare]:
        query = {"what": "live"} | ({} if through is None else {"through": str(through)})
        return await asker.gather(LiveShare, lambda: live_share(through), **query)

    def _snapshot(self, gathered: Gathered[LiveShare], shares: list[LiveShare], now: int, pace: float) -> Snapshot:
        totals = merging.totals(shares)
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
            "products": [msgspec.structs.asdict(line) for line in merging.lines(shares, assortment.places)],
            "products_in_all": len(assortment),
            "windows": {} if self._past is None else _windows(self._past, self._since),
            "series": None if self._past is None else _series(self._past, self._since),
            "totals": {
                "sales": totals.sales,
                "units": totals.units,
                "revenue": amount(totals.cents),
                "restocks": totals.restocks,
                "lost_sales": totals.lost_sales,
            },
            "restocks": merging.latest((share.restocks for share in shares), "stocking_id"),
            "lost_sales": merging.latest((share.lost_sales for share in shares), "lost_sale_id"),
            "incidents": listed(watch.plan.incidents, watch.said, now),
        }


def missing_of(missing: list[Missing]) -> list[dict[str, Any]]:
    """Return what is missing as it is told."""
    return [each._asdict() for each in missing]


def states_of(gathered: Gathered[Any]) -> list[dict[str, Any]]:
    """Return how all workers are, those that say nothing too."""
    assigned = workers()
    return [
        {"url": url, "asked": url == here(), **_state(gathered, url, assigned.get(url, []))}
        for url in sorted({*gathered.shares, *gathered.silent})
    ]


def _state(gathered: Gathered[Any], url: str, assigned: list[int]) -> dict[str, Any]:
    share: StateShare | None = gathered.shares.get(url)
    if share is None:
        nothing = dict.fromkeys(("lag", "rate", "behind"))
        return {"partitions": assigned, "ready": False, "reasons": [f"It {gathered.silent[url]}."], **nothing}
    return {"partitions": share.partitions, **msgspec.structs.asdict(share.state)}


def count_of(count: tuple[int, int, int]) -> dict[str, Any]:
    """Return a count as it is told."""
    sales, units, cents = count
    return {"sales": sales, "units": units, "revenue": amount(cents)}


def named(row: Counted) -> dict[str, Any]:
    """Return what was sold of a product as it is told."""
    product = assortment[row.key]
    return {
        "product_id": row.key,
        "item": product.item,
        "category": product.category,
        **count_of((row.sales, row.units, row.cents)),
    }


def _windows(past: Past, since: int | None) -> dict[str, Any]:
    return {
        name: {
            "complete": merging.is_whole(since, past.through - WINDOWS[name] * MINUTE),
            "categories": [{"category": key, **count_of(count)} for key, count in sorted(window.categories.items())],
            "products": [named(row) for row in window.products],
        }
        for name, window in past.windows.items()
    }


def _series(past: Past, since: int | None) -> dict[str, Any]:
    known_from = 0 if since is None else -(-(since - past.first) // MINUTE)  # the first minute that is known whole
    return {
        "first": time_text(past.first),
        "minutes": SHOWN_MINUTES,
        "categories": {
            category: {
                "sales": [sales if at >= known_from else None for at, (sales, _) in enumerate(minutes)],
                "revenue": [amount(cents) if at >= known_from else None for at, (_, cents) in enumerate(minutes)],
            }
            for category, minutes in sorted(past.series.items())
        },
    }


def is_open() -> bool:
    """Tell whether the shop is open, so that there is something to see."""
    return hasattr(app, "opening") and hasattr(app, "control")
