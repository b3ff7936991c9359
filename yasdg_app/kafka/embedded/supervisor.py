"""The supervisor: a small process that starts Apache Kafka, watches it, and stops it when it has no users any more.

It belongs to no worker: workers start, end and are killed, and the locks in the broker's folder show whether any is
left. Must not know what the broker is used for.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from yasdg_app.kafka.embedded.errors import BrokerError, BrokerStateUnknownError, reason
from yasdg_app.kafka.embedded.folder import BrokerFolder, State, Status
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.kafka.embedded.node import KafkaNode, PortRaceError, end_orphan

ALREADY_SUPERVISED = 75
"""Exit status: another supervisor runs on the folder."""
START_SECONDS = 120.0
"""In which Kafka has to answer. After a power failure it checks all its logs first."""
PORT_ATTEMPTS = 3
"""To start Kafka: a port that was free may be taken before Kafka binds it."""


class BrokerSupervisor:
    """Runs one broker on a folder; for a process's main thread.

    Parameters
    ----------
    stays
        Whether it keeps running without users; otherwise it ends with the last of them.
    on_ready
        Called when the broker is ready.
    """

    def __init__(
        self, folder: BrokerFolder, port: int, *, stays: bool = False, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = folder
        self._port = port
        self._stays = stays
        self._on_ready = on_ready
        self._node = KafkaNode(folder, port)
        self._supervisor_lock = FileLock(folder.supervisor_lock)
        self._users_lock = FileLock(folder.users_lock)
        self._signals = 0

    def run(self) -> int:
        """Run the broker until it is no longer needed; return the exit status.

        0: it was stopped; `ALREADY_SUPERVISED`: another supervisor runs on the folder. Raises BrokerError if Kafka
        could not be started, or ended by itself; the folder's status has the text as well.
        """
        if not self._take_folder():
            return ALREADY_SUPERVISED
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            end_orphan(self._folder)  # reads the last supervisor's status, so before this one writes its own
            self._write_status("starting")
            self._serve()
            self._write_status("stopping")
            self._node.stop()
            self._folder.clear_status()
        except BrokerError as error:
            killed = (self._node.exit_status() or 0) < 0
            self._node.stop()
            with contextlib.suppress(BrokerError):
                self._write_status("failed", str(error), killed)
            raise
        finally:
            self._node.stop()
            # In this order: a user that then gets its lock finds the folder without a supervisor, and starts one.
            self._supervisor_lock.release()
            self._users_lock.release()
        return 0

    def _take_folder(self) -> bool:
        # Users hold this lock for a moment to see whether a supervisor does. One that is stopping is waited for.
        deadline = time.monotonic() + 1.0
        while not self._supervisor_lock.try_acquire():
            status = self._folder.read_status()
            if time.monotonic() > deadline and (status is None or status.state != "stopping"):
                return False
            time.sleep(0.05)
        return True

    def _serve(self) -> None:
        for start in range(1, PORT_ATTEMPTS + 1):
            self._node.start()
            self._write_status("starting")
            try:
                return self._watch()
            except PortRaceError:
                if start == PORT_ATTEMPTS:
                    raise

    def _watch(self) -> None:
        """Wait until the broker is to be stopped. Raises BrokerError if it ends by itself."""
        ready = False
        deadline = time.monotonic() + START_SECONDS
        while not self._is_to_stop():
            if self._node.exit_status() is not None:
                raise self._node.death()
            if not ready and self._answers():
                ready = True
                self._write_status("ready")
                self._on_ready()
            if not ready and time.monotonic() > deadline:
                raise BrokerError(
                    f"The embedded broker did not answer within {START_SECONDS:.0f} s. Its log is {self._folder.log}."
                )
            time.sleep(0.2 if ready else 0.05)

    def _is_to_stop(self) -> bool:
        # A worker becomes a user before it starts a supervisor, so "no users" is never too early. From here on the lock
        # is held: new users wait until the broker is down, instead of getting one that is about to stop.
        return self._signals > 0 or (not self._stays and self._has_no_users())

    def _has_no_users(self) -> bool:
        try:
            return self._users_lock.try_acquire()
        except OSError:
            return False  # this says nothing about users; it is checked again in a moment

    def _answers(self) -> bool:
        try:
            return self._node.answers()
        except BrokerStateUnknownError:
            return False  # as above

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            self._node.kill()

    def _write_status(self, state: State, error: str | None = None, killed: bool = False) -> None:
        java = self._node.pid
        status = Status(state, os.getpid(), self._port, java_pid=java, error=error, killed=killed, stays=self._stays)
        try:
            self._folder.write_status(status)
        except OSError as failure:
            raise BrokerError(f"Cannot write to {self._folder.path}: {reason(failure)}.") from failure


def main(arguments: list[str] | None = None) -> int:
    """Run the supervisor; the first user of an embedded broker starts it with --data-dir D --port P."""
    parser = argparse.ArgumentParser(prog="yasdg_app.kafka.embedded.supervisor", description="Runs an embedded broker.")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args(arguments)
    try:
        return BrokerSupervisor(BrokerFolder(given.data_dir), given.port).run()
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
