"""`/share/`: where workers query each other for their parts of the views and of the page."""

from collections.abc import Mapping
from typing import Any

import msgspec

from yasdg_app.aggregates.windows import WINDOWS
from yasdg_app.application import app
from yasdg_app.shop.demand import MINUTE
from yasdg_app.truth.offline_stream import FOREVER
from yasdg_app.web.partial_results import categories, partial_level, partial_levels, partial_sales, partial_state
from yasdg_app.web.partial_snapshot import partial_snapshot
from yasdg_app.web.query_params import GROUPINGS, MAX_LIMIT
from yasdg_app.web.responses import json_response
from yasdg_app.web.results import PartialResult


async def partial_result(query: Mapping[str, str]) -> PartialResult:
    """Return this worker's part of a result. Raises KeyError or ValueError if the query is not one that workers send.

    Parameters
    ----------
    query
        `what`: state, level, levels, sales or live; and the parameters of that.
    """
    number = {name: int(query[name]) for name in ("through", "limit") if name in query}
    through, after = number.get("through"), query.get("after")
    if not (0 <= number.get("through", 0) <= FOREVER and 0 <= number.get("limit", 0) <= MAX_LIMIT):
        raise ValueError
    if number.get("through", 0) % MINUTE:
        raise ValueError
    match query.get("what"):
        case "state":
            return await partial_state()
        case "level":
            return await partial_level(query["product_id"])
        case "levels":
            return await partial_levels(number["limit"], after or None)
        case "sales" if query["window"] in WINDOWS and query["by"] in GROUPINGS:
            # A worker of the previous version sends an empty value for none.
            after = after or (None if query["by"] == "product" or "" not in categories else after)
            return await partial_sales(query["window"], query["by"], through, number["limit"], after)
        case "live":
            return await partial_snapshot(through)
        case _:
            raise KeyError("what")


@app.page("/share/")
async def share(web: Any, request: Any) -> Any:
    """Return this worker's part of a result to another worker."""
    if not hasattr(app, "opening"):
        return json_response({"error": "The shop is not open yet. Try again in a moment."}, 503)
    try:
        return json_response(msgspec.to_builtins(await partial_result(request.query)))
    except (KeyError, ValueError):
        return json_response({"error": "what: expected a query that workers send each other"}, 400)
