"""Dead letters: copies of foreign messages on a topic of their own, each with the reason and its original position."""

import itertools
import logging
from collections.abc import Callable, Mapping

import orjson
from aiokafka.errors import MessageSizeTooLargeError
from faust.types import TP

from yasdg_app.cluster_state.clock_jumps import jumps
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.faust_runtime.partition_assignment import PublishedState
from yasdg_app.inventory.projection import AppliedChunk
from yasdg_app.kafka.batch_reader import Message
from yasdg_app.kafka.producer import ProducerRecord, RecordsRejectedError, StaleStateError
from yasdg_app.kafka.reader import Chunk
from yasdg_app.kafka.topic_policies import MAX_DEAD_LETTER_BYTES
from yasdg_app.messages.formats import original_of
from yasdg_app.pipeline.foreign_log import ForeignLog, foreign_reason

logger = logging.getLogger(__name__)

CUT_LETTER_BYTES = 64 * 1024  # of key and value together, copied from a message that is too long


class DeadLetterPublisher:
    """Appends the dead letters of this worker's partitions, and logs foreign messages."""

    def __init__(self, shop: RunningShop) -> None:
        self._shop = shop
        self._topic = shop.settings.kafka.topic_dead_letters
        self._log = ForeignLog()
        self._max_letter_bytes = MAX_DEAD_LETTER_BYTES  # of a copy; less, once the cluster has refused one

    async def publish(
        self, tp: TP, letters: list[tuple[Message, str]], published: PublishedState, is_owner: Callable[[], bool]
    ) -> bool:
        """Copy the foreign messages of a partition, except those that a worker before us has copied.

        Returns False if not all may be appended.
        """
        done = published.dead_lettered.get(tp.topic, -1)
        letters = [letter for letter in letters if letter[0].offset > done]
        for message, reason in letters:
            self._log.note(tp, message.offset, reason)
        max_bytes = self._max_letter_bytes
        rows = (dead_letter(tp, message, reason, published.dead_lettered, max_bytes) for message, reason in letters)
        try:
            appended = await self._shop.producer.append(
                self._topic, tp.partition, published.dead_letters, rows, is_owner
            )  # fmt: skip
        except RecordsRejectedError as error:
            if not isinstance(error.__cause__, MessageSizeTooLargeError) or max_bytes == CUT_LETTER_BYTES:
                raise
            logger.warning("%s Copies of more than %d bytes are cut.", error, CUT_LETTER_BYTES)
            self._max_letter_bytes = CUT_LETTER_BYTES
            raise StaleStateError(str(error)) from error  # those before it may have been appended
        if letters and appended.complete:
            published.dead_letters += len(letters)
            published.dead_lettered[tp.topic] = letters[-1][0].offset
            self._shop.counts["dead_letters"] += len(letters)
        return appended.complete

    def report(self) -> None:
        """Log how many foreign messages were not logged one by one."""
        self._log.report()


def dead_letters_of(chunk: Chunk, applied: AppliedChunk) -> list[tuple[Message, str]]:
    """Return the foreign messages of a chunk, each with the reason, in the order of the log."""
    foreign = [(message, foreign_reason(message)) for message in chunk.foreign]
    return sorted(
        (*foreign, *itertools.starmap(original_of, applied.dead_letters)), key=lambda letter: letter[0].offset
    )


def dead_letter(tp: TP, message: Message, reason: str, buried: Mapping[str, int], max_bytes: int) -> ProducerRecord:
    """Return the dead letter for a foreign message: a copy with the reason and the original position.

    The copy has the message's key and value, and its headers as `original.<name>`.

    Parameters
    ----------
    buried
        The offset of the last message that was copied, by topic.
    max_bytes
        Maximum size of key, value and headers together. A longer message is cut: its headers are omitted, at most
        CUT_LETTER_BYTES of key and value are kept, and `original.size` is its original size in bytes.
    """
    headers = [
        ("reason", reason.encode()),
        ("topic", tp.topic.encode()),
        ("partition", str(tp.partition).encode()),
        ("offset", str(message.offset).encode()),
        ("buried", orjson.dumps({**buried, tp.topic: message.offset})),
    ]
    key, value = message.key, message.value
    originals = [(f"original.{name}", content or b"") for name, content in message.headers]
    size = len(key or b"") + len(value or b"") + sum(len(name) * 4 + len(content) for name, content in originals)
    if size <= max_bytes:
        headers += originals
    else:
        headers.append(("original.size", str(size).encode()))
        key, value = (None if part is None else part[: CUT_LETTER_BYTES // 2] for part in (key, value))
    return ProducerRecord(key, value, jumps.record_time(), headers)
