"""The shop's clock: which event time it is when. A pure function of time, of which it has none itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Event time passes `speed` times as fast as time from `start` on, until it is now; then as fast.

    Attributes
    ----------
    start
        Event time when it was started, microseconds since 1970.
    started
        When that was, microseconds since 1970.
    speed
        None: event time is now from the beginning, and whatever came before is due at once.
    """

    start: int
    started: int
    speed: float | None = None

    def at(self, now: int) -> int:
        """Return the event time when it is `now`: never later than that."""
        if self.speed is None:
            return now
        # In whole numbers: a product of floats is off by microseconds after some centuries.
        count, of = self.speed.as_integer_ratio()
        return min(now, self.start + (now - self.started) * count // of)

    def pace(self, now: int) -> float:
        """Return how many times as fast as time event time passes."""
        return self.speed if self.speed is not None and self.at(now) < now else 1.0
