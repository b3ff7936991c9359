"""The topics: their names and settings, and creating and checking them before a worker joins its group.

Faust's first assignment silently omits topics that do not exist, so they are created beforehand.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from yasdg_app.config.settings import KafkaSettings, Settings
from yasdg_app.errors import YasdgError
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.client import Cluster, retry
from yasdg_app.kafka.topic_policies import (
    BROKER_SETTINGS,
    DEAD_LETTER_EXTRA_BYTES,
    MAX_DEAD_LETTER_BYTES,
    SETTINGS,
    TopicSpec,
    Use,
    complete_config,
    configs_command,
    partition_problem,
    problem_line,
    problems,
)

logger = logging.getLogger(__name__)

KEEP_ALL_CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
}  # the sales of a backfill are older than any retention
COMPACTED_CONFIG = {"cleanup.policy": "compact"}
# A worker that is assigned a partition reads its whole changelog; a short one takes a moment.
TABLE_CONFIG = {
    **COMPACTED_CONFIG,
    "segment.bytes": str(8 * 2**20),
    "min.cleanable.dirty.ratio": "0.2",
    "message.timestamp.type": "CreateTime",  # see producer.NO_APPEND_TIME
}
# Not compacted: a foreign record with the key of one of ours would replace it, and change the past.
CONTROL_CONFIG = {**KEEP_ALL_CONFIG, "message.timestamp.type": "LogAppendTime"}  # see cluster_state/control_topic.py
# For any message of another topic, and the reason.
DEAD_LETTER_CONFIG = {**KEEP_ALL_CONFIG, "max.message.bytes": str(2 * 2**20)}


class TopicsError(YasdgError):
    """A topic does not fit, and only its owner can decide what to do."""


def opening_topic(kafka: KafkaSettings) -> str:
    """Return the name of the topic that holds the manifest."""
    return f"{kafka.application_id}-opening"


def control_topic(kafka: KafkaSettings) -> str:
    """Return the name of the topic with incidents that are set while the shop runs, and skipped time."""
    return f"{kafka.application_id}-control"


def shelves_topic(kafka: KafkaSettings) -> str:
    """Return the name of the topic with snapshots of the shelves, for catalogs with many products."""
    return f"{kafka.application_id}-shelves"


def changelog_topic(kafka: KafkaSettings) -> str:
    """Return the name of the inventory table's changelog, as Faust makes it."""
    return f"{kafka.application_id}-inventory-changelog"


def fault_specs(kafka: KafkaSettings) -> tuple[TopicSpec, ...]:
    """Return the topics that only a shop with [FAULTS] has."""
    return (
        TopicSpec(kafka.topic_dirty, kafka.partitions, KEEP_ALL_CONFIG, "topic_dirty", Use.ALL),
        TopicSpec(kafka.topic_faults, kafka.partitions, KEEP_ALL_CONFIG, "topic_faults", Use.ALL),
    )


def specs(shop: Settings) -> tuple[TopicSpec, ...]:
    """Return all topics that belong to a shop."""
    kafka, many = shop.kafka, shop.kafka.partitions
    return (
        TopicSpec(kafka.topic_products, 1, COMPACTED_CONFIG, "topic_products", Use.PRODUCTS, False),
        TopicSpec(kafka.topic_purchases, many, KEEP_ALL_CONFIG, "topic_purchases", Use.SALES),
        TopicSpec(kafka.topic_stockings, many, KEEP_ALL_CONFIG, "topic_stockings", Use.REPORT),
        TopicSpec(kafka.topic_lost_sales, many, KEEP_ALL_CONFIG, "topic_lost_sales", Use.SALES),
        TopicSpec(kafka.topic_incidents, 1, KEEP_ALL_CONFIG, "topic_incidents", Use.ALL, False),
        TopicSpec(kafka.topic_dead_letters, many, DEAD_LETTER_CONFIG, "topic_dead_letters", Use.REPORT),
        TopicSpec(opening_topic(kafka), 1, KEEP_ALL_CONFIG, "application_id", Use.ALL, False),
        TopicSpec(control_topic(kafka), 1, CONTROL_CONFIG, "application_id", Use.CONTROL, False),
        TopicSpec(changelog_topic(kafka), many, TABLE_CONFIG, "application_id", Use.TABLE),
        TopicSpec(shelves_topic(kafka), many, TABLE_CONFIG, "application_id", Use.TABLE),
        *(fault_specs(kafka) if shop.faults.any else ()),
    )


