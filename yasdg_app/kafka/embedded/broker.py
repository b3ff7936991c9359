"""The embedded broker as its users see it: start it or find it, and let go of it.

A worker that uses it holds `users.lock` in the broker's folder for as long as it lives; the first one starts a keeper
(see supervisor.py), which stops the broker when the last one is gone. Must not know what the broker is used for.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from yasdg_app.kafka.embedded.errors import BrokerError, CannotLookError, reason
from yasdg_app.kafka.embedded.folder import HOST, BrokerFolder, Status, answers
from yasdg_app.kafka.embedded.jars import JarCache
from yasdg_app.kafka.embedded.java import find_java
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.kafka.embedded.node import STOP_SECONDS, last_line
from yasdg_app.kafka.embedded.supervisor import ALREADY_KEPT, START_SECONDS, Keeper
from yasdg_app.process.descriptors import has_none_left

__all__ = ["BrokerError", "EmbeddedBroker", "run_in_foreground"]

POLL = 0.05
"""Seconds between two looks at a keeper that starts or stops."""
LOOK_SECONDS = 10.0
"""For which a look may be impossible, for want of a descriptor, before that is an error."""
MOST_KILLS = 3  # of Kafka while it starts, in a row: who kills it so often means it


class EmbeddedBroker:
    """One user's hold on the Apache Kafka that keeps its data in `data_dir` and listens on 127.0.0.1:`port`.

    All users of the same folder share one broker. It runs from the first `start()` to the last `stop()` or death.
    Not for use from several threads at once.
    """

    def __init__(self, data_dir: Path, port: int) -> None:
        self._folder = BrokerFolder(data_dir)
        self._port = port
        self._users_lock = FileLock(self._folder.users_lock)
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start the broker, or find the one that runs; its address, such as `127.0.0.1:9092`, once it can be used.

        Blocks: about 3 s, a minute the first time ever, when Kafka itself has to be fetched (shown on the standard
        error). To be called again if `is_running()` says no. Raises BrokerError, and holds nothing then;
        CannotLookError if it could not be found out whether one runs, which says nothing of it.
        """
        self._folder.prepare()
        try:
            self._become_user()
            return self._until_ready()
        except BaseException:
            self._users_lock.release()
            raise

    def is_running(self) -> bool:
        """Whether this user has a broker that was ready when last seen. Cheap: opens two files."""
        try:
            return self._users_lock.held and self._ready_status() is not None
        except CannotLookError:
            return self._users_lock.held  # nothing is known but that it was there

    def stop(self) -> None:
        """Let go of the broker; the last user waits until it is down, 20 s at most. May be called again."""
        if self._users_lock.held:
            self._users_lock.release()
            self._until_gone()
        self._reap()

    def _become_user(self) -> None:
        deadline = time.monotonic() + 2 * STOP_SECONDS
        # It cannot be had while a keeper stops the broker that its last users left.
        while not self._take_users_lock():
            if time.monotonic() > deadline:
                raise BrokerError(f"The embedded broker in {self._folder.path} is being stopped and does not end.")
            time.sleep(POLL)

    def _take_users_lock(self) -> bool:
        try:
            return self._users_lock.try_acquire(shared=True)
        except OSError as error:
            raise CannotLookError(self._folder.users_lock, error) from error

    def _until_ready(self) -> str:
        deadline = time.monotonic() + START_SECONDS + 2 * STOP_SECONDS
        spawned: subprocess.Popen[bytes] | None = None
        kills, looked = 0, time.monotonic()
        while time.monotonic() < deadline:
            try:
                status = self._ready_status()
                if status is not None and answers(status.port):
                    return self._address(status)
                is_kept = self._folder.is_kept()
            except CannotLookError:
                if time.monotonic() - looked > LOOK_SECONDS:
                    raise
                time.sleep(POLL)
                continue
            looked = time.monotonic()
            if not is_kept and (spawned is None or spawned.poll() is not None):
                if spawned is not None and spawned.returncode != ALREADY_KEPT:
                    kills += 1
                    if kills == MOST_KILLS or not self._was_killed(spawned):
                        raise self._failure(spawned)
                spawned = self._spawn_keeper()
            time.sleep(POLL)
        raise BrokerError(f"The embedded broker did not get ready. Its log is {self._folder.log}.")

    def _ready_status(self) -> Status | None:
        status = self._folder.read_status()
        return status if status is not None and status.state == "ready" and self._folder.is_kept() else None

    def _address(self, status: Status) -> str:
        if status.port != self._port:
            raise BrokerError(
                f"The embedded broker in {self._folder.path} already runs on port {status.port}, not {self._port}. "
                f"Set [KAFKA] embedded_port to {status.port}, or stop the workers that use it."
            )
        return status.bootstrap_servers

    def _spawn_keeper(self) -> "subprocess.Popen[bytes]":
        self._reap()
        find_java()  # what is missing is better said here, and
        JarCache().fetch()  # people want to see this one
        package = Path(__file__).parents[3]
        command = [sys.executable, "-P", "-m", "yasdg_app.kafka.embedded.supervisor"]
        try:
            with self._folder.output.open("ab") as output:
                self._keeper = subprocess.Popen(
                    [*command, "--data-dir", str(self._folder.path), "--port", str(self._port)],
                    cwd=self._folder.path,
                    env={**os.environ, "PYTHONPATH": _in_front(str(package), os.environ.get("PYTHONPATH"))},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C is for the worker; others may be using the broker
                )
        except OSError as error:
            if has_none_left(error):
                raise CannotLookError(self._folder.path, error) from error
            raise BrokerError(f"Cannot start the embedded broker in {self._folder.path}: {reason(error)}.") from error
        return self._keeper

    def _was_killed(self, keeper: "subprocess.Popen[bytes]") -> bool:
        status = self._folder.read_status()
        return status is not None and status.pid == keeper.pid and status.killed

    def _failure(self, keeper: "subprocess.Popen[bytes]") -> BrokerError:
        status = self._folder.read_status()
        if status is not None and status.pid == keeper.pid and status.error:
            return BrokerError(status.error)
        words = last_line(self._folder.output.read_text(errors="replace")) or "without a word"
        ended = f"The keeper of the embedded broker ended with status {keeper.returncode}"
        return BrokerError(f"{ended}: {words}. See {self._folder.output}.")

    def _until_gone(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        seen_others = False
        while time.monotonic() < deadline:
            try:
                if not self._folder.is_kept():
                    return
                status = self._folder.read_status()
            except CannotLookError:
                time.sleep(POLL)
                continue
            if status is not None and status.stays:
                return
            # The keeper takes the users' lock an instant before it says that it is stopping, so one look is not enough.
            others = (status is None or status.state != "stopping") and not self._is_unused()
            if others and seen_others:
                return
            seen_others = others
            time.sleep(POLL)

    def _is_unused(self) -> bool:
        probe = FileLock(self._folder.users_lock)
        try:
            return probe.try_acquire()
        except OSError:
            return True
        finally:
            probe.release()

    def _reap(self) -> None:
        """Take note of our keeper's end, so that no zombie stays for it."""
        if self._keeper is not None:
            with contextlib.suppress(subprocess.TimeoutExpired, CannotLookError):
                self._keeper.wait(0 if self._folder.is_kept() else 1)
                self._keeper = None


def run_in_foreground(data_dir: Path, port: int) -> int:
    """Run the broker in this process until Ctrl-C or SIGTERM, for `yasdg broker`; the exit status.

    Workers on the same folder find and use it. It goes on without them, and ends without asking them. A second
    Ctrl-C does not wait until Kafka has closed its logs.
    """
    folder = BrokerFolder(data_dir)

    def tell() -> None:
        print(f"Apache Kafka listens on {HOST}:{port}. Ctrl-C stops it. Its log: {folder.log}", flush=True)

    try:
        folder.prepare()
        find_java()
        JarCache().fetch()
        status = Keeper(folder, port, stays=True, ready=tell).run()
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    if status == ALREADY_KEPT:
        running = folder.read_status()
        where = f" on {running.bootstrap_servers}" if running else ""
        print(f"An embedded broker already runs in {folder.path}{where}: there is nothing to do.", file=sys.stderr)
        return 1
    return status


def _in_front(path: str, others: str | None) -> str:
    return os.pathsep.join(filter(None, (path, others)))
