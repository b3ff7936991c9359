"""`/metrics` for Prometheus: metrics of the shop, of Faust and of the process.

The shop's metrics are read from its state at each scrape. Faust's (`faust_…`) count what passes through Faust: a batch
of purchases is one message there, and records appended by the shop's own producer are not counted. Must not change
anything.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from faust.sensors.prometheus import FaustMetrics, PrometheusMonitor
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from yasdg_app.application import app
from yasdg_app.web.event_stream import broadcaster
from yasdg_app.web.health import LogEnds, delay_of, lag_of, log_ends, rate_of, settled_last
from yasdg_app.web.scatter_gather import scatter_gather

COUNTS = {
    "sales": "Sales that this worker has appended to the log.",
    "lost_sales": "Lost sales that this worker has published: customers who found too little stock.",
    "restocks": "Restocks that this worker has published.",
    "dead_letters": "Messages that are not valid purchases, copied by this worker to the dead-letter topic.",
    "overtaken": "Appends that the broker rejected because another worker had appended meanwhile.",
}
"""Counters of the app that are exposed, and their help texts."""

disable_created_metrics()  # they would double every counter, with the same help text
registry = CollectorRegistry()
ProcessCollector(registry=registry)
faust_metrics = FaustMetrics.create(registry, "faust")
# Faust 0.15 measures these from the end of what they should measure, so they are always 0.
for broken in (
    faust_metrics.http_latency,
    faust_metrics.rebalance_done_latency,
    faust_metrics.rebalance_done_consumer_latency,
):
    registry.unregister(broken)
app.monitor = PrometheusMonitor(faust_metrics)  # before the app starts, which passes it to all of Faust


class ShopCollector:
    """The shop's metrics at the time of a scrape.

    Parameters
    ----------
    ends
        The ends of the logs of the owned partitions; None if the broker did not answer, and then there is no lag.
    """

    def __init__(self, ends: LogEnds | None) -> None:
        self._ends = ends

    def collect(self) -> Iterator[Metric]:
        yield from self._of_partitions()
        yield from _of_worker()
        if hasattr(app, "shop_producer"):
            yield from _of_producer()
        if app.mirror is not None:
            yield from _of_datastore()

    def _of_partitions(self) -> Iterator[Metric]:
        tps = settled_last()  # during a rebalance, those owned before
        delays = {tp.partition: delay_of(tp.partition) for tp in tps}
        yield GaugeMetricFamily("yasdg_partitions", "Partitions that this worker owns.", len(tps))
        yield _by_partition(
            "yasdg_till_delay_seconds", "Delay of a partition's sales relative to the shop's clock, in seconds.", delays
        )
        yield _by_partition(
            "yasdg_sales_due",
            "Expected number of sales that are due and not yet produced: the delay times the mean rate of sales.",
            {partition: delay * rate_of(partition) for partition, delay in delays.items()},
        )
        if self._ends is not None:
            yield _by_partition(
                "yasdg_purchases_lag",
                "Purchases that are in the log and not yet in the inventory table.",
                {tp.partition: lag_of(tp, self._ends) for tp in tps if tp in self._ends},
            )


def _of_worker() -> Iterator[Metric]:
    for name, meaning in COUNTS.items():
        yield CounterMetricFamily(f"yasdg_{name}", meaning, app.counts[name])
    yield CounterMetricFamily("yasdg_rebalances", "Rebalances that this worker has seen.", app.rebalancing_count)
    yield GaugeMetricFamily(
        "yasdg_lease_held",
        "1 while the group has confirmed this worker's membership recently enough for it to append sales, else 0.",
        int(app.ownership.lease_left),
    )
    yield GaugeMetricFamily("yasdg_listeners", "Clients connected to /events/ of this worker.", broadcaster.clients)
    yield CounterMetricFamily(
        "yasdg_listeners_dropped", "Clients that were disconnected because they read nothing.", broadcaster.dropped
    )
    yield CounterMetricFamily(
        "yasdg_gathers", "Number of times that this worker has queried all workers.", scatter_gather.gathers
    )
    yield CounterMetricFamily(
        "yasdg_gathers_incomplete",
        "Number of those queries in which partitions were missing.",
        scatter_gather.incomplete,
    )


def _of_producer() -> Iterator[Metric]:
    producer = app.shop_producer
    since = producer.waiting_since
    yield GaugeMetricFamily(
        "yasdg_append_wait_seconds",
        "Age of the oldest append that the broker has not acknowledged, in seconds; 0 if there is none.",
        0.0 if since is None else time.monotonic() - since,
    )
    yield CounterMetricFamily(
        "yasdg_append_seconds", "Time that appends have waited for the broker, in seconds.", producer.seconds
    )
    yield CounterMetricFamily(
        "yasdg_append_batches", "Record batches sent: acknowledged, rejected, or abandoned.", producer.batches
    )


def _of_datastore() -> Iterator[Metric]:
    mirror = app.mirror
    yield GaugeMetricFamily(
        "yasdg_datastore_rows_waiting", "Rows of the inventory that may be missing in the datastore.", mirror.waiting
    )
    yield GaugeMetricFamily(
        "yasdg_datastore_lag_seconds",
        "Upper bound of the age of the oldest change that is missing in the datastore, in seconds; 0 if none is.",
        mirror.lag,
    )
    yield CounterMetricFamily(
        "yasdg_datastore_rows_written", "Rows of the inventory that were sent to the datastore.", mirror.written
    )
    yield CounterMetricFamily("yasdg_datastore_failures", "Failed attempts to write to the datastore.", mirror.failures)


def _by_partition(name: str, meaning: str, values: Mapping[int, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=["partition"])
    for partition, value in values.items():
        family.add_metric([str(partition)], value)
    return family


def exposition(ends: LogEnds | None) -> bytes:
    """Return all metrics in Prometheus's text format. `ends`: None if the broker did not answer."""
    return generate_latest(ShopCollector(ends)) + generate_latest(registry)


@app.page("/metrics")
async def metrics(web: Any, request: Any) -> Any:
    """Return all metrics."""
    return web.bytes(exposition(await log_ends()), headers={"Content-Type": CONTENT_TYPE_LATEST})
