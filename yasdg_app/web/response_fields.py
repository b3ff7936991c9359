"""Fields that several responses have in common. Pure."""

from typing import Any

import msgspec

from yasdg_app.config.catalog import Product
from yasdg_app.messages.reference import amount
from yasdg_app.web.results import Count, Gathered, MissingPartitions, PartialState, SalesCount
from yasdg_app.web.scatter_gather import WorkerDirectory


def missing_fields(missing: list[MissingPartitions]) -> list[dict[str, Any]]:
    """Return `missing`: partitions that are not included."""
    return [each._asdict() for each in missing]


def worker_fields(gathered: Gathered[Any], directory: WorkerDirectory) -> list[dict[str, Any]]:
    """Return `workers`: the state of each worker, including those that did not answer."""
    assigned = directory.workers()
    return [
        {"url": url, "asked": url == directory.own_url, **_state_fields(gathered, url, assigned.get(url, []))}
        for url in sorted({*gathered.parts, *gathered.silent})
    ]


def _state_fields(gathered: Gathered[Any], url: str, assigned: list[int]) -> dict[str, Any]:
    part: PartialState | None = gathered.parts.get(url)
    if part is None:
        unknown = dict.fromkeys(("lag", "rate", "behind"))
        return {"partitions": assigned, "ready": False, "reasons": [f"It {gathered.silent[url]}."], **unknown}
    return {"partitions": part.partitions, **msgspec.structs.asdict(part.state)}


def count_fields(count: Count) -> dict[str, Any]:
    """Return the number of sales, units and revenue."""
    sales, units, cents = count
    return {"sales": sales, "units": units, "revenue": amount(cents)}


def product_fields(row: SalesCount, product: Product) -> dict[str, Any]:
    """Return the sales of a product."""
    return {
        "product_id": row.key,
        "item": product.item,
        "category": product.category,
        **count_fields((row.sales, row.units, row.cents)),
    }
