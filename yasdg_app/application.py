"""The Faust application, assembled from settings: the place to start reading.

The timer, the agent, the table, views and commands are in `streams`, `web` and `commands`, where Faust discovers them.
A wrong configuration ends the program here, with every problem at once.
"""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import faust
import psutil
from aiokafka.errors import KafkaError
from faust.transport.drivers import TRANSPORTS
from faust.types.auth import CredentialsT
from faust.web.drivers import DRIVERS

from yasdg_app.cluster_state.bootstrap import open_shop
from yasdg_app.cluster_state.control_topic import ControlTopic
from yasdg_app.cluster_state.downtime import latest_event_time, skip_downtime
from yasdg_app.cluster_state.manifest import ShopManifest
from yasdg_app.config import catalog, checks, ini
from yasdg_app.config.settings import Settings
from yasdg_app.errors import ConfigurationError, YasdgError
from yasdg_app.faust_runtime.upstream import RENAMED
from yasdg_app.kafka import topics
from yasdg_app.kafka.auth.connection import Connection, connection_to
from yasdg_app.kafka.auth.diagnostics import LoginRefusedError, check_login
from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.errors import BrokerStateUnknownError
from yasdg_app.kafka.producer import ShopProducer
from yasdg_app.kafka.reader import Reader
from yasdg_app.kafka.topic_watch import TopicChangedError, TopicWatch
from yasdg_app.messages.formats import Format, format_of
from yasdg_app.process.crashes import OncePerError, one_line
from yasdg_app.process.descriptors import raise_descriptor_limit
from yasdg_app.process.ports import addresses_of
from yasdg_app.sinks.base import CONNECT, Datastore, DatastoreError, DatastoreRefusedError
from yasdg_app.sinks.factory import datastore_of
from yasdg_app.text import printable

TRANSPORTS.aliases["yasdg"] = "yasdg_app.faust_runtime.transport:Transport"
DRIVERS.aliases["yasdg"] = "yasdg_app.web.driver:Web"

