"""The parts of a worker, assembled: they produce sales, process them and publish the results.

Created once per app. Of Faust it knows only the app's lifecycle, its group membership and its table.
"""

from dataclasses import dataclass

from yasdg_app.aggregates.windows import Windows
from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.faust_runtime.fetched_batches import MAX_BATCH_MESSAGES
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import GroupMember, PartitionAssignment
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.kafka.producer import BATCH_BYTES
from yasdg_app.pipeline.fault_injector import FaultInjector
from yasdg_app.pipeline.inventory_agent import InventoryAgent
from yasdg_app.pipeline.inventory_sink import InventorySink
from yasdg_app.pipeline.sales_generator import SalesGenerator
from yasdg_app.sinks.base import Datastore

MAX_TABLE_ROWS = BATCH_BYTES // 700
"""Maximum number of rows that a chunk may change: they must fit into one batch of the changelog."""


@dataclass(slots=True, eq=False)
class Pipeline:
    """The parts of a worker.

    Attributes
    ----------
    shop
        The shop.
    life
        The worker's lifecycle: whether it is stopping, and how to end it.
    catalog
        The products, and the partition of each.
    inventory
        The table of stock levels and totals.
    assignment
        The partitions of this worker.
    follower
        Keeps the plan up to date.
    windows
        Sales by minute of event time, for views.
    agent
        Processes purchases and lost sales.
    faults
        Delivers sales with faults; None if no faults are configured.
    sales
        Produces sales.
    sink
        Keeps the datastore up to date; None without a datastore, and before the worker has started.
    """

    shop: RunningShop
    life: Lifecycle
    catalog: PartitionedCatalog
    inventory: ChunkedTable
    assignment: PartitionAssignment
    follower: ControlFollower
    windows: Windows
    agent: InventoryAgent
    faults: FaultInjector | None
    sales: SalesGenerator
    sink: InventorySink | None = None

    @classmethod
    def of(cls, shop: RunningShop, life: Lifecycle, member: GroupMember, inventory: ChunkedTable) -> "Pipeline":
        """Return the parts of a worker that keeps its inventory in a table."""
        kafka, catalog = shop.settings.kafka, inventory.catalog
        assignment = PartitionAssignment(
            member,
            (kafka.topic_purchases, kafka.topic_lost_sales),
            {
                partition: MAX_TABLE_ROWS
                if len(catalog.products_in(partition)) > MAX_TABLE_ROWS
                else MAX_BATCH_MESSAGES
                for partition in range(kafka.partitions)
            },
        )
        follower = ControlFollower(shop, lambda: life.should_stop)
        windows = Windows(shop, life, assignment, catalog, inventory.store_of)
        agent = InventoryAgent(shop, life, assignment, follower, inventory, windows)
        faults = FaultInjector(shop, life, assignment, catalog) if shop.settings.faults.any else None
        sales = SalesGenerator(shop, life, assignment, follower, inventory, windows, faults)
        return cls(shop, life, catalog, inventory, assignment, follower, windows, agent, faults, sales)

    def connect_sink(self, datastore: Datastore) -> InventorySink:
        """Return the sink that keeps a datastore up to date. A run with an end waits for this sink."""
        sink = InventorySink(self.shop, self.life, self.assignment, self.inventory, datastore)
        self.sink = self.sales.sink = sink
        return sink
