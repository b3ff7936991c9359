"""Amazon DynamoDB, and databases that speak its protocol."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from decimal import Decimal
from typing import Protocol, TypedDict

import aioboto3
from botocore import exceptions
from botocore.config import Config

from yasdg_app.errors import RENAMED, is_raised_within
from yasdg_app.sinks.base import (
    COLUMNS,
    CONNECT_TIMEOUT_SECONDS,
    RESPONSE_TIMEOUT_SECONDS,
    DatastoreError,
    DatastoreRefusedError,
    StoredLevel,
    read_level,
    reason,
)

MAX_CONCURRENT_WRITES = 16  # each is a separate request, because batch writes have no conditions
READY_STATES = ("ACTIVE", "UPDATING")
TABLE_POLL_SECONDS = 0.25  # between two checks whether the table has been created
KEY = "product_id"
# Attribute names may be reserved words, such as level; #level never is.
SET = "SET " + ", ".join(f"#{name} = :{name}" for name in COLUMNS if name not in (KEY, "last_sale"))
WITH_LAST_SALE, WITHOUT_LAST_SALE = f"{SET}, #last_sale = :last_sale", f"{SET} REMOVE #last_sale"
UNLESS_NEWER = (
    "attribute_not_exists(#product_id) OR #shop_opened < :shop_opened "
    "OR (#shop_opened = :shop_opened AND #sales <= :sales)"
)
ATTRIBUTE_NAMES = {f"#{name}": name for name in COLUMNS}
NUMBER_COLUMNS = {"price", "level", "sales"}  # columns; the others are texts
REFUSED_CODES = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "UnrecognizedClientException",
    "ValidationException",
}


Item = Mapping[str, Mapping[str, str]]
"""The attributes of an item: by name, the value by its type, N or S."""


class _Table(TypedDict):
    TableStatus: str
    KeySchema: Sequence[Mapping[str, str]]
    AttributeDefinitions: Sequence[Mapping[str, str]]


class _DescribeTableResponse(TypedDict):
    Table: _Table


class _BatchGetItemResponse(TypedDict):
    Responses: Mapping[str, Sequence[Item]]


class _Exceptions(Protocol):
    """Classes that boto3 makes at run time."""

    ConditionalCheckFailedException: type[exceptions.ClientError]
    ResourceInUseException: type[exceptions.ClientError]
    ResourceNotFoundException: type[exceptions.ClientError]


class _Client(Protocol):
    """What is used of boto3's client, which has no types."""

    exceptions: _Exceptions

    async def batch_get_item(self, *, RequestItems: Mapping[str, object]) -> _BatchGetItemResponse: ...
    async def create_table(self, **options: object) -> object: ...
    async def describe_table(self, *, TableName: str) -> _DescribeTableResponse: ...
    async def update_item(self, **options: object) -> object: ...


