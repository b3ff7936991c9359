"""The Faust application on one page: start reading here.

Topics, in the order in which a sale passes through them (names are configurable, [KAFKA] topic_…):

    purchases, lost_sales   appended by `sell`; read by the agents below
    stockings               restocks, appended by the agents
    dead_letters            foreign messages found on these two, copied by the agents
    inventory-changelog     the table, appended by the agents before they change it
    incidents               appended by `sell`
    dirty, faults           purchases as a faulty network delivers them, and the faults, appended by `inject_faults`
    products                the catalog, published when the shop opens

All of them are written by the shop's own producer (kafka/producer.py) and created when the shop opens
(cluster_state/bootstrap.py). Faust reads only the two that the agents process, in chunks (faust_runtime/transport.py).
"""

import os
import sys
from functools import cache
from pathlib import Path
from typing import cast

from faust.types import StreamT

from yasdg_app.cli.commands import import_commands
from yasdg_app.cluster_state import control_follower
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config import catalog, checks, ini
from yasdg_app.config.settings import Settings
from yasdg_app.errors import ConfigurationError
from yasdg_app.faust_runtime.fetched_batches import FetchedBatch
from yasdg_app.faust_runtime.partition_assignment import LEASE_SECONDS
from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.faust_runtime.transport import Chunks
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.pipeline import fault_injector, log_checks
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.web.pages import register_pages
from yasdg_app.web.worker_state import RECORD_SECONDS


def assemble(shop_settings: Settings, products: tuple[catalog.Product, ...]) -> tuple[ShopApp, Pipeline]:
    """Return the app of a shop, and the parts that its agents, timers and tasks delegate to. Connects to nothing."""
    shop = RunningShop.of(shop_settings, products)
    app = ShopApp(shop)
    kafka = shop.settings.kafka

    # --- Topics that Faust reads ---

    purchases_topic, lost_sales_topic = (
        app.topic(name, schema=Chunks(key_serializer="raw", value_serializer="raw"), partitions=kafka.partitions)
        for name in (kafka.topic_purchases, kafka.topic_lost_sales)
    )

    # --- The table. Its keys are the topics' keys as bytes, so that a view finds the worker that holds a product ---

    table = app.Table(
        "inventory",
        partitions=kafka.partitions,
        key_type=bytes,
        value_type=InventoryLevel,
        help="Stock and totals of each product.",
        shop=shop,
        catalog=PartitionedCatalog.of(products, kafka.partitions),
    )
    inventory = cast(ChunkedTable, table)  # which ShopApp makes of all tables

    # --- The parts that do the work ---

    pipeline = Pipeline.of(shop, app, app, inventory)
    app.assignment = pipeline.assignment

    # --- Agents ---

    @app.agent(purchases_topic, name="yasdg_app.update_inventory")
    async def update_inventory(stream: StreamT[FetchedBatch]) -> None:
        """Apply purchases to the table, and publish the restocks that they cause."""
        await pipeline.agent.run(stream)

    @app.agent(lost_sales_topic, name="yasdg_app.count_lost_sales")
    async def count_lost_sales(stream: StreamT[FetchedBatch]) -> None:
        """Apply lost sales to the table."""
        await pipeline.agent.run(stream)

    @inventory.on_recover
    async def restore() -> None:
        """Restore the table and the other state of the assigned partitions, after each rebalance."""
        await pipeline.restorer.restore()

    # --- Tasks: loops that run as long as the worker ---

    @app.task
    async def sell() -> None:
        """Produce sales as they become due."""
        await pipeline.sales.run()

    @app.task
    async def keep_datastore() -> None:
        """Keep the datastore up to date, if there is one."""
        if app.datastore is not None:
            app.sink = pipeline.connect_sink(app.datastore)
            await app.sink.run()

    # --- Timers ---

    @app.timer(LEASE_SECONDS / 6)
    async def renew_lease() -> None:
        """Renew the lease by committing positions, even while the sales wait for a slow cluster."""
        await pipeline.assignment.renew_lease()

    @app.timer(control_follower.POLL_SECONDS)
    async def follow_control_topic() -> None:
        """Update the plan with changes made while the shop runs."""
        await pipeline.follower.poll()

    @app.timer(log_checks.CHECK_SECONDS)
    async def check_logs() -> None:
        """Check that the logs still contain all messages that are not processed yet, and report foreign messages."""
        pipeline.dead_letters.report()
        await pipeline.log_checker.check()

    if (faults := pipeline.faults) is not None:

        @app.timer(fault_injector.DELIVER_SECONDS)
        async def inject_faults() -> None:
            """Deliver purchases on the dirty topic, as a faulty network would."""
            await faults.run_round()

    # --- Pages and commands ---

    pages = register_pages(app, pipeline)

    @app.timer(RECORD_SECONDS)
    async def record_sales() -> None:
        """Record the number of sales; the dashboard computes its rate from it."""
        pages.state.record_sales()

    import_commands()
    return app, pipeline


def create_app(shop_settings: Settings, products: tuple[catalog.Product, ...]) -> ShopApp:
    """Return the app of a shop; see `assemble`."""
    app, _ = assemble(shop_settings, products)
    return app


@cache
def load() -> tuple[ShopApp, Pipeline]:
    """Return the app of the configuration that the working directory and the environment define; created once.

    Raises SystemExit with status 2, after printing all errors, if the configuration is invalid.
    """
    try:
        shop_settings = ini.load(os.environ, Path.cwd())
        products = catalog.load(shop_settings.sales.products)
        if problems := checks.check_products(shop_settings, products):
            raise ConfigurationError(problems)
        return assemble(shop_settings, products)
    except ConfigurationError as error:
        count = len(error.problems)
        print(f"yasdg: {count} configuration error{'s' if count > 1 else ''}:", file=sys.stderr)
        print(str(error), file=sys.stderr, flush=True)
        raise SystemExit(2) from None