async def ensure(admin: AIOKafkaAdminClient, shop: Settings, age_ms: int = 0, opened_with: int | None = None) -> None:
    """Create the topics that are missing, after checking that those that exist fit.

    Parameters
    ----------
    age_ms
        Age of the earliest event time that will be written, in milliseconds; 0 if it is unknown.
    opened_with
        See `topic_policies.partition_problem`.

    Raises
    ------
    TopicsError
        If topics cannot be used as they are, before any is created; or if the cluster refuses to create one, when it
        may have created others.
    KafkaError
        If the cluster does not answer.
    """
    missing = await check_existing(admin, shop, age_ms, opened_with)
    if missing:
        await _create(admin, missing, _replication_factor(shop))


async def unauthorized(connection: Connection, names: Collection[str]) -> list[str]:
    """Return the topics that we may not describe, whether they exist or not. Creates none. Raises KafkaError."""
    if not names:
        return []
    cluster = Cluster(connection)
    try:
        request = MetadataRequest(list(names), allow_auto_topic_creation=False)
        answer = await retry(lambda: cluster.send_to_any(request))
    finally:
        await cluster.close()
    found = answer.to_object()["topics"]
    return sorted(topic["topic"] for topic in found if topic["error_code"] == TopicAuthorizationFailedError.errno)


async def check_partitions(admin: AIOKafkaAdminClient, shop: Settings, opened_with: int | None = None) -> None:
    """Raise TopicsError if a topic has another number of partitions; `opened_with`: see `partition_problem`.

    To be called before the configured partitions are read: reading one that does not exist never returns.
    """
    wanted, existing = specs(shop), set(await admin.list_topics())
    await _check_partitions(admin, wanted, [spec for spec in wanted if spec.name in existing], opened_with)


async def _check_partitions(
    admin: AIOKafkaAdminClient, wanted: Iterable[TopicSpec], there: Sequence[TopicSpec], opened_with: int | None
) -> dict[str, Any]:
    """Return the descriptions of the topics that have partitions, by name."""
    descriptions = await admin.describe_topics([spec.name for spec in there]) if there else ()
    described = {description["topic"]: description for description in descriptions if description["partitions"]}
    counts = {name: len(topic["partitions"]) for name, topic in described.items()}
    if problem := partition_problem(wanted, counts, opened_with):
        raise TopicsError(problem)
    return described


async def check_existing(
    admin: AIOKafkaAdminClient, shop: Settings, age_ms: int = 0, opened_with: int | None = None
) -> list[TopicSpec]:
    """Return the topics that are missing, with the settings to create them with; otherwise as `ensure`.

    Logs a warning for settings by which only readers miss something.
    """
    wanted = specs(shop)
    existing = set(await admin.list_topics())
    there = [spec for spec in wanted if spec.name in existing]
    described = await _check_partitions(admin, wanted, there, opened_with)
    configs = await _configs(admin, ConfigResourceType.TOPIC, [spec.name for spec in there])
    missing = [spec for spec in wanted if spec.name not in existing]
    defaults = await _defaults(admin) if missing else {}
    dead_letter_bytes = {shop.kafka.topic_dead_letters: _largest_dead_letter(shop.kafka, configs, defaults)}
    replicas = {name: len(topic["partitions"][0]["replicas"]) for name, topic in described.items()}
    servers = _servers(shop.kafka)
    _check_settings(there, configs, age_ms, dead_letter_bytes, servers)
    _check_replicas(replicas, configs, {spec.name: defaults for spec in missing}, _replication_factor(shop), servers)
    return [
        replace(spec, config=complete_config(spec, defaults, dead_letter_bytes.get(spec.name, 0))) for spec in missing
    ]


def _check_settings(
    existing: Iterable[TopicSpec],
    configs: Mapping[str, Mapping[str, str]],
    age_ms: int,
    dead_letter_bytes: Mapping[str, int],
    servers: str,
) -> None:
    fatal: list[str] = []
    for spec in existing:
        found = problems(spec, configs[spec.name], age_ms, dead_letter_bytes.get(spec.name, 0))
        if any(problem.is_fatal for problem in found):
            fatal.append(problem_line(found, servers))
        elif found:
            logger.warning(problem_line(found, servers))
    if fatal:
        raise TopicsError("\n".join(fatal))


