"""One Apache Kafka process: its configuration, its start, its end, and why it ended.

Broker and controller in one (KRaft), on this machine only. Knows Java and Kafka; must not know who uses it.
"""

import base64
import ctypes
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import psutil

from yasdg_app.kafka.embedded.errors import BrokerError, reason
from yasdg_app.kafka.embedded.folder import HOST, BrokerFolder, answers, probe_socket
from yasdg_app.kafka.embedded.java import java_command, logging_option

STOP_SECONDS = 20.0
"""How long Kafka may take to close its logs before it is killed."""
PORTS = range(20000, 32000)
"""Where free ports are looked for: below those that the system gives to outgoing connections, which come and go."""
OURS = "-Dyasdg.folder="
"""Marks our Java processes, and with whose data they work."""
PR_SET_PDEATHSIG = 1
"""From Linux's <sys/prctl.h>."""

CONFIGURATION = """\
# Written anew at every start; a change here is lost.
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@{host}:{controller_port}
# Relative to the process's working folder, so that no letter in its path can be misread.
log.dirs=kafka
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# It forgets a producer whose last record is so old, and what it has appended: as late as can be, 25 days. A backfill's
# records are older; it looks for such producers as seldom as can be, and when it starts.
producer.id.expiration.ms=2147483647
producer.id.expiration.check.interval.ms=2147483647
# A broker that was killed is let in again when its last session is over.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
# Its default takes 128 MB of the heap.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
"""


class PortRace(BrokerError):
    """Kafka could not bind a port, though the one it is to serve on is free: its other one was taken meanwhile."""


class KafkaNode:
    """Apache Kafka on a folder, listening on 127.0.0.1:`port`; for whoever holds the folder's `broker.lock`."""

    def __init__(self, folder: BrokerFolder, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process, without waiting until it answers. Raises BrokerError if that cannot be."""
        require_free(self.port)
        configuration = CONFIGURATION.format(host=HOST, port=self.port, controller_port=free_port())
        try:
            self.folder.write(self.folder.properties, configuration)
            self.folder.output.write_bytes(b"")
            self._log_begins = self.folder.log.stat().st_size if self.folder.log.exists() else 0
            if not (self.folder.data / "meta.properties").exists():
                self._format()
            self._process = self._run("kafka.Kafka", str(self.folder.properties))
        except OSError as error:
            raise BrokerError(f"Cannot start the embedded broker in {self.folder.path}: {reason(error)}.") from error

    def answers(self) -> bool:
        """Whether it serves: Kafka opens its port when everything else is up."""
        return answers(self.port)

    def exit_status(self) -> int | None:
        """None while it lives."""
        return self._process.poll() if self._process else None

    def stop(self) -> None:
        """End it in order, by force after 20 s. Nothing happens if it is not running."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()

    def kill(self) -> None:
        """End it at once. Its next start takes longer: it looks its logs through."""
        if self._process:
            self._process.kill()

    def death(self) -> BrokerError:
        """Why it ended by itself, from its own last words."""
        words = self._last_words()
        text = f"The embedded broker ended by itself (status {self.exit_status()})"
        text += f": {words.rstrip('.')}. " if words else ". "
        text += f"Its log is {self.folder.log}."
        return PortRace(text) if "BindException" in words or "Failed to bind" in words else BrokerError(text)

    def _run(self, main_class: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = java_command(
            main_class,
            *arguments,
            options=(
                "-Xmx256m",
                logging_option("log4j2.properties"),
                f"-Dyasdg.log={self.folder.log}",
                f"{OURS}{self.folder.path}",
            ),
        )
        with self.folder.output.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the keeper's terminal is the keeper's business
                preexec_fn=_die_with_parent(),
            )

    def _format(self) -> None:
        self.folder.data.mkdir(exist_ok=True)
        self._process = self._run(
            "kafka.tools.StorageTool",
            *("format", "--ignore-formatted", "--config", str(self.folder.properties), "--cluster-id", cluster_id()),
        )
        if self._process.wait() != 0:
            raise self.death()

    def _last_words(self) -> str:
        return last_words(self._log_of_this_start()) or last_line(_read(self.folder.output))

    def _log_of_this_start(self) -> str:
        size = self.folder.log.stat().st_size if self.folder.log.exists() else 0
        return _read(self.folder.log, self._log_begins if size >= self._log_begins else 0)


def end_orphan(folder: BrokerFolder) -> None:
    """End the Java that a killed keeper may have left behind on this folder.

    On Linux it dies with its keeper; this is for other systems. A process is touched only if its own command line says
    that it is ours and works on this folder.
    """
    status = folder.read_status()
    if status is None or status.java_pid is None:
        return
    try:
        process = psutil.Process(status.java_pid)
        if f"{OURS}{folder.path}" in process.cmdline():
            process.kill()
            process.wait(STOP_SECONDS)
    except psutil.Error:
        pass  # gone, or not ours


def require_free(port: int) -> None:
    """Raise BrokerError if another program has a port of this machine."""
    if _can_bind(port) and not answers(port):
        return
    raise BrokerError(
        f"Port {port} is taken by {_owner(port)}, so the embedded broker cannot listen on it. Stop that program, "
        "set [KAFKA] embedded_port to a free port, or name an existing Kafka in [KAFKA] bootstrap_servers."
    )


def free_port() -> int:
    """A port of this machine that nobody has at this moment."""
    for port in random.sample(PORTS, 200):
        if _can_bind(port):
            return port
    raise BrokerError(f"No free port was found on this machine between {PORTS.start} and {PORTS.stop - 1}.")


def cluster_id() -> str:
    """A new cluster's name as Kafka wants it: 16 random bytes in base64."""
    return "y" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]


def last_words(log: str) -> str:
    """The last error in a log, and the cause that Java gives for it; empty if there is none."""
    errors = re.findall(r"^\S+ \S+ (?:ERROR|FATAL) (.*?)(?: \([\w$]+\))?$", log, re.MULTILINE)
    causes = re.findall(r"^(?:Caused by: )?([\w.$]+(?:Exception|Error): .*)$", log, re.MULTILINE)
    words = [line[-1].strip() for line in (errors, causes) if line]
    return ": ".join(dict.fromkeys(words))


def last_line(output: str) -> str:
    """The last line with something in it; empty if there is none."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")


def _read(path: os.PathLike[str], begin: int = 0, most: int = 1_000_000) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            return file.read(most).decode("utf-8", "replace")
    except OSError:
        return ""


def _can_bind(port: int) -> bool:
    with probe_socket(port) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as Java does: a closed one's last packets are no use
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _owner(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            at_port = connection.laddr and connection.laddr[1] == port
            if at_port and connection.status == psutil.CONN_LISTEN and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass  # not ours to see
    return "another program"


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does before its exec so that the kernel kills it when its parent dies; None where it cannot."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: between fork and exec nothing may be loaded
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask
