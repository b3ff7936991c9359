"""A worker that shows its windows as they are, at /windows/?through=MICROSECONDS.

python shows_windows.py worker ...
"""

from typing import Any

from yasdg_app.__main__ import main
from yasdg_app.app import load

HOURS_SHOWN = 3

app, pipeline = load()
windows = pipeline.windows


@app.page("/windows/")
async def show(web: Any, request: Any) -> Any:
    through = int(request.query["through"])
    return web.json(
        {
            "complete_from": windows.complete_from(),
            "products_from": windows.products_from(),
            "complete_through": windows.complete_through(),
            "sums": {window: windows.sums(window, through) for window in ("minute", "hour", "day")},
            "series": windows.series(through - HOURS_SHOWN * 3_600_000_000, through),
            "restocks": windows.latest_restocks,
            "lost_sales": windows.latest_lost_sales,
        }
    )


if __name__ == "__main__":
    main()
