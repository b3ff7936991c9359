"""What is DynamoDB's own: a table that somebody deletes, and clients that take long to make."""

import asyncio
from collections.abc import Iterator

import aioboto3
import pytest
from support import datastores
from support.datastores import DynamoDBServer
from support.http_answers import answering

from yasdg_app.sinks.base import DatastoreError, StoredLevel
from yasdg_app.sinks.factory import create_datastore

pytestmark = pytest.mark.xdist_group("dynamodb")
LEVEL = StoredLevel("CS01", "Sunrise Sunset", "Classic Smoothies", 499, 75, 0, "", "2026-01-01 08:00:00.000000")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamoDBServer]:
    server = DynamoDBServer(tmp_path_factory.mktemp("dynamodb"))
    yield server
    server.close()


def test_each_who_had_a_table_open_that_was_deleted_writes_all_of_its_rows_again(
    server: DynamoDBServer, runner: asyncio.Runner
) -> None:
    url = server.new()
    stores = [create_datastore(url), create_datastore(url)]
    for store in stores:
        assert store is not None
        assert runner.run(store.open()) is True
        assert runner.run(store.open()) is False
    server.client.delete_table(TableName=datastores.table(url))
    server.client.get_waiter("table_not_exists").wait(TableName=datastores.table(url), WaiterConfig={"Delay": 1})
    for store in stores:
        assert store is not None
        with pytest.raises(DatastoreError):
            runner.run(store.write([LEVEL]))
    for store in stores:
        assert store is not None
        assert runner.run(store.open()) is True  # the second finds it as the first has made it
        runner.run(store.write([LEVEL]))
        runner.run(store.close())
    assert server.rows(url).keys() == {"CS01"}


def test_one_client_is_enough_until_it_answers(
    server: DynamoDBServer, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    class Counted(aioboto3.Session):
        def __init__(self) -> None:
            nonlocal made
            made += 1
            super().__init__()

    monkeypatch.setattr(aioboto3, "Session", Counted)
    store = create_datastore(server.new())
    assert store is not None
    server.kill()
    try:
        for _ in range(3):
            with pytest.raises(DatastoreError):
                runner.run(store.open())
    finally:
        server.start()
    assert runner.run(store.open()) is True
    runner.run(store.close())
    assert made == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, b'"Service Unavailable"'), (502, b"[]"), (200, b"[]"), (400, b'{"__type":5}'), (200, b"null")],
)
def test_a_server_that_is_not_dynamodb_is_an_error_of_the_datastore(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with answering(status, body) as address:
        store = create_datastore(f"dynamodb://inventory?region=eu-central-1&endpoint=http://{address}")
        assert store is not None
        try:
            with pytest.raises(DatastoreError):
                runner.run(store.open())
        finally:
            runner.run(store.close())
