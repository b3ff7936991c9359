"""A worker whose clock goes back by an hour, three seconds after its first sale, and forward again after three more."""

import sys
import time

from patching import replace

from yasdg_app.pipeline import sales_generator

BACK = 3_600_000_000  # microseconds

began: list[float] = []


def now() -> int:
    from yasdg_app import app  # which is made with this clock

    if app.shop.counts["sales"] and not began:
        began.append(time.monotonic())
    is_back = began and 3 < time.monotonic() - began[0] < 6
    return time.time_ns() // 1000 - (BACK if is_back else 0)


replace(sales_generator, "real_time", now)

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
