"""The Faust app of a shop, without its topics, agents and timers: Faust's settings, and the worker's start and stop.

It opens the shop before Faust connects, watches the broker, the login and the topics while it runs, and stops in order.
`yasdg_app/app.py` declares the topics, agents and timers.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping, MutableSequence
from pathlib import Path
from typing import Any, Protocol, cast

import faust
from aiokafka.errors import KafkaError
from faust.transport.drivers import TRANSPORTS
from faust.types import TP
from faust.types.auth import CredentialsT
from faust.types.fixups import FixupT
from faust.web.drivers import DRIVERS

from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config import checks
from yasdg_app.errors import RENAMED, ConfigurationError, YasdgError
from yasdg_app.faust_runtime.log_levels import silence_libraries
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.transport import Consumer
from yasdg_app.faust_runtime.worker import NO_DATA_LOST, ShopWorker
from yasdg_app.kafka import topics
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.auth.diagnostics import LoginRefusedError, check_login
from yasdg_app.kafka.embedded.errors import BrokerStateUnknownError
from yasdg_app.kafka.topic_watch import TopicChangedError, TopicWatch
from yasdg_app.process.descriptors import raise_descriptor_limit
from yasdg_app.process.exits import abort_process, abort_soon, exit_with_error
from yasdg_app.process.ports import advertised_host, check_port
from yasdg_app.sinks.base import CONNECT_TIMEOUT_SECONDS, Datastore, DatastoreError, DatastoreRefusedError
from yasdg_app.sinks.factory import create_datastore
from yasdg_app.text import printable

TRANSPORTS.aliases["yasdg"] = "yasdg_app.faust_runtime.transport:Transport"
DRIVERS.aliases["yasdg"] = "yasdg_app.web.driver:Web"

GC_THRESHOLD = 10_000
"""Allocations between two runs of the garbage collector: messages come by the thousand and contain no cycles."""
THREAD_SWITCH_SECONDS = 0.001
"""Time after which a running thread yields to a waiting one; with Python's 0.005 fetching slows down selling."""
MAX_BROKER_FAILURES = 3
"""Maximum number of consecutive failures to restart the embedded broker."""
WATCH_SECONDS = 1.0
"""Between two checks of the embedded broker, the login and the topics."""
CHECK_LOGIN_AFTER_SECONDS = 5.0
"""Time without a response of the cluster after which the login is checked."""
DRAIN_SECONDS = 1.0
"""Maximum time of an orderly shutdown for the table to process what was sold."""
FLUSH_SECONDS = 3.0
"""Maximum time of an orderly shutdown for the datastore to accept the pending rows."""
POLL_SECONDS = 0.02
"""Between two checks whether the table has processed all."""

logger = logging.getLogger("yasdg_app")


class FlushableSink(Protocol):
    """Keeps a copy of the inventory in a datastore."""

    name: str

    @property
    def waiting(self) -> int:
        """Number of rows that may be missing or outdated in the datastore."""
        ...

    async def flush(self) -> None:
        """Write the remaining rows."""
        ...


