"""Rate limit for log messages that clients can trigger. Suppressed messages are counted. Pure."""

from collections.abc import Callable

MIN_INTERVAL_SECONDS = 10.0
"""Between two messages of one kind."""


class LogLimiter:
    """Limits the rate of one kind of log message.

    Parameters
    ----------
    clock
        Returns seconds, such as `time.monotonic`.
    interval
        Minimum number of seconds between two messages.
    """

    def __init__(self, clock: Callable[[], float], interval: float = MIN_INTERVAL_SECONDS) -> None:
        self._clock = clock
        self._interval = interval
        self._last = float("-inf")
        self._suppressed = 0

    def request(self) -> int | None:
        """Ask to log a message. Return how many were suppressed before it; None if this one is suppressed, too."""
        now = self._clock()
        if now - self._last < self._interval:
            self._suppressed += 1
            return None
        self._last, suppressed, self._suppressed = now, self._suppressed, 0
        return suppressed


def suppressed_note(count: int) -> str:
    """Return the end of a log line that says how many similar messages were suppressed; empty if none was."""
    return f" ({count} more such messages were suppressed.)" if count else ""
