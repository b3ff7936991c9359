"""The jars of Apache Kafka: downloaded once to the user's cache folder, and verified by their hashes at every start.

jgo.lock.toml in this folder lists them. Knows nothing of Java or of brokers, and no address: jgo knows where jars come
from. (The examples download those of other engines in the same way, with lock files of their own.)
"""

import hashlib
import os
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from yasdg_app.errors import RENAMED
from yasdg_app.kafka.embedded.errors import BrokerError, reason
from yasdg_app.kafka.embedded.locks import FileLock

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK_FILE = Path(__file__).with_name("jgo.lock.toml")
ADVICE = (
    "The embedded broker needs the network and 60 MB of disk once; start again to resume, "
    "or name an existing Kafka in [KAFKA] bootstrap_servers."
)
DOWNLOAD_THREADS = 6
"""Jars that are downloaded or verified at the same time."""
DOWNLOAD_TIMEOUT_SECONDS = 30
"""Without a byte from the repository, after which a download has failed."""
DOWNLOAD_ATTEMPTS = 2
"""For one jar: the second is for a wrong hash, or a connection that broke."""
PROGRESS_LINE_SECONDS = 5.0
"""Between two lines of progress where the output is not a terminal."""


@dataclass(frozen=True)
class Jar:
    """An entry of the lock file: a Maven artifact and the hash of its file."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @property
    def file_name(self) -> str:
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.jar"

    @property
    def path(self) -> Path:
        """Its path in a Maven repository, from the root."""
        return Path(*self.group.split("."), self.artifact, self.version, self.file_name)


class JarCache:
    """All jars of a lock file, in a folder that any number of processes may share.

    `name`: of the product, for messages, followed there by the version of the first jar; `advice`: what to do if a
    download fails; `repositories`: addresses of Maven repositories by name, by default jgo's.
    """

    def __init__(
        self, folder: Path | None = None, *, lock: Path = LOCK_FILE, name: str = "Apache Kafka", advice: str = ADVICE,
        repositories: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.folder = folder or default_folder()
        self.jars = read_lock(lock)
        self._name, self._advice = name, advice
        self._repositories = repositories

    @property
    def class_path(self) -> str:
        """All jars in the order of the lock file, as a Java class path. Nothing is verified."""
        return os.pathsep.join(str(self.folder / jar.path) for jar in self.jars)

    def fetch(self, out: TextIO | None = None) -> None:
        """Download the jars that are missing or damaged.

        Prints progress to `out`, by default the standard error. Takes 0.1 s if there are none. Raises BrokerError if a
        jar cannot be downloaded; the others are kept.
        """
        with self._alone(out or sys.stderr):
            wrong = self._missing_or_damaged()
            if wrong:
                self._fetch_all(wrong, Progress(self._title(), len(self.jars), len(wrong), out or sys.stderr))

    @contextmanager
    def _alone(self, out: TextIO) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            if not lock.try_acquire() and not self._soon(lock):
                print(f"Another process is fetching {self._name}; waiting for it", file=out, flush=True)
                lock.acquire()
        except OSError as error:
            raise BrokerError(
                f"Cannot write to {self.folder}, where {self._name} is kept: {reason(error)}. "
                "Free some space or give access there, or set XDG_CACHE_HOME to another folder."
            ) from error
        try:
            yield
        finally:
            lock.release()

    @staticmethod
    def _soon(lock: FileLock) -> bool:
        # Another process that only verifies is done in a moment, and not worth a message.
        for _ in range(10):
            time.sleep(0.1)
            if lock.try_acquire():
                return True
        return False

    def _missing_or_damaged(self) -> list[Jar]:
        with ThreadPoolExecutor(DOWNLOAD_THREADS) as pool:
            right = pool.map(self._is_right, self.jars)
            return [jar for jar, is_right in zip(self.jars, right, strict=True) if not is_right]

    def _is_right(self, jar: Jar) -> bool:
        try:
            with (self.folder / jar.path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
        except OSError:
            return False

    def _fetch_all(self, jars: list[Jar], progress: "Progress") -> None:
        from jgo.maven import MavenContext  # takes 0.1 s, and is not needed when all jars are there

        repositories = None if self._repositories is None else dict(self._repositories)
        maven = MavenContext(repo_cache=self.folder, remote_repos=repositories, timeout=DOWNLOAD_TIMEOUT_SECONDS)
        pool = ThreadPoolExecutor(DOWNLOAD_THREADS)
        try:
            progress.begin()
            for done in as_completed([pool.submit(self._fetch, jar, maven) for jar in jars]):
                progress.add(done.result())
        finally:
            pool.shutdown(cancel_futures=True)
            progress.end()

    def _fetch(self, jar: Jar, maven: "MavenContext") -> int:
        """Download one jar; return its size in bytes. If it fails, no wrong file is left."""
        for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
            try:
                (self.folder / jar.path).unlink(missing_ok=True)
                project = maven.project(jar.group, jar.artifact)
                path: Path = project.at_version(jar.version).artifact(jar.classifier).resolve()
                if self._is_right(jar):
                    return path.stat().st_size
                failure = "its sha256 is not the one in jgo.lock.toml"
            except RENAMED:  # not an absent repository
                raise
            except Exception as error:  # jgo raises those of its HTTP client and of the file system
                failure = self._say(error)
            self._drop(jar)
            if attempt == DOWNLOAD_ATTEMPTS:
                raise self._cannot_fetch(jar, failure)
        raise AssertionError("unreachable")

    def _drop(self, jar: Jar) -> None:
        with suppress(OSError):  # if it remains, the next start finds that it is damaged
            (self.folder / jar.path).unlink(missing_ok=True)

    def _say(self, error: Exception) -> str:
        import requests

        match error:
            case requests.Timeout():
                return f"no answer for {DOWNLOAD_TIMEOUT_SECONDS} s"
            case requests.RequestException():
                return "no connection to the repository of jars"
            case OSError():
                return f"{reason(error)} ({self.folder})"
            case _:
                return "the repository of jars does not have it"

    def _cannot_fetch(self, jar: Jar, failure: str) -> BrokerError:
        return BrokerError(f"Cannot fetch {jar.file_name} of {self._title()}: {failure}. {self._advice}")

    def _title(self) -> str:
        return " ".join([self._name, *(jar.version for jar in self.jars[:1])])


class Progress:
    """The progress of a download: one line that changes on a terminal, new lines at intervals otherwise."""

    def __init__(self, title: str, total: int, missing: int, out: TextIO) -> None:
        self._title, self._total, self._out = title, total, out
        self._there = total - missing
        self._bytes = 0
        self._line_at = 0.0
        self._lock = threading.Lock()

    def begin(self) -> None:
        self._show(always=True)

    def add(self, size: int) -> None:
        """Count one more jar, of `size` bytes."""
        with self._lock:
            self._there += 1
            self._bytes += size
            self._show(always=self._there == self._total)

    def end(self) -> None:
        """End the line."""
        if self._out.isatty():
            print(file=self._out, flush=True)

    def _show(self, *, always: bool) -> None:
        text = f"Fetching {self._title}: {self._there} of {self._total} jars, {self._bytes / 1e6:.0f} MB"
        if self._out.isatty():
            print(f"\r{text}", end="", file=self._out, flush=True)
        elif always or time.monotonic() >= self._line_at:
            print(text, file=self._out, flush=True)
            self._line_at = time.monotonic() + PROGRESS_LINE_SECONDS


def default_folder() -> Path:
    """Return the folder of the jars: `yasdg/jars` in $XDG_CACHE_HOME, otherwise in ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # By the specification of that variable a relative path is ignored.
    return (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "yasdg" / "jars"


def read_lock(path: Path) -> list[Jar]:
    """Return the jars of a jgo.lock.toml. (Without jgo's reader: its import takes longer than the reading.)"""
    with path.open("rb") as file:
        entries = tomllib.load(file)["dependencies"]
    return [
        Jar(entry["groupId"], entry["artifactId"], entry["version"], entry.get("classifier", ""), entry["sha256"])
        for entry in entries
    ]
