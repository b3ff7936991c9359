"""A partition whose agent does not advance is fetched again, after some time and no more often."""

from types import SimpleNamespace

import pytest
from faust.types import TP
from support.fakes import Member

from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.pipeline import stalled_partitions
from yasdg_app.pipeline.stalled_partitions import RESEEK_AFTER_SECONDS, StalledPartitions

PURCHASES = TP("purchases", 0)


class Watched:
    """A partition whose log has more than the agent has applied."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 0.0
        monkeypatch.setattr(stalled_partitions, "time", SimpleNamespace(monotonic=lambda: self.at))
        self.member = Member()
        self.assignment = PartitionAssignment(self.member, ("purchases",), {})
        self.assignment.activate(1, {PURCHASES: 7}, {})
        self.stalled = StalledPartitions(self.assignment)

    async def look(self, after: float) -> int:
        """Return how often it was fetched again, some seconds later."""
        self.at += after
        await self.stalled.reseek_if_stalled(PURCHASES)
        return len(self.member.sought)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


async def test_a_partition_that_stands_still_is_fetched_again_once_per_period(watched: Watched) -> None:
    assert await watched.look(after=0) == 0
    assert await watched.look(after=RESEEK_AFTER_SECONDS) == 0
    assert await watched.look(after=0.1) == 1
    assert watched.member.sought == [{PURCHASES: 7}]
    assert await watched.look(after=RESEEK_AFTER_SECONDS) == 1
    assert await watched.look(after=0.1) == 2


async def test_one_that_advances_or_is_being_processed_is_not(watched: Watched) -> None:
    await watched.look(after=0)
    watched.assignment.positions[PURCHASES] = 8
    assert await watched.look(after=2 * RESEEK_AFTER_SECONDS) == 0
    watched.assignment.in_flight[0] = 1
    assert await watched.look(after=2 * RESEEK_AFTER_SECONDS) == 0


async def test_another_generation_begins_to_wait_anew(watched: Watched) -> None:
    await watched.look(after=0)
    watched.stalled.forget()
    assert await watched.look(after=2 * RESEEK_AFTER_SECONDS) == 0
