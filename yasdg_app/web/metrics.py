"""`/metrics` for Prometheus: the shop's own figures, Faust's, and the process's.

Those of the shop are read off its state when they are asked for. Faust's (`faust_…`) count what passes through Faust: a
chunk of purchases is one message there, and what the shop's own producer appends is none. Must not change anything.
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
from yasdg_app.web.event_stream import audience
from yasdg_app.web.health import LogEnds, delay_of, lag_of, log_ends, rate_of, settled_last
from yasdg_app.web.scatter_gather import asker

COUNTS = {
    "sales": "Sales that this worker has appended to the log.",
    "lost_sales": "Lost sales that this worker has appended to the log.",
    "restocks": "Restocks that this worker has appended to the log.",
    "dead_letters": "Foreign messages that this worker has copied to the dead letters.",
    "overtaken": "Appends that the cluster rejected because another worker had appended in the meantime.",
}
"""Counts of the app that are shown, and their help."""

disable_created_metrics()  # they would double every counter, under the same help
registry = CollectorRegistry()
ProcessCollector(registry=registry)
faust_metrics = FaustMetrics.create(registry, "faust")
# Faust 0.15 counts these from the end of what they are to measure, so they are always 0.
for wrong in (
    faust_metrics.http_latency,
    faust_metrics.rebalance_done_latency,
    faust_metrics.rebalance_done_consumer_latency,
):
    registry.unregister(wrong)
app.monitor = PrometheusMonitor(faust_metrics)  # before the app starts, which gives it to all of Faust


class ShopCollector:
    """The shop's figures as they are when they are collected.

    Parameters
    ----------
    ends
        Where the logs of our partitions end; None if the cluster does not say, and then there is no lag.
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
        tps = settled_last()  # during a rebalance those of before it
        delays = {tp.partition: delay_of(tp.partition) for tp in tps}
        yield GaugeMetricFamily("yasdg_partitions", "Partitions that this worker owns.", len(tps))
        yield _by_partition("yasdg_till_delay_seconds", "Delay of the sales of a partition, in seconds.", delays)
        yield _by_partition(
            "yasdg_sales_due",
            "Expected number of sales that are due and not yet produced: the delay times the mean rate of sales.",
            {partition: delay * rate_of(partition) for partition, delay in delays.items()},
        )
        if self._ends is not None:
            yield _by_partition(
                "yasdg_purchases_lag",
                "Purchases in the log that the inventory table has not applied yet.",
                {tp.partition: lag_of(tp, self._ends) for tp in tps if tp in self._ends},
            )


def _of_worker() -> Iterator[Metric]:
    for name, meaning in COUNTS.items():
        yield CounterMetricFamily(f"yasdg_{name}", meaning, app.counts[name])
    yield CounterMetricFamily("yasdg_rebalances", "Rebalances that this worker has seen.", app.rebalancing_count)
    yield GaugeMetricFamily(
        "yasdg_lease_held",
        "1 while the group has confirmed this worker recently enough to append sales, else 0.",
        int(app.ownership.lease_left),
    )
    yield GaugeMetricFamily("yasdg_listeners", "Clients that read /events/ from this worker.", audience.listeners)
    yield CounterMetricFamily(
        "yasdg_listeners_dropped",
        "Clients of /events/ that were disconnected because they read nothing.",
        audience.dropped,
    )
    yield CounterMetricFamily(
        "yasdg_gathers",
        "Number of times that this worker has asked all workers for their parts of an answer.",
        asker.gathers,
    )
    yield CounterMetricFamily(
        "yasdg_gathers_incomplete",
        "Number of these answers in which a part of the stream was missing.",
        asker.incomplete,
    )


def _of_producer() -> Iterator[Metric]:
    producer = app.shop_producer
    since = producer.waiting_since
    yield GaugeMetricFamily(
        "yasdg_append_wait_seconds",
        "Age of the oldest append that the cluster has not answered yet, in seconds; 0 if there is none.",
        0.0 if since is None else time.monotonic() - since,
    )
    yield CounterMetricFamily(
        "yasdg_append_seconds", "Time spent waiting for the cluster to answer appends, in seconds.", producer.seconds
    )
    yield CounterMetricFamily(
        "yasdg_append_batches",
        "Batches of records sent, whether they were accepted, rejected or given up.",
        producer.batches,
    )


def _of_datastore() -> Iterator[Metric]:
    mirror = app.mirror
    yield GaugeMetricFamily(
        "yasdg_datastore_rows_waiting", "Rows of the inventory that the datastore may not have yet.", mirror.waiting
    )
    yield GaugeMetricFamily(
        "yasdg_datastore_lag_seconds",
        "Maximum age of the oldest change that the datastore does not have, in seconds; 0 if it has all.",
        mirror.lag,
    )
    yield CounterMetricFamily(
        "yasdg_datastore_rows_written", "Rows of the inventory that were sent to the datastore.", mirror.written
    )
    yield CounterMetricFamily(
        "yasdg_datastore_failures", "Attempts to write to the datastore that failed.", mirror.failures
    )


def _by_partition(name: str, meaning: str, values: Mapping[int, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=["partition"])
    for partition, value in values.items():
        family.add_metric([str(partition)], value)
    return family


def exposition(ends: LogEnds | None) -> bytes:
    """Return all metrics in Prometheus's text format. `ends`: None if the cluster did not answer."""
    return generate_latest(ShopCollector(ends)) + generate_latest(registry)


@app.page("/metrics")
async def metrics(web: Any, request: Any) -> Any:
    """Show all metrics."""
    return web.bytes(exposition(await log_ends()), headers={"Content-Type": CONTENT_TYPE_LATEST})