CHATTY = {
    **dict.fromkeys(("faust", "mode", "aiohttp"), logging.WARNING),
    # Faust's services log under the name of the module of their class, ours among them.
    **dict.fromkeys(
        (
            "yasdg_app.application",
            "yasdg_app.faust_runtime.table",
            "yasdg_app.faust_runtime.transport",
            "yasdg_app.web.driver",
        ),
        logging.WARNING,
    ),
    # It says that a first tick was late, which it is: the worker recovers before.
    "mode.timers": logging.ERROR,
    # It tells of each request that is no HTTP, with a traceback. What goes wrong in an answer we tell ourselves.
    "aiohttp.server": logging.CRITICAL,
    # It tells of each of its attempts to reach a broker or a leader; we say once that we wait.
    "aiokafka": logging.CRITICAL,
    # They tell at DEBUG of all that they send and get: keys that AWS lends us, signatures, addresses with a password.
    **dict.fromkeys(("boto3", "botocore", "aioboto3", "aiobotocore", "aws_msk_iam_sasl_signer"), logging.WARNING),
    **dict.fromkeys(("urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "confluent_kafka"), logging.WARNING),
}
"""Loggers by name, and the least level that goes into our own output."""


DISCOVERED = ["yasdg_app.pipeline", "yasdg_app.web", "yasdg_app.cli"]
EVERYWHERE = ("0.0.0.0", "::")  # addresses that stand for all of a machine's
YOUNG = 10_000  # objects before a look for cycles: messages come by the thousand and have none, a quarter of the time
SWITCH = 0.001  # seconds that one thread makes another wait; with the usual 0.005 fetching is in the way of selling
RESTARTS = 3  # of the embedded broker in a row that may fail
WATCH = 1.0  # seconds between two looks at the embedded broker
UNHEARD = 5.0  # seconds without an answer after which we ask whether the cluster still lets us in
CLOSING = 1.0  # seconds in which the books are closed at an orderly stop
SAVING = 3.0  # seconds in which, at the same, the datastore takes what it lacks
LONGEST_STOP = 20.0  # seconds; an orderly stop takes about two, on a machine that is out of breath more
AFTER_STOP = 3.0  # seconds in which a process ends that was stopped
AFTER_CRASH_SECONDS = 4.0  # in which a process ends that has crashed, whatever still waits for whatever

logger = logging.getLogger("yasdg_app")


class ShopApp(faust.App):
    """A Faust app that knows its shop, and opens it before it connects.

    Attributes
    ----------
    shop
        The validated settings.
    products
        The catalog.
    connection
        How the cluster is reached.
    format
        How messages stand on the topics.
    opening
        What all workers of the shop agree upon; known once the worker has started.
    control
        What is set while the shop runs.
    shop_producer
        The producer that they are together.
    reader
        Reads logs, in no group.
    own_reader
        Reads of them what the shop itself has written, on a connection of its own.
    counts
        What this worker did since it started, for the metrics.
    datastore, mirror
        Where a copy of the inventory is kept, and what keeps it there; None without `[DATASTORE]`.
    """

    shop: Settings
    products: tuple[catalog.Product, ...]
    connection: Connection
    format: Format
    ownership: Any
    opening: ShopManifest
    control: ControlTopic
    shop_producer: ShopProducer
    reader: Reader
    own_reader: Reader
    counts: Counter[str]
    datastore: Datastore | None = None
    mirror: Any = None
    broker_process: EmbeddedBroker | None = None
    _shop_closes: bool = False

    @property
    def closing(self) -> bool:
        """True from the moment when the worker was told to stop: nothing more is sold."""
        return self._shop_closes or self.should_stop

    @property
    def bootstrap_servers(self) -> str:
        """Where the cluster is: `host:port[,host:port]`."""
        return self.connection.servers

    async def connect_broker(self) -> None:
        """See that the embedded broker runs, if it is the one that is configured."""
        if self.shop.kafka.embedded and self.broker_process is None:
            self.broker_process = EmbeddedBroker(self.shop.kafka.data_dir, self.shop.kafka.embedded_port)
            await asyncio.to_thread(self.broker_process.start)

    async def leave_broker(self) -> None:
        """Let the embedded broker go; it ends with its last user."""
        if self.broker_process is not None:
            broker, self.broker_process = self.broker_process, None
            await asyncio.to_thread(broker.stop)

    async def on_first_start(self) -> None:
        """Open the shop: broker, topics, products, and the moment when it all began."""
        raise_descriptor_limit()  # before an embedded broker is started, which has it from us
        gc.set_threshold(YOUNG)
        sys.setswitchinterval(SWITCH)
        if not checks.is_open_to(self.conf.web_bind, self.shop.web.token):  # --web-bind may differ from [WEB] host
            fail(ConfigurationError([f"--web-bind {printable(self.conf.web_bind)}: {checks.TOKEN_REQUIRED}"]), 2)
        try:
            self.datastore = datastore_of(self.shop.datastore.url)
        except ConfigurationError as error:
            fail(error, 2)
        try:
            if self.conf.web_enabled and self.conf.web_transport.scheme == "tcp":
                check_port(self.conf.web_bind, self.conf.web_port)
            make_folder(self.shop.kafka.data_dir)
            await self._open_datastore()
            await self.connect_broker()
            self.opening = await open_shop(self.connection, self.shop, self.products, self.format)
            self.shop_producer = ShopProducer(self.connection, self.opening.producer_id)
            self.reader = Reader(self.connection)
            self.own_reader = Reader(self.connection, self.opening.producer_id)
            await self._take_control()
        except YasdgError as error:
            await self.leave_broker()
            fail(error, 1)
        await super().on_first_start()
        gc.freeze()  # modules and catalog stay: a look through them for garbage takes a tenth of a second

    async def _open_datastore(self) -> None:
        """Find out whether the datastore will have us. One that is not there is waited for by the mirror alone."""
        if self.datastore is None:
            return
        try:
            await asyncio.wait_for(self.datastore.open(), CONNECT)
        except DatastoreRefusedError as error:
            raise YasdgError(f"{self.datastore.name}: {error}.") from error
        except (DatastoreError, TimeoutError) as error:
            logger.debug("%s: %r", self.datastore.name, error)

    async def _take_control(self) -> None:
        topic = topics.control_topic(self.shop.kafka)
        self.control = ControlTopic(
            topic, self.opening.clock, self.products, self.own_reader, self.shop_producer,
            partial(latest_event_time, self.own_reader, self.shop.kafka),
        )  # fmt: skip
        while self.shop.clock.on_restart == "skip":
            try:
                await skip_downtime(self.connection, self.shop.kafka, self.opening.clock, self.own_reader, self.control)
                return
            except KafkaError as error:
                logger.debug("Where the logs end cannot be read: %r", error)
                await asyncio.sleep(WATCH)

    @faust.Service.task
    async def _watch_broker(self) -> None:
        """Start the embedded broker again if it was killed."""
        while not self.should_stop:
            await self.sleep(WATCH)
            broker = self.broker_process
            if broker is None or broker.is_running():
                continue
            logger.warning("The embedded broker is gone. Starting it again.")
            failures = 0
            while not self.should_stop:
                try:
                    await asyncio.to_thread(broker.start)
                    break
                except BrokerStateUnknownError as error:  # says nothing of the broker
                    logger.warning("%s Looking again.", error)
                    await self.sleep(WATCH)
                except YasdgError as error:
                    failures += 1  # it may have been killed again
                    if failures == RESTARTS:
                        await self.crash(error)
                        return
                    logger.warning("%s Trying again.", error)
                    await self.sleep(WATCH)

    @faust.Service.task
    async def _watch_login(self) -> None:
        """End at once when the cluster does not let us in any more: Faust would try again for ever."""
        if self.shop.kafka.embedded:
            return
        well = time.monotonic()
        while not self.should_stop:
            await self.sleep(WATCH)
            if self._gets_through():
                well = time.monotonic()
            elif time.monotonic() - well > UNHEARD:
                try:
                    await check_login(self.connection)
                except LoginRefusedError as error:
                    give_up(str(error))
                except KafkaError as error:
                    logger.warning("No login at present: %s. Trying again.", error)
                well = time.monotonic()

    @faust.Service.task
    async def _watch_topics(self) -> None:
        """End at once when a topic is deleted, cut or divided otherwise: what waits for it would wait for ever."""
        watch = TopicWatch(self.connection, topics.specs(self.shop))
        try:
            while not self.should_stop:
                await self.sleep(WATCH)
                try:
                    await watch.look()
                except TopicChangedError as error:
                    end_at_once(error)
                except (KafkaError, OSError) as error:
                    logger.debug("The topics cannot be looked at: %r", error)
        finally:
            await watch.stop()

    def _gets_through(self) -> bool:
        """Tell whether the cluster hears us: it takes what we append, and the group confirms that we are in it."""
        since = self.shop_producer.waiting_since
        waits = since is not None and time.monotonic() - since > UNHEARD
        idle = self.ownership.settled and not self.ownership.partitions
        return not waits and (idle or self.ownership.lease_left)

    def _crash(self, reason: BaseException) -> None:
        closes = self._shop_closes  # what is closed in order has its own bound
        super()._crash(reason)
        if not closes:
            end_soon()

    def _init_fixups(self) -> list[Any]:
        return []  # Faust's one is for Django, wherever its variable happens to be set

    def _discovery_modules(self) -> list[str]:
        # Faust would import all of the package, and with it what only some have installed.
        return DISCOVERED

    def _on_autodiscovery_error(self, name: str) -> None:
        raise  # Faust would go on without the agent that could not be imported

    async def stop(self) -> None:
        """Close the books, then stop."""
        await self._close_the_books()
        await super().stop()

    async def _close_the_books(self) -> None:
        """Sell no more, and apply what was sold to the table, so that the next worker finds nothing left to do."""
        self._shop_closes = True
        if self.crashed or not self.ownership.settled:
            return
        try:
            await asyncio.wait_for(self._drained(), CLOSING)
        except RENAMED:  # a fault that the next start has as well
            logger.exception("The books are left open.")
        except Exception as error:  # the end comes anyway, and the next start does what is left
            logger.debug("The books are left open: %r", error)
        await self._save_the_inventory()

    async def _save_the_inventory(self) -> None:
        """Have the datastore take what it lacks, if it does."""
        if self.mirror is None:
            return
        try:
            await asyncio.wait_for(self.mirror.flush(), SAVING)
        except Exception as error:
            logger.debug("The datastore is left behind: %r", error)
        if self.mirror.waiting:
            logger.warning(
                "%s lacks the latest of %d products. The next start writes it.", self.mirror.name, self.mirror.waiting
            )

    async def _drained(self) -> None:
        applied = self.ownership.applied

        async def behind() -> bool:
            ends = await self.reader.ends(applied)
            return any(end > applied.get(tp, end) for tp, end in ends.items())

        while self.shop_producer.waiting_since is not None or await behind():
            await asyncio.sleep(0.02)
        await self.ownership.renew(at_once=True)

    async def on_shutdown(self) -> None:
        """Leave the broker when nothing of ours is connected to it any more."""
        await super().on_shutdown()
        if hasattr(self, "shop_producer"):
            await self.shop_producer.stop()
            await self.reader.stop()
            await self.own_reader.stop()
        if self.datastore is not None:
            await self.datastore.close()
        await self.leave_broker()


class ShopWorker(faust.Worker):
    """A Faust worker that ends when it is told to: in order if that works, at once if it is told a second time.

    When it crashes, the process is gone within seconds, and has said why on one line if the cause is known.
    """

    def on_setup_root_logger(self, logger: logging.Logger, level: int) -> None:
        """Log an error once, and on one line if that says enough; `-l debug`: with all tracebacks."""
        super().on_setup_root_logger(logger, level)
        if level > logging.DEBUG:
            logging.raiseExceptions = False  # a log that cannot be written is no reason for more lines
            once = OncePerError()
            for handler in logger.handlers:
                handler.addFilter(once)

    def on_worker_shutdown(self) -> None:
        """Begin the end: of a worker that was not told to stop, an error is the reason."""
        if not self._signal_stop_time:
            end_soon()
        super().on_worker_shutdown()

    def _crash(self, reason: BaseException) -> None:
        super()._crash(reason)
        if not self._signal_stop_time:
            end_soon()

    def _on_sigusr1(self) -> None:
        """Do nothing: mode would print the stacks of all tasks, with what is in them."""

    def _on_sigusr2(self) -> None:
        """Do nothing: mode would open a debugger, and wait for somebody to type."""

    def _schedule_shutdown(self, signal: signal.Signals) -> None:
        if self._signal_stop_time:
            give_up("Stopped at the second Ctrl-C.")
        super()._schedule_shutdown(signal)
        why = "Stopped without Apache Kafka, which does not answer."
        if not starts_timer(LONGEST_STOP, give_up, why):
            self.loop.call_later(LONGEST_STOP, give_up, why)

    async def _stop_on_signal(self, signal: signal.Signals) -> None:
        await super()._stop_on_signal(signal)
        # A start that was in the middle of something may go on behind the stop. There is nothing left to be done.
        self.loop.call_later(AFTER_STOP, self._leave)

    def _leave(self) -> None:
        """End the process, with the status of a failure if it has crashed."""
        os._exit(1 if self.crashed or self.app.crashed else 0)


def make_folder(path: Path) -> None:
    """Make the folder of what is kept on disk."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError([f"[KAFKA] data_dir: {path} cannot be made: {error.strerror}"]) from error


def end_soon() -> None:
    """See that the process is gone within seconds: what stops in order may wait for a cluster that is away."""
    if not starts_timer(AFTER_CRASH_SECONDS, os._exit, 1):
        os._exit(1)


def starts_timer(seconds: float, action: Callable[..., object], *arguments: object) -> bool:
    """Have a thread do something after a while, even if the event loop is held up; False if there can be no thread."""
    timer = threading.Timer(seconds, action, arguments)
    timer.daemon = True
    try:
        timer.start()
    except (RuntimeError, MemoryError):
        return False
    return True


class PortTakenError(YasdgError):
    """The web server cannot have its port."""


def check_port(host: str, port: int) -> None:
    """See that the web server can have its port, before anything else begins. Raises PortTakenError."""
    other = "Expected a free one: yasdg worker --web-port PORT, [WEB] port or YASDG_WEB_PORT"
    try:
        addresses_of(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"Port {port} of {host} is taken by {_holder(port)}. {other}.") from error
        raise PortTakenError(
            f"The web server cannot have port {port} of {host}: {one_line(error)}. {other}."
        ) from error


def _holder(port: int) -> str:
    """Return which process listens on a port, as far as that can be found out."""
    try:
        pids = {
            each.pid
            for each in psutil.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid
        }
        process = psutil.Process(min(pids))
        is_ours = any("yasdg" in part for part in process.cmdline())
        return f"process {process.pid} ({'a worker of yasdg' if is_ours else printable(process.name())})"
    except (psutil.Error, OSError, ValueError):  # of another user, or gone by now
        return "another process"


def give_up(why: str) -> None:
    """End the process at once. Nothing is lost by it: the next start goes on where the log ends."""
    print(f"yasdg: {why} Nothing is lost: the next start goes on where the log ends.", file=sys.stderr, flush=True)
    os._exit(1)


def end_at_once(error: YasdgError) -> None:
    """End the process at once with a message: an orderly stop would wait for what is not there any more."""
    print(f"yasdg: {error}", file=sys.stderr, flush=True)
    os._exit(1)


def fail(error: YasdgError, status: int) -> None:
    """End the process with a message and no traceback."""
    print(f"yasdg: {error}", file=sys.stderr, flush=True)
    raise SystemExit(status)


def advertised_host(host: str) -> str:
    """Return the host by which other workers reach a web server that listens on `host`, as it stands in an address."""
    if host in EVERYWHERE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def credentials(connection: Connection) -> CredentialsT | None:
    """Return the part of a connection that Faust's own clients ask for; None where nobody signs in."""
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


def create_app(shop: Settings, products: tuple[catalog.Product, ...]) -> ShopApp:
    """Return the Faust app of a shop. Its figures are explained in docs/decisions/faust-settings.md."""
    connection = connection_to(shop.kafka)
    app = ShopApp(
        shop.kafka.application_id,
        env={},  # WEB_PORT, BROKER_URL and 90 more belong to others
        broker=[f"yasdg://{server}" for server in connection.servers.split(",")],
        broker_credentials=credentials(connection),
        store="memory://",
        datadir=str(shop.kafka.data_dir / "faust"),
        origin="yasdg_app",
        autodiscover=DISCOVERED,
        topic_partitions=shop.kafka.partitions,
        topic_replication_factor=1 if shop.kafka.embedded else shop.kafka.replication_factor,
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
        web_bind=shop.web.host,
        web_host=advertised_host(shop.web.host),
        web_port=shop.web.port,
    )
    app.shop = shop
    app.products = products
    app.connection = connection
    app.format = format_of(shop.format, shop.kafka)
    app.counts = Counter()
    return app


def _load() -> ShopApp:
    try:
        shop = ini.load(os.environ, Path.cwd())
        products = catalog.load(shop.sales.products)
        if problems := checks.check_products(shop, products):
            raise ConfigurationError(problems)
        return create_app(shop, products)
    except ConfigurationError as error:
        print(f"yasdg: {len(error.problems)} to mend before the shop can open:", file=sys.stderr)
        print(str(error), file=sys.stderr, flush=True)
        raise SystemExit(2) from None


app = _load()


@app.on_worker_init.connect
def silence_libraries(*_: Any, **__: Any) -> None:
    """Keep what libraries say at INFO, such as a table of partitions at each start, out of our own output."""
    for name, level in CHATTY.items():
        logging.getLogger(name).setLevel(level)
