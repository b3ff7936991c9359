"""The views: products, inventory, sales and workers of the whole stream, whichever worker is queried.

Long responses are split into pages. Partitions that are not included in a response are listed in `missing`.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from urllib.parse import urlencode

from aiohttp import web

from yasdg_app.aggregates.windows import WINDOW_MINUTES
from yasdg_app.config.rules import normalized_id
from yasdg_app.messages import reference
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.shop.demand import MINUTE
from yasdg_app.text import printable
from yasdg_app.web import reconcile as merging
from yasdg_app.web.partial_results import PartialResults
from yasdg_app.web.query_params import (
    GROUPINGS,
    InvalidQueryError,
    PageParams,
    check_names,
    read_choice,
    read_page,
    read_through,
)
from yasdg_app.web.response_fields import count_fields, missing_fields, product_fields, worker_fields
from yasdg_app.web.responses import NOT_OPEN, json_response
from yasdg_app.web.results import Gathered, PartialLevels, PartialSales, PartialState, SalesCount
from yasdg_app.web.scatter_gather import ScatterGather, WorkerDirectory
from yasdg_app.web.worker_state import StateReporter

Parts = ParamSpec("Parts")
View = Callable[Concatenate["Views", web.Request, Parts], Awaitable[web.Response]]


def handles_errors(view: View[Parts]) -> View[Parts]:
    """Decorate a view: return 400 for an invalid query, and 503 while the shop is not open."""

    @wraps(view)
    async def _view(self: "Views", request: web.Request, *args: Parts.args, **parts: Parts.kwargs) -> web.Response:
        if not self.is_open:
            return json_response(NOT_OPEN, 503, {"Retry-After": "1"})
        try:
            return await view(self, request, *args, **parts)
        except InvalidQueryError as error:
            return json_response({"error": str(error), "field": str(error).partition(":")[0]}, 400)

    return cast("View[Parts]", _view)


class Views:
    """The views.

    Parameters
    ----------
    pipeline
        The parts of this worker.
    state, results
        This worker's part of the views.
    scatter_gather, directory
        The other workers, and their URLs.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        state: StateReporter,
        results: PartialResults,
        scatter_gather: ScatterGather,
        directory: WorkerDirectory,
    ) -> None:
        self._shop = pipeline.shop
        self._catalog = pipeline.catalog
        self._state = state
        self._results = results
        self._scatter_gather = scatter_gather
        self._directory = directory

    @property
    def is_open(self) -> bool:
        """Whether the shop is open."""
        return self._shop.is_open

    @handles_errors
    async def products(self, request: web.Request) -> web.Response:
        """List the shop's products in catalog order."""
        check_names(request.query, "limit", "after")
        limit, after = read_page(request.query, self._catalog, by_product=True)
        first = 0 if after is None else self._catalog.indexes[after] + 1
        products = self._shop.products
        page = products[first : first + limit]
        headers = {}
        if first + limit < len(products):
            headers["Link"] = f'<{_next("/products/", {"limit": limit}, page[-1].product_id)}>; rel="next"'
        return json_response([reference.product(product).asdict() for product in page], headers=headers)

    @handles_errors
    async def levels(self, request: web.Request) -> web.Response:
        """List the inventory of the products that have been sold, in catalog order."""
        check_names(request.query, "limit", "after")
        page = read_page(request.query, self._catalog, by_product=True)
        gathered = await self._scatter_gather.gather(
            PartialLevels, lambda: self._results.levels(*page), what="levels", limit=str(page.limit), **_after(page)
        )
        rows, more = merging.merge_levels(gathered.owning, page.limit)
        query = {"limit": page.limit}
        return json_response(
            {
                **_coverage(gathered),
                "inventory": rows,
                "next": _next("/inventory/", query, rows[-1]["product_id"]) if more else None,
            }
        )

    @handles_errors
    async def level(self, request: web.Request, product_id: str) -> web.Response:
        """Show the inventory of one product."""
        check_names(request.query)
        product_id = normalized_id(product_id)
        if product_id not in self._catalog:
            return json_response(
                {"error": f"Product {printable(product_id)} not found; GET /products/ lists all."}, 404
            )
        gathered = await self._scatter_gather.gather(
            PartialLevels, lambda: self._results.level(product_id), what="level", product_id=product_id
        )
        rows, _ = merging.merge_levels(gathered.owning, 1)
        if not rows:
            partition = self._catalog.partition_of(product_id)
            missing = missing_fields([each for each in gathered.missing if partition in each.partitions])
            error = f"Partition {partition} is currently unavailable. Try again in a moment."
            return json_response({"error": error, "missing": missing}, 503)
        return json_response(rows[0])

    @handles_errors
    async def sales(self, request: web.Request) -> web.Response:
        """Show the sales of a window of event time, by product or by category."""
        check_names(request.query, "window", "by", "through", "limit", "after")
        query = dict(request.query)
        window = read_choice({"window": "hour"} | query, "window", WINDOW_MINUTES, "minute, hour or day")
        by = read_choice({"by": "category"} | query, "by", GROUPINGS, "product or category")
        by_product = by == "product"
        page = read_page(query, self._catalog if by_product else self._results.categories, by_product=by_product)
        through = read_through(query)
        known = merging.complete_through((await self._gather_sales(window, by, None, page)).owning)
        latest = None if known is None else known // MINUTE * MINUTE
        if through is None:
            through = latest
        elif latest is not None and through > latest:
            expected = f"{time_text(latest)[:16]}, the end of the last complete minute, or earlier"
            raise InvalidQueryError(f"through: expected {expected}")
        gathered = await self._gather_sales(window, by, through, page)
        parts = gathered.owning
        rows, more = merging.merge_sales((part.rows for part in parts), page.limit)
        known_from = merging.complete_from(parts)
        first = None if through is None else through - WINDOW_MINUTES[window] * MINUTE
        following: dict[str, Any] = {"window": window, "by": by}
        if through is not None:
            following["through"] = time_text(through)[:16]
        return json_response(
            {
                "window": window,
                "by": by,
                "first": None if first is None else time_text(first),
                "through": None if through is None else time_text(through),
                "complete": first is not None and merging.is_complete(known_from, first) and not gathered.missing,
                **_coverage(gathered),
                "sales": [self._sales_fields(row, by) for row in rows],
                "next": _next("/sales/", following | {"limit": page.limit}, rows[-1].key) if more else None,
            }
        )

    async def _gather_sales(
        self, window: str, by: str, through: int | None, page: PageParams
    ) -> Gathered[PartialSales]:
        query = {"what": "sales", "window": window, "by": by, "limit": str(page.limit), **_after(page)}
        if through is not None:
            query["through"] = str(through)
        own = self._results.sales
        return await self._scatter_gather.gather(PartialSales, lambda: own(window, by, through, *page), **query)

    def _sales_fields(self, row: SalesCount, by: str) -> dict[str, Any]:
        if by == "product":
            return product_fields(row, self._catalog[row.key])
        return {"category": row.key, **count_fields((row.sales, row.units, row.cents))}

    @handles_errors
    async def workers(self, request: web.Request) -> web.Response:
        """List the workers and their states."""
        check_names(request.query)
        gathered = await self._scatter_gather.gather(PartialState, self._state.partial_state, what="state")
        return json_response({**_coverage(gathered), "workers": worker_fields(gathered, self._directory)})


def _coverage(gathered: Gathered[Any]) -> dict[str, Any]:
    return {"partitions": gathered.partitions, "missing": missing_fields(gathered.missing)}


def _after(page: PageParams) -> dict[str, str]:
    return {} if page.after is None else {"after": page.after}


def _next(path: str, query: dict[str, Any], after: str) -> str:
    return f"{path}?{urlencode(query | {'after': after})}"
