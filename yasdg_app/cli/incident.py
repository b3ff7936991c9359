"""`yasdg incident`: lists, adds and ends incidents of the shop through its topics, with or without workers."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import click
import orjson
from aiokafka.errors import KafkaError
from faust.cli import argument, option

from yasdg_app.cli.base import ShopCommand, command
from yasdg_app.cluster_state.control_records import ControlState
from yasdg_app.cluster_state.control_topic import ControlTopic
from yasdg_app.cluster_state.downtime import latest_event_time
from yasdg_app.cluster_state.incident_requests import described, is_configured, listed, read_incident
from yasdg_app.cluster_state.manifest import ConfigurationChangedError, ShopManifest, find_shop
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.fingerprint import fingerprint_of
from yasdg_app.config.ini import SettingsError
from yasdg_app.errors import YasdgError
from yasdg_app.kafka import topics as shop_topics
from yasdg_app.kafka.client import administration
from yasdg_app.kafka.producer import ShopProducer
from yasdg_app.kafka.reader import Reader
from yasdg_app.messages.times import event_time, time_text
from yasdg_app.process.exits import exit_with_error
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.plan import Plan

WRITE_SECONDS = 30.0  # max duration of a write to the topic
OPTIONS = {"categories": "category", "products": "product"}
"""Fields of an incident whose option has a different name."""

FIELD = re.compile("(?!name)[a-z_]+")
UNSET = (None, ())

T = TypeVar("T")


class IncidentCommandError(YasdgError):
    """The requested change is not possible."""


@dataclass(frozen=True, slots=True)
class OpenShop:
    """A shop in the cluster, and what is needed to change it.

    `configured`: the shop as configured here; `changes`: changes of the configuration since the shop was opened.
    """

    configured: RunningShop
    manifest: ShopManifest
    changes: list[str]
    plan: Plan
    control: ControlTopic

    @property
    def now(self) -> int:
        return self.manifest.clock.at(time.time_ns() // 1000)

    def is_configured(self, name: str) -> bool:
        """Return whether an incident is part of the configuration."""
        return is_configured(name, self.configured.settings.incidents)


@command(
    argument("action", type=click.Choice(["list", "add", "end"]), default="list"),
    argument("name", required=False),
    option("--kind", help="For add: storm, power_outage, promotion, viral, road_works, supply or custom."),
    option("--start", metavar="TIME", help="A time on the shop's clock, such as '2026-01-01 08:30'. (default: soon)"),
    option("--duration", metavar="DURATION", help="From start to end, such as 30m. (default: 1h)"),
    option("--ramp-up", metavar="DURATION", help="Time from the start until the full effect. (default: 0)"),
    option("--ramp-down", metavar="DURATION", help="Time before the end in which the effect fades. (default: 0)"),
    option("--factor", metavar="NUMBER", help="On demand; for supply, on the speed of deliveries. (default: by kind)"),
    option("--discount", metavar="SHARE", help="Price discount, such as .20; for promotion and custom. (default: 0)"),
    option("--category", "categories", multiple=True, metavar="NAME", help="A category affected; repeatable."),
    option("--product", "products", multiple=True, metavar="ID", help="A product affected; repeatable."),
    option("--json", "as_json", is_flag=True, help="Print the output as JSON."),
)
async def incident(self: ShopCommand, action: str, name: str | None, as_json: bool, **given: Any) -> None:
    """List the incidents of the shop, add one, or end one that was added, whether workers run or not.

    A change takes effect a few seconds later, at a full minute of the shop's clock. Of incidents at random times, the
    list has those that are active and those that start within a week.

    Exit status: 0 success, 1 failure, 2 usage error.

    Examples: yasdg incident; yasdg incident add flash-sale --kind promotion --duration 2h --discount .20;
    yasdg incident end flash-sale
    """
    sent = {key: value if isinstance(value, str) else list(value) for key, value in given.items() if value not in UNSET}
    if problem := _misused(action, name, sent):
        exit_with_error(IncidentCommandError(problem), 2)
    try:
        async with _open_shop(self.shop) as shop:
            if action == "list":
                await _list(shop, as_json)
            elif action == "add":
                await _add(shop, {"name": name, **sent}, as_json)
            else:
                await _end(shop, str(name), as_json)
    except SettingsError as error:
        exit_with_error(IncidentCommandError("\n       ".join(_as_option(problem) for problem in error.problems)), 2)
    except (KafkaError, OSError) as error:
        raise IncidentCommandError(f"Apache Kafka at {self.shop.connection.servers}: {error}") from error


def _misused(action: str, name: str | None, sent: Mapping[str, Any]) -> str:
    """Return what is wrong with the arguments by themselves; an empty text if they are valid."""
    if action == "list" and name is not None:
        return f"list takes no name. To see all: yasdg incident; to end one: yasdg incident end {name}"
    if action != "list" and name is None:
        kind = " --kind promotion" if action == "add" else ""
        return f"{action} needs a name, such as: yasdg incident {action} flash-sale{kind}"
    if action != "add" and sent:
        options = ", ".join(_option(key) for key in sent)
        return f"{options}: belongs to add, such as: yasdg incident add flash-sale --kind promotion --discount .20"
    return ""


def _option(key: str) -> str:
    return f"--{OPTIONS.get(key, key).replace('_', '-')}"


def _as_option(problem: str) -> str:
    """Replace the field name at the start of a problem with the name of the option."""
    found = FIELD.match(problem)
    return problem if found is None else f"{_option(found[0])}{problem[found.end() :]}"


@asynccontextmanager
async def _open_shop(shop: RunningShop) -> AsyncIterator[OpenShop]:
    kafka = shop.settings.kafka
    manifest, changes = await _find_shop(shop)
    reader = Reader(shop.connection, manifest.producer_id)
    producer = ShopProducer(shop.connection, manifest.producer_id)
    try:
        yield OpenShop(
            shop,
            manifest,
            changes,
            Plan.of(shop.settings, shop.products, manifest.opened_at),
            ControlTopic(
                shop_topics.control_topic(kafka),
                manifest.clock,
                shop.products,
                reader,
                producer,
                partial(latest_event_time, reader, kafka),
            ),
        )
    finally:
        await producer.stop()
        await reader.stop()


async def _find_shop(shop: RunningShop) -> tuple[ShopManifest, list[str]]:
    """Return the manifest of the shop, and what was changed in the configuration. Raises UnknownShopError."""
    async with administration(shop.connection) as admin:
        existing = set(await admin.list_topics())
    try:
        return await find_shop(
            shop.connection, shop.settings.kafka, existing, fingerprint_of(shop.settings, shop.products)
        ), []
    except ConfigurationChangedError as error:
        return error.manifest, error.changes


async def _in_time(shop: OpenShop, answer: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(answer, WRITE_SECONDS)
    except TimeoutError:
        raise IncidentCommandError(
            f"Apache Kafka at {shop.configured.connection.servers} did not answer in time. To see whether the change "
            "was applied: yasdg incident"
        ) from None


async def _list(shop: OpenShop, as_json: bool) -> None:
    if shop.changes:
        warning = f"The configuration here differs from the shop's, so incidents may differ: {'; '.join(shop.changes)}"
        print(f"yasdg: {warning}", file=sys.stderr)
    said, now = await _in_time(shop, shop.control.read()), shop.now
    incidents = listed(shop.plan.incidents, said, now)
    if as_json:
        _print_json({"now": time_text(now), "incidents": incidents})
        return
    print(f"It is {_clock(shop, now)} by the shop's clock ({shop.configured.settings.clock.time_zone}).")
    for each in incidents:
        print(_line(shop, each))
    if not incidents:
        print("There is no incident.")


async def _add(shop: OpenShop, given: Mapping[str, Any], as_json: bool) -> None:
    if shop.changes:
        raise IncidentCommandError(
            f"The configuration here is not the shop's: {'; '.join(shop.changes)}. "
            "Add it where the shop's worker is started"
        )
    settings = read_incident(given, shop.configured.products)
    added = await _in_time(shop, shop.control.set_incident(settings, shop.is_configured, shop.plan.calendar.utc))
    _show(shop, added, ControlState(live=(added,)), "begins", as_json)


async def _end(shop: OpenShop, name: str, as_json: bool) -> None:
    if shop.is_configured(name):
        raise IncidentCommandError(f"name: {name} belongs to the configuration; it cannot be ended here")
    ended = await _in_time(shop, shop.control.end(name))
    _show(shop, ended, ControlState(live=(ended,)), "began", as_json)


def _show(shop: OpenShop, of: Incident, said: ControlState, begins: str, as_json: bool) -> None:
    if as_json:
        _print_json(described(of, said, shop.now))
    elif of.start == of.end:
        print(f"{of.name} does not take place: it was ended before it began.")
    else:
        start, end = (f"{time_text(at)[:16]} UTC ({_clock(shop, at)} by the shop's clock)" for at in (of.start, of.end))
        print(f"{of.name} {begins} at {start} and ends at {end}.")


def _clock(shop: OpenShop, at: int) -> str:
    return f"{shop.plan.calendar.local(at):%Y-%m-%d %H:%M}"


def _line(shop: OpenShop, event: Mapping[str, Any]) -> str:
    """Return an incident as a human-readable line."""
    span = " to ".join(_clock(shop, event_time(event[edge])) for edge in ("start", "end"))
    effect = f"factor {event['factor']:g}" + (f", discount {event['discount']:g}" if event["discount"] else "")
    scope: Sequence[str] = [*event["categories"], *event["products"]]
    of = f" of {', '.join(scope)}" if scope else ""
    return f"{event['state']:>5}  {span}  {event['name']}: {event['kind']}{of}, {effect} ({event['source']})"


def _print_json(shown: Mapping[str, Any]) -> None:
    print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
