"""The datastores, each started once for each process of the tests that needs it."""

import asyncio
from collections.abc import Iterator

import pytest
from support import datastores
from support.datastores import Server

KINDS = [pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in ("sqlite", "postgresql", "dynamodb")]


@pytest.fixture(scope="session", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = datastores.start(request.param, tmp_path_factory.mktemp(request.param))
    yield server
    server.close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of nobody, for a DynamoDB on this machine."""
    for name, value in datastores.CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """Runs what is asynchronous in one event loop: what a datastore holds is of the loop in which it was opened."""
    with asyncio.Runner() as runner:
        yield runner
