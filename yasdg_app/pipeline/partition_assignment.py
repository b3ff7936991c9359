"""Which partitions are this worker's, up to where they were read, and whether the group still agrees.

A worker may touch a partition only between the end of a recovery and the start of the next rebalance, and may append
sales only while the group has confirmed it within a lease shorter than the session timeout. All this keeps workers out
of each other's way; that nothing is appended twice does not depend on it (see kafka/producer.py).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP

LEASE = 3.0  # seconds; the session timeout is 6


@dataclass(slots=True)
class Told:
    """What the logs that an inventory writes hold of one partition, from this or any other worker."""

    stockings: int = 0  # number of restocks told
    # Of the products of which the table did not know the last restock told when it was read: its number, by product_id.
    ahead: dict[str, int] = field(default_factory=dict)
    letters: int = 0  # number of dead letters
    buried: dict[str, int] = field(default_factory=dict)  # offset of the last message among them, by its topic


class Ownership:
    """The state of one worker's claim to partitions of the topics that its inventory is made from.

    Parameters
    ----------
    app
        The Faust application.
    topics
        Their names, that of the purchases first. A worker has the same partitions of each.
    most
        How many messages of a partition are applied in one piece at most.

    Attributes
    ----------
    assigned
        The group's generation as of the last assignment.
    generation
        The generation for which positions are settled; None if there is none.
    applied
        The next offset to apply, by partition.
    told
        What the logs hold, by partition.
    notes
        What is committed beside the positions, for the others to read.
    applying
        How many chunks the agents have at hand, by partition.
    """

    def __init__(self, app: Any, topics: Sequence[str], most: Mapping[int, int]) -> None:
        self.topics = tuple(topics)
        self.most = most
        self.assigned = -1
        self.generation: int | None = None
        self.applying: Counter[int] = Counter()
        self.applied: dict[TP, int] = {}
        self.told: dict[int, Told] = {}
        self.notes: dict[TP, str] = {}
        self._app = app
        self._confirmed = float("-inf")  # when the group last confirmed us, time.monotonic()
        self._renewing = asyncio.Lock()

    @property
    def settled(self) -> bool:
        """True between the end of one recovery and the start of the next rebalance."""
        return self.generation == self._app.consumer_generation_id and not self._app.rebalancing

    def is_busy(self, partition: int) -> bool:
        """Tell whether chunks of a partition are at hand."""
        return self.applying[partition] > 0

    @property
    def lease_left(self) -> bool:
        """True while the group's last confirmation is young enough to append on the strength of it."""
        return self.settled and time.monotonic() - self._confirmed < LEASE

    def settle(self, generation: int, applied: Mapping[TP, int], told: Mapping[int, Told]) -> None:
        """Begin a generation, with the positions of its partitions and what their logs hold."""
        self.applied, self.told, self.notes = dict(applied), dict(told), {}
        self.generation = generation
        self._confirmed = float("-inf")

    @property
    def partitions(self) -> list[int]:
        """The partitions that were this worker's when they were last settled, in order."""
        return sorted(tp.partition for tp in self.applied if tp.topic == self.topics[0])

    async def renew(self, at_once: bool = False) -> None:
        """Renew the lease if a third of it has passed: commit what is applied, and see whether the group takes it."""
        async with self._renewing:
            asked, generation = time.monotonic(), self.generation
            if not self.settled or (asked - self._confirmed < LEASE / 3 and not at_once):
                return
            positions = {tp: (offset, self.notes.get(tp, "")) for tp, offset in self.applied.items()}
            if positions and await self._app.consumer.confirm(positions) and generation == self.generation:
                self._confirmed = asked

    def unsettle(self) -> None:
        """Touch no partition until `settle`, because what is known of the logs is out of date."""
        self.generation = None

    async def go_back_to(self, positions: Mapping[TP, int]) -> None:
        """Have messages fetched from these positions on, those that are still ours."""
        await self._app.consumer.go_to(dict(positions))
