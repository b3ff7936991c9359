"""The jars' cache against a small Maven repository of our own, on this machine: two jars of a few bytes."""

import errno
import hashlib
import io
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.embedded import jars
from yasdg_app.kafka.embedded.jars import Jar, JarCache, Progress, default_folder, read_lock

CONTENT = {"one": b"the bytes of the first jar", "two": b"and those of the second" * 1000}


class Repository:
    """What is served, and what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.address = ""

    def file(self, artifact: str) -> Path:
        return self.folder / "org/apache/kafka" / artifact / "4.1.0" / f"{artifact}-4.1.0.jar"

    @property
    def jars_asked(self) -> list[str]:
        return sorted(Path(path).name for path in self.asked if path.endswith(".jar"))


class Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: object, repository: Repository, **options: object) -> None:
        self.repository = repository
        super().__init__(*arguments, directory=str(repository.folder), **options)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.repository.asked.append(self.path)
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    served = Repository(tmp_path / "repository")
    for artifact, content in CONTENT.items():
        served.file(artifact).parent.mkdir(parents=True)
        served.file(artifact).write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, repository=served))
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "jgo.lock.toml"
    path.write_text(
        "\n".join(
            f'[[dependencies]]\ngroupId = "org.apache.kafka"\nartifactId = "{artifact}"\nversion = "4.1.0"\n'
            f'sha256 = "{hashlib.sha256(content).hexdigest()}"'
            for artifact, content in CONTENT.items()
        )
    )
    return path


@pytest.fixture
def cache(tmp_path: Path, lock: Path, repository: Repository) -> JarCache:
    return JarCache(tmp_path / "cache", lock=lock, repositories={"test": repository.address})


def contents(cache: JarCache) -> list[bytes]:
    return [Path(path).read_bytes() for path in cache.class_path.split(":")]


def test_what_is_missing_is_fetched_and_told_of(cache: JarCache, repository: Repository) -> None:
    out = io.StringIO()
    cache.fetch(out)
    assert contents(cache) == list(CONTENT.values())
    assert out.getvalue().splitlines()[0] == "Fetching Apache Kafka 4.1.0: 0 of 2 jars, 0 MB"
    assert out.getvalue().splitlines()[-1] == "Fetching Apache Kafka 4.1.0: 2 of 2 jars, 0 MB"
    assert repository.jars_asked == ["one-4.1.0.jar", "two-4.1.0.jar"]


def test_nothing_is_fetched_or_said_when_all_is_there(cache: JarCache, repository: Repository) -> None:
    cache.fetch(io.StringIO())
    repository.asked.clear()
    out = io.StringIO()
    cache.fetch(out)
    assert repository.asked == []
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    "damage", [b"", CONTENT["two"][:100], b"x" * len(CONTENT["two"])], ids=["empty", "cut", "other"]
)
def test_a_damaged_jar_is_fetched_again_and_only_that(cache: JarCache, repository: Repository, damage: bytes) -> None:
    cache.fetch(io.StringIO())
    repository.asked.clear()
    Path(cache.class_path.split(":")[1]).write_bytes(damage)
    cache.fetch(io.StringIO())
    assert contents(cache) == list(CONTENT.values())
    assert repository.jars_asked == ["two-4.1.0.jar"]


def test_a_repository_that_gives_something_else_is_asked_twice_and_not_believed(
    cache: JarCache, repository: Repository
) -> None:
    repository.file("one").write_bytes(b"not what the lock says")
    with pytest.raises(
        YasdgError, match=r"^Cannot fetch one-4\.1\.0\.jar of Apache Kafka 4\.1\.0: its sha256 is not the one in"
    ):
        cache.fetch(io.StringIO())
    assert repository.jars_asked.count("one-4.1.0.jar") == 2
    assert not list(cache.folder.rglob("one*.jar"))


def test_a_jar_that_the_repository_lacks(cache: JarCache, repository: Repository) -> None:
    repository.file("two").unlink()
    with pytest.raises(YasdgError, match=r"two-4\.1\.0\.jar .*: the repository of jars does not have it\."):
        cache.fetch(io.StringIO())


def test_without_a_network_one_line_says_what_to_do(tmp_path: Path, lock: Path) -> None:
    with socket.socket() as nobody:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        cache = JarCache(tmp_path / "cache", lock=lock, repositories={"test": address})
        with pytest.raises(YasdgError, match=r"no connection to .* start again .* bootstrap_servers\.$") as raised:
            cache.fetch(io.StringIO())
    assert "\n" not in str(raised.value)


def test_a_full_disk_is_named_and_leaves_no_half_jar(
    cache: JarCache, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jgo.maven import MavenContext

    class Full:
        def download(self, artifact: object) -> None:
            path: Path = artifact.cached_path  # type: ignore[attr-defined]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("jgo.maven.MavenContext", partial(MavenContext, resolver=Full()))
    with pytest.raises(YasdgError, match="No space left on device"):
        cache.fetch(io.StringIO())
    assert not list(cache.folder.rglob("*.jar"))


def test_a_folder_that_cannot_be_made(tmp_path: Path, lock: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(YasdgError, match=r"^Cannot write to .*: (Not a directory|File exists)\. .*XDG_CACHE_HOME"):
        JarCache(tmp_path / "file" / "cache", lock=lock).fetch()


def test_processes_that_need_the_same_jars_fetch_them_once(tmp_path: Path, lock: Path, repository: Repository) -> None:
    script = (
        "import sys; from pathlib import Path; from yasdg_app.kafka.embedded.jars import JarCache\n"
        "cache, lock, address = sys.argv[1:]\n"
        "JarCache(Path(cache), lock=Path(lock), repositories={'test': address}).fetch()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "cache"), str(lock), repository.address]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert repository.jars_asked == ["one-4.1.0.jar", "two-4.1.0.jar"]


def test_progress_on_a_terminal_is_one_line_that_changes() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    progress = Progress("Kafka", 92, 56, out)
    progress.begin()
    progress.add(21_400_000)
    progress.end()
    assert out.getvalue() == "\rFetching Kafka: 36 of 92 jars, 0 MB\rFetching Kafka: 37 of 92 jars, 21 MB\n"


def test_progress_in_a_log_is_a_line_now_and_then() -> None:
    out = io.StringIO()
    progress = Progress("Kafka", 50, 50, out)
    progress.begin()
    for _ in range(50):
        progress.add(1_000_000)
    progress.end()
    assert out.getvalue().splitlines() == ["Fetching Kafka: 0 of 50 jars, 0 MB", "Fetching Kafka: 50 of 50 jars, 50 MB"]


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/yasdg/jars")
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert default_folder() == Path.home() / ".cache/yasdg/jars"


def test_the_lock_has_every_jar_of_one_version_of_kafka_and_no_address() -> None:
    locked = read_lock(jars.LOCK_FILE)
    assert {jar.version for jar in locked if jar.group == "org.apache.kafka"} == {"4.1.0"}
    assert {"kafka_2.13", "kafka-tools", "log4j-slf4j-impl"} <= {jar.artifact for jar in locked}
    assert len({jar.path for jar in locked}) == len(locked)
    assert all(len(jar.sha256) == 64 for jar in locked)
    assert "://" not in jars.LOCK_FILE.read_text()


def test_the_lock_was_made_from_the_specification_beside_it() -> None:
    from jgo.env import EnvironmentSpec, LockFile, compute_spec_hash

    specification = jars.LOCK_FILE.with_name("jgo.toml")
    assert LockFile.load(jars.LOCK_FILE).spec_hash == compute_spec_hash(specification)
    locked = {f"{jar.group}:{jar.artifact}:{jar.version}" for jar in read_lock(jars.LOCK_FILE)}
    assert set(EnvironmentSpec.load(specification).coordinates) <= locked


def test_a_classifier_is_part_of_the_file_name() -> None:
    jar = Jar("org.lwjgl", "lwjgl", "3.3.1", "natives-linux", "0" * 64)
    assert jar.path == Path("org/lwjgl/lwjgl/3.3.1/lwjgl-3.3.1-natives-linux.jar")


def test_a_name_that_jgo_has_no_more_is_no_absent_repository(cache: JarCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("jgo.maven.MavenContext.project")
    with pytest.raises(AttributeError, match="project"):
        cache.fetch(io.StringIO())
