"""Logs foreign messages: those that another producer wrote to the topics from which the inventory is computed.

The first few of a topic are logged one by one; for more, only their number is logged from time to time. So a flood of
foreign messages does not flood the log.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from yasdg_app.kafka.batch_reader import Message, Unparsed
from yasdg_app.text import printable

logger = logging.getLogger(__name__)

LOGGED_ONE_BY_ONE = 5  # messages of a topic
REPORT_SECONDS = 10.0  # between two lines about the others
FOREIGN = "written by another producer"


def foreign_reason(message: Message) -> str:
    """Return why a message of another producer is a dead letter."""
    return f"{FOREIGN}: {message.why}" if isinstance(message, Unparsed) else FOREIGN


@dataclass(slots=True)
class ForeignLog:
    """Logs messages that are not the shop's."""

    clock: Callable[[], float] = time.monotonic
    _seen: Counter[str] = field(default_factory=Counter)  # by topic
    _unreported: Counter[str] = field(default_factory=Counter)  # of these, not logged yet
    _reported: float = float("-inf")  # when their number was last logged

    def note(self, tp: TopicPartition, offset: int, reason: str) -> None:
        """Log a message, or count it."""
        self._seen[tp.topic] += 1
        if self._seen[tp.topic] <= LOGGED_ONE_BY_ONE:
            logger.warning(
                "Foreign message at %s, partition %d, offset %d, copied to the dead letters: %s", tp.topic,
                tp.partition, offset, printable(reason, 300),
            )  # fmt: skip
        else:
            self._unreported[tp.topic] += 1

    def report(self) -> None:
        """Log the number of further messages, if it is time."""
        if self._unreported and self.clock() - self._reported >= REPORT_SECONDS:
            for topic, count in self._unreported.items():
                logger.warning(
                    "%d more foreign messages on %s were copied to the dead letters; %d in all since the start.", count,
                    topic, self._seen[topic],
                )  # fmt: skip
            self._unreported.clear()
            self._reported = self.clock()
