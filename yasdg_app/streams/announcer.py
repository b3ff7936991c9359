"""Tells of the incidents that begin and end, so that whatever they do to the stream is labelled.

Whoever owns the first partition that has products does it, when its till has come there. The n-th announcement is a
function of the plan, and so is how many there were by now: what the log holds is not told again.
"""

import logging
from collections.abc import Callable

from aiokafka.errors import KafkaError
from faust.types import TP

from yasdg_app.application import app
from yasdg_app.messages import announcement, encode
from yasdg_app.producer import OutOfDateError, Row
from yasdg_app.streams.watch import watch

logger = logging.getLogger(__name__)

STRETCH = 90 * 86_400 * 1_000_000  # microseconds of event time that are looked at in one go


class Announcer:
    """Appends announcements, in order of event time."""

    def __init__(self) -> None:
        self._tp = TP(app.shop.kafka.topic_incidents, 0)
        self._told: int | None = None  # number of announcements in the log; None: it has to be read
        self._through = 0  # event time before which all is told
        self._told_before = 0  # how many announcements were made before that

    async def announce(self, until: int, allowed: Callable[[], bool]) -> None:
        """Announce what begins or ends up to an event time, that included."""
        plan = watch.plan
        try:
            if self._told is None:
                self._told = (await app.reader.ends([self._tp]))[self._tp]
                self._through, self._told_before = plan.opened_at, 0
            while self._through <= until and allowed():
                last = min(until + 1, self._through + STRETCH)
                due = list(plan.incidents.announcements(self._through, last))
                new = due[max(0, self._told - self._told_before) :]
                rows = [
                    Row(incident.name.encode(), encode(announcement(at, phase, incident)), at // 1000)
                    for at, phase, incident in new
                ]
                appended = await app.shop_producer.append(self._tp.topic, 0, self._told, rows, allowed)
                if not appended.complete:
                    self._told = None
                    return
                self._told += len(rows)
                self._through, self._told_before = last, self._told_before + len(due)
        except (KafkaError, OutOfDateError) as error:
            logger.debug("The incidents are told of later: %r", error)
            self._told = None