class ShopApp(faust.App):
    """A Faust app that opens its shop before it connects. Its settings: docs/decisions/faust-settings.md.

    Attributes
    ----------
    shop
        The shop, which is passed to all parts of the app.
    assignment
        The partitions of this worker; set by the app's declarations.
    datastore
        Where a copy of the inventory is kept; None without `[DATASTORE]`.
    sink
        Writes that copy; set when the worker has started.
    """

    assignment: PartitionAssignment
    datastore: Datastore | None = None
    sink: FlushableSink | None = None
    _stops_selling: bool = False

    def __init__(self, shop: RunningShop) -> None:
        self.shop = shop
        kafka, web = shop.settings.kafka, shop.settings.web
        super().__init__(
            kafka.application_id,
            env={},  # WEB_PORT, BROKER_URL and 90 more may belong to other programs
            broker=[f"yasdg://{server}" for server in shop.connection.servers.split(",")],
            broker_credentials=credentials(shop.connection),
            store="memory://",
            datadir=str(kafka.data_dir / "faust"),
            origin="yasdg_app",
            autodiscover=False,
            topic_partitions=kafka.partitions,
            topic_replication_factor=1 if kafka.embedded else kafka.replication_factor,
            topic_disable_leader=True,
            table_standby_replicas=0,
            broker_session_timeout=6.0,
            broker_heartbeat_interval=1.0,
            broker_rebalance_timeout=20.0,
            broker_commit_interval=1.0,
            stream_wait_empty=False,
            stream_buffer_maxsize=16,
            consumer_max_fetch_size=256 * 1024,
            Worker=ShopWorker,
            Table="yasdg_app.faust_runtime.table:ChunkedTable",
            TableManager="yasdg_app.faust_runtime.table:ChunkedTableManager",
            worker_redirect_stdouts=False,
            web="yasdg://",
            web_bind=web.host,
            web_host=advertised_host(web.host),
            web_port=web.port,
        )

    def worker_init(self) -> None:
        """Set log levels before anything is logged."""
        silence_libraries()
        super().worker_init()

    def _init_fixups(self) -> MutableSequence[FixupT]:
        return []  # Faust's are for Django, if Django's environment variable is set

    # --- The consumer group, for PartitionAssignment --------------------------------------------------------------

    async def confirm(self, positions: Mapping[TP, tuple[int, str]]) -> bool:
        """Commit positions with metadata; return whether the group accepted them."""
        return await cast(Consumer, self.consumer).confirm(positions)

    async def seek(self, positions: Mapping[TP, int]) -> None:
        """Fetch from these positions on, as far as the partitions are still assigned."""
        await cast(Consumer, self.consumer).go_to(dict(positions))

    # --- Start ----------------------------------------------------------------------------------------------------

    async def on_first_start(self) -> None:
        """Open the shop before Faust connects. A configuration that does not work ends the program with a message."""
        raise_descriptor_limit()  # before the embedded broker is started, which inherits it
        gc.set_threshold(GC_THRESHOLD)
        sys.setswitchinterval(THREAD_SWITCH_SECONDS)
        shop, kafka = self.shop, self.shop.settings.kafka
        if not checks.is_open_to(self.conf.web_bind, shop.settings.web.token):  # --web-bind may differ from the host
            problem = f"--web-bind {printable(self.conf.web_bind)}: {checks.TOKEN_REQUIRED}"
            exit_with_error(ConfigurationError([problem]), 2)
        try:
            self.datastore = create_datastore(shop.settings.datastore.url)
        except ConfigurationError as error:
            exit_with_error(error, 2)
        for note in shop.settings.notes:
            logger.warning("%s", note)
        try:
            if self.conf.web_enabled and self.conf.web_transport.scheme == "tcp":
                check_port(self.conf.web_bind, self.conf.web_port)
            make_folder(kafka.data_dir)
            await self._open_datastore()
            await shop.connect_broker()
            await shop.open()
        except YasdgError as error:
            await shop.leave_broker()
            exit_with_error(error, 1)
        await super().on_first_start()
        gc.freeze()  # modules and catalog are never garbage: a run through them takes a tenth of a second

    async def _open_datastore(self) -> None:
        """Check that the datastore accepts our login. An unavailable datastore does not stop the worker."""
        if self.datastore is None:
            return
        try:
            await asyncio.wait_for(self.datastore.open(), CONNECT_TIMEOUT_SECONDS)
        except DatastoreRefusedError as error:
            raise YasdgError(f"{self.datastore.name}: {error}.") from error
        except (DatastoreError, TimeoutError) as error:
            logger.debug("%s: %r", self.datastore.name, error)

    # --- While it runs --------------------------------------------------------------------------------------------

    @faust.Service.task
    async def _watch_broker(self) -> None:
        """Restart the embedded broker if it was killed."""
        while not self.should_stop:
            await self.sleep(WATCH_SECONDS)
            broker = self.shop.broker
            if broker is None or broker.is_running():
                continue
            logger.warning("The embedded broker has ended. Restarting it.")
            failures = 0
            while not self.should_stop:
                try:
                    await asyncio.to_thread(broker.start)
                    break
                except BrokerStateUnknownError as error:  # unknown whether the broker runs
                    logger.warning("%s Checking again.", error)
                    await self.sleep(WATCH_SECONDS)
                except YasdgError as error:
                    failures += 1  # it may have been killed again
                    if failures == MAX_BROKER_FAILURES:
                        await self.crash(error)
                        return
                    logger.warning("%s Retrying.", error)
                    await self.sleep(WATCH_SECONDS)

    @faust.Service.task
    async def _watch_login(self) -> None:
        """End at once when the cluster no longer accepts our login: Faust would retry forever."""
        if self.shop.settings.kafka.embedded:
            return
        responded_at = time.monotonic()
        while not self.should_stop:
            await self.sleep(WATCH_SECONDS)
            if self._cluster_responds():
                responded_at = time.monotonic()
            elif time.monotonic() - responded_at > CHECK_LOGIN_AFTER_SECONDS:
                try:
                    await check_login(self.shop.connection)
                except LoginRefusedError as error:
                    abort_process(f"{error} {NO_DATA_LOST}")
                except KafkaError as error:
                    logger.warning("Login currently fails: %s. Retrying.", error)
                responded_at = time.monotonic()

    def _cluster_responds(self) -> bool:
        """Return whether the cluster accepts our appends, and the group confirms our membership."""
        since = self.shop.producer.waiting_since
        is_waiting = since is not None and time.monotonic() - since > CHECK_LOGIN_AFTER_SECONDS
        is_idle = self.assignment.is_active and not self.assignment.partitions
        return not is_waiting and (is_idle or self.assignment.has_lease)

    @faust.Service.task
    async def _watch_topics(self) -> None:
        """End at once when a topic is deleted, cut or repartitioned: an orderly shutdown would wait for it forever."""
        watch = TopicWatch(self.shop.connection, topics.specs(self.shop.settings))
        try:
            while not self.should_stop:
                await self.sleep(WATCH_SECONDS)
                try:
                    await watch.look()
                except TopicChangedError as error:
                    abort_process(str(error))
                except (KafkaError, OSError) as error:
                    logger.debug("The topics cannot be checked: %r", error)
        finally:
            await watch.stop()

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until it or the worker ends; an exception in it crashes the worker."""
        self.add_future(work)

    # --- Stop -----------------------------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """True from the moment when the worker was asked to stop: no more sales are produced."""
        return self._stops_selling or self.should_stop

    def _crash(self, reason: BaseException) -> None:
        was_stopping = self._stops_selling  # an orderly shutdown has its own time limit
        super()._crash(reason)
        if not was_stopping:
            abort_soon()

    def request_stop(self) -> None:
        """Stop the worker in order, as a termination signal does."""
        os.kill(os.getpid(), signal.SIGTERM)

    async def stop(self) -> None:
        """Stop selling, process what was sold, then stop."""
        await self._process_what_was_sold()
        await super().stop()

    async def _process_what_was_sold(self) -> None:
        """Stop producing sales, and apply those produced to the table, so that the next worker has nothing to do."""
        self._stops_selling = True
        if self.crashed or not self.assignment.is_active:
            return
        try:
            await asyncio.wait_for(self._drain(), DRAIN_SECONDS)
        except RENAMED:  # a bug that the next start has as well
            logger.exception("Not all sales were processed before the shutdown.")
        except Exception as error:  # the shutdown continues, and the next start processes the rest
            logger.debug("Not all sales were processed before the shutdown: %r", error)
        await self._flush_sink()

    async def _drain(self) -> None:
        """Wait until the table has processed all that was appended, and commit that."""
        positions = self.assignment.positions

        async def lags() -> bool:
            ends = await self.shop.reader.ends(positions)
            return any(end > positions.get(TP(*tp), end) for tp, end in ends.items())

        while self.shop.producer.waiting_since is not None or await lags():
            await asyncio.sleep(POLL_SECONDS)
        await self.assignment.renew_lease(at_once=True)

    async def _flush_sink(self) -> None:
        """Write the pending rows to the datastore, if it is available."""
        if self.sink is None:
            return
        try:
            await asyncio.wait_for(self.sink.flush(), FLUSH_SECONDS)
        except RENAMED:  # a bug that the next start has as well
            logger.exception("Not all rows were written to the datastore before the shutdown.")
        except Exception as error:  # the shutdown continues, and the next start writes the rest
            logger.debug("The datastore does not have all rows: %r", error)
        if self.sink.waiting:
            logger.warning(
                "%s lacks the latest state of %d products. The next start writes it.", self.sink.name, self.sink.waiting
            )

    async def on_shutdown(self) -> None:
        """Stop using the embedded broker when all connections to it are closed."""
        await super().on_shutdown()
        await self.shop.close()
        if self.datastore is not None:
            await self.datastore.close()
        await self.shop.leave_broker()


def make_folder(path: Path) -> None:
    """Create the folder for data on disk. Raises ConfigurationError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError([f"[KAFKA] data_dir: cannot create {path}: {error.strerror}"]) from error


def credentials(connection: Connection) -> CredentialsT | None:
    """Return the credentials for Faust's own clients; None if the cluster requires no authentication."""
    context = connection.ssl_context
    match connection.security_protocol, connection.sasl_mechanism:
        case "PLAINTEXT", _:
            return None
        case "SSL", _:
            return faust.SSLCredentials(context)
        case _, "OAUTHBEARER":
            return faust.OAuthCredentials(oauth_cb=connection.tokens, ssl_context=context)
        case _, mechanism:
            return faust.SASLCredentials(
                username=connection.username, password=connection.password, ssl_context=context, mechanism=mechanism
            )
