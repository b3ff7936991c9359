"""The views: products, inventory, sales and workers of the whole stream, whichever worker is asked.

Long answers come in parts. A part of the stream of which nobody can tell at the moment is named in `missing`.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from yasdg_app.aggregates.windows import WINDOWS
from yasdg_app.application import app
from yasdg_app.config.settings import shown
from yasdg_app.messages import reference
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.inventory_agent import assortment
from yasdg_app.shop.demand import MINUTE
from yasdg_app.web import query_params as questions
from yasdg_app.web import reconcile as merging
from yasdg_app.web.partial_results import categories, level_share, levels_share, sales_share, state_share
from yasdg_app.web.query_params import BY, BadQuestionError, Page
from yasdg_app.web.reconcile import Counted, Gathered, LevelsShare, SalesShare, StateShare
from yasdg_app.web.responses import answer
from yasdg_app.web.scatter_gather import asker
from yasdg_app.web.snapshot import count_of, is_open, missing_of, named, states_of

CLOSED = {"error": "The shop is not open yet. Ask again in a moment."}

View = Callable[..., Awaitable[Any]]


def careful(view: View) -> View:
    """Make a view say what was wrong with a question, and that the shop is not open yet."""

    @wraps(view)
    async def _view(web: Any, request: Any, **parts: str) -> Any:
        if not is_open():
            return answer(CLOSED, 503, {"Retry-After": "1"})
        try:
            return await view(web, request, **parts)
        except BadQuestionError as error:
            return answer({"error": str(error), "field": str(error).partition(":")[0]}, 400)

    return _view


@app.page("/products/")
@careful
async def products(web: Any, request: Any) -> Any:
    """List the shop's products in the order of the catalog."""
    questions.only(request.query, "limit", "after")
    limit, after = questions.page(request.query, assortment)
    first = 0 if after is None else assortment.places[after] + 1
    shown = app.products[first : first + limit]
    more = first + limit < len(app.products)
    headers = {"Link": f'<{_next("/products/", {"limit": limit}, shown[-1].product_id)}>; rel="next"'} if more else {}
    return answer([reference.product(product).asdict() for product in shown], headers=headers)


@app.page("/inventory/")
@careful
async def levels(web: Any, request: Any) -> Any:
    """List the levels of the products that were sold, in the order of the catalog."""
    questions.only(request.query, "limit", "after")
    page = questions.page(request.query, assortment)
    gathered = await asker.gather(
        LevelsShare, lambda: levels_share(*page), what="levels", limit=str(page.limit), **_after(page)
    )
    rows, more = merging.levels(merging.owning(gathered), page.limit)
    query = {"limit": page.limit}
    return answer(
        {
            **_whole(gathered),
            "inventory": rows,
            "next": _next("/inventory/", query, rows[-1]["product_id"]) if more else None,
        }
    )


@app.page("/inventory/{product_id}/")
@careful
async def level(web: Any, request: Any, product_id: str) -> Any:
    """Show the level of one product."""
    questions.only(request.query)
    if product_id not in assortment:
        return answer({"error": f"no product {shown(product_id)}; GET /products/ lists them"}, 404)
    gathered = await asker.gather(LevelsShare, lambda: level_share(product_id), what="level", product_id=product_id)
    rows, _ = merging.levels(merging.owning(gathered), 1)
    if not rows:
        home = assortment.home(product_id)
        missing = [each for each in gathered.missing if home in each.partitions]
        return answer({"error": f"nobody can tell now: partition {home}", "missing": missing_of(missing)}, 503)
    return answer(rows[0])


@app.page("/sales/")
@careful
async def sales(web: Any, request: Any) -> Any:
    """Show what was sold in a window of event time, by product or by category."""
    questions.only(request.query, "window", "by", "through", "limit", "after")
    query = dict(request.query)
    window = questions.choice({"window": "hour"} | query, "window", WINDOWS, "minute, hour or day")
    by = questions.choice({"by": "category"} | query, "by", BY, "product or category")
    page = questions.page(query, assortment if by == "product" else categories)
    through = questions.through(query)
    shares = merging.owning(await _sales(window, by, None, page))
    known = merging.complete_through(shares)
    latest = None if known is None else known // MINUTE * MINUTE
    if through is None:
        through = latest
    elif latest is not None and through > latest:
        raise BadQuestionError(
            f"through: expected an earlier minute; {time_text(latest)[:16]} is the last that is whole"
        )
    gathered = await _sales(window, by, through, page)
    shares = merging.owning(gathered)
    rows, more = merging.counted((share.rows for share in shares), page.limit)
    since, first = merging.complete_from(shares), None if through is None else through - WINDOWS[window] * MINUTE
    asked = {"window": window, "by": by}
    if through is not None:
        asked["through"] = time_text(through)[:16]
    return answer(
        {
            "window": window,
            "by": by,
            "first": None if first is None else time_text(first),
            "through": None if through is None else time_text(through),
            "complete": first is not None and merging.is_whole(since, first) and not gathered.missing,
            **_whole(gathered),
            "sales": [_sold(row, by) for row in rows],
            "next": _next("/sales/", asked | {"limit": page.limit}, rows[-1].key) if more else None,
        }
    )


async def _sales(window: str, by: str, through: int | None, page: Page) -> Gathered[SalesShare]:
    query = {"what": "sales", "window": window, "by": by, "limit": str(page.limit), **_after(page)}
    if through is not None:
        query["through"] = str(through)
    return await asker.gather(SalesShare, lambda: sales_share(window, by, through, *page), **query)


def _sold(row: Counted, by: str) -> dict[str, Any]:
    return named(row) if by == "product" else {"category": row.key, **count_of((row.sales, row.units, row.cents))}


@app.page("/workers/")
@careful
async def workers(web: Any, request: Any) -> Any:
    """Show which workers there are, and how they are."""
    questions.only(request.query)
    gathered = await asker.gather(StateShare, state_share, what="state")
    return answer({**_whole(gathered), "workers": states_of(gathered)})


def _whole(gathered: Gathered[Any]) -> dict[str, Any]:
    return {"partitions": gathered.partitions, "missing": missing_of(gathered.missing)}


def _after(page: Page) -> dict[str, str]:
    return {} if page.after is None else {"after": page.after}


def _next(path: str, query: dict[str, Any], after: str) -> str:
    return f"{path}?{urlencode(query | {'after': after})}"
