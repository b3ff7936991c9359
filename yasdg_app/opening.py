"""Opening the shop, before Faust connects: the broker is there, the topics exist, all workers agree when it all began.

The opening is the first record of a topic of its own. Workers that start at once may each write one; the log has put
one of them first, and that is it. It also says what the stream is made from, so that nobody goes on with another, and
under which id all workers produce.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from yasdg_app import messages, topics
from yasdg_app.catalog import Product, fingerprinted
from yasdg_app.cluster import administration
from yasdg_app.connecting.connection import Connection
from yasdg_app.errors import YasdgError
from yasdg_app.formats import Format
from yasdg_app.producer import OutOfDateError, Row, ShopProducer, new_producer_id
from yasdg_app.reading import Message, Reader, read_all
from yasdg_app.settings import Settings, texts
from yasdg_app.shop.calendar import Calendar
from yasdg_app.shop.clock import Clock
from yasdg_app.shop.demand import microseconds

logger = logging.getLogger(__name__)

RETRY = 2.0  # seconds between two looks for a broker that is not there
ATTEMPTS = 10  # to tell of the products
PIECE = 10_000  # products
FORBIDDEN = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
UNSAID = {"FORMAT.value": "json", "FORMAT.time": "sql"}
"""What an opening means that does not say so: there was nothing else when it was written, or it is the default."""


class OpeningError(YasdgError):
    """The shop in the log is another one than the configuration describes."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What all workers of a shop agree upon.

    Attributes
    ----------
    clock
        The shop's clock, whose start is the event time of the shop's first moment.
    producer_id
        The id under which all of them produce.
    made_from
        What the stream is a function of, beside time.
    """

    clock: Clock
    producer_id: int
    made_from: dict[str, Any]

    @property
    def opened_at(self) -> int:
        """Event time of the shop's first moment, microseconds since 1970."""
        return self.clock.start


async def open_shop(connection: Connection, settings: Settings, products: tuple[Product, ...], form: Format) -> Opening:
    """Prepare all that a worker needs. Waits for the cluster as long as it takes.

    Raises
    ------
    OpeningError, topics.TopicsError
        If what is in the cluster does not fit the configuration, or we may not do what a shop needs.
    LoginRefusedError
        If the cluster does not let us in.
    RegistryError
        If the schemas cannot be registered.
    """
    waiting = False
    while True:
        try:
            async with administration(connection) as admin:
                await topics.ensure(admin, settings)
                opening = await _agree(connection, settings, products, form)
                await _publish_products(connection, settings, products, opening.producer_id, form)
                return opening
        except FORBIDDEN as error:
            raise OpeningError(
                f"Apache Kafka at {connection.servers} lets us in, but does not let us do what a shop needs ({error}). "
                "Have the user allowed to create topics, to read and write them, and to use the group."
            ) from error
        except (KafkaError, OSError) as error:
            if not waiting:
                logger.warning("Waiting for Apache Kafka at %s (%s). Ctrl-C ends.", connection.servers, error)
            waiting = True
            await asyncio.sleep(RETRY)


def read_opening(records: Iterable[Message]) -> Opening | None:
    """Return the opening that counts among the records of its topic; None if there is none.

    Raises OpeningError if it is one of a version of YASDG whose stream was another.
    """
    for record in records:
        content = orjson.loads(record.value or b"{}")
        if "opened_at" in content:
            if "started" not in content:
                raise OpeningError(
                    f"The shop in this log was opened {content['opened_at']} by an earlier version of YASDG, whose "
                    "stream cannot go on with this one. Begin anew: yasdg topics delete"
                )
            start, started = (messages.event_time(content[name]) for name in ("opened_at", "started"))
            clock = Clock(start, started, content["speed"])
            return Opening(clock, content["producer_id"], content["made_from"])
    return None


async def _agree(connection: Connection, settings: Settings, products: tuple[Product, ...], form: Format) -> Opening:
    topic = topics.opening_topic(settings.kafka)
    made_from = what_it_is_made_from(settings, products)
    opening = read_opening(await read_all(connection, topic))
    if opening is None or not differences(opening, made_from):
        await form.open()  # an opening is for good: before it names a format, the registry has to take the schemas
    if opening is None:
        now = time.time_ns() // 1000
        content: dict[str, Any] = {
            "opened_at": messages.time_text(first_moment(settings, now)),
            "started": messages.time_text(now),
            "speed": settings.clock.speed,
            "producer_id": await new_producer_id(connection),
            "made_from": made_from,
        }
        await _write(connection, topic, settings.kafka.application_id.encode(), orjson.dumps(content))
        opening = read_opening(await read_all(connection, topic))
        assert opening is not None  # it was written just now
    changed = differences(opening, made_from)
    if changed:
        raise OpeningError(
            f"The shop in this log was opened {messages.time_text(opening.opened_at)} with another configuration: "
            f"{'; '.join(changed)}. "
            "Its stream cannot go on with this one. Put the values back, or begin anew: yasdg topics delete"
        )
    last_moment(settings, opening.opened_at)
    return opening


