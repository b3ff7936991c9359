"""The topics: what each is like, and creating and checking them before a worker joins its group.

Faust's first assignment silently leaves out topics that do not exist, so they are made beforehand.
"""

from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from yasdg_app.errors import YasdgError
from yasdg_app.settings import KafkaSettings, Settings

DELETED = {"cleanup.policy": "delete", "retention.ms": "-1"}  # the sales of a gap are older than any retention
COMPACTED = {"cleanup.policy": "compact"}
# A worker that takes over a partition reads its changelog whole: kept short, it does so in a moment.
TABLE = {
    **COMPACTED,
    "segment.bytes": str(8 * 2**20),
    "min.cleanable.dirty.ratio": "0.2",
    "message.timestamp.type": "CreateTime",  # see producer.TAKEN_NOW
}
CONTROL = {**COMPACTED, "message.timestamp.type": "LogAppendTime"}  # see control.py
# Whatever fits on another topic, and why it is here.
LETTERS = {**DELETED, "max.message.bytes": str(2 * 2**20)}


class TopicsError(YasdgError):
    """A topic is not as it has to be, and only its owner can say what should become of it."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic has to be like."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def opening_topic(kafka: KafkaSettings) -> str:
    """Return the name of the topic whose first record says when the shop opened."""
    return f"{kafka.application_id}-opening"


def control_topic(kafka: KafkaSettings) -> str:
    """Return the name of the topic on which is set, while the shop runs, what happens to it."""
    return f"{kafka.application_id}-control"


def shelves_topic(kafka: KafkaSettings) -> str:
    """Return the name of the topic on which tills keep the shelves that they serve from, where these are many."""
    return f"{kafka.application_id}-shelves"


def changelog_topic(kafka: KafkaSettings) -> str:
    """Return the name of the inventory table's changelog, as Faust makes it."""
    return f"{kafka.application_id}-inventory-changelog"


def fault_specs(kafka: KafkaSettings) -> tuple[TopicSpec, ...]:
    """Return the topics that belong to a shop with a flawed network."""
    return (
        TopicSpec(kafka.topic_dirty, kafka.partitions, DELETED),
        TopicSpec(kafka.topic_faults, kafka.partitions, DELETED),
    )


def specs(shop: Settings) -> tuple[TopicSpec, ...]:
    """Return all topics that belong to a shop."""
    kafka = shop.kafka
    return (
        TopicSpec(kafka.topic_products, 1, COMPACTED),
        TopicSpec(kafka.topic_purchases, kafka.partitions, DELETED),
        TopicSpec(kafka.topic_stockings, kafka.partitions, DELETED),
        TopicSpec(kafka.topic_lost_sales, kafka.partitions, DELETED),
        TopicSpec(kafka.topic_incidents, 1, DELETED),
        TopicSpec(kafka.topic_dead_letters, kafka.partitions, LETTERS),
        TopicSpec(opening_topic(kafka), 1, DELETED),
        TopicSpec(control_topic(kafka), 1, CONTROL),
        TopicSpec(changelog_topic(kafka), kafka.partitions, TABLE),
        TopicSpec(shelves_topic(kafka), kafka.partitions, TABLE),
        *(fault_specs(kafka) if shop.faults.any else ()),
    )


async def ensure(admin: AIOKafkaAdminClient, shop: Settings) -> None:
    """Create the topics that are missing; use the others as they are, if their partitions match.

    Raises
    ------
    TopicsError
        If partitions do not match, or the cluster refuses to create a topic.
    """
    wanted = specs(shop)
    existing = set(await admin.list_topics())
    missing = [spec for spec in wanted if spec.name not in existing]
    if missing:
        await _create(admin, missing, 1 if shop.kafka.embedded else shop.kafka.replication_factor)
    problems = []
    for description in await admin.describe_topics([spec.name for spec in wanted if spec not in missing]):
        spec = next(spec for spec in wanted if spec.name == description["topic"])
        has = len(description["partitions"])
        if has != spec.partitions:
            problems.append(f"{spec.name} has {has} partitions, expected {spec.partitions}")
    if problems:
        raise TopicsError(
            "; ".join(problems) + ". Set [KAFKA] partitions to what is there, or give the topics other names, "
            "or delete them: yasdg topics delete"
        )


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
