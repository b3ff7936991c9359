"""`/share/`: where workers query each other for their parts of the views and of the page."""

from collections.abc import Mapping

import msgspec
from aiohttp import web

from yasdg_app.aggregates.windows import WINDOW_MINUTES
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.shop.demand import MINUTE
from yasdg_app.truth.offline_stream import FOREVER
from yasdg_app.web.partial_results import PartialResults
from yasdg_app.web.partial_snapshot import PartialSnapshots
from yasdg_app.web.query_params import GROUPINGS, MAX_LIMIT
from yasdg_app.web.responses import NOT_OPEN, json_response
from yasdg_app.web.results import PartialResult
from yasdg_app.web.worker_state import StateReporter


class SharePage:
    """The page that other workers query.

    Parameters
    ----------
    shop
        The shop, which may not be open yet.
    state, results, snapshots
        What this worker has.
    """

    def __init__(
        self, shop: RunningShop, state: StateReporter, results: PartialResults, snapshots: PartialSnapshots
    ) -> None:
        self._shop = shop
        self._state = state
        self._results = results
        self._snapshots = snapshots

    async def share(self, request: web.Request) -> web.Response:
        """Return this worker's part of a result to another worker."""
        if not self._shop.is_open:
            return json_response(NOT_OPEN, 503)
        try:
            return json_response(msgspec.to_builtins(await self.partial_result(request.query)))
        except (KeyError, ValueError):
            return json_response({"error": "what: expected a query that workers send each other"}, 400)

    async def partial_result(self, query: Mapping[str, str]) -> PartialResult:
        """Return this worker's part of a result.

        Parameters
        ----------
        query
            `what`: state, level, levels, sales or live; and the parameters of that.

        Raises
        ------
        KeyError, ValueError
            The query is not one that workers send each other.
        """
        number = {name: int(query[name]) for name in ("through", "limit") if name in query}
        through, after = number.get("through"), query.get("after")
        if not (0 <= number.get("through", 0) <= FOREVER and 0 <= number.get("limit", 0) <= MAX_LIMIT):
            raise ValueError
        if number.get("through", 0) % MINUTE:
            raise ValueError
        match query.get("what"):
            case "state":
                return await self._state.partial_state()
            case "level":
                return await self._results.level(query["product_id"])
            case "levels":
                return await self._results.levels(number["limit"], after or None)
            case "sales" if query["window"] in WINDOW_MINUTES and query["by"] in GROUPINGS:
                # A worker of the previous version sends an empty value for none.
                after = after or (None if query["by"] == "product" or "" not in self._results.categories else after)
                return await self._results.sales(query["window"], query["by"], through, number["limit"], after)
            case "live":
                return await self._snapshots.snapshot(through)
            case _:
                raise KeyError("what")
