"""Whether the clock of this machine can be believed, and what is said of it if not."""

import logging
import time

from yasdg_app.shop.clock import SECOND, STABLE_SECONDS, JumpDetector
from yasdg_app.text import length

logger = logging.getLogger(__name__)

STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Passes while the machine sleeps, too: on Linux that is the time since boot, on macOS the monotonic clock."""
RESTART = "If its time is right, restart this worker"


def steady_time() -> int:
    """Return time that passes evenly, whatever the clock is set to: microseconds since some moment."""
    return time.clock_gettime_ns(STEADY_CLOCK) // 1000


class Jumps:
    """Looks for jumps of the clock, and logs those that hold up sales."""

    def __init__(self) -> None:
        self._detector = JumpDetector()

    def is_steady(self, now: int) -> bool:
        """Return whether sales may go by the clock; `now`: what it shows, microseconds since 1970."""
        was_steady = not self._detector.jump
        is_steady = self._detector.look(now, steady_time())
        if was_steady and not is_steady:
            logger.warning("%s", self.reason)
        elif is_steady and not was_steady:
            logger.warning("The clock is believed again: sales continue.")
        return is_steady

    def record_time(self) -> int:
        """Return the timestamp of a record that is written now, in milliseconds, by the clock as it is believed.

        A cluster refuses records of the future, and a worker whose records are refused ends.
        """
        believed = self._detector.believed(steady_time())
        return time.time_ns() // 1_000_000 if believed is None else believed // 1000

    @property
    def needs_end(self) -> bool:
        """Whether this worker is never going to sell, so that it has to end: one that is started goes by the clock."""
        return self._detector.has_stayed

    @property
    def reason(self) -> str:
        """Why nothing is sold, and what ends that; nothing if the clock can be believed."""
        jump = self._detector.jump
        if not jump:
            return ""
        if self._detector.has_stayed:
            until = f"until that is undone, and it has stayed so for {STABLE_SECONDS} s: this worker ends. {RESTART}"
        elif self._detector.needs_restart:
            until = f"until that is undone; after {STABLE_SECONDS} s this worker ends. {RESTART}"
        else:
            until = f"until that is undone, or it has stayed as it is for {STABLE_SECONDS} s"
        direction = "forward" if jump > 0 else "back"
        return (
            f"The clock of this machine was set {direction} by {length(abs(jump) / SECOND)}. Nothing is sold {until}."
        )


jumps = Jumps()
