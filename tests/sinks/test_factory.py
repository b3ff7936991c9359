"""Which datastore an address means, and what is said if a package for it is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yasdg_app.errors import ConfigurationError
from yasdg_app.kafka.embedded.node import free_port
from yasdg_app.sinks.factory import create_datastore

WITH_PASSWORD = "postgresql://shop:my%40password@db.example:5433/shop?sslmode=require"


def test_without_an_address_there_is_none() -> None:
    assert create_datastore("") is None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///.yasdg/inventory.db", "SQLite in .yasdg/inventory.db"),
        (WITH_PASSWORD, "PostgreSQL at db.example:5433/shop"),
        ("dynamodb://Shop.Inventory", "DynamoDB's table Shop.Inventory"),
        ("dynamodb://Inventory?region=eu-central-1", "DynamoDB's table Inventory at eu-central-1"),
        ("dynamodb://Inventory?endpoint=http://localhost:8000", "DynamoDB's table Inventory at http://localhost:8000"),
    ],
)
def test_its_name_says_where_it_is_and_no_password(url: str, name: str) -> None:
    store = create_datastore(url)
    assert store is not None
    assert store.name == name


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [(WITH_PASSWORD, "asyncpg", "postgresql"), ("dynamodb://inventory", "aioboto3", "aws")],
)
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"yasdg_app.sinks.{url.partition(':')[0]}", raising=False)
    with pytest.raises(ConfigurationError) as missing:
        create_datastore(url)
    (problem,) = missing.value.problems
    assert problem.startswith("[DATASTORE] url: ")
    assert problem.endswith(f'needs the package {package}; pip install "yasdg[{extra}]" installs it')


WITHOUT = """
import sys
sys.modules["asyncpg"] = sys.modules["aioboto3"] = None  # as if they were not installed
from yasdg_app.__main__ import main
main()
"""


def yasdg_without_packages(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("YASDG_")}
    environment |= {"YASDG_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "YASDG_DATASTORE_URL": WITH_PASSWORD}
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_only_a_worker_needs_the_package(tmp_path: Path) -> None:
    assert yasdg_without_packages(tmp_path, "generate", "-n", "1").returncode == 0
    worker = yasdg_without_packages(tmp_path, "worker", "--web-port", str(free_port()))
    assert worker.returncode == 2
    (line,) = [line.strip() for line in worker.stderr.splitlines() if "[DATASTORE]" in line]
    assert line.endswith('needs the package asyncpg; pip install "yasdg[postgresql]" installs it')
    assert "Traceback" not in worker.stderr
    assert "my%40password" not in worker.stderr + worker.stdout
