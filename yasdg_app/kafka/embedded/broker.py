"""The embedded broker from a user's side: start it or find it running, and release it.

A worker that uses it holds `users.lock` in the broker's folder for as long as it lives. The first one starts a
supervisor (see supervisor.py), which stops the broker when the last one is gone. Must not know what the broker is used
for.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from yasdg_app.kafka.embedded.errors import BrokerError, BrokerStateUnknownError, reason
from yasdg_app.kafka.embedded.folder import HOST, BrokerFolder, Status, answers
from yasdg_app.kafka.embedded.jars import JarCache
from yasdg_app.kafka.embedded.java import find_java
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.kafka.embedded.node import STOP_SECONDS, last_line
from yasdg_app.kafka.embedded.supervisor import ALREADY_SUPERVISED, START_SECONDS, BrokerSupervisor
from yasdg_app.process.descriptors import has_none_left

__all__ = ["BrokerError", "EmbeddedBroker", "run_in_foreground"]

POLL_SECONDS = 0.05
"""Between two checks of a supervisor that starts or stops."""
UNKNOWN_STATE_SECONDS = 10.0
"""For which the broker's state may be unknown, as without free file descriptors, before that is an error."""
MAX_KILLS = 3  # of Kafka while it starts, in a row: after that many, they are taken to be intended


