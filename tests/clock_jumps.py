"""A worker whose clock is set by so many seconds, three seconds after its first sale, and back after so many more.

python clock_jumps.py SECONDS FOR worker ...

What is to happen within two minutes happens within eight seconds here.
"""

import sys
import time

from yasdg_app.shop import clock
from yasdg_app.streams import tills

by, lasts = int(sys.argv[1]) * 1_000_000, float(sys.argv[2])
sys.argv[1:3] = []
clock.STABLE_SECONDS = 8

began: list[float] = []


def now() -> int:
    if tills.app.counts["sales"] and not began:
        began.append(time.monotonic())
    is_set = began and 3 < time.monotonic() - began[0] < 3 + lasts
    return time.time_ns() // 1000 + (by if is_set else 0)


tills._now = now

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
