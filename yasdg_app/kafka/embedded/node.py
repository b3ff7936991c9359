"""One Apache Kafka process: its configuration, start and stop, and why it ended.

Broker and controller in one (KRaft), on this machine only. Must not know who uses it.
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
"""For which Kafka may close its logs before it is killed."""
PORTS = range(20000, 32000)
"""In which free ports are searched: below the ephemeral ports of outgoing connections."""
FOLDER_OPTION = "-Dyasdg.folder="
"""A Java option that marks our processes, followed by the folder whose data they use."""
PR_SET_PDEATHSIG = 1
"""From Linux's <sys/prctl.h>."""

CONFIGURATION = """\
# Written at every start; changes here are lost.
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@{host}:{controller_port}
# Relative to the working directory, so that no character of its path can be misread.
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
# After this time the broker forgets a producer and its sequence numbers: the maximum, 25 days. The records of a
# backfill are older, so the check for such producers is as rare as possible. There is also one at each start.
producer.id.expiration.ms=2147483647
producer.id.expiration.check.interval.ms=2147483647
# A broker that was killed cannot register again before its last session has expired.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
# The default takes 128 MB of the heap.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
"""


class PortRaceError(BrokerError):
    """Kafka could not bind a port that was free a moment ago: that of its controller."""


class KafkaNode:
    """Apache Kafka on a folder, listening on 127.0.0.1:`port`; for the holder of the folder's `broker.lock`."""

    def __init__(self, folder: BrokerFolder, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process, without waiting until it answers. Raises BrokerError."""
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
        """Return whether it is ready: Kafka opens its port last. Raises BrokerStateUnknownError."""
        return answers(self.port)

    def exit_status(self) -> int | None:
        """Return the exit status; None while it runs."""
        return self._process.poll() if self._process else None

    def stop(self) -> None:
        """Stop it if it runs; kill it after STOP_SECONDS."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                self._process.wait()

    def kill(self) -> None:
        """Kill it. Its next start takes longer, because it checks its logs."""
        if self._process:
            self._process.kill()

    def death(self) -> BrokerError:
        """Return why it ended by itself, with the last error that it logged."""
        words = self._last_words()
        text = f"The embedded broker ended by itself (status {self.exit_status()})"
        text += f": {words.rstrip('.')}. " if words else ". "
        text += f"Its log is {self.folder.log}."
        return PortRaceError(text) if "BindException" in words or "Failed to bind" in words else BrokerError(text)

    def _run(self, main_class: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = java_command(
            main_class,
            *arguments,
            options=(
                "-Xmx256m",
                logging_option("log4j2.properties"),
                f"-Dyasdg.log={self.folder.log}",
                f"{FOLDER_OPTION}{self.folder.path}",
            ),
        )
        with self.folder.output.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal goes to the supervisor alone
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
    """Kill the Java process that a killed supervisor may have left on this folder.

    On Linux it dies with its supervisor; this is for other systems. A process is killed only if its own command line
    says that it is ours and works on this folder.
    """
    status = folder.read_status()
    if status is None or status.java_pid is None:
        return
    try:
        process = psutil.Process(status.java_pid)
        if f"{FOLDER_OPTION}{folder.path}" in process.cmdline():
            process.kill()
            process.wait(STOP_SECONDS)
    except psutil.Error:
        pass  # gone, or not ours


def require_free(port: int) -> None:
    """Raise BrokerError if another program uses a port of this machine."""
    if _can_bind(port) and not answers(port):
        return
    raise BrokerError(
        f"Port {port} is taken by {_owner(port)}, so the embedded broker cannot listen on it. Stop that program, "
        "set [KAFKA] embedded_port to a free port, or name an existing Kafka in [KAFKA] bootstrap_servers."
    )


def free_port() -> int:
    """Return a port of this machine that is free at this moment. Raises BrokerError if there is none."""
    for port in random.sample(PORTS, 200):
        if _can_bind(port):
            return port
    raise BrokerError(f"No free port was found on this machine between {PORTS.start} and {PORTS.stop - 1}.")


def cluster_id() -> str:
    """Return an id for a new cluster in Kafka's format: 16 random bytes in base64."""
    return "y" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]


def last_words(log: str) -> str:
    """Return the last error in a log, and the cause that Java gives for it; empty if there is none."""
    errors = re.findall(r"^\S+ \S+ (?:ERROR|FATAL) (.*?)(?: \([\w$]+\))?$", log, re.MULTILINE)
    causes = re.findall(r"^(?:Caused by: )?([\w.$]+(?:Exception|Error): .*)$", log, re.MULTILINE)
    words = [line[-1].strip() for line in (errors, causes) if line]
    return ": ".join(dict.fromkeys(words))


def last_line(output: str) -> str:
    """Return the last line that is not blank; empty if there is none."""
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
        )  # as Java does, in spite of connections in TIME_WAIT
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
        pass  # not permitted to see it
    return "another program"


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child calls before its exec, to be killed when its parent dies. Linux only; otherwise None."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: nothing may be loaded between fork and exec
    parent = os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)

    return ask
