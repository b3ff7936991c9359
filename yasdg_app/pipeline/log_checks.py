"""Whether the logs still contain what is to be processed: messages may be deleted, and topics replaced."""

import logging
from collections.abc import Mapping

from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from faust.types import TP

from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.errors import YasdgError
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.kafka.batch_writer import SEQUENCES
from yasdg_app.kafka.client import is_retriable
from yasdg_app.pipeline.table_check import cut_log_error, short_log_error, table_counts

logger = logging.getLogger(__name__)

CHECK_SECONDS = 3.0
"""Between two checks of where the logs begin and end."""


class LogChecker:
    """Checks the logs of this worker's partitions.

    Parameters
    ----------
    shop, life, assignment, table
        The shop, the worker's life, its partitions, and the inventory.
    """

    def __init__(
        self,
        shop: RunningShop,
        life: Lifecycle,
        assignment: PartitionAssignment,
        table: ChunkedTable,
    ) -> None:
        self._shop = shop
        self._life = life
        self._assignment = assignment
        self._table = table
        self._kafka = shop.settings.kafka
        self._last_check: dict[TP, int] = {}  # positions at the last check of the logs

    async def skip_deleted(self, tp: TP) -> None:
        """Continue at the first remaining message, if the messages before it were deleted after they were processed.

        Nothing else may be applied to the partition in the meantime. Raises InconsistentLogError if messages were
        deleted that the table does not contain.
        """
        assignment, reader = self._assignment, self._shop.own_reader
        generation, position = assignment.generation, assignment.positions[tp]
        first = (await reader.firsts([tp]))[tp]
        if first <= position:
            return
        count = await reader.count_before(tp, first)
        if not assignment.is_active_in(generation):
            return  # the table has been replaced in the meantime
        if is_cut(count, self._table, self._kafka, tp):
            raise cut_log_error(tp, position, first)
        assignment.positions[tp] = first

    async def check(self) -> None:
        """Check the logs of all our partitions. What is missing for good ends the worker."""
        assignment, life = self._assignment, self._life
        generation = assignment.generation
        if not assignment.is_active or life.is_closing:
            return
        positions = dict(assignment.positions)
        try:
            await self._check(positions, generation)
        except KafkaError as error:
            is_permanent = not is_retriable(error) and not isinstance(error, OffsetOutOfRangeError)
            if is_permanent and generation == assignment.generation and not life.should_stop:
                await life.crash(error)
            logger.debug("The logs cannot be checked: %r", error)
        except YasdgError as error:
            if generation == assignment.generation and not life.should_stop:
                await life.crash(error)
        self._last_check = positions

    async def _check(self, positions: Mapping[TP, int], generation: int | None) -> None:
        assignment, reader = self._assignment, self._shop.own_reader
        firsts, ends = await reader.firsts(positions), await reader.ends(positions)
        for tp, position in positions.items():
            if generation != assignment.generation:
                return
            # What was fetched before the deletion is processed first; a lagging broker may not have all of it yet.
            if self._last_check.get(tp) != position:
                continue
            if firsts[tp] <= position <= ends[tp]:
                if position < ends[tp] and not assignment.is_busy(tp.partition):
                    await reader.fetch_chunk(tp, position, with_foreign=False)  # raises if that is impossible
                continue
            async with self._assignment.locks[tp.partition]:
                if generation != assignment.generation or assignment.positions[tp] != position:
                    continue
                if ends[tp] < position:
                    raise short_log_error(tp, ends[tp], position)
                await self.skip_deleted(tp)


def is_cut(count: int | None, table: ChunkedTable, kafka: KafkaSettings, tp: TP) -> bool:
    """Return whether a log lacks messages that the table has not processed.

    `count`: number of messages that the shop had appended before the first remaining offset, modulo SEQUENCES; None:
    unknown, because no batch of the shop is left.
    """
    held = dict(zip((kafka.topic_purchases, kafka.topic_lost_sales), table_counts(table, tp.partition), strict=True))
    return count is not None and count != held[tp.topic][0] % SEQUENCES