class EmbeddedBroker:
    """A user's reference to the Apache Kafka that keeps its data in `data_dir` and listens on 127.0.0.1:`port`.

    All users of the same folder share one broker. It runs from the first `start()` to the last `stop()`, or death, of a
    user. Not thread-safe.
    """

    def __init__(self, data_dir: Path, port: int) -> None:
        self._folder = BrokerFolder(data_dir)
        self._port = port
        self._users_lock = FileLock(self._folder.users_lock)
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start the broker, or find it running; return its address, such as `127.0.0.1:9092`, once it is ready.

        Blocks for about 3 s, or a minute when Kafka has to be downloaded first (progress on the standard error). Call
        it again if `is_running()` returns False. Raises BrokerError, and holds no reference then;
        BrokerStateUnknownError if it cannot be determined whether a broker runs.
        """
        self._folder.prepare()
        try:
            self._become_user()
            return self._until_ready()
        except BaseException:
            self._users_lock.release()
            raise

    def is_running(self) -> bool:
        """Return whether this user has a broker that is ready, as far as is known. Cheap: opens two files."""
        try:
            return self._users_lock.held and self._ready_status() is not None
        except BrokerStateUnknownError:
            return self._users_lock.held  # all that is known is that it was there

    def stop(self) -> None:
        """Release the broker; the last user waits until it has stopped, at most 20 s. May be called repeatedly."""
        if self._users_lock.held:
            self._users_lock.release()
            self._until_gone()
        self._reap()

    def _become_user(self) -> None:
        deadline = time.monotonic() + 2 * STOP_SECONDS
        # A supervisor that stops the broker holds it.
        while not self._take_users_lock():
            if time.monotonic() > deadline:
                raise BrokerError(f"The embedded broker in {self._folder.path} is being stopped, and does not end.")
            time.sleep(POLL_SECONDS)

    def _take_users_lock(self) -> bool:
        try:
            return self._users_lock.try_acquire(shared=True)
        except OSError as error:
            raise BrokerStateUnknownError(self._folder.users_lock, error) from error

    def _until_ready(self) -> str:
        deadline = time.monotonic() + START_SECONDS + 2 * STOP_SECONDS
        spawned: subprocess.Popen[bytes] | None = None
        kills, looked = 0, time.monotonic()
        while time.monotonic() < deadline:
            try:
                status = self._ready_status()
                if status is not None and answers(status.port):
                    return self._address(status)
                is_supervised = self._folder.is_supervised()
            except BrokerStateUnknownError:
                if time.monotonic() - looked > UNKNOWN_STATE_SECONDS:
                    raise
                time.sleep(POLL_SECONDS)
                continue
            looked = time.monotonic()
            if not is_supervised and (spawned is None or spawned.poll() is not None):
                if spawned is not None and spawned.returncode != ALREADY_SUPERVISED:
                    kills += 1
                    if kills == MAX_KILLS or not self._was_killed(spawned):
                        raise self._failure(spawned)
                spawned = self._spawn_supervisor()
            time.sleep(POLL_SECONDS)
        raise BrokerError(f"The embedded broker did not become ready in time. Its log is {self._folder.log}.")

    def _ready_status(self) -> Status | None:
        status = self._folder.read_status()
        return status if status is not None and status.state == "ready" and self._folder.is_supervised() else None

    def _address(self, status: Status) -> str:
        if status.port != self._port:
            raise BrokerError(
                f"The embedded broker in {self._folder.path} already runs on port {status.port}, not {self._port}. "
                f"Set [KAFKA] embedded_port to {status.port}, or stop the workers that use it."
            )
        return status.bootstrap_servers

    def _spawn_supervisor(self) -> "subprocess.Popen[bytes]":
        self._reap()
        find_java()  # here, so that what is missing is reported by this process,
        JarCache().fetch()  # and the progress of the download is visible
        package = Path(__file__).parents[3]
        command = [sys.executable, "-P", "-m", "yasdg_app.kafka.embedded.supervisor"]
        try:
            with self._folder.output.open("ab") as output:
                self._supervisor = subprocess.Popen(
                    [*command, "--data-dir", str(self._folder.path), "--port", str(self._port)],
                    cwd=self._folder.path,
                    env={**os.environ, "PYTHONPATH": _prepended(str(package), os.environ.get("PYTHONPATH"))},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C is for the worker; others may be using the broker
                )
        except OSError as error:
            if has_none_left(error):
                raise BrokerStateUnknownError(self._folder.path, error) from error
            raise BrokerError(f"Cannot start the embedded broker in {self._folder.path}: {reason(error)}.") from error
        return self._supervisor

    def _was_killed(self, supervisor: "subprocess.Popen[bytes]") -> bool:
        status = self._folder.read_status()
        return status is not None and status.pid == supervisor.pid and status.killed

    def _failure(self, supervisor: "subprocess.Popen[bytes]") -> BrokerError:
        status = self._folder.read_status()
        if status is not None and status.pid == supervisor.pid and status.error:
            return BrokerError(status.error)
        words = last_line(self._folder.output.read_text(errors="replace")) or "no output"
        ended = f"The supervisor of the embedded broker ended with status {supervisor.returncode}"
        return BrokerError(f"{ended}: {words}. See {self._folder.output}.")

    def _until_gone(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        seen_others = False
        while time.monotonic() < deadline:
            try:
                if not self._folder.is_supervised():
                    return
                status = self._folder.read_status()
            except BrokerStateUnknownError:
                time.sleep(POLL_SECONDS)
                continue
            if status is not None and status.stays:
                return
            # The supervisor takes the users' lock a moment before its status says that it is stopping, so check twice.
            others = (status is None or status.state != "stopping") and not self._is_unused()
            if others and seen_others:
                return
            seen_others = others
            time.sleep(POLL_SECONDS)

    def _is_unused(self) -> bool:
        probe = FileLock(self._folder.users_lock)
        try:
            return probe.try_acquire()
        except OSError:
            return True
        finally:
            probe.release()

    def _reap(self) -> None:
        """Wait for our supervisor if it has ended, so that it leaves no zombie."""
        if self._supervisor is not None:
            with contextlib.suppress(subprocess.TimeoutExpired, BrokerStateUnknownError):
                self._supervisor.wait(0 if self._folder.is_supervised() else 1)
                self._supervisor = None


def run_in_foreground(data_dir: Path, port: int) -> int:
    """Run the broker in this process until Ctrl-C or SIGTERM, for `yasdg broker`; return the exit status.

    Workers on the same folder find and use it. It runs with or without them, and does not wait for them to end. A
    second Ctrl-C kills Kafka before it has closed its logs.
    """
    folder = BrokerFolder(data_dir)

    def print_ready() -> None:
        print(f"Apache Kafka listens on {HOST}:{port}. Ctrl-C stops it. Its log: {folder.log}", flush=True)

    try:
        folder.prepare()
        find_java()
        JarCache().fetch()
        status = BrokerSupervisor(folder, port, stays=True, on_ready=print_ready).run()
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    if status == ALREADY_SUPERVISED:
        running = folder.read_status()
        where = f" on {running.bootstrap_servers}" if running else ""
        print(f"An embedded broker already runs in {folder.path}{where}; nothing to do.", file=sys.stderr)
        return 1
    return status


def _prepended(path: str, others: str | None) -> str:
    return os.pathsep.join(filter(None, (path, others)))
