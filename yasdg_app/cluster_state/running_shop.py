"""The shop that this process works for: created once from settings and catalog, and passed to every part that needs it.

Must not know Faust or the pipeline. `open` reads the shop's manifest from the cluster; until then, `opened` and the
properties that depend on it raise ShopNotOpenError.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from aiokafka.errors import KafkaError

from yasdg_app.cluster_state.bootstrap import open_shop
from yasdg_app.cluster_state.control_topic import ControlTopic
from yasdg_app.cluster_state.downtime import latest_event_time, skip_downtime
from yasdg_app.cluster_state.manifest import ShopManifest
from yasdg_app.config.catalog import Product
from yasdg_app.config.settings import Settings
from yasdg_app.errors import YasdgError
from yasdg_app.kafka import topics
from yasdg_app.kafka.auth.connection import Connection, connection_to
from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.producer import ShopProducer
from yasdg_app.kafka.reader import Reader
from yasdg_app.messages.formats import Format, format_of
from yasdg_app.shop.clock import Clock

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Pause between two attempts to read where the logs end, when the shop opens."""


class ShopNotOpenError(YasdgError):
    """The shop is not open yet, so its manifest and its connections are not available."""


@dataclass(frozen=True, slots=True)
class OpenedShop:
    """What a worker has once its shop is open in the cluster.

    Attributes
    ----------
    manifest
        What all workers of the shop agree upon.
    control
        The control topic: changes made while the shop runs.
    producer
        The one producer that all workers share.
    reader
        Reads logs, without a consumer group.
    own_reader
        Reads only the shop's own records, on a separate connection.
    """

    manifest: ShopManifest
    control: ControlTopic
    producer: ShopProducer
    reader: Reader
    own_reader: Reader

    async def close(self) -> None:
        """Close all connections."""
        await self.producer.stop()
        await self.reader.stop()
        await self.own_reader.stop()


@dataclass(slots=True, eq=False)
class RunningShop:
    """A shop, as one process knows it.

    Attributes
    ----------
    settings, products
        The validated configuration and catalog.
    connection
        How the cluster is reached.
    format
        How messages are encoded on the topics.
    counts
        Numbers of what this worker has done since it started, for metrics and log: `sales`, `lost_sales`, `restocks`,
        `dead_letters`, `overtaken`.
    broker
        The embedded broker, if this process uses one.
    """

    settings: Settings
    products: tuple[Product, ...]
    connection: Connection
    format: Format
    counts: Counter[str] = field(default_factory=Counter)
    broker: EmbeddedBroker | None = None
    _opened: OpenedShop | None = None

    @classmethod
    def of(cls, settings: Settings, products: tuple[Product, ...]) -> "RunningShop":
        """Return the shop of a configuration. Connects to nothing."""
        return cls(settings, products, connection_to(settings.kafka), format_of(settings.format, settings.kafka))

    # --- The embedded broker -------------------------------------------------------------------------------------

    async def connect_broker(self) -> None:
        """Start or join the embedded broker, if the configuration asks for it. Raises YasdgError."""
        kafka = self.settings.kafka
        if kafka.embedded and self.broker is None:
            self.broker = EmbeddedBroker(kafka.data_dir, kafka.embedded_port)
            await asyncio.to_thread(self.broker.start)

    async def leave_broker(self) -> None:
        """Leave the embedded broker, which stops when its last user has left."""
        if self.broker is not None:
            broker, self.broker = self.broker, None
            await asyncio.to_thread(broker.stop)

    # --- Opening and closing ------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the shop: create topics, publish the catalog, agree with other workers on the manifest.

        Waits for an unavailable cluster. Raises YasdgError if the shop cannot be opened with this configuration.
        """
        manifest = await open_shop(self.connection, self.settings, self.products, self.format)
        producer = ShopProducer(self.connection, manifest.producer_id)
        own_reader = Reader(self.connection, manifest.producer_id)
        kafka = self.settings.kafka
        control = ControlTopic(
            topics.control_topic(kafka), manifest.clock, self.products, own_reader, producer,
            partial(latest_event_time, own_reader, kafka),
        )  # fmt: skip
        self._opened = OpenedShop(manifest, control, producer, Reader(self.connection), own_reader)
        if self.settings.clock.on_restart == "skip":
            await self._skip_downtime()

    async def _skip_downtime(self) -> None:
        while True:
            try:
                await skip_downtime(self.connection, self.settings.kafka, self.clock, self.own_reader, self.control)
                return
            except KafkaError as error:
                logger.debug("Where the logs end cannot be read: %r", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Close all connections to the cluster, if there are any."""
        if self._opened is not None:
            await self._opened.close()

    # --- The open shop -------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the shop has been opened."""
        return self._opened is not None

    @property
    def opened(self) -> OpenedShop:
        """What is available once the shop is open. Raises ShopNotOpenError before."""
        if self._opened is None:
            raise ShopNotOpenError("The shop is not open yet.")
        return self._opened

    @property
    def manifest(self) -> ShopManifest:
        """See `OpenedShop`. Raises ShopNotOpenError."""
        return self.opened.manifest

    @property
    def clock(self) -> Clock:
        """The shop's clock, which returns the current event time. Raises ShopNotOpenError."""
        return self.opened.manifest.clock

    @property
    def control(self) -> ControlTopic:
        """See `OpenedShop`. Raises ShopNotOpenError."""
        return self.opened.control

    @property
    def producer(self) -> ShopProducer:
        """See `OpenedShop`. Raises ShopNotOpenError."""
        return self.opened.producer

    @property
    def reader(self) -> Reader:
        """See `OpenedShop`. Raises ShopNotOpenError."""
        return self.opened.reader

    @property
    def own_reader(self) -> Reader:
        """See `OpenedShop`. Raises ShopNotOpenError."""
        return self.opened.own_reader
