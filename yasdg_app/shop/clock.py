"""The shop's clock: which event time it is when. A pure function of time, of which it has none itself."""

from dataclasses import dataclass

SECOND = 1_000_000
MAX_STEP = 5 * SECOND  # by which a clock may be set without a word, as by NTP
STABLE_SECONDS = 120  # after which a clock that was set is believed, if it stayed where it is
MAX_BELIEVED = 86_400 * SECOND  # a clock that was set forward by more is not believed before a restart


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


class JumpDetector:
    """Notices when the clock of the machine is set, by time that passes evenly, such as that since boot.

    What is sold cannot be taken back. So nothing is to be sold by a clock that has jumped, until it is back, or has
    stayed where it is for a while: then it was right to set it. A jump forward by more than a day is not believed by
    itself: it would mean to sell all of the time in between at once.

    Attributes
    ----------
    jump
        By how much the clock was set and is not believed, in microseconds; 0: it can be believed.
    """

    def __init__(self) -> None:
        self.jump = 0
        self._offset: int | None = None  # of the clock from steady time, as it is believed
        self._stood = 0  # the offset since the last jump
        self._since = 0  # when that was, in steady time
        self._stays = False  # whether that was long ago

    @property
    def needs_restart(self) -> bool:
        """Whether the clock is not going to be believed as it is."""
        return self.jump > MAX_BELIEVED

    @property
    def has_stayed(self) -> bool:
        """Whether the clock has stayed where it was set for a while, and is not believed."""
        return bool(self.jump) and self._stays

    def believed(self, steady: int) -> int | None:
        """Return what the clock would show if it had not jumped; None before the first look."""
        return None if self._offset is None else steady + self._offset

    def look(self, now: int, steady: int) -> bool:
        """Return whether the clock can be believed; `now` and `steady`: what both show, in microseconds."""
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