def first_moment(settings: Settings, now: int) -> int:
    """Return the event time at which a shop begins that is opened `now`. Raises OpeningError if that is later."""
    start = settings.clock.start
    if start is None:
        return now
    if isinstance(start, timedelta):
        return now - microseconds(start)
    opened_at = _utc(settings, start)
    if opened_at > now:
        raise OpeningError(
            f"[CLOCK] start = {start} ({settings.clock.time_zone}) is in the future: expected an earlier time, or now"
        )
    return opened_at


def last_moment(settings: Settings, opened_at: int) -> int | None:
    """Return the event time at which the shop closes for good; None: never. Raises OpeningError if it never opens."""
    end = settings.clock.end
    if end is None:
        return None
    closes_at = opened_at + microseconds(end) if isinstance(end, timedelta) else _utc(settings, end)
    if closes_at <= opened_at:
        raise OpeningError(
            f"[CLOCK] end = {end} is not behind the shop's first moment, {messages.time_text(opened_at)} (UTC). "
            "Expected a later time, a duration such as 30d, or never"
        )
    return closes_at


def _utc(settings: Settings, local: datetime) -> int:
    return Calendar(settings.clock, settings.hours, settings.volume, 0).utc(local)


def differences(opening: Opening, made_from: Mapping[str, Any]) -> list[str]:
    """Return in which values a configuration differs from that of the shop in the log, each in words."""
    theirs, made_from = UNSAID | opening.made_from, UNSAID | {**made_from}
    return [
        f"{name} was {theirs.get(name, 'not there')}, is {made_from.get(name, 'not there')}"
        for name in sorted(theirs.keys() | made_from.keys())
        if theirs.get(name) != made_from.get(name)
    ]


async def _publish_products(
    connection: Connection, settings: Settings, products: tuple[Product, ...], producer_id: int, form: Format
) -> None:
    """Write the products that the topic does not hold yet, or holds otherwise."""
    tp = TopicPartition(settings.kafka.topic_products, 0)
    producer = ShopProducer(connection, producer_id)
    async with Reader(connection) as reader:
        try:
            for _ in range(ATTEMPTS):
                number, told = await _told(reader, tp, products, form)
                now = time.time_ns() // 1_000_000
                missing = (
                    Row(product.product_id.encode(), form.write("products", messages.product_json(product)), now)
                    for product, known in zip(products, told, strict=True)
                    if not known
                )
                try:
                    # Of workers that start at once each believes that all is missing; the cluster takes what one says.
                    await producer.append(tp.topic, tp.partition, number, missing)
                    return
                except OutOfDateError:
                    await asyncio.sleep(RETRY)
            raise OpeningError(f"{tp.topic}: somebody else writes into it. Give the topic another name.")
        finally:
            await producer.stop()


async def _told(
    reader: Reader, tp: TopicPartition, products: tuple[Product, ...], form: Format
) -> tuple[int, bytearray]:
    """Return how many messages the topic has seen, and whether the last one of each product says what it is now."""
    # A million products are compared as they are read: neither they nor their messages are in memory twice.
    places = {product.product_id.encode(): place for place, product in enumerate(products)}
    told = bytearray(len(products))
    first, end = (await reader.firsts([tp]))[tp], (await reader.ends([tp]))[tp]
    async for chunk in reader.chunks(tp, first, end):
        for record in chunk:
            place = places.get(record.key or b"")
            if place is not None:
                told[place] = record.value == form.write("products", messages.product_json(products[place]))
    return end, told


def what_it_is_made_from(settings: Settings, products: tuple[Product, ...]) -> dict[str, Any]:
    """Return what the stream is a function of, beside time. How many sales there shall be changes none of them."""
    # The digest of `repr([*fingerprinted(products)])`, a piece at a time.
    told, digest = fingerprinted(products), sha256(b"[")
    for start in range(0, len(products), PIECE):
        rows = ", ".join(map(repr, islice(told, PIECE)))
        digest.update(((", " if start else "") + rows).encode())
    digest.update(b"]")
    return texts(settings) | {"products": digest.hexdigest()[:16]}


async def _write(connection: Connection, topic: str, key: bytes, value: bytes) -> None:
    async with AIOKafkaProducer(**connection.client, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, value, key, partition=0)
