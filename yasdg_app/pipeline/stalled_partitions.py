"""Detects partitions whose agent waits in vain for records that were lost during a rebalance."""

import time

from faust.types import TP

from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment

RESEEK_AFTER_SECONDS = 2.0
"""Time without progress of the agent, although the log has more, after which a partition is fetched again."""


class StalledPartitions:
    """Since when the agent has not advanced, by partition; all of one generation of the group."""

    def __init__(self, assignment: PartitionAssignment) -> None:
        self._assignment = assignment
        self._waits: dict[TP, tuple[int, float]] = {}  # the agent's position, and since when it has not advanced

    def forget(self) -> None:
        """Forget all partitions: another generation begins."""
        self._waits = {}

    async def reseek_if_stalled(self, tp: TP) -> None:
        """Fetch a partition again if its log has more, and its agent has not advanced for long."""
        position, at = self._assignment.positions.get(tp), time.monotonic()
        if position is None or self._assignment.is_busy(tp.partition):
            return
        stalled_at, since = self._waits.setdefault(tp, (position, at))
        if stalled_at != position:
            self._waits[tp] = position, at
        elif at - since > RESEEK_AFTER_SECONDS:
            self._waits[tp] = position, at
            await self._assignment.seek({tp: position})
