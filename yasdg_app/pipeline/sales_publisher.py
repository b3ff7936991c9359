"""Appends the sales of a partition to its logs: lost sales first, each batch while the partition is still ours.

The worker that continues after the last sale serves the customers lost since then again, and does not publish them
again: so the lost sales of a period have to be in the log before its sales.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from faust.types import TP

from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.kafka.producer import ProducerRecord, SequenceConflictError, UnknownOutcomeError
from yasdg_app.pipeline.partition_sales import PartitionSales
from yasdg_app.pipeline.sequence_conflicts import SequenceConflictTracker
from yasdg_app.shop.sales import LostSale, Sales, SalesBatch

logger = logging.getLogger(__name__)

BULK_FROM_SALES = 64
"""Minimum size of a block for bulk encoding; smaller blocks are encoded faster one by one."""
CONFLICT_RETRY_SECONDS = 0.5
"""Time until a partition is read again after a sequence conflict."""
OWNER_CHECK_SECONDS = 0.1
"""Between two checks whether the partition is still ours, while sales are not due."""


class SalesPublisher:
    """Appends sales and lost sales.

    Parameters
    ----------
    shop
        The shop.
    now
        Returns the time in microseconds since 1970.
    """

    def __init__(self, shop: RunningShop, now: Callable[[], int]) -> None:
        self._shop = shop
        self._kafka = shop.settings.kafka
        self._now = now
        self._ends: dict[TP, int] = {}
        self._conflicts = SequenceConflictTracker()

    def end(self, tp: TP) -> int:
        """Return the offset after what we have appended to a partition; 0 if that is nothing."""
        return self._ends.get(tp, 0)

    async def publish(
        self, partition: int, opened: PartitionSales, served: SalesBatch, due: int, is_owner: Callable[[], bool]
    ) -> bool:
        """Append lost sales, then sales; return False if not all were appended: then the logs must be read first.

        `due`: when the last of them is due, microseconds since 1970.
        """
        lost, sales = self._batches_of_lost(opened, served.lost), self._batches_of_sales(opened, served.sales)
        if self._shop.clock.at(self._now()) < opened.till.watermark:
            lost, sales = list(lost), list(sales)  # so that nothing is left to do when they are due
            if not await self._wait(opened.till.watermark, due, is_owner):
                return False
        counts = self._shop.counts
        tp = TP(self._kafka.topic_lost_sales, partition)
        if not await self._append(tp, opened.lost, len(served.lost), lost, is_owner):
            return False
        opened.lost += len(served.lost)
        counts["lost_sales"] += len(served.lost)
        tp = TP(self._kafka.topic_purchases, partition)
        if not await self._append(tp, opened.sales, len(served.sales), sales, is_owner):
            return False
        opened.sales += len(served.sales)
        counts["sales"] += len(served.sales)
        return True

    def _batches_of_sales(self, opened: PartitionSales, sales: Sales) -> Iterable[bytes]:
        producer = self._shop.producer
        if len(sales) < BULK_FROM_SALES:
            return producer.batches_of(opened.sales, (ProducerRecord(*row) for row in opened.encoder.encode(sales)))
        return producer.batches_of_records(opened.sales, opened.bulk_encoder.records(sales))

    def _batches_of_lost(self, opened: PartitionSales, lost: Sequence[LostSale]) -> Iterable[bytes]:
        return self._shop.producer.batches_of(
            opened.lost, (ProducerRecord(*row) for row in opened.lost_encoder.encode(lost))
        )

    async def _wait(self, through: int, due: int, is_owner: Callable[[], bool]) -> bool:
        """Wait for an event time, which is reached by `due` at the latest; return False if the partition is lost."""
        while self._shop.clock.at(self._now()) < through:
            if not is_owner():
                return False
            await asyncio.sleep(min(max(0, due - self._now()) / 1e6, OWNER_CHECK_SECONDS))
        return True

    async def _append(
        self, tp: TP, base: int, count: int, batches: Iterable[bytes], is_owner: Callable[[], bool]
    ) -> bool:
        """Append after the first `base` records; return False if not all were appended, or the log has to be read."""
        if not count:
            return True
        try:
            appended = await self._shop.producer.append_batches(*tp, batches, is_owner)
        except UnknownOutcomeError as error:
            logger.debug("%s. Reading the log.", error)
            return False
        except SequenceConflictError as error:
            logger.debug("%s. Reading the log.", error)
            self._shop.counts["overtaken"] += 1
            self._conflicts.note(tp, base, str(error))
            await asyncio.sleep(CONFLICT_RETRY_SECONDS)
            return False
        if appended.complete:
            self._ends[tp] = max(self._ends.get(tp, 0), appended.offset + count)
        return appended.complete
