"""`yasdg consume`: prints the messages of a topic as they arrive, for people or for a pipe."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from faust.cli import argument, option

from yasdg_app.cli.base import ShopCommand, command
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.errors import YasdgError
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.auth.tokens import TokenError
from yasdg_app.kafka.batch_reader import bound_consumers
from yasdg_app.kafka.client import administration
from yasdg_app.kafka.reader import Message
from yasdg_app.messages.records import FAULT_HEADER
from yasdg_app.messages.reference import receipt
from yasdg_app.text import printable

TOPICS = ("products", "purchases", "stockings", "lost_sales", "incidents", "dirty", "faults")
KINDS = {"dirty": "purchases"}  # for topics whose name is not the kind of their messages
FAULTY = ("dirty", "faults")  # topics of the faulty channel
RETRY_SECONDS = 1.0
MAX_LINE_CHARACTERS = 1000


class NoFaultsError(YasdgError):
    """The topic belongs to a faulty channel, and the shop has no faults configured."""


def topic_of(kafka: KafkaSettings, what: str) -> str:
    """Return the name of one of `TOPICS`."""
    name: str = getattr(kafka, f"topic_{what}")
    return name


def label(headers: Sequence[tuple[str, bytes]]) -> str:
    """Return the text that is appended to the line of a message with a fault."""
    kind = dict(headers).get(FAULT_HEADER)
    return "" if kind is None else printable(f"  ({kind.decode(errors='replace').replace('_', ' ')})")


def line(what: str, value: bytes | None, items: Mapping[str, str]) -> str:
    """Return a message as a human-readable line; one that cannot be read is returned unchanged.

    Parameters
    ----------
    what
        The topic of the message, one of `TOPICS`.
    items
        Names of the products by id.
    """
    try:
        message = json.loads(value or b"")
        return printable(LINES[what](message, items), MAX_LINE_CHARACTERS)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return printable(f"not read: {value!r}", MAX_LINE_CHARACTERS)


def _product(message: Mapping[str, Any], items: Mapping[str, str]) -> str:
    return f"{message['product_id']}  {message['item']}, {message['size']}  {message['price']:.2f}"


def _purchase(message: Mapping[str, Any], items: Mapping[str, str]) -> str:
    return receipt(message, _item(message["product_id"], items))


def _stocking(message: Mapping[str, Any], items: Mapping[str, str]) -> str:
    levels = f"{message['existing_level']} + {message['stock_quantity']} = {message['new_level']}"
    return f"{_begin(message, items)} restocked: {levels}"


def _lost_sale(message: Mapping[str, Any], items: Mapping[str, str]) -> str:
    why = {"sold_out": "sold out", "too_few": f"only {message['level']} left", "held_up": f"{message['incident']}"}
    instead = f"; took {_item(message['substitute'], items)} instead" if message["substitute"] else ""
    wanted = f"wanted {message['quantity']} ({message['value']:.2f})"
    return f"{_begin(message, items)} {wanted}: {why[message['reason']]}{instead}"


def _incident(message: Mapping[str, Any], items: Mapping[str, str]) -> str:
    discount = f", {message['discount']:.0%} off" if message["discount"] else ""
    what = "begins" if message["phase"] == "start" else "ends"
    effect = f"{message['kind']} × {message['factor']:g}{discount}"
    return f"{message['event_time'][:19]}  {message['incident']} ({effect}) {what}"


def _fault(message: Mapping[str, Any], items: Mapping[str, str]) -> str:
    arrives = f", arrives {message['released_at'][:19]}" if message["delay"] else ""
    return f"{_begin(message, items)} {message['transaction_id']} is {message['kind'].replace('_', ' ')}{arrives}"


def _begin(message: Mapping[str, Any], items: Mapping[str, str]) -> str:
    return f"{message['event_time'][:19]}  {message['product_id']}  {_item(message['product_id'], items)}"


def _item(product_id: str, items: Mapping[str, str]) -> str:
    return items.get(product_id, product_id)


LINES = {
    "products": _product,
    "purchases": _purchase,
    "stockings": _stocking,
    "lost_sales": _lost_sale,
    "incidents": _incident,
    "dirty": _purchase,
    "faults": _fault,
}


def json_of(record: Message, plain: Message, is_json: bool) -> str:
    """Return a message unchanged; one that is not text as the equivalent JSON."""
    value = record.value if is_json else plain.value or record.value
    return (value or b"null").decode("utf-8", "replace")


@command(
    argument("what", type=click.Choice(TOPICS), default="purchases"),
    option("--json", "as_json", is_flag=True, help="Print each message as JSON, one per line."),
    option("--from-beginning", is_flag=True, help="Start with the oldest message instead of the next one."),
)
async def consume(self: ShopCommand, what: str, as_json: bool, from_beginning: bool) -> None:
    """Print products, purchases, stockings, lost sales or incidents as they are written. Ctrl-C ends.

    With [FAULTS], "dirty" prints the purchases as a faulty network delivers them, and "faults" what it did to which.

    Examples: yasdg consume stockings; yasdg consume --from-beginning --json | head -100
    """
    shop, topic = self.shop, topic_of(self.shop.settings.kafka, what)
    is_json = shop.settings.format.value == "json"
    if what in FAULTY and not shop.settings.faults.any:
        raise NoFaultsError(f"There is no {topic}: every share in [FAULTS] is 0.")
    items = {product.product_id: product.item for product in shop.products}
    consumer = await _connected(shop.connection, topic, from_beginning)
    try:
        while True:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                plain = await shop.format.plain(KINDS.get(what, what), records)
                for record, decoded in zip(records, plain, strict=True):
                    if as_json:
                        print(json_of(record, decoded, is_json))
                    else:
                        print(line(what, decoded.value or record.value, items) + label(record.headers))
            sys.stdout.flush()
    finally:
        await consumer.stop()


async def _connected(connection: Connection, topic: str, from_beginning: bool) -> AIOKafkaConsumer:
    """Return a consumer of all partitions of a topic, once the cluster is reachable and has the topic."""
    said = ""
    while True:
        try:
            async with administration(connection) as admin:
                if topic in await admin.list_topics():
                    return await _consumer(connection, topic, from_beginning)
            waits = f"Waiting for the topic {topic}: no worker has opened the shop yet. Ctrl-C ends."
        except TokenError as error:
            waits = f"Waiting for a login: {error}. Ctrl-C ends."
        except (KafkaError, OSError):
            waits = f"Waiting for Apache Kafka at {connection.servers}. Ctrl-C ends."
        if waits != said:
            print(waits, file=sys.stderr, flush=True)
            said = waits
        await asyncio.sleep(RETRY_SECONDS)


async def _consumer(connection: Connection, topic: str, from_beginning: bool) -> AIOKafkaConsumer:
    # Without a group, reading has no effect on the cluster.
    bound_consumers()
    offset_reset = "earliest" if from_beginning else "latest"
    consumer = AIOKafkaConsumer(topic, **connection.client, auto_offset_reset=offset_reset)
    try:
        await consumer.start()
    except BaseException:
        await consumer.stop()
        raise
    return consumer
