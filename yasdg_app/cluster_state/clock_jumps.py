"""Whether the clock of this machine can be trusted: detects jumps, and says why sales are paused."""

import logging
import time

from yasdg_app.shop.clock import SECOND, STABLE_SECONDS, JumpDetector
from yasdg_app.text import length

logger = logging.getLogger(__name__)

STEADY_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Continues while the machine sleeps: on Linux the time since boot, on macOS the monotonic clock."""
RESTART = "If its time is right, restart this worker"


def steady_time() -> int:
    """Return a monotonic time in microseconds, which also passes while the machine sleeps."""
    return time.clock_gettime_ns(STEADY_CLOCK) // 1000


class Jumps:
    """Detects jumps of the clock, and logs those that pause sales."""

    def __init__(self) -> None:
        self._detector = JumpDetector()

    def is_steady(self, now: int) -> bool:
        """Return whether sales may follow the clock; `now`: its time, microseconds since 1970."""
        was_steady = not self._detector.jump
        is_steady = self._detector.look(now, steady_time())
        if was_steady and not is_steady:
            logger.warning("%s", self.reason)
        elif is_steady and not was_steady:
            logger.warning("The clock is trusted again: sales resume.")
        return is_steady

    def record_time(self) -> int:
        """Return the timestamp for a record that is written now, milliseconds since 1970, without the jump.

        A cluster rejects records of the future, and a worker whose records are rejected ends.
        """
        believed = self._detector.believed(steady_time())
        return time.time_ns() // 1_000_000 if believed is None else believed // 1000

    @property
    def needs_end(self) -> bool:
        """Whether this worker will not sell any more, and has to end: one that starts afterwards trusts the clock."""
        return self._detector.has_stayed

    @property
    def reason(self) -> str:
        """Why nothing is sold, and until when; an empty text if the clock can be trusted."""
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
