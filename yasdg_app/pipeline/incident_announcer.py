"""Publishes the start and end of incidents, so that their effects on the stream are labelled.

The owner of the first partition that has products does it, once its sales are produced up to that time. The n-th
announcement is a function of the plan, and so is their number up to now: what the topic contains is not published
again.
"""

import asyncio
import logging
from collections.abc import Callable

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.kafka.producer import ProducerRecord, SequenceConflictError, StaleStateError
from yasdg_app.messages.reference import announcement, encode
from yasdg_app.pipeline.sequence_conflicts import SequenceConflictTracker
from yasdg_app.truth.offline_stream import INCIDENT_SPAN

logger = logging.getLogger(__name__)

ANY_OFFSET = 0
"""Used as the offset: a sequence conflict is over only when everything is published."""
RETRY_SECONDS = 0.5
"""Before the topic is read again, to see whether it contains what the cluster counts."""


class IncidentAnnouncer:
    """Appends announcements, in order of event time."""

    def __init__(self, shop: RunningShop, follower: ControlFollower) -> None:
        self._shop = shop
        self._follower = follower
        self._tp = TP(shop.settings.kafka.topic_incidents, 0)
        self._published: int | None = None  # number of announcements on the topic; None: it has to be read
        self._before = 0  # event time before which all is published
        self._published_before = 0  # number of announcements before that
        self._conflicts = SequenceConflictTracker()

    @property
    def published_through(self) -> int:
        """Event time up to which all is published; -1: the topic has to be read first."""
        return -1 if self._published is None else self._before - 1

    async def announce(self, until: int, is_owner: Callable[[], bool]) -> None:
        """Publish what starts or ends up to an event time, inclusive.

        `is_owner`: whether the partition whose owner announces is still ours. Raises InconsistentLogError if the topic
        and the cluster disagree for too long.
        """
        try:
            if self._published is None:
                self._published = await self._shop.own_reader.count(self._tp)
                self._before, self._published_before = self._follower.plan.opened_at, 0
            while self._before <= until and is_owner():
                await self._announce_before(min(until + 1, self._before + INCIDENT_SPAN), is_owner)
                if self._published is None:
                    return
            self._conflicts.resolve(self._tp)
        except StaleStateError as error:
            self._published = None
            if isinstance(error, SequenceConflictError):
                self._conflicts.note(self._tp, ANY_OFFSET, str(error))
            await asyncio.sleep(RETRY_SECONDS)
        except KafkaError as error:
            logger.debug("The incidents are announced later: %r", error)
            self._published = None

    async def _announce_before(self, end: int, is_owner: Callable[[], bool]) -> None:
        assert self._published is not None
        due = list(self._follower.plan.incidents.announcements(self._before, end))
        rows = [
            ProducerRecord(
                incident.name.encode(),
                self._shop.format.write("incidents", encode(announcement(at, phase, incident))),
                at // 1000,
            )
            for at, phase, incident in due[max(0, self._published - self._published_before) :]
        ]
        appended = await self._shop.producer.append(self._tp.topic, 0, self._published, rows, is_owner)
        if not appended.complete:
            self._published = None
            return
        self._published += len(rows)
        self._before, self._published_before = end, self._published_before + len(due)
