"""Real datastores for tests: separate servers on free ports, which can be killed and restarted."""

import asyncio
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from datetime import datetime
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import psutil
import pytest
from botocore.session import Session

from yasdg_app.kafka.embedded.jars import default_folder
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.kafka.embedded.node import free_port

Row = dict[str, Any]

PASSWORD = "p@ss/wörd"
IN_AN_ADDRESS = "p%40ss%2Fw%C3%B6rd"
DYNAMODB = Path(__file__).parents[1] / "data" / "dynamodb"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "yasdg", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


class Server(Protocol):
    """A running datastore."""

    def new(self) -> str:
        """Return the address of an unused place in it."""

    def rows(self, url: str) -> dict[str, Row]:
        """Return the rows at an address, by product, as any reader gets them; times as text, the price in cents."""

    def spoil(self, url: str) -> None:
        """Put another application's table there."""

    def widen(self, url: str, column: str) -> None:
        """Add a text column."""

    def set(self, url: str, product_id: str, column: str, value: str) -> None:
        """Change a text by hand."""

    def forget(self, url: str, product_id: str) -> None:
        """Delete a row by hand."""

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


def until_open(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.05)


def kill_with_children(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children at once; a server's processes form no process group."""
    if process.poll() is not None:
        return
    family = [(parent := psutil.Process(process.pid)), *parent.children(recursive=True)]
    for end in (psutil.Process.suspend, psutil.Process.kill):  # suspended first, so that none cleans up after another
        for each in family:
            with suppress(psutil.NoSuchProcess):  # it ended by itself
                end(each)
    process.wait()
    psutil.wait_procs(family[1:], timeout=10)


class SQLiteServer:
    """A folder of files. There is no server to kill: the closest equivalent is another process that locks the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        self._url = ""
        self._holder: sqlite3.Connection | None = None

    def new(self) -> str:
        self._url = f"sqlite:///{self._folder}/new/{next(self._numbers)}.db"
        return self._url

    def rows(self, url: str) -> dict[str, Row]:
        with closing(self._connect(url)) as connection:
            connection.row_factory = sqlite3.Row
            rows = map(dict, connection.execute("SELECT * FROM inventory").fetchall())
            return {row["product_id"]: row | {"price": round(row["price"] * 100)} for row in rows}

    def spoil(self, url: str) -> None:
        self._do(url, "CREATE TABLE inventory (product_id TEXT PRIMARY KEY, level TEXT, price NUMERIC)")

    def widen(self, url: str, column: str) -> None:
        self._do(url, f"ALTER TABLE inventory ADD COLUMN {column} TEXT")

    def set(self, url: str, product_id: str, column: str, value: str) -> None:
        self._do(url, f"UPDATE inventory SET {column} = ? WHERE product_id = ?", value, product_id)

    def forget(self, url: str, product_id: str) -> None:
        self._do(url, "DELETE FROM inventory WHERE product_id = ?", product_id)

    def start(self) -> None:
        if self._holder is not None:
            self._holder.close()

    def kill(self) -> None:
        self._holder = self._connect(self._url)
        self._holder.execute("BEGIN EXCLUSIVE")

    def close(self) -> None: ...

    def _do(self, url: str, statement: str, *values: str) -> None:
        with closing(self._connect(url)) as connection:
            connection.execute(statement, values)

    @staticmethod
    def _connect(url: str) -> sqlite3.Connection:
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(exist_ok=True)
        return sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)


class PostgreSQLServer:
    """Debian's PostgreSQL. As root it runs under the user postgres, since it refuses to run as root."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="yasdg-postgresql-"))  # other users may not enter pytest's own
        self._port = free_port()
        self._numbers = count()
        self._log = self._folder / "log"
        self._as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as:
            os.chown(self._folder, pwd.getpwnam("postgres").pw_uid, -1)
        (self._folder / "password").write_text(PASSWORD)
        os.chmod(self._folder / "password", 0o644)
        options = ["--username=shop", "--auth=scram-sha-256", f"--pwfile={self._folder / 'password'}", "--no-sync"]
        command = [program("initdb"), f"--pgdata={self._folder / 'data'}", "--encoding=UTF8", "--locale=C", *options]
        made = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, **self._as)  # type: ignore[call-overload]
        assert made.returncode == 0, made.stdout + made.stderr
        self.start()

    def start(self) -> None:
        command = [program("postgres"), "-D", str(self._folder / "data"), "-p", str(self._port)]
        command += ["-h", "127.0.0.1", "-k", str(self._folder), "-c", "max_connections=30"]
        command += ["-c", "dynamic_shared_memory_type=mmap"]  # in its own folder: a killed server leaves it
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **self._as)  # type: ignore[call-overload]
        until_open(self._port, self._process, self._log)
        while True:
            try:
                self._ask("postgres", "SELECT 1")
                return
            except asyncpg.CannotConnectNowError:  # it is replaying its log
                time.sleep(0.05)

    def new(self) -> str:
        name = f"shop{next(self._numbers)}"
        self._ask("postgres", f"CREATE DATABASE {name}")
        return self.address(name)

    def address(self, database: str, user: str = "shop", password: str = IN_AN_ADDRESS) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self._port}/{database}"

    def rows(self, url: str) -> dict[str, Row]:
        found = {}
        made = self._ask(url, "SELECT to_regclass('inventory') IS NOT NULL AS made")[0]["made"]
        for record in self._ask(url, "SELECT * FROM inventory") if made else ():
            times = {
                name: value.isoformat(" ", "microseconds")
                for name, value in record.items()
                if isinstance(value, datetime)
            }
            row = dict(record) | times
            found[row["product_id"]] = row | {"price": round(row["price"] * 100)}
        return found

    def spoil(self, url: str) -> None:
        self._ask(url, "CREATE TABLE inventory (product_id text PRIMARY KEY, level text, price numeric)")

    def widen(self, url: str, column: str) -> None:
        self._ask(url, f"ALTER TABLE inventory ADD COLUMN {column} text")

    def set(self, url: str, product_id: str, column: str, value: str) -> None:
        self._ask(url, f"UPDATE inventory SET {column} = $1 WHERE product_id = $2", value, product_id)

    def forget(self, url: str, product_id: str) -> None:
        self._ask(url, "DELETE FROM inventory WHERE product_id = $1", product_id)

    def ask(self, url: str, statement: str) -> None:
        self._ask(url, statement)

    def pause(self) -> None:
        for each in self._all():
            each.suspend()

    def resume(self) -> None:
        for each in self._all():
            each.resume()

    def kill(self) -> None:
        kill_with_children(self._process)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _all(self) -> list[psutil.Process]:
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def _ask(self, url: str, statement: str, *values: Any) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(url if "://" in url else self.address(url))
            try:
                return await connection.fetch(statement, *values)
            finally:
                await connection.close()

        return asyncio.run(ask())


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs: Debian keeps each version in its own folder."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        pytest.skip(f"PostgreSQL's {name} is missing. Debian, Ubuntu: apt install postgresql")
    return path


