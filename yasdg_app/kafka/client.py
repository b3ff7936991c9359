"""Clients of the cluster: for requests that go to the leader of a partition, and for its administration.

Knows nothing of what is asked.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    RequestTimedOutError,
    UnknownError,
    for_code,
)

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.auth.diagnostics import check_login

REQUEST_SECONDS = 15.0
PATIENCE = 30.0  # seconds for which a cluster that does not answer is asked again
RETRY = 0.1

T = TypeVar("T")


@asynccontextmanager
async def administration(connection: Connection) -> AsyncIterator[AIOKafkaAdminClient]:
    """Provide a connected client for what concerns the cluster as a whole.

    Raises KafkaError or OSError if the cluster cannot be reached, and LoginRefusedError if it does not let us in.
    """
    admin = AIOKafkaAdminClient(**connection.client)
    try:
        try:
            await admin.start()
        except (KeyError, ValueError) as error:  # aiokafka 0.14: what the server says in a login by SCRAM is wrong
            raise KafkaConnectionError(f"Its login is not as it should be: {error}") from error
        yield admin
    except (KafkaError, OSError):
        await check_login(connection)
        raise
    finally:
        await admin.close()


class Cluster:
    """The cluster at the other end of a connection. Connects when it is first asked, and again when it has to."""

    def __init__(self, connection: Connection) -> None:
        self._client = AIOKafkaClient(
            **connection.client, client_id="yasdg", request_timeout_ms=int(REQUEST_SECONDS * 1000)
        )
        self._connecting = asyncio.Lock()
        self._connected = False

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def leader(self, tp: TopicPartition) -> int:
        """Return the broker that leads a partition, with a connection to it. Raises KafkaError if it cannot be had."""
        await self._connect()
        await self._client._wait_on_metadata(tp.topic)
        leader = self._client.cluster.leader_for_partition(tp)
        if leader is None or leader < 0:
            raise LeaderNotAvailableError
        if not await self._client.ready(leader):
            raise NodeNotReadyError
        return int(leader)

    async def ask(self, node: int, request: Any) -> Any:
        """Return the answer of a broker. Raises KafkaError; then the broker may have done what it was asked or not."""
        try:
            return await self._client.send(node, request)
        except KeyError as error:  # aiokafka 0.14: the request timed out, and its connection was replaced meanwhile
            raise RequestTimedOutError from error

    async def ask_leader(self, tp: TopicPartition, request: Any) -> Any:
        """Return the answer of the broker that leads a partition. Raises KafkaError; `retriable` says what it means."""
        return await self.ask(await self.leader(tp), request)

    async def ask_any(self, request: Any) -> Any:
        """Return the answer of any broker. Raises KafkaError."""
        await self._connect()
        return await self.ask(self._client.get_random_node(), request)

    def forget_leaders(self) -> None:
        """Find out anew which broker leads what, after an error."""
        self._client.force_metadata_update()

    async def _connect(self) -> None:
        async with self._connecting:
            if not self._connected:
                await self._client.bootstrap()
                self._connected = True


def check(code: int) -> None:
    """Raise the KafkaError that an answer's error code stands for, if it is one."""
    if code:
        raise for_code(code)()


def passes(error: KafkaError) -> bool:
    """Tell whether it makes sense to ask again."""
    # aiokafka 0.14 does not know the error of a leader that is too new to say where its log ends (78, KIP-207).
    return bool(error.retriable) or type(error) is UnknownError


async def patiently(ask: Callable[[], Awaitable[T]], in_between: Callable[[], None] = lambda: None) -> T:
    """Return what is answered, asking again where it makes sense: a cluster that has just started takes a moment."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await ask()
        except KafkaError as error:
            if not passes(error) or time.monotonic() > deadline:
                raise
            in_between()
        await asyncio.sleep(RETRY)
