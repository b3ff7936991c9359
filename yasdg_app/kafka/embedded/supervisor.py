"""The keeper: a small process that starts Apache Kafka, watches it, and stops it when nobody uses it any more.

It is nobody's servant in particular: workers come, go and are killed, and the kernel's locks in the broker's folder
tell it whether any is left. Must not know what the broker is used for.
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

from yasdg_app.kafka.embedded.errors import BrokerError, CannotLookError, reason
from yasdg_app.kafka.embedded.folder import BrokerFolder, State, Status
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.kafka.embedded.node import KafkaNode, PortRace, end_orphan

ALREADY_KEPT = 75
"""Exit status: another keeper has the folder."""
START_SECONDS = 120.0
"""How long Kafka may take to answer. After a power cut it looks all its logs through first."""
OTHER_PORTS = 3
"""Starts until a port that was free stays free for as long as Kafka needs to bind it."""


class Keeper:
    """Runs one broker on a folder, to be run in a process's main thread.

    Parameters
    ----------
    stays
        Whether it goes on without users; otherwise it ends with the last of them.
    ready
        Called when the broker can be used.
    """

    def __init__(
        self, folder: BrokerFolder, port: int, *, stays: bool = False, ready: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = folder
        self._port = port
        self._stays = stays
        self._tell_ready = ready
        self._node = KafkaNode(folder, port)
        self._keeper_lock = FileLock(folder.keeper_lock)
        self._users_lock = FileLock(folder.users_lock)
        self._signals = 0

    def run(self) -> int:
        """Keep the broker until it is not needed any more; the exit status.

        0: it was stopped; `ALREADY_KEPT`: another keeper has the folder. Raises BrokerError if Kafka could not be
        started, or ended by itself; that stands in the folder's status as well.
        """
        if not self._take_folder():
            return ALREADY_KEPT
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            end_orphan(self._folder)  # reads what the last keeper said, so before this one says anything
            self._say("starting")
            self._serve()
            self._say("stopping")
            self._node.stop()
            self._folder.clear_status()
        except BrokerError as error:
            killed = (self._node.exit_status() or 0) < 0
            self._node.stop()
            with contextlib.suppress(BrokerError):
                self._say("failed", str(error), killed)
            raise
        finally:
            self._node.stop()
            # In this order: whoever then gets the users' lock finds the folder without a keeper, and starts one.
            self._keeper_lock.release()
            self._users_lock.release()
        return 0

    def _take_folder(self) -> bool:
        # Others hold this lock for a moment to see whether a keeper does; and one that stops is worth waiting for.
        deadline = time.monotonic() + 1.0
        while not self._keeper_lock.try_acquire():
            status = self._folder.read_status()
            if time.monotonic() > deadline and (status is None or status.state != "stopping"):
                return False
            time.sleep(0.05)
        return True

    def _serve(self) -> None:
        for start in range(1, OTHER_PORTS + 1):
            self._node.start()
            self._say("starting")
            try:
                return self._watch()
            except PortRace:
                if start == OTHER_PORTS:
                    raise

    def _watch(self) -> None:
        """Look after the broker until it is to be stopped. Raises BrokerError if it ends by itself."""
        ready = False
        deadline = time.monotonic() + START_SECONDS
        while not self._is_to_stop():
            if self._node.exit_status() is not None:
                raise self._node.death()
            if not ready and self._answers():
                ready = True
                self._say("ready")
                self._tell_ready()
            if not ready and time.monotonic() > deadline:
                raise BrokerError(
                    f"The embedded broker did not answer within {START_SECONDS:.0f} s. Its log is {self._folder.log}."
                )
            time.sleep(0.2 if ready else 0.05)

    def _is_to_stop(self) -> bool:
        # Whoever starts a keeper is a user before it does, so "no users" is never too early. From here on the lock is
        # held: who comes now waits until the broker is down, instead of getting one that is about to go.
        return self._signals > 0 or (not self._stays and self._is_left())

    def _is_left(self) -> bool:
        try:
            return self._users_lock.try_acquire()
        except OSError:
            return False  # that we cannot look says nothing of users; the next look may be luckier

    def _answers(self) -> bool:
        try:
            return self._node.answers()
        except CannotLookError:
            return False  # as above: it is asked again in a moment

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            self._node.kill()

    def _say(self, state: State, error: str | None = None, killed: bool = False) -> None:
        java = self._node.pid
        status = Status(state, os.getpid(), self._port, java_pid=java, error=error, killed=killed, stays=self._stays)
        try:
            self._folder.write_status(status)
        except OSError as failure:
            raise BrokerError(f"Cannot write to {self._folder.path}: {reason(failure)}.") from failure


def main(arguments: list[str] | None = None) -> int:
    """Run the supervisor; the first user of an embedded broker starts it with --data-dir D --port P."""
    parser = argparse.ArgumentParser(
        prog="yasdg_app.kafka.embedded.supervisor", description="Keeps an embedded broker."
    )
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args(arguments)
    try:
        return Keeper(BrokerFolder(given.data_dir), given.port).run()
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
