"""Messages that strangers can bring about: told once in a while, with the number of those that were not told. Pure."""

from collections.abc import Callable

SECONDS = 10.0
"""Between two messages of one kind."""


class Seldom:
    """Decides whether a message is due.

    Parameters
    ----------
    clock
        Returns seconds; time.monotonic.
    seconds
        That have to lie between two messages.
    """

    def __init__(self, clock: Callable[[], float], seconds: float = SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._last = float("-inf")
        self._left_out = 0

    def due(self) -> int | None:
        """Return how many messages were left out before this one; None if this one is left out as well."""
        now = self._clock()
        if now - self._last < self._seconds:
            self._left_out += 1
            return None
        self._last, left_out, self._left_out = now, self._left_out, 0
        return left_out


def since(left_out: int) -> str:
    """Return the end of a message's line that tells how many like it were left out."""
    return f" ({left_out} more like it since the last such line.)" if left_out else ""
