"""What is PostgreSQL's own: who may come in, connections that break, and a server that does not answer."""

import asyncio
from collections.abc import Iterator

import pytest
from support import datastores
from support.datastores import PostgreSQLServer

from yasdg_app.sinks import postgresql
from yasdg_app.sinks.base import DatastoreError, DatastoreRefusedError, StoredLevel
from yasdg_app.sinks.postgresql import PostgreSQL

pytestmark = pytest.mark.xdist_group("postgresql")
LEVEL = StoredLevel("CS01", "Sunrise Sunset", "Classic Smoothies", 499, 75, 0, "", "2026-01-01 08:00:00.000000")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQLServer]:
    server = PostgreSQLServer()
    yield server
    server.close()


def refused(url: str, runner: asyncio.Runner) -> str:
    with pytest.raises(DatastoreRefusedError) as why:
        runner.run(PostgreSQL(url).open())
    assert "my-" not in str(why.value)
    return str(why.value)


def test_who_is_not_let_in_is_told_why_without_the_password(server: PostgreSQLServer, runner: asyncio.Runner) -> None:
    url = server.new()
    database = url.rpartition("/")[2]
    server.ask(url, "CREATE USER guest PASSWORD 'my-password'")
    wrong = server.address(database, password="my-mistake")
    assert refused(wrong, runner) == 'password authentication failed for user "shop"'
    assert refused(server.address("elsewhere"), runner) == 'database "elsewhere" does not exist'
    assert refused(server.address(database, "guest", "my-password"), runner) == "permission denied for schema public"
    assert refused(f"{url}?sslmode=my-mode", runner).startswith("`sslmode` parameter must be one of")
    assert refused(f"{url}?zone=1", runner) == 'unrecognized configuration parameter "zone"'


def test_an_address_that_no_host_can_have_is_refused(runner: asyncio.Runner) -> None:
    assert "label" in refused(f"postgresql://shop:my-password@{'x' * 64}.example/shop", runner)


def test_another_schema_is_room_for_another_shop(server: PostgreSQLServer, runner: asyncio.Runner) -> None:
    url = server.new()
    server.ask(url, "CREATE SCHEMA second")
    for address, level in ((url, LEVEL), (f"{url}?search_path=second", LEVEL._replace(level=7))):
        store = PostgreSQL(address)
        runner.run(store.open())
        runner.run(store.write([level]))
        runner.run(store.close())
    assert server.rows(url)["CS01"]["level"] == 75
    assert server.rows(f"{url}?search_path=second")["CS01"]["level"] == 7


def test_whoever_may_only_use_the_table_needs_no_more_once_it_is_there(
    server: PostgreSQLServer, runner: asyncio.Runner
) -> None:
    url = server.new()
    owner = PostgreSQL(url)
    runner.run(owner.open())
    runner.run(owner.close())
    server.ask(url, "CREATE USER clerk PASSWORD 'clerk'")
    server.ask(url, "GRANT SELECT, INSERT, UPDATE ON inventory TO clerk")
    store = PostgreSQL(server.address(url.rpartition("/")[2], "clerk", "clerk"))
    runner.run(store.open())
    runner.run(store.write([LEVEL]))
    runner.run(store.close())
    assert server.rows(url).keys() == {"CS01"}


def test_a_table_that_was_dropped_is_made_anew(server: PostgreSQLServer, runner: asyncio.Runner) -> None:
    url = server.new()
    store = PostgreSQL(url)
    assert runner.run(store.open()) is True
    runner.run(store.write([LEVEL]))
    server.ask(url, "DROP TABLE inventory")
    with pytest.raises(DatastoreError, match='relation "inventory" does not exist'):
        runner.run(store.write([LEVEL]))
    assert runner.run(store.open()) is True  # so that all rows are written again
    runner.run(store.write([LEVEL]))
    assert server.rows(url).keys() == {"CS01"}
    runner.run(store.close())


def test_a_server_that_does_not_answer_is_not_waited_for(
    server: PostgreSQLServer, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "RESPONSE_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(postgresql, "CONNECT_TIMEOUT_SECONDS", 0.5)
    store = PostgreSQL(server.new())
    runner.run(store.open())
    server.pause()
    try:
        for attempt in (store.write([LEVEL]), store.open()):
            with pytest.raises(DatastoreError, match="it does not answer"):
                runner.run(attempt)
    finally:
        server.resume()
    assert runner.run(store.open()) is True
    runner.run(store.write([LEVEL]))
    runner.run(store.close())


def test_a_server_that_is_not_there_is_no_refusal(runner: asyncio.Runner) -> None:
    with pytest.raises(DatastoreError) as away:
        runner.run(PostgreSQL(f"postgresql://shop:my-password@127.0.0.1:{datastores.free_port()}/shop").open())
    assert not isinstance(away.value, DatastoreRefusedError)
    assert "my-password" not in str(away.value)


@pytest.mark.parametrize("kind", ["text", "date"])
def test_a_column_whose_type_was_changed_meanwhile_is_rewritten_or_refused(
    server: PostgreSQLServer, runner: asyncio.Runner, kind: str
) -> None:
    store = PostgreSQL(url := server.new())
    runner.run(store.open())
    sold = LEVEL._replace(sales=1, last_sale="2026-01-01 08:00:01.000000")
    runner.run(store.write([sold]))
    assert runner.run(store.read(["CS01"])) == {"CS01": sold}
    server.ask(url, f"ALTER TABLE inventory ALTER COLUMN last_sale TYPE {kind} USING last_sale::{kind}")
    assert runner.run(store.read(["CS01"])) == {"CS01": sold._replace(last_sale="")}
    runner.run(store.close())
    with pytest.raises(DatastoreRefusedError):
        runner.run(store.open())
