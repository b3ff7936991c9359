"""The parts of a worker, assembled: they produce sales, process them and publish the results.

Created once per app. Of Faust it knows only the app's lifecycle, its group membership and its table.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from yasdg_app.aggregates.windows import Windows
from yasdg_app.cluster_state.control_follower import ControlFollower
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.catalog import Product
from yasdg_app.faust_runtime.fetched_batches import MAX_BATCH_MESSAGES
from yasdg_app.faust_runtime.lifecycle import Lifecycle
from yasdg_app.faust_runtime.partition_assignment import GroupMember, PartitionAssignment
from yasdg_app.faust_runtime.table import ChunkedTable
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.kafka.producer import BATCH_BYTES
from yasdg_app.messages.ids import id_bytes
from yasdg_app.pipeline.dead_letters import DeadLetterPublisher
from yasdg_app.pipeline.fault_injector import FaultInjector
from yasdg_app.pipeline.inventory_agent import InventoryAgent
from yasdg_app.pipeline.inventory_sink import InventorySink
from yasdg_app.pipeline.log_checks import LogChecker
from yasdg_app.pipeline.restore import StateRestorer
from yasdg_app.pipeline.sales_generator import SalesGenerator
from yasdg_app.sinks.base import Datastore

ROW_BYTES, MIN_ROW_BYTES = 660, 700
"""Size of a row in the changelog without its id, which occurs twice, and size with a short one; at most."""


def max_table_rows(products: Iterable[Product]) -> int:
    """Return how many rows a chunk may change: they must fit into one batch of the changelog."""
    longest = max((len(each.product_id.encode()) + id_bytes(each.product_id) for each in products), default=0)
    return BATCH_BYTES // max(MIN_ROW_BYTES, ROW_BYTES + longest)


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
        Sales over event time, for views.
    dead_letters
        Copies foreign messages.
    restorer
        Restores the state of partitions after a rebalance.
    log_checker
        Checks that the logs still contain what is to be processed.
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
    dead_letters: DeadLetterPublisher
    restorer: StateRestorer
    log_checker: LogChecker
    agent: InventoryAgent
    faults: FaultInjector | None
    sales: SalesGenerator
    sink: InventorySink | None = None

    @classmethod
    def of(
        cls,
        shop: RunningShop,
        life: Lifecycle,
        member: GroupMember,
        inventory: ChunkedTable,
        now: Callable[[], int] | None = None,
    ) -> "Pipeline":
        """Return the parts of a worker that keeps its inventory in a table.

        `now`: returns the time at which sales are due, in microseconds since 1970; None: this machine's clock.
        """
        kafka, catalog, max_rows = shop.settings.kafka, inventory.catalog, max_table_rows(shop.products)
        assignment = PartitionAssignment(
            member,
            (kafka.topic_purchases, kafka.topic_lost_sales),
            {
                partition: max_rows if len(catalog.products_in(partition)) > max_rows else MAX_BATCH_MESSAGES
                for partition in range(kafka.partitions)
            },
        )
        follower = ControlFollower(shop, lambda: life.should_stop)
        windows = Windows(shop, life, assignment, catalog, inventory.store_of)
        dead_letters = DeadLetterPublisher(shop)
        restorer = StateRestorer(shop, life, assignment, follower, inventory, windows)
        log_checker = LogChecker(shop, life, assignment, inventory)
        agent = InventoryAgent(
            shop, life, assignment, follower, inventory, windows, dead_letters, restorer, log_checker
        )  # fmt: skip
        faults = FaultInjector(shop, life, assignment, catalog) if shop.settings.faults.any else None
        sales = SalesGenerator(shop, life, assignment, follower, inventory, windows, faults, now)
        return cls(
            shop=shop, life=life, catalog=catalog, inventory=inventory, assignment=assignment, follower=follower,
            windows=windows, dead_letters=dead_letters, restorer=restorer, log_checker=log_checker, agent=agent,
            faults=faults, sales=sales,
        )  # fmt: skip

    def connect_sink(self, datastore: Datastore) -> InventorySink:
        """Return the sink that keeps a datastore up to date. A run with an end waits for this sink."""
        sink = InventorySink(self.shop, self.life, self.assignment, self.inventory, datastore)
        self.sink = self.sales.end_of_run.sink = sink
        return sink
