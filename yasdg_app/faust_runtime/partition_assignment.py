"""Which partitions this worker has, up to which offset they are processed, and whether the group still confirms it.

A worker may touch a partition only between the end of a recovery and the start of the next rebalance, and may append
sales only while the group has confirmed it within a lease that is shorter than the session timeout. This keeps workers
from interfering with each other; the guarantee that nothing is appended twice does not depend on it (see
kafka/producer.py).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from faust.types import TP

LEASE_SECONDS = 3.0
"""How long a confirmation of the group is valid; the session timeout is 6 s."""


@dataclass(slots=True)
class PublishedState:
    """What the topics that the inventory agent writes contain of one partition, from this or any other worker."""

    restocks: int = 0  # number of restocks
    # By product_id: the number of the last published restock, where the table did not contain it when it was restored.
    ahead: dict[str, int] = field(default_factory=dict)
    dead_letters: int = 0  # number of dead letters
    dead_lettered: dict[str, int] = field(default_factory=dict)  # offset of the last message among them, by its topic


class GroupMember(Protocol):
    """The worker's membership of the consumer group: the Faust app and its consumer."""

    consumer_generation_id: int
    rebalancing: bool

    async def confirm(self, positions: Mapping[TP, tuple[int, str]]) -> bool:
        """Commit positions with metadata; return whether the group accepted them."""
        ...

    async def seek(self, positions: Mapping[TP, int]) -> None:
        """Fetch from these positions on, as far as the partitions are still assigned."""
        ...


class PartitionAssignment:
    """The partitions of the topics that the inventory is made from, as far as this worker has them.

    Parameters
    ----------
    member
        Our membership of the group.
    topics
        Names of the topics, that of the purchases first. A worker has the same partitions of each.
    max_batch
        How many messages of a partition are applied in one piece at most, by partition.

    Attributes
    ----------
    assigned
        The group's generation as of the last assignment.
    generation
        The generation for which positions are known; None if there is none.
    positions
        The next offset to process, by partition.
    published
        What the output topics contain, by partition.
    commit_metadata
        What is committed with the positions, for other workers to read.
    in_flight
        How many chunks the agents are processing, by partition.
    locks
        Held while a chunk of a partition is applied, or its position changed; by partition.
    """

    def __init__(self, member: GroupMember, topics: Sequence[str], max_batch: Mapping[int, int]) -> None:
        self.topics = tuple(topics)
        self.max_batch = max_batch
        self.assigned = -1
        self.generation: int | None = None
        self.in_flight: Counter[int] = Counter()
        self.locks = {partition: asyncio.Lock() for partition in max_batch}
        self.positions: dict[TP, int] = {}
        self.published: dict[int, PublishedState] = {}
        self.commit_metadata: dict[TP, str] = {}
        self._member = member
        self._confirmed_at = float("-inf")  # when the group last confirmed us, time.monotonic()
        self._renewing = asyncio.Lock()

    def is_current(self, generation: int | None) -> bool:
        """Return whether a generation is the group's current one, and no rebalance is in progress."""
        return generation == self._member.consumer_generation_id and not self._member.rebalancing

    @property
    def group_generation(self) -> int:
        """The group's current generation."""
        return self._member.consumer_generation_id

    @property
    def is_active(self) -> bool:
        """True between the end of a recovery and the start of the next rebalance."""
        return self.is_current(self.generation)

    def is_active_in(self, generation: int | None) -> bool:
        """Return whether positions are known for a generation of the group, and it is still the current one."""
        return self.generation == generation and self.is_current(generation)

    def is_busy(self, partition: int) -> bool:
        """Return whether chunks of a partition are being processed."""
        return self.in_flight[partition] > 0

    @property
    def has_lease(self) -> bool:
        """Whether the group's last confirmation is recent enough to append sales."""
        return self.is_active and time.monotonic() - self._confirmed_at < LEASE_SECONDS

    def activate(self, generation: int, positions: Mapping[TP, int], published: Mapping[int, PublishedState]) -> None:
        """Start a generation, with the positions of its partitions and what their output topics contain."""
        self.positions, self.published, self.commit_metadata = dict(positions), dict(published), {}
        self.generation = generation
        self._confirmed_at = float("-inf")

    def invalidate(self) -> None:
        """Touch no partition until the next `activate`, because what is known of the logs is out of date."""
        self.generation = None

    @property
    def partitions(self) -> list[int]:
        """The partitions that this worker had when a generation last started, in ascending order."""
        return sorted(tp.partition for tp in self.positions if tp.topic == self.topics[0])

    async def renew_lease(self, *, at_once: bool = False) -> None:
        """Commit the positions if a third of the lease has passed; if the group accepts that, the lease is renewed."""
        async with self._renewing:
            asked_at, generation = time.monotonic(), self.generation
            if not self.is_active or (asked_at - self._confirmed_at < LEASE_SECONDS / 3 and not at_once):
                return
            positions = {tp: (offset, self.commit_metadata.get(tp, "")) for tp, offset in self.positions.items()}
            if positions and await self._member.confirm(positions) and generation == self.generation:
                self._confirmed_at = asked_at

    async def seek(self, positions: Mapping[TP, int]) -> None:
        """Have messages fetched from these positions on, of partitions that are still ours."""
        await self._member.seek(positions)
