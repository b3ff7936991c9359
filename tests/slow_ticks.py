"""A worker whose tills tick once a second."""

import sys
from typing import Any

from yasdg_app.application import app

TICK = 0.01  # of the tills
timer = app.timer


def slow_timer(interval: Any, *args: Any, **kwargs: Any) -> Any:
    return timer(1.0 if interval == TICK else interval, *args, **kwargs)


app.timer = slow_timer

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
