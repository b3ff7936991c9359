"""Preparing a shop on the cluster before the worker joins its group: topics, manifest, products.

Workers that start at the same time all do this, and agree on one manifest. It also checks that the topics belong to
this shop, and that the shop was opened with the same configuration. Must not know what a worker does afterwards.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from yasdg_app.cluster_state.claims import Claim, claims_on, sign_of_a_shop
from yasdg_app.cluster_state.lifetime import first_moment, last_moment
from yasdg_app.cluster_state.manifest import (
    OpeningError,
    ShopManifest,
    check_configuration,
    differences,
    existing_manifest,
    find_manifest,
)
from yasdg_app.cluster_state.product_topic import publish_products
from yasdg_app.config.catalog import Product
from yasdg_app.config.fingerprint import fingerprint_of
from yasdg_app.config.settings import KafkaSettings, Settings
from yasdg_app.kafka import topics
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.client import administration
from yasdg_app.kafka.producer import new_producer_id
from yasdg_app.kafka.reader import Reader
from yasdg_app.kafka.topic_policies import OR_NEW_SHOP
from yasdg_app.messages import times
from yasdg_app.messages.formats import Format

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # between two attempts to reach the cluster
FORBIDDEN = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
IRREPLACEABLE_TOPICS = ("topic_purchases", "topic_lost_sales", "topic_stockings")
"""Keys of the topics whose numbering continues from the table, so that an empty topic cannot replace them."""


async def open_shop(
    connection: Connection, settings: Settings, products: tuple[Product, ...], form: Format
) -> ShopManifest:
    """Prepare everything that a worker needs on the cluster. Waits indefinitely for an unavailable cluster.

    Raises
    ------
    OpeningError, topics.TopicsError
        If the cluster's content does not fit the configuration, or the user lacks a permission.
    LoginRefusedError
        If the cluster rejects the login.
    RegistryError
        If the schemas cannot be registered.
    """
    is_waiting, fingerprint = False, fingerprint_of(settings, products)
    while True:
        try:
            async with administration(connection) as admin:
                await prepare_topics(admin, connection, settings, form, fingerprint)
                manifest = await _agree(connection, settings, form, fingerprint)
                await _check_claims(admin, connection, settings, manifest)
                await publish_products(connection, settings.kafka.topic_products, products, manifest.producer_id, form)
                return manifest
        except FORBIDDEN as error:
            raise OpeningError(
                f"Apache Kafka at {connection.servers} accepts the login, but denies what a shop needs ({error}). "
                "Allow the user to create, read and write topics, and to use the consumer group."
            ) from error
        except (KafkaError, OSError) as error:
            if not is_waiting:
                logger.warning("Waiting for Apache Kafka at %s (%s). Ctrl-C ends.", connection.servers, error)
            is_waiting = True
            await asyncio.sleep(RETRY_SECONDS)


async def prepare_topics(
    admin: AIOKafkaAdminClient, connection: Connection, settings: Settings, form: Format, fingerprint: Mapping[str, Any]
) -> None:
    """Check that this shop can use the topics, then create the missing ones.

    Raises OpeningError, topics.TopicsError or RegistryError before anything is created, and KafkaError.
    """
    kafka = settings.kafka
    existing = set(await admin.list_topics())
    names = [spec.name for spec in topics.specs(settings)]
    if unauthorized := await topics.unauthorized(connection, [name for name in names if name not in existing]):
        raise TopicAuthorizationFailedError(f"not authorized to see {', '.join(unauthorized)}")
    manifest = await existing_manifest(connection, kafka, existing)
    if manifest is None:
        await _check_unclaimed(admin, connection, settings, existing, form)
        age = time.time_ns() // 1000 - first_moment(settings, time.time_ns() // 1000)
        await topics.ensure(admin, settings, age_ms=age // 1000)
    else:
        check_configuration(manifest, fingerprint)
        _check_names(kafka, manifest, await admin.list_topics())  # the first list may be older than the manifest
        await topics.check_partitions(admin, settings, manifest.partitions)
        await _check_no_copy(connection, kafka, manifest, existing, form)
        await topics.ensure(admin, settings, opened_with=manifest.partitions)


async def _check_unclaimed(
    admin: AIOKafkaAdminClient, connection: Connection, settings: Settings, existing: Collection[str], form: Format
) -> None:
    """Raise OpeningError if the topics belong to another shop, or hold messages of a shop whose manifest is missing."""
    kafka = settings.kafka
    async with Reader(connection) as reader:
        for claim in await claims_on(reader, kafka, existing, topics_of(settings).values()):
            raise OpeningError(_claimed(kafka, claim))
        await topics.check_partitions(admin, settings)
        sign = await sign_of_a_shop(reader, kafka, existing, form)
    if sign is None or await existing_manifest(connection, kafka, await admin.list_topics()):
        return  # a worker that started at the same time may have opened the shop meanwhile
    tp, offset, found = sign
    raise OpeningError(
        f"{topics.opening_topic(kafka)} holds no manifest, but {tp.topic}, partition {tp.partition}, offset {offset} "
        f"holds {found}: these are the topics of a shop that was opened under another [KAFKA] application_id, "
        "or whose manifest was deleted. Set application_id to that of the shop, or restore the manifest from a backup, "
        f"{OR_NEW_SHOP}"
    )


async def _check_no_copy(
    connection: Connection, kafka: KafkaSettings, manifest: ShopManifest, existing: Collection[str], form: Format
) -> None:
    """Raise OpeningError if the topics are a copy of a shop's, whose batches have another producer id.

    A single foreign record may look like a shop's; a copy has both sales and table rows.
    """
    divided = kafka.topic_purchases, topics.changelog_topic(kafka)
    tps = [TopicPartition(topic, n) for topic in divided if topic in existing for n in range(kafka.partitions)]
    async with Reader(connection, manifest.producer_id) as reader:
        if any(await asyncio.gather(*map(reader.count, tps))):
            return
    async with Reader(connection) as reader:
        signs = [await sign_of_a_shop(reader, kafka, {topic}, form) for topic in divided if topic in existing]
    if len(signs) == len(divided) and all(signs):
        raise OpeningError(
            f"{' and '.join(divided)} hold a shop, and none of its messages was written by the shop's own producer: "
            "they are a copy, made by a mirror or restored message by message. It can be read and audited, but not "
            f"continued. Restore the broker's files instead, {OR_NEW_SHOP}"
        )


async def _check_claims(
    admin: AIOKafkaAdminClient, connection: Connection, settings: Settings, manifest: ShopManifest
) -> None:
    """Raise OpeningError if a shop that was opened earlier claims our topics, unless ours has already sold something.

    Two shops that open at the same time may not see each other's manifest. Every other claim is logged as a warning.
    """
    kafka, existing = settings.kafka, await admin.list_topics()
    changelog = topics.changelog_topic(kafka)
    async with Reader(connection) as reader:
        claims = await claims_on(reader, kafka, existing, topics_of(settings).values())
        ends = await reader.ends([TopicPartition(changelog, partition) for partition in range(kafka.partitions)])
    for claim in claims:
        if not any(ends.values()) and _is_older(claim, kafka, manifest):
            raise OpeningError(_claimed(kafka, claim))
        logger.warning("%s", _claimed(kafka, claim))


async def older_claims(admin: AIOKafkaAdminClient, connection: Connection, settings: Settings) -> list[Claim]:
    """Return the claims on our topics by shops that were opened before ours; by all shops if ours was not opened.

    Raises KafkaError.
    """
    kafka, existing = settings.kafka, await admin.list_topics()
    manifest = await existing_manifest(connection, kafka, existing)
    async with Reader(connection) as reader:
        claims = await claims_on(reader, kafka, existing, topics_of(settings).values())
    return [claim for claim in claims if manifest is None or _is_older(claim, kafka, manifest)]


def _is_older(claim: Claim, kafka: KafkaSettings, manifest: ShopManifest) -> bool:
    ours = times.time_text(manifest.clock.started), kafka.application_id
    return (claim.started, claim.application_id) < ours


def _claimed(kafka: KafkaSettings, claim: Claim) -> str:
    return (
        f"{', '.join(claim.topics)}: in use by the shop {claim.application_id}, opened {claim.started} (UTC); two "
        "shops on the same topics would sell each sale twice. To continue that shop, set [KAFKA] application_id = "
        f"{claim.application_id}. To open {kafka.application_id} as well, give each of its topics (topic_…) another "
        "name"
    )


def topics_of(settings: Settings) -> dict[str, str]:
    """Return the names of a shop's public topics, by their keys in [KAFKA]."""
    return {spec.key: spec.name for spec in topics.specs(settings) if spec.key != "application_id"}


