"""Amazon DynamoDB, and databases that speak its protocol."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from decimal import Decimal
from typing import Any

import aioboto3
from botocore import exceptions
from botocore.config import Config

from yasdg_app.sinks.base import (
    COLUMNS,
    CONNECT,
    PATIENCE,
    DatastoreError,
    DatastoreRefusedError,
    Level,
    read_level,
    reason,
)

AT_ONCE = 16  # writes; each is a separate request, because batch writes have no conditions
LOOK = 0.25  # seconds between two checks whether the table has been created
KEY = "product_id"
# Attribute names may be reserved words, such as level; #level never is.
SET = "SET " + ", ".join(f"#{name} = :{name}" for name in COLUMNS if name not in (KEY, "last_sale"))
WITH_LAST_SALE, WITHOUT = f"{SET}, #last_sale = :last_sale", f"{SET} REMOVE #last_sale"
GUARD = (
    "attribute_not_exists(#product_id) OR #shop_opened < :shop_opened "
    "OR (#shop_opened = :shop_opened AND #sales <= :sales)"
)
NAMES = {f"#{name}": name for name in COLUMNS}
NUMBERS = {"price", "level", "sales"}  # columns; the others are texts
REFUSED = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "UnrecognizedClientException",
    "ValidationException",
}


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
            [f"DynamoDB's table {table}", *(f"at {place}" for place in (endpoint or region,) if place)]
        )
        self._table = table
        self._where = {"region_name": region, "endpoint_url": endpoint}
        self._client: Any = None
        self._is_there = False  # the table, as far as we know
        self._held = AsyncExitStack()

    async def open(self) -> bool:
        if self._is_there:
            return False
        try:
            async with _translated():
                if self._client is None:  # otherwise it is kept: creating one takes 0.1 s during which nothing is sold
                    self._client = await self._connect()
                await self._make(self._client)
        except DatastoreRefusedError:
            await self.close()  # each client looks up its credentials only once
            raise
        self._is_there = True
        return True

    async def read(self, product_ids: Sequence[str]) -> dict[str, Level]:
        wanted = {self._table: {"Keys": [{KEY: {"S": each}} for each in product_ids], "ConsistentRead": True}}
        async with self._at_work() as client:
            answer = await client.batch_get_item(RequestItems=wanted)
        # Items that an overloaded server left out are treated as missing: the condition of the write decides.
        items = answer["Responses"].get(self._table, ())
        levels = (read_level(next(iter(item.get(name, {}).values()), None) for name in COLUMNS) for item in items)
        return {level.product_id: level for level in levels}

    async def write(self, levels: Sequence[Level]) -> None:
        room = asyncio.Semaphore(AT_ONCE)

        async def write(level: Level) -> None:
            async with room:
                await self._write(level)

        outcomes = await asyncio.gather(*map(write, levels), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def close(self) -> None:
        held, self._held, self._client, self._is_there = self._held, AsyncExitStack(), None, False
        await held.aclose()

    async def _connect(self) -> Any:
        limits = Config(
            connect_timeout=CONNECT,
            read_timeout=PATIENCE,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=AT_ONCE,
        )
        session = aioboto3.Session()
        return await self._held.enter_async_context(session.client("dynamodb", config=limits, **self._where))

    async def _make(self, client: Any) -> None:
        """Create the table if there is none, which takes seconds. Raises DatastoreError."""
        deadline = time.monotonic() + PATIENCE
        while (table := await self._look(client)) is None or table["TableStatus"] not in ("ACTIVE", "UPDATING"):
            if table is None:
                await self._create(client)
            elif time.monotonic() > deadline:
                raise DatastoreError("it is not ready yet")
            await asyncio.sleep(LOOK)
        if [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] != [(KEY, "HASH")]:
            raise DatastoreRefusedError(f"it has another key than {KEY} alone. Expected none, or one that YASDG made")
        if {"AttributeName": KEY, "AttributeType": "S"} not in table["AttributeDefinitions"]:
            raise DatastoreRefusedError(f"its key {KEY} is no string. Expected none, or one that YASDG made")

    async def _look(self, client: Any) -> Any:
        """Return the description of the table; None if there is none."""
        try:
            return (await client.describe_table(TableName=self._table))["Table"]
        except client.exceptions.ResourceNotFoundException:
            return None

    async def _create(self, client: Any) -> None:
        with suppress(client.exceptions.ResourceInUseException):  # another worker was first
            await client.create_table(
                TableName=self._table,
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )

    async def _write(self, level: Level) -> None:
        values = _attributes(level)
        async with self._at_work() as client:
            with suppress(client.exceptions.ConditionalCheckFailedException):  # there is a newer one
                await client.update_item(
                    TableName=self._table,
                    Key={KEY: values.pop(KEY)},
                    UpdateExpression=WITH_LAST_SALE if level.last_sale else WITHOUT,
                    ConditionExpression=GUARD,
                    ExpressionAttributeNames=NAMES,
                    ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
                )

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[Any]:
        """Yield the client; convert its errors to DatastoreError."""
        if self._client is None:
            raise DatastoreError("it is not open")
        async with _translated():
            try:
                yield self._client
            except self._client.exceptions.ResourceNotFoundException:
                self._is_there = False
                raise


def _attributes(level: Level) -> dict[str, dict[str, str]]:
    texts = dict(zip(COLUMNS, map(str, level), strict=True))
    texts["price"] = str(Decimal(level.price_cents) / 100)
    if not level.last_sale:
        del texts["last_sale"]
    return {name: {"N" if name in NUMBERS else "S": text} for name, text in texts.items()}


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Convert errors of boto3 to DatastoreError or DatastoreRefusedError."""
    try:
        yield
    except exceptions.ClientError as error:
        kind = DatastoreRefusedError if error.response["Error"]["Code"] in REFUSED else DatastoreError
        raise kind(reason(error)) from error
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        raise DatastoreError(reason(error)) from error
    except exceptions.BotoCoreError as error:  # no credentials, no region, no such profile
        raise DatastoreRefusedError(reason(error)) from error
    except (OSError, ValueError) as error:
        raise DatastoreError(reason(error)) from error