def _check_replicas(
    replicas: Mapping[str, int],
    configs: Mapping[str, Mapping[str, str]],
    defaults: Mapping[str, Mapping[str, str]],
    replication_factor: int,
    servers: str,
) -> None:
    """Raise TopicsError if min.insync.replicas of a topic exceeds its replicas."""
    lines = []
    for name, config in {**configs, **defaults}.items():
        least, has = int(config.get("min.insync.replicas", "1")), replicas.get(name, replication_factor)
        if least > has and name in defaults:
            lines.append(
                f"{name} cannot be created: the cluster accepts messages only if {least} replicas have them "
                f"(min.insync.replicas). Set [KAFKA] replication_factor = {least}"
            )
        elif least > has and name in replicas:
            lines.append(
                f"{name}: min.insync.replicas is {least}, but the topic has {has}, so nothing can be written to it. "
                "Add replicas to the topic (kafka-reassign-partitions.sh), or lower the setting. To set it: "
                f"{configs_command(name, f'min.insync.replicas={has}', servers)}"
            )
    if lines:
        raise TopicsError("\n".join(lines))


def _largest_dead_letter(
    kafka: KafkaSettings, configs: Mapping[str, Mapping[str, str]], defaults: Mapping[str, str]
) -> int:
    """Return the size in bytes of the largest dead letter: a copy of any message that the shop's topics accept.

    If the topic of dead letters accepts less, longer messages are copied in part.
    """
    sizes = [
        int(configs.get(name, defaults).get("max.message.bytes", "0"))
        for name in (kafka.topic_purchases, kafka.topic_lost_sales)
    ]
    return min(max(sizes), MAX_DEAD_LETTER_BYTES) + DEAD_LETTER_EXTRA_BYTES


async def _configs(
    admin: AIOKafkaAdminClient, kind: ConfigResourceType, names: Sequence[str], settings: Iterable[str] = SETTINGS
) -> dict[str, dict[str, str]]:
    """Return the settings of topics or of a broker, by name; empty where we may not read them."""
    wanted = dict.fromkeys(settings, "")
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for response in await admin.describe_configs([ConfigResource(kind, name, wanted) for name in names]):
        for code, message, _, name, entries in response.resources:
            if code:
                logger.debug("The settings of %s cannot be read: %s", name, message or for_code(code).__name__)
            else:
                found[name] = {setting: value for setting, value, *_ in entries if value is not None}
    unread = [name for name, config in found.items() if not config]
    if unread and kind is ConfigResourceType.TOPIC:
        logger.warning(
            "The settings of %s cannot be read, so it was not checked whether they keep what the shop needs. "
            "Allow the user to describe the configuration of topics.",
            ", ".join(unread),
        )
    return found


async def _defaults(admin: AIOKafkaAdminClient) -> dict[str, str]:
    """Return the cluster's default settings of a topic; empty if we may not read them."""
    brokers = (await admin.describe_cluster())["brokers"]
    name = str(brokers[0]["node_id"])
    found = (await _configs(admin, ConfigResourceType.BROKER, [name], BROKER_SETTINGS.values()))[name]
    return {setting: found[key] for setting, key in BROKER_SETTINGS.items() if key in found}


def _servers(kafka: KafkaSettings) -> str:
    return f"127.0.0.1:{kafka.embedded_port}" if kafka.embedded else kafka.bootstrap_servers


def _replication_factor(shop: Settings) -> int:
    return 1 if shop.kafka.embedded else shop.kafka.replication_factor


async def _create(admin: AIOKafkaAdminClient, missing: list[TopicSpec], replication_factor: int) -> None:
    try:
        response = await admin.create_topics(
            [NewTopic(spec.name, spec.partitions, replication_factor, topic_configs=spec.config) for spec in missing]
        )
    except KafkaError as error:
        raise TopicsError(f"The cluster refused to create topics: {error}") from error
    for name, code, *message in response.topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise TopicsError(
                f"The cluster refused to create {name}: {message[0] if message else for_code(code).__name__}"
            )
