"""How long the cluster and a log have disagreed about the number of records: a moment after a takeover, or longer."""

import time

from faust.types import TP

from yasdg_app.inventory.projection import OTHER_SHOP, InconsistentLogError

MAX_CONFLICT_SECONDS = 120.0
"""Maximum time for which the cluster may expect another sequence number than the log implies."""


class SequenceConflictTracker:
    """Tracks for how long the cluster's sequence number and the log of a partition have been in conflict."""

    def __init__(self) -> None:
        self._since: dict[TP, tuple[int, float]] = {}

    def note(self, tp: TP, offset: int, what: str) -> None:
        """Record a conflict at an offset of a partition. Raises InconsistentLogError if it has lasted too long.

        `what`: the conflict, as a sentence without a full stop.
        """
        now = time.monotonic()
        noted, since = self._since.setdefault(tp, (offset, now))
        if noted != offset:
            self._since[tp] = offset, now
        elif now - since > MAX_CONFLICT_SECONDS:
            raise InconsistentLogError(
                f"{what}, but the log has not contained it for {MAX_CONFLICT_SECONDS:.0f} s: records of this shop were "
                f"deleted from it, or another program writes with the shop's producer id. Restore the topic from a "
                f"backup. {OTHER_SHOP}"
            )

    def resolve(self, tp: TP) -> None:
        """Record that a partition has no conflict."""
        self._since.pop(tp, None)
