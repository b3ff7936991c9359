"""The views: products, inventory, sales and workers of the whole stream, whichever worker is queried.

Long responses are split into pages. Partitions that are not included in a response are listed in `missing`.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from yasdg_app.aggregates.windows import WINDOWS
from yasdg_app.application import app, assortment
from yasdg_app.messages import reference
from yasdg_app.messages.times import time_text
from yasdg_app.shop.demand import MINUTE
from yasdg_app.text import printable
from yasdg_app.web import reconcile as merging
from yasdg_app.web.partial_results import categories, partial_level, partial_levels, partial_sales, partial_state
from yasdg_app.web.query_params import (
    GROUPINGS,
    InvalidQueryError,
    Page,
    check_names,
    read_choice,
    read_page,
    read_through,
)
from yasdg_app.web.responses import json_response
from yasdg_app.web.results import Gathered, PartialLevels, PartialSales, PartialState, SalesCount
from yasdg_app.web.scatter_gather import scatter_gather
from yasdg_app.web.snapshot import count_of, is_open, missing_of, product_sales, states_of

NOT_OPEN = {"error": "The shop is not open yet. Try again in a moment."}

View = Callable[..., Awaitable[Any]]


def handles_errors(view: View) -> View:
    """Decorate a view: return 400 for an invalid query, and 503 while the shop is not open."""

    @wraps(view)
    async def _view(web: Any, request: Any, **parts: str) -> Any:
        if not is_open():
            return json_response(NOT_OPEN, 503, {"Retry-After": "1"})
        try:
            return await view(web, request, **parts)
        except InvalidQueryError as error:
            return json_response({"error": str(error), "field": str(error).partition(":")[0]}, 400)

    return _view


@app.page("/products/")
@handles_errors
async def products(web: Any, request: Any) -> Any:
    """List the shop's products in catalog order."""
    check_names(request.query, "limit", "after")
    limit, after = read_page(request.query, assortment)
    first = 0 if after is None else assortment.places[after] + 1
    page = app.products[first : first + limit]
    more = first + limit < len(app.products)
    headers = {"Link": f'<{_next("/products/", {"limit": limit}, page[-1].product_id)}>; rel="next"'} if more else {}
    return json_response([reference.product(product).asdict() for product in page], headers=headers)


@app.page("/inventory/")
@handles_errors
async def levels(web: Any, request: Any) -> Any:
    """List the inventory of the products that have been sold, in catalog order."""
    check_names(request.query, "limit", "after")
    page = read_page(request.query, assortment)
    gathered = await scatter_gather.gather(
        PartialLevels, lambda: partial_levels(*page), what="levels", limit=str(page.limit), **_after(page)
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


@app.page("/inventory/{product_id}/")
@handles_errors
async def level(web: Any, request: Any, product_id: str) -> Any:
    """Show the inventory of one product."""
    check_names(request.query)
    if product_id not in assortment:
        return json_response({"error": f"Product {printable(product_id)} not found; GET /products/ lists all."}, 404)
    gathered = await scatter_gather.gather(
        PartialLevels, lambda: partial_level(product_id), what="level", product_id=product_id
    )
    rows, _ = merging.merge_levels(gathered.owning, 1)
    if not rows:
        home = assortment.home(product_id)
        missing = missing_of([each for each in gathered.missing if home in each.partitions])
        error = f"Partition {home} is currently unavailable. Try again in a moment."
        return json_response({"error": error, "missing": missing}, 503)
    return json_response(rows[0])


@app.page("/sales/")
@handles_errors
async def sales(web: Any, request: Any) -> Any:
    """Show the sales of a window of event time, by product or by category."""
    check_names(request.query, "window", "by", "through", "limit", "after")
    query = dict(request.query)
    window = read_choice({"window": "hour"} | query, "window", WINDOWS, "minute, hour or day")
    by = read_choice({"by": "category"} | query, "by", GROUPINGS, "product or category")
    page = read_page(query, assortment if by == "product" else categories)
    through = read_through(query)
    known = merging.complete_through((await _gather_sales(window, by, None, page)).owning)
    latest = None if known is None else known // MINUTE * MINUTE
    if through is None:
        through = latest
    elif latest is not None and through > latest:
        raise InvalidQueryError(f"through: expected {time_text(latest)[:16]}, the last complete minute, or earlier")
    gathered = await _gather_sales(window, by, through, page)
    parts = gathered.owning
    rows, more = merging.merge_sales((part.rows for part in parts), page.limit)
    known_from, first = merging.complete_from(parts), None if through is None else through - WINDOWS[window] * MINUTE
    following = {"window": window, "by": by}
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
            "sales": [_sales_of(row, by) for row in rows],
            "next": _next("/sales/", following | {"limit": page.limit}, rows[-1].key) if more else None,
        }
    )


async def _gather_sales(window: str, by: str, through: int | None, page: Page) -> Gathered[PartialSales]:
    query = {"what": "sales", "window": window, "by": by, "limit": str(page.limit), **_after(page)}
    if through is not None:
        query["through"] = str(through)
    return await scatter_gather.gather(PartialSales, lambda: partial_sales(window, by, through, *page), **query)


def _sales_of(row: SalesCount, by: str) -> dict[str, Any]:
    if by == "product":
        return product_sales(row)
    return {"category": row.key, **count_of((row.sales, row.units, row.cents))}


@app.page("/workers/")
@handles_errors
async def workers(web: Any, request: Any) -> Any:
    """List the workers and their states."""
    check_names(request.query)
    gathered = await scatter_gather.gather(PartialState, partial_state, what="state")
    return json_response({**_coverage(gathered), "workers": states_of(gathered)})


def _coverage(gathered: Gathered[Any]) -> dict[str, Any]:
    return {"partitions": gathered.partitions, "missing": missing_of(gathered.missing)}


def _after(page: Page) -> dict[str, str]:
    return {} if page.after is None else {"after": page.after}


def _next(path: str, query: dict[str, Any], after: str) -> str:
    return f"{path}?{urlencode(query | {'after': after})}"
