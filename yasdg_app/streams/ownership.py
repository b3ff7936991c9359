"""Which partitions are this worker's, up to where they were read, and whether the group still agrees.

A worker may touch a partition only between the end of a recovery and the start of the next rebalance, and may append
sales only while the group has confirmed it within a lease shorter than the session timeout: a worker that was stopped
and goes on still believes that all is as it was.
"""

import time
from collections.abc import Callable
from typing import Any

from faust.types import TP

LEASE = 3.0  # seconds; the session timeout is 10


class Ownership:
    """The state of one worker's claim to partitions of the purchases topic.

    Parameters
    ----------
    app
        The Faust application.
    topic
        Name of the purchases topic.
    table_position
        Returns, by partition, the next offset to apply as the recovered table tells it.
    """

    def __init__(self, app: Any, topic: str, table_position: Callable[[int], int]) -> None:
        self.topic = topic
        self.generation = -1  # of the group, for which positions were settled
        self.applied: dict[TP, int] = {}  # next offset to apply
        self.committed: dict[TP, int] = {}  # the group's, as of the rebalance
        self._app = app
        self._table_position = table_position
        self._confirmed = float("-inf")  # when the group last confirmed us, time.monotonic()

    @property
    def settled(self) -> bool:
        """True between the end of one recovery and the start of the next rebalance."""
        return self.generation == self._app.consumer_generation_id

    @property
    def lease_left(self) -> bool:
        """True while the group's last confirmation is young enough to append on the strength of it."""
        return self.settled and time.monotonic() - self._confirmed < LEASE

    def settle(self, generation: int, committed: dict[TP, int]) -> dict[TP, int]:
        """Begin a generation: take the positions of its partitions from the table, and return them."""
        self.committed = committed
        self.applied = {tp: self._table_position(tp.partition) for tp in committed}
        self.generation = generation
        self._confirmed = float("-inf")
        return dict(self.applied)

    async def lease_held(self) -> bool:
        """Renew the lease if half of it has passed: commit what is applied, and see whether the group takes it."""
        asked = time.monotonic()
        if self.settled and asked - self._confirmed < LEASE / 2:
            return True
        if self.applied and await self._app.consumer._commit(dict(self.applied)) and self.settled:
            self._confirmed = asked
        return self.lease_left