class DynamoDBServer:
    """dynalite: DynamoDB's API on a LevelDB in a folder. Fetched once, by npm, from a lock file with hashes.

    Amazon's own DynamoDB Local is not used, because its licence is not an open-source licence.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._numbers = count()
        self._log = folder / "log"
        self._program = dynalite()
        self.start()

    def start(self) -> None:
        command = ["node", str(self._program), "--port", str(self._port), "--path", str(self._folder / "data")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        until_open(self._port, self._process, self._log)

    def new(self) -> str:
        return f"dynamodb://Inventory.{next(self._numbers)}?region=eu-central-1&endpoint=http://127.0.0.1:{self._port}"

    def rows(self, url: str) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for page in self.client.get_paginator("scan").paginate(TableName=table(url), ConsistentRead=True):
            for item in page["Items"]:
                row: Row = {"last_sale": None}
                for name, typed in item.items():
                    ((kind, text),) = typed.items()
                    row[name] = round(float(text) * (100 if name == "price" else 1)) if kind == "N" else text
                found[row["product_id"]] = row
        return found

    def spoil(self, url: str) -> None:
        self.client.create_table(
            TableName=table(url),
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def widen(self, url: str, column: str) -> None: ...

    def set(self, url: str, product_id: str, column: str, value: str) -> None:
        self.client.update_item(
            TableName=table(url),
            Key={"product_id": {"S": product_id}},
            UpdateExpression="SET #column = :value",
            ExpressionAttributeNames={"#column": column},
            ExpressionAttributeValues={":value": {"S": value}},
        )

    def forget(self, url: str, product_id: str) -> None:
        self.client.delete_item(TableName=table(url), Key={"product_id": {"S": product_id}})

    @property
    def client(self) -> Any:
        return Session().create_client(
            "dynamodb",
            region_name="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{self._port}",
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )

    def kill(self) -> None:
        kill_with_children(self._process)

    def close(self) -> None:
        self.kill()


def table(url: str) -> str:
    return url.removeprefix("dynamodb://").partition("?")[0]


def dynalite() -> Path:
    """Return the path of the program, in the user's cache folder."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing, which fetches the DynamoDB of the tests. Debian, Ubuntu: apt install npm")
    folder = default_folder().with_name(
        "dynalite-" + sha256((DYNAMODB / "package-lock.json").read_bytes()).hexdigest()[:8]
    )
    folder.mkdir(parents=True, exist_ok=True)
    program, lock = folder / "node_modules" / "dynalite" / "cli.js", FileLock(folder / ".lock")
    lock.acquire()
    try:
        if not (folder / "complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(DYNAMODB / name, folder)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            made = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
            assert made.returncode == 0, made.stdout + made.stderr
            (folder / "complete").touch()
    finally:
        lock.release()
    return program


def start(kind: str, folder: Path) -> Server:
    """Start one of sqlite, postgresql and dynamodb."""
    match kind:
        case "sqlite":
            return SQLiteServer(folder)
        case "postgresql":
            return PostgreSQLServer()
        case _:
            return DynamoDBServer(folder)
