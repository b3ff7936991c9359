"""The shop's clock: maps real time to event time. It is a pure function of time and reads no clock itself."""

from dataclasses import dataclass

SECOND = 1_000_000
MAX_STEP = 5 * SECOND  # microseconds; larger jumps are treated as a change of the clock, smaller ones as normal (NTP)
STABLE_SECONDS = 120  # a changed clock is trusted after this time without another jump
MAX_BELIEVED = 86_400 * SECOND  # a larger jump forward is not trusted before a restart


@dataclass(frozen=True, slots=True)
class Clock:
    """Event time passes `speed` times as fast as real time from `start` on, and at speed 1 once it reaches now.

    Attributes
    ----------
    start
        Event time at which the clock was started, in microseconds since 1970.
    started
        Real time at which it was started, in microseconds since 1970.
    speed
        None: event time is now from the beginning, and all earlier sales are due at once.
    """

    start: int
    started: int
    speed: float | None = None

    def at(self, now: int) -> int:
        """Return the event time at the real time `now`: never later than that."""
        if self.speed is None:
            return now
        # In integers: a product of floats is off by microseconds after some centuries.
        count, of = self.speed.as_integer_ratio()
        return min(now, self.start + (now - self.started) * count // of)

    def pace(self, now: int) -> float:
        """Return how many times as fast as real time event time passes."""
        return self.speed if self.speed is not None and self.at(now) < now else 1.0


class JumpDetector:
    """Detects changes of the machine's clock, by comparing it with a steady clock, such as the time since boot.

    Sales cannot be undone. So nothing may be sold by a clock that has jumped until it is back, or has been stable for
    STABLE_SECONDS: then the change was intended. A jump forward by more than a day is not trusted before a restart: it
    would mean selling all of the time in between at once.

    Attributes
    ----------
    jump
        Untrusted change of the clock, in microseconds; 0: the clock can be trusted.
    """

    def __init__(self) -> None:
        self.jump = 0
        self._offset: int | None = None  # of the trusted clock from steady time
        self._stood = 0  # offset since the last jump
        self._since = 0  # steady time of that jump
        self._stays = False  # whether that was at least STABLE_SECONDS ago

    @property
    def needs_restart(self) -> bool:
        """Whether the clock, as it is, will not be trusted without a restart."""
        return self.jump > MAX_BELIEVED

    @property
    def has_stayed(self) -> bool:
        """Whether the changed clock has been stable for a while and is still not trusted."""
        return bool(self.jump) and self._stays

    def believed(self, steady: int) -> int | None:
        """Return what the clock would show if it had not jumped; None before the first call of `look`."""
        return None if self._offset is None else steady + self._offset

    def look(self, now: int, steady: int) -> bool:
        """Return whether the clock can be trusted; `now` and `steady`: readings of both clocks, in microseconds."""
        offset = now - steady
        believed = offset if self._offset is None else self._offset
        jump = offset - believed
        if abs(jump) <= MAX_STEP:
            self._offset, self.jump = offset, 0
            return True
        if not self.jump or abs(offset - self._stood) > MAX_STEP:
            self._since = steady
        self._stood, self.jump = offset, jump
        self._stays = steady - self._since >= STABLE_SECONDS * SECOND
        if not self._stays or self.needs_restart:
            return False
        self._offset, self.jump = offset, 0
        return True
