"""`yasdg topics`: lists, creates, describes and deletes the topics of the shop."""

import asyncio
import sys
from collections.abc import Sequence

import click
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DeleteGroupsRequest
from faust.cli import argument, option

from yasdg_app.cli.base import ShopCommand, command
from yasdg_app.cluster_state.bootstrap import older_claims, prepare_topics
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.fingerprint import fingerprint_of
from yasdg_app.errors import YasdgError
from yasdg_app.kafka import topics as shop_topics
from yasdg_app.kafka.client import administration, retry
from yasdg_app.kafka.reader import Reader

NON_EMPTY_GROUP, GROUP_NOT_FOUND = 68, 69  # Kafka's error codes


class TopicsCommandError(YasdgError):
    """The requested action is not possible."""


@command(
    argument("action", type=click.Choice(["list", "create", "describe", "delete"]), default="list"),
    option("--yes", is_flag=True, help="Delete without asking."),
    base=ShopCommand,
)
async def topics(self: ShopCommand, action: str, yes: bool) -> None:
    """List, create, describe or delete the topics of the shop.

    "delete" deletes the topics, the table's changelog and the consumer group. The next start opens a new shop.

    Examples: yasdg topics; yasdg topics describe; yasdg topics delete
    """
    try:
        async with administration(self.shop.connection) as admin:
            if action == "list":
                await _list(admin, self.shop)
            elif action == "create":
                await _create(admin, self.shop)
            elif action == "describe":
                await _describe(admin, self.shop)
            else:
                await _delete(admin, self.shop, yes)
    except KafkaError as error:
        raise TopicsCommandError(f"Apache Kafka at {self.shop.connection.servers}: {error}") from error


def _names(shop: RunningShop) -> list[str]:
    return [spec.name for spec in shop_topics.specs(shop.settings)]


async def _existing(admin: AIOKafkaAdminClient, shop: RunningShop) -> list[str]:
    """Return the existing topics, including those of faults if the shop no longer has any."""
    there = set(await admin.list_topics())
    names = [*_names(shop), *(spec.name for spec in shop_topics.fault_specs(shop.settings.kafka))]
    return [name for name in dict.fromkeys(names) if name in there]


async def _offsets(
    names: Sequence[str], admin: AIOKafkaAdminClient, shop: RunningShop
) -> dict[str, dict[int, tuple[int, int]]]:
    """Return, by topic and partition, the first offset and the offset after the last message."""
    tps = [
        TopicPartition(description["topic"], partition["partition"])
        for description in (await admin.describe_topics(list(names)) if names else ())
        for partition in description["partitions"]
    ]
    async with Reader(shop.connection) as reader:
        firsts, ends = await reader.firsts(tps), await reader.ends(tps)
    offsets: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names}
    for tp in sorted(tps):
        offsets[tp.topic][tp.partition] = (firsts[tp], ends[tp])
    return offsets


async def _list(admin: AIOKafkaAdminClient, shop: RunningShop) -> None:
    existing = await _existing(admin, shop)
    offsets = await _offsets(existing, admin, shop)
    for name in dict.fromkeys([*_names(shop), *existing]):
        if name in offsets:
            messages = sum(end - first for first, end in offsets[name].values())
            print(f"{name}: {len(offsets[name])} partitions, {messages} messages")
        else:
            print(f"{name}: not there")


async def _create(admin: AIOKafkaAdminClient, shop: RunningShop) -> None:
    before = await _existing(admin, shop)
    await prepare_topics(
        admin, shop.connection, shop.settings, shop.format, fingerprint_of(shop.settings, shop.products)
    )
    for name in _names(shop):
        print(f"{name}: {'was there' if name in before else 'created'}")


async def _describe(admin: AIOKafkaAdminClient, shop: RunningShop) -> None:
    existing = await _existing(admin, shop)
    offsets = await _offsets(existing, admin, shop)
    for description in await admin.describe_topics(existing) if existing else ():
        name = description["topic"]
        resource = ConfigResource(ConfigResourceType.TOPIC, name, {"cleanup.policy": "", "retention.ms": ""})
        (response,) = await admin.describe_configs([resource])
        configs = ", ".join(f"{entry[0]}={entry[1]}" for entry in response.resources[0][4])
        copies = len(description["partitions"][0]["replicas"])
        print(f"{name}: {len(offsets[name])} partitions, replication {copies}, {configs}")
        for partition, (first, end) in offsets[name].items():
            print(f"    partition {partition}: offsets {first} to {end}")


async def _delete(admin: AIOKafkaAdminClient, shop: RunningShop, yes: bool) -> None:
    group, existing = shop.settings.kafka.application_id, await _existing(admin, shop)
    if await retry(lambda: _is_used(admin, group)):
        raise _running(group)
    for claim in await older_claims(admin, shop.connection, shop.settings):
        raise TopicsCommandError(
            f"Nothing was deleted: {', '.join(claim.topics)}: in use by the shop {claim.application_id}, opened "
            f"{claim.started} (UTC). To delete that shop, set [KAFKA] application_id = {claim.application_id}"
        )
    print(f"On {shop.connection.servers}, to be deleted for good:", *existing, f"the group {group}", sep="\n    ")
    if not yes:
        if not sys.stdin.isatty():
            raise TopicsCommandError("Nothing was deleted. To delete without being asked: yasdg topics delete --yes")
        if not await _agreed("Delete all of this?"):
            print("Nothing was deleted.")
            return
    # The group first: the cluster refuses if a worker was started in the meantime, and then nothing is deleted.
    await retry(lambda: _delete_group(admin, group))
    if existing:
        response = await admin.delete_topics(existing)
        for name, code, *_ in response.topic_error_codes:
            if code:
                raise TopicsCommandError(f"The cluster refused to delete {name}: {for_code(code).__name__}")
    while await _existing(admin, shop):
        await asyncio.sleep(0.1)
    print("Deleted. The next start opens a new shop.")


async def _agreed(question: str) -> bool:
    """Ask the user; unlike a reading thread, this ends at Ctrl-C. The end of the input means no."""
    print(question, "[y/N]: ", end="", flush=True)
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    loop.add_reader(sys.stdin, lambda: answer.set_result(sys.stdin.readline()))
    try:
        return (await answer).strip().lower() in ("y", "yes")
    finally:
        loop.remove_reader(sys.stdin)


async def _is_used(admin: AIOKafkaAdminClient, group: str) -> bool:
    (answer,) = await admin.describe_consumer_groups([group])
    code, _, state, *_ = answer.groups[0]
    if code not in (0, GROUP_NOT_FOUND):
        raise for_code(code)(f"Unable to describe the group {group}")
    return state not in ("Empty", "Dead")


async def _delete_group(admin: AIOKafkaAdminClient, group: str) -> None:
    coordinator = await admin.find_coordinator(group)
    answer = await admin._send_request(DeleteGroupsRequest([group]), coordinator)  # aiokafka has no method for this
    ((_, code),) = answer.results
    if code == NON_EMPTY_GROUP:
        raise _running(group)
    if code not in (0, GROUP_NOT_FOUND):
        raise for_code(code)(f"Unable to delete the group {group}")


def _running(group: str) -> TopicsCommandError:
    return TopicsCommandError(f"Workers of {group} are running. Stop them first.")