class DynamoDB:
    """A DynamoDB table with one item per product.

    Credentials and, unless given, region and endpoint are found by boto3: in the environment, in its files, or in the
    machine's role.

    Parameters
    ----------
    table
        Name of the table. It is created if there is none, with on-demand billing.
    region, endpoint
        None: see above.
    """

    batch = 100  # what one request reads

    def __init__(self, table: str, region: str | None, endpoint: str | None) -> None:
        self.name = " ".join(
            [f"DynamoDB's table {table}", *(f"at {location}" for location in (endpoint or region,) if location)]
        )
        self._table = table
        self._location = {"region_name": region, "endpoint_url": endpoint}
        self._client: _Client | None = None
        self._has_table = False  # the table, as far as we know
        self._exit_stack = AsyncExitStack()

    async def open(self) -> bool:
        if self._has_table:
            return False
        try:
            async with _convert_errors():
                if self._client is None:  # otherwise it is kept: creating one takes 0.1 s during which nothing is sold
                    self._client = await self._connect()
                await self._ensure_table(self._client)
        except DatastoreRefusedError:
            await self.close()  # each client looks up its credentials only once
            raise
        self._has_table = True
        return True

    async def read(self, product_ids: Sequence[str]) -> dict[str, StoredLevel]:
        keys = [{KEY: {"S": product_id}} for product_id in product_ids]
        wanted = {self._table: {"Keys": keys, "ConsistentRead": True}}
        async with self._connected() as client:
            answer = await client.batch_get_item(RequestItems=wanted)
        # Items that an overloaded server left out are treated as missing: the condition of the write decides.
        items = answer["Responses"].get(self._table, ())
        levels = (read_level(next(iter(item.get(name, {}).values()), None) for name in COLUMNS) for item in items)
        return {level.product_id: level for level in levels}

    async def write(self, levels: Sequence[StoredLevel]) -> None:
        room = asyncio.Semaphore(MAX_CONCURRENT_WRITES)

        async def write(level: StoredLevel) -> None:
            async with room:
                await self._write(level)

        outcomes = await asyncio.gather(*map(write, levels), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def close(self) -> None:
        stack, self._exit_stack, self._client, self._has_table = self._exit_stack, AsyncExitStack(), None, False
        await stack.aclose()

    async def _connect(self) -> _Client:
        limits = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=RESPONSE_TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=MAX_CONCURRENT_WRITES,
        )
        session = aioboto3.Session()
        client: _Client = await self._exit_stack.enter_async_context(
            session.client("dynamodb", config=limits, **self._location)
        )
        return client

    async def _ensure_table(self, client: _Client) -> None:
        """Create the table if there is none, which takes seconds. Raises DatastoreError."""
        deadline = time.monotonic() + RESPONSE_TIMEOUT_SECONDS
        while (table := await self._describe_table(client)) is None or table["TableStatus"] not in READY_STATES:
            if table is None:
                await self._create_table(client)
            elif time.monotonic() > deadline:
                raise DatastoreError("it is not ready yet")
            await asyncio.sleep(TABLE_POLL_SECONDS)
        if [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] != [(KEY, "HASH")]:
            raise DatastoreRefusedError(f"it has another key than {KEY} alone. Expected none, or one that YASDG made")
        if {"AttributeName": KEY, "AttributeType": "S"} not in table["AttributeDefinitions"]:
            raise DatastoreRefusedError(f"its key {KEY} is no string. Expected none, or one that YASDG made")

    async def _describe_table(self, client: _Client) -> _Table | None:
        """Return the description of the table; None if there is none."""
        try:
            return (await client.describe_table(TableName=self._table))["Table"]
        except client.exceptions.ResourceNotFoundException:
            return None

    async def _create_table(self, client: _Client) -> None:
        with suppress(client.exceptions.ResourceInUseException):  # another worker was first
            await client.create_table(
                TableName=self._table,
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )

    async def _write(self, level: StoredLevel) -> None:
        values = _attributes(level)
        async with self._connected() as client:
            with suppress(client.exceptions.ConditionalCheckFailedException):  # there is a newer one
                await client.update_item(
                    TableName=self._table,
                    Key={KEY: values.pop(KEY)},
                    UpdateExpression=WITH_LAST_SALE if level.last_sale else WITHOUT_LAST_SALE,
                    ConditionExpression=UNLESS_NEWER,
                    ExpressionAttributeNames=ATTRIBUTE_NAMES,
                    ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
                )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Client]:
        """Yield the client; convert its errors to DatastoreError."""
        client = self._client
        if client is None:
            raise DatastoreError("it is not open")
        async with _convert_errors():
            try:
                yield client
            except client.exceptions.ResourceNotFoundException:
                self._has_table = False
                raise


def _attributes(level: StoredLevel) -> dict[str, dict[str, str]]:
    texts = dict(zip(COLUMNS, map(str, level), strict=True))
    texts["price"] = str(Decimal(level.price_cents) / 100)
    if not level.last_sale:
        del texts["last_sale"]
    return {name: {"N" if name in NUMBER_COLUMNS else "S": text} for name, text in texts.items()}


@asynccontextmanager
async def _convert_errors() -> AsyncIterator[None]:
    """Convert errors of boto3 to DatastoreError or DatastoreRefusedError."""
    try:
        yield
    except exceptions.ClientError as error:
        kind = DatastoreRefusedError if error.response["Error"]["Code"] in REFUSED_CODES else DatastoreError
        raise kind(reason(error)) from error
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise DatastoreError(reason(error)) from error
    except RENAMED as error:
        if not is_raised_within(error, "botocore", "aiobotocore"):
            raise
        raise DatastoreError(f"it returned no response of DynamoDB: {reason(error)}") from error
    except exceptions.BotoCoreError as error:  # no credentials, no region, no such profile
        raise DatastoreRefusedError(reason(error)) from error
    except (OSError, ValueError) as error:
        raise DatastoreError(reason(error)) from error