def _check_names(kafka: KafkaSettings, manifest: ShopManifest, existing: Collection[str]) -> None:
    """Raise OpeningError if the topics in a manifest differ from those of the configuration, or are missing."""
    if manifest.application_id != kafka.application_id:
        return  # copied from another topic: the names are those of another shop
    changed = [
        f"{key} was {name}, is {getattr(kafka, key)}"
        for key, name in sorted(manifest.topics.items())
        if hasattr(kafka, key) and getattr(kafka, key) != name
    ]
    if changed:
        raise OpeningError(
            f"The shop {kafka.application_id} was opened {times.time_text(manifest.opened_at)} with topics of other "
            f"names: {'; '.join(changed)}. Put the names back, or set another [KAFKA] application_id for a new shop"
        )
    irreplaceable = [manifest.topics[key] for key in IRREPLACEABLE_TOPICS if key in manifest.topics]
    if gone := [name for name in irreplaceable if name not in existing]:
        raise OpeningError(
            f"{', '.join(gone)}: deleted, and with it what the shop {kafka.application_id} needs to continue. "
            f"Restore it from a backup, {OR_NEW_SHOP}"
        )


async def _agree(
    connection: Connection, settings: Settings, form: Format, fingerprint: Mapping[str, Any]
) -> ShopManifest:
    topic = topics.opening_topic(settings.kafka)
    manifest = await find_manifest(connection, topic)
    if manifest is None or not differences(manifest, fingerprint):
        await form.open()  # a manifest is for good: before it names a format, the registry has to accept the schemas
    if manifest is None:
        now = time.time_ns() // 1000
        content: dict[str, Any] = {
            "opened_at": times.time_text(first_moment(settings, now)),
            "started": times.time_text(now),
            "speed": settings.clock.speed,
            "producer_id": await new_producer_id(connection),
            "made_from": fingerprint,
            "topics": topics_of(settings),
            "partitions": settings.kafka.partitions,
        }
        await _write(connection, topic, settings.kafka.application_id.encode(), orjson.dumps(content))
        manifest = await find_manifest(connection, topic)
        assert manifest is not None  # it was written just now
    check_configuration(manifest, fingerprint)
    last_moment(settings, manifest.opened_at)
    return manifest


async def _write(connection: Connection, topic: str, key: bytes, value: bytes) -> None:
    async with AIOKafkaProducer(**connection.client, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, value, key, partition=0)
