"""Clients of a Kafka cluster: for requests to the leader of a partition, and for administration.

Knows nothing of what the requests say.
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

REQUEST_TIMEOUT_SECONDS = 15.0
RETRY_FOR_SECONDS = 30.0
RETRY_SECONDS = 0.1  # between two attempts

T = TypeVar("T")


@asynccontextmanager
async def administration(connection: Connection) -> AsyncIterator[AIOKafkaAdminClient]:
    """Provide a connected admin client.

    Raises KafkaError or OSError if the cluster cannot be reached, and LoginRefusedError if it refuses the login.
    """
    admin = AIOKafkaAdminClient(**connection.client)
    try:
        try:
            await admin.start()
        except (KeyError, ValueError) as error:  # aiokafka 0.14: the server's part of a SCRAM login is wrong
            raise KafkaConnectionError(f"The server's reply to the SCRAM login is invalid: {error}") from error
        yield admin
    except (KafkaError, OSError):
        await check_login(connection)
        raise
    finally:
        await admin.close()


class Cluster:
    """A client that sends requests to brokers. Connects at the first request, and reconnects when it has to."""

    def __init__(self, connection: Connection) -> None:
        self._client = AIOKafkaClient(
            **connection.client, client_id="yasdg", request_timeout_ms=int(REQUEST_TIMEOUT_SECONDS * 1000)
        )
        self._connecting = asyncio.Lock()
        self._connected = False

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def leader(self, tp: TopicPartition) -> int:
        """Return the id of the broker that leads a partition, once connected to it. Raises KafkaError."""
        await self._connect()
        await self._client._wait_on_metadata(tp.topic)
        leader = self._client.cluster.leader_for_partition(tp)
        if leader is None or leader < 0:
            raise LeaderNotAvailableError
        if not await self._client.ready(leader):
            raise NodeNotReadyError
        return int(leader)

    async def send(self, node: int, request: Any) -> Any:
        """Send a request to a broker; return the response.

        Raises KafkaError; the broker may or may not have processed the request then.
        """
        try:
            return await self._client.send(node, request)
        except KeyError as error:  # aiokafka 0.14: the request timed out, and its connection was replaced meanwhile
            raise RequestTimedOutError from error

    async def send_to_leader(self, tp: TopicPartition, request: Any) -> Any:
        """Send a request to the leader of a partition; return the response. Raises KafkaError; see `is_retriable`."""
        return await self.send(await self.leader(tp), request)

    async def send_to_any(self, request: Any) -> Any:
        """Send a request to any broker; return the response. Raises KafkaError."""
        await self._connect()
        return await self.send(self._client.get_random_node(), request)

    def forget_leaders(self) -> None:
        """Refresh the metadata before the next request: after an error another broker may be the leader."""
        self._client.force_metadata_update()

    async def _connect(self) -> None:
        async with self._connecting:
            if not self._connected:
                await self._client.bootstrap()
                self._connected = True


def check(code: int) -> None:
    """Raise the KafkaError of a response's error code; 0 is no error."""
    if code:
        raise for_code(code)()


def is_retriable(error: KafkaError) -> bool:
    """Return whether the request may succeed if it is sent again."""
    # aiokafka 0.14 does not know OFFSET_NOT_AVAILABLE (78, KIP-207), which a new leader returns for a moment.
    return bool(error.retriable) or type(error) is UnknownError


async def retry(send: Callable[[], Awaitable[T]], before_retry: Callable[[], None] = lambda: None) -> T:
    """Return what `send` returns, repeating it after retriable errors for up to RETRY_FOR_SECONDS.

    `before_retry` is called after each such error. Raises KafkaError: one that is not retriable, or the last one.
    """
    deadline = time.monotonic() + RETRY_FOR_SECONDS
    while True:
        try:
            return await send()
        except KafkaError as error:
            if not is_retriable(error) or time.monotonic() > deadline:
                raise
            before_retry()
        await asyncio.sleep(RETRY_SECONDS)
