"""`/metrics` for Prometheus: metrics of the shop, of Faust and of the process.

The shop's metrics are read from its state at each scrape. Faust's (`faust_…`) count what passes through Faust: a batch
of purchases is one message there, and records appended by the shop's own producer are not counted. Must not change
anything.
"""

import time
from collections.abc import Iterable, Iterator, Mapping

from aiohttp import web
from faust.sensors.prometheus import FaustMetrics, PrometheusMonitor
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.kafka.producer import ShopProducer
from yasdg_app.pipeline.inventory_sink import InventorySink
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.web.health import Health, LogEnds
from yasdg_app.web.scatter_gather import ScatterGather
from yasdg_app.web.sse_broadcaster import SseBroadcaster

COUNTS = {
    "sales": "Sales that this worker has appended to the log.",
    "lost_sales": "Lost sales that this worker has published: customers who found too little stock.",
    "restocks": "Restocks that this worker has published.",
    "dead_letters": "Messages that are not valid purchases, copied by this worker to the dead-letter topic.",
    "overtaken": "Appends that the broker rejected because another worker had appended meanwhile.",
}
"""Counters of the shop that are exposed, and their help texts."""

disable_created_metrics()  # they would double every counter, with the same help text


class Metrics:
    """The metrics of a worker.

    Parameters
    ----------
    app
        The Faust app, which has not been started yet.
    pipeline, health
        The parts of the worker, and whether it does its work.
    broadcaster, scatter_gather
        The clients of `/events/`, and the queries to all workers.
    """

    def __init__(
        self,
        app: ShopApp,
        pipeline: Pipeline,
        health: Health,
        broadcaster: SseBroadcaster,
        scatter_gather: ScatterGather,
    ) -> None:
        self._app = app
        self._pipeline = pipeline
        self._health = health
        self._broadcaster = broadcaster
        self._scatter_gather = scatter_gather
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        faust_metrics = FaustMetrics.create(self._registry, "faust")
        # Faust 0.15 measures these from the end of what they should measure, so they are always 0.
        for broken in (
            faust_metrics.http_latency,
            faust_metrics.rebalance_done_latency,
            faust_metrics.rebalance_done_consumer_latency,
        ):
            self._registry.unregister(broken)
        app.monitor = PrometheusMonitor(faust_metrics)  # before the app starts, which passes it to all of Faust

    async def metrics(self, request: web.Request) -> web.Response:
        """Return all metrics."""
        body = self.exposition(await self._health.log_ends())
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def exposition(self, ends: LogEnds | None) -> bytes:
        """Return all metrics in Prometheus's text format.

        Parameters
        ----------
        ends
            The ends of the logs of the owned partitions; None if the broker did not answer, and then there is no lag.
        """
        return generate_latest(_Scrape(self._of_shop(ends))) + generate_latest(self._registry)

    def _of_shop(self, ends: LogEnds | None) -> Iterator[Metric]:
        yield from self._of_partitions(ends)
        yield from self._of_worker()
        if self._pipeline.shop.is_open:
            yield from _of_producer(self._pipeline.shop.producer)
        if self._pipeline.sink is not None:
            yield from _of_datastore(self._pipeline.sink)

    def _of_partitions(self, ends: LogEnds | None) -> Iterator[Metric]:
        health = self._health
        tps = health.owned_last()  # during a rebalance, those owned before
        delays = {tp.partition: health.delay_of(tp.partition) for tp in tps}
        yield GaugeMetricFamily("yasdg_partitions", "Partitions that this worker owns.", len(tps))
        yield _by_partition(
            "yasdg_till_delay_seconds", "Delay of a partition's sales relative to the shop's clock, in seconds.", delays
        )
        yield _by_partition(
            "yasdg_sales_due",
            "Expected number of sales that are due and not yet produced: the delay times the mean rate of sales.",
            {partition: delay * health.rate_of(partition) for partition, delay in delays.items()},
        )
        if ends is not None:
            yield _by_partition(
                "yasdg_purchases_lag",
                "Purchases that are in the log and not yet in the inventory table.",
                {tp.partition: health.lag_of(tp, ends) for tp in tps if tp in ends},
            )

    def _of_worker(self) -> Iterator[Metric]:
        for name, meaning in COUNTS.items():
            yield CounterMetricFamily(f"yasdg_{name}", meaning, self._pipeline.shop.counts[name])
        yield CounterMetricFamily(
            "yasdg_rebalances", "Rebalances that this worker has seen.", self._app.rebalancing_count
        )
        yield GaugeMetricFamily(
            "yasdg_lease_held",
            "1 while the group has confirmed this worker's membership recently enough for it to append sales, else 0.",
            int(self._pipeline.assignment.has_lease),
        )
        broadcaster, scatter_gather = self._broadcaster, self._scatter_gather
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


def _of_producer(producer: ShopProducer) -> Iterator[Metric]:
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


def _of_datastore(sink: InventorySink) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "yasdg_datastore_rows_waiting", "Rows of the inventory that may be missing in the datastore.", sink.waiting
    )
    yield GaugeMetricFamily(
        "yasdg_datastore_lag_seconds",
        "Upper bound of the age of the oldest change that is missing in the datastore, in seconds; 0 if none is.",
        sink.lag,
    )
    yield CounterMetricFamily(
        "yasdg_datastore_rows_written", "Rows of the inventory that were sent to the datastore.", sink.written
    )
    yield CounterMetricFamily("yasdg_datastore_failures", "Failed attempts to write to the datastore.", sink.failures)


def _by_partition(name: str, meaning: str, values: Mapping[int, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=["partition"])
    for partition, value in values.items():
        family.add_metric([str(partition)], value)
    return family


class _Scrape(Collector):
    """The metrics of one scrape, as Prometheus's client takes them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
