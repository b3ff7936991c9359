"""Tells of the incidents that begin and end, so that whatever they do to the stream is labelled.

Whoever owns the first partition that has products does it, when its till has come there. The n-th announcement is a
function of the plan, and so is how many there were by now: what the log holds is not told again.
"""

import asyncio
import logging
from collections.abc import Callable

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.application import app
from yasdg_app.kafka.producer import ProducerRecord, SequenceConflictError, StaleStateError
from yasdg_app.messages.reference import announcement, encode
from yasdg_app.pipeline.control_follower import watch
from yasdg_app.pipeline.restore import Disputes
from yasdg_app.truth.offline_stream import INCIDENT_SPAN

logger = logging.getLogger(__name__)

ANYWHERE = 0  # a dispute is over when all is told
RETRY = 0.5  # seconds before a look whether the log shows what the cluster counts


class Announcer:
    """Appends announcements, in order of event time."""

    def __init__(self) -> None:
        self._tp = TP(app.shop.kafka.topic_incidents, 0)
        self._told: int | None = None  # number of announcements in the log; None: it has to be read
        self._through = 0  # event time before which all is told
        self._told_before = 0  # how many announcements were made before that
        self._disputes = Disputes()

    @property
    def through(self) -> int:
        """Event time up to which all is told; -1: the log has to be read first."""
        return -1 if self._told is None else self._through - 1

    async def announce(self, until: int, allowed: Callable[[], bool]) -> None:
        """Announce what begins or ends up to an event time, that included."""
        try:
            if self._told is None:
                self._told = await app.own_reader.count(self._tp)
                self._through, self._told_before = watch.plan.opened_at, 0
            while self._through <= until and allowed():
                await self._announce_before(min(until + 1, self._through + INCIDENT_SPAN), allowed)
                if self._told is None:
                    return
            self._disputes.settle(self._tp)
        except StaleStateError as error:
            self._told = None
            if isinstance(error, SequenceConflictError):
                self._disputes.note(self._tp, ANYWHERE, str(error))
            await asyncio.sleep(RETRY)
        except KafkaError as error:
            logger.debug("The incidents are told of later: %r", error)
            self._told = None

    async def _announce_before(self, last: int, allowed: Callable[[], bool]) -> None:
        assert self._told is not None
        due = list(watch.plan.incidents.announcements(self._through, last))
        rows = [
            ProducerRecord(
                incident.name.encode(),
                app.format.write("incidents", encode(announcement(at, phase, incident))),
                at // 1000,
            )
            for at, phase, incident in due[max(0, self._told - self._told_before) :]
        ]
        appended = await app.shop_producer.append(self._tp.topic, 0, self._told, rows, allowed)
        if not appended.complete:
            self._told = None
            return
        self._told += len(rows)
        self._through, self._told_before = last, self._told_before + len(due)
