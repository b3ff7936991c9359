"""What is logged of the sales: each of them while they are few, and their number from time to time."""

import logging
import time
from collections.abc import Callable

from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.messages.reference import purchase, receipt
from yasdg_app.messages.times import time_text
from yasdg_app.shop.customer_behaviour import line_of
from yasdg_app.shop.sales import NO_PRODUCT, Sales
from yasdg_app.shop.till import Till

logger = logging.getLogger(__name__)

REPORT_SECONDS = 10.0
"""Between two log lines about the number of sales."""
SHOW_FROM_MEAN_SECONDS = 0.5
"""Mean time between sales from which each of them is logged."""
MAX_SHOWN_SALES = 3
"""Maximum number in a block; the sales of a larger block are not logged one by one."""


class SalesReport:
    """Logs sales.

    Parameters
    ----------
    shop
        The shop.
    now
        Returns the time in microseconds since 1970.
    """

    def __init__(self, shop: RunningShop, now: Callable[[], int]) -> None:
        self._shop = shop
        self._now = now
        self._reported = (0, time.monotonic())  # number of sales at the last report, and when that was
        self._has_warned_ahead = False

    def show(self, till: Till, sales: Sales) -> None:
        """Log each sale if the sales are current and few enough to read."""
        at, clock, settings = self._now(), self._shop.clock, self._shop.settings.sales
        if settings.mean_seconds_between_sales / clock.pace(at) < SHOW_FROM_MEAN_SECONDS:
            return
        if len(sales) > MAX_SHOWN_SALES or clock.at(at) - till.watermark > REPORT_SECONDS * 1_000_000:
            return
        columns = (sales.product, sales.number, sales.at, sales.option, sales.promotion, sales.requested_product)
        for product, number, at, way, promotion, asked in zip(*(column.tolist() for column in columns), strict=True):
            line = line_of(till.products[product], way, promotion, settings)
            instead_of = None if asked == NO_PRODUCT else till.products[asked].product_id
            logger.info("%s", receipt(purchase(at, number, line, instead_of).asdict(), line.product.item))

    @property
    def is_due(self) -> bool:
        """Whether the next report has to be logged."""
        return time.monotonic() - self._reported[1] >= REPORT_SECONDS

    def log(self, partitions: int, catching_up: int | None, sold_ahead: int | None) -> None:
        """Log how much was sold, and the shop's time.

        Parameters
        ----------
        partitions
            How many are assigned to this worker.
        catching_up
            Event time up to which sales are produced, if they are late; None if they are not.
        sold_ahead
            Event time up to which a log contains sales of the future; None if there are none.
        """
        count, at = self._reported
        passed, counts = time.monotonic() - at, self._shop.counts
        self._reported = (counts["sales"], time.monotonic())
        self._warn_if_sold_ahead(sold_ahead)
        lost = counts["lost_sales"]
        logger.info(
            "%d sales so far%s, %.1f per second; %d of %d partitions assigned%s",
            counts["sales"],
            f", and {lost} lost" if lost else "",
            (counts["sales"] - count) / passed,
            partitions,
            self._shop.settings.kafka.partitions,
            f"; catching up, {time_text(catching_up)[:16]} (UTC) by the shop's clock"
            if catching_up is not None
            else "",
        )

    def _warn_if_sold_ahead(self, through: int | None) -> None:
        """Log once that the log contains sales of the future."""
        if through is not None and not self._has_warned_ahead:
            logger.warning(
                "The log contains sales up to %s (UTC), but it is %s by the shop's clock: a clock was ahead. "
                "Nothing is sold until then.",
                *(time_text(through)[:19], time_text(self._shop.clock.at(self._now()))[:19]),
            )
        self._has_warned_ahead = through is not None
