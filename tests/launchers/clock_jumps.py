"""A worker whose clock is set by so many seconds, three seconds after its first sale, and back after so many more.

python clock_jumps.py SECONDS FOR STABLE worker ...

STABLE: the seconds in which happens here what is to happen within two minutes.
"""

import sys
import time

from patching import replace

from yasdg_app import app
from yasdg_app.shop import clock

by, lasts = int(sys.argv[1]) * 1_000_000, float(sys.argv[2])
replace(clock, "STABLE_SECONDS", int(sys.argv[3]))
sys.argv[1:4] = []

began: list[float] = []
time_ns = time.time_ns


def now() -> int:
    if app.shop.counts["sales"] and not began:
        began.append(time.monotonic())
    is_set = began and 3 < time.monotonic() - began[0] < 3 + lasts
    return time_ns() + (by * 1000 if is_set else 0)


time.time_ns = now

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
