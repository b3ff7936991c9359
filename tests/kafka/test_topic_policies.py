"""What a shop needs of its topics, and what is said of topics that are otherwise."""

from typing import Any

import pytest

from yasdg_app.config.settings import FaultSettings, KafkaSettings, Settings
from yasdg_app.kafka import producer, topic_policies, topics
from yasdg_app.kafka.topic_policies import (
    ANY_TIME_MS,
    DAY_MS,
    Problem,
    TopicSpec,
    complete_config,
    partition_problem,
    problem_line,
    problems,
)

KAFKA = KafkaSettings()
SPECS = {spec.name: spec for spec in topics.specs(Settings(kafka=KAFKA, faults=FaultSettings(late=0.1)))}
DEFAULTS = {
    "cleanup.policy": "delete",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": ANY_TIME_MS,
    "message.timestamp.after.max.ms": "3600000",
    "min.insync.replicas": "1",
}
"""Of Apache Kafka 4.1."""

FATAL: list[tuple[str, dict[str, str], str]] = [
    ("yasdg-opening", {}, "retention.ms"),
    ("yasdg-opening", {"retention.ms": "-1", "cleanup.policy": "compact"}, "cleanup.policy"),
    ("yasdg-opening", {"retention.ms": "-1", "retention.bytes": "1000"}, "retention.bytes"),
    ("yasdg-control", {}, "retention.ms"),
    ("yasdg-control", {"cleanup.policy": "compact,delete"}, "retention.ms"),
    ("demo.incidents", {}, "retention.ms"),
    ("demo.incidents", {"retention.ms": "-1", "cleanup.policy": "compact"}, "cleanup.policy"),
    ("demo.dirty_purchases", {}, "retention.ms"),
    ("demo.faults", {}, "retention.ms"),
    ("demo.purchases", {"cleanup.policy": "compact"}, "cleanup.policy"),
    ("demo.purchases", {"cleanup.policy": "compact,delete"}, "cleanup.policy"),
    ("demo.purchases", {"retention.ms": "3600000"}, "retention.ms"),
    ("demo.lost_sales", {"cleanup.policy": "compact"}, "cleanup.policy"),
    ("yasdg-inventory-changelog", {}, "cleanup.policy"),
    ("yasdg-inventory-changelog", {"cleanup.policy": "compact,delete"}, "cleanup.policy"),
    ("yasdg-inventory-changelog", {"message.timestamp.type": "LogAppendTime"}, "message.timestamp.type"),
    ("yasdg-shelves", {}, "cleanup.policy"),
    *((name, {"max.message.bytes": "500000"}, "max.message.bytes") for name in SPECS),
    *((name, {"message.timestamp.after.max.ms": "1000"}, "message.timestamp.after.max.ms") for name in SPECS),
]
WARNED: list[tuple[str, dict[str, str], str]] = [
    ("demo.products", {}, "retention.ms"),
    ("demo.purchases", {}, "retention.ms"),
    ("demo.purchases", {"retention.bytes": "1000000000"}, "retention.bytes"),
    ("demo.purchases", {"message.timestamp.type": "LogAppendTime"}, "message.timestamp.type"),
    ("demo.purchases", {"message.timestamp.before.max.ms": str(DAY_MS)}, "message.timestamp.before.max.ms"),
    ("demo.purchases", {"message.timestamp.difference.max.ms": str(DAY_MS)}, "message.timestamp.difference.max.ms"),
    ("demo.lost_sales", {}, "retention.ms"),
    ("demo.stockings", {}, "retention.ms"),
    ("demo.stockings", {"cleanup.policy": "compact"}, "cleanup.policy"),
    ("demo.dead_letters", {}, "retention.ms"),
    ("yasdg-control", {"cleanup.policy": "compact"}, "message.timestamp.type"),
    ("yasdg-inventory-changelog", {"retention.ms": "-1"}, "cleanup.policy"),
]


def found(name: str, config: dict[str, str], age_ms: int = 0) -> dict[str, Problem]:
    return {problem.setting: problem for problem in problems(SPECS[name], DEFAULTS | config, age_ms)}


@pytest.mark.parametrize(("name", "config", "setting"), FATAL)
def test_what_the_shop_rests_on_has_to_stay(name: str, config: dict[str, str], setting: str) -> None:
    assert found(name, config)[setting].is_fatal


@pytest.mark.parametrize(("name", "config", "setting"), WARNED)
def test_what_only_readers_lose_is_a_warning(name: str, config: dict[str, str], setting: str) -> None:
    problem = found(name, config)[setting]
    assert not problem.is_fatal
    assert not any(problem.is_fatal for problem in found(name, config).values())


@pytest.mark.parametrize("name", SPECS)
def test_topics_as_they_are_made_fit(name: str) -> None:
    spec = SPECS[name]
    assert problems(spec, DEFAULTS | spec.config, 400 * DAY_MS) == []
    assert complete_config(spec, DEFAULTS) == spec.config  # nothing more is set where the defaults fit
    assert problems(spec, {}, 400 * DAY_MS) == []  # nothing is known: nothing is refused


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("hostile", [{}, {"message.timestamp.type": "LogAppendTime"}])
def test_topics_are_made_so_that_they_fit_whatever_the_defaults_of_the_cluster_are(
    name: str, hostile: dict[str, str]
) -> None:
    defaults = DEFAULTS | {
        "retention.bytes": "1000000",
        "max.message.bytes": "10000",
        "message.timestamp.before.max.ms": str(DAY_MS),
        "message.timestamp.after.max.ms": "1",
    }
    spec = SPECS[name]
    config = complete_config(spec, defaults | hostile)
    assert problems(spec, defaults | hostile | config, 400 * DAY_MS) == []


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("policy", ["delete", "compact", "compact,delete", ""])
@pytest.mark.parametrize("retention", ["-1", "1", str(DAY_MS), "604800000"])
@pytest.mark.parametrize("stamped", ["CreateTime", "LogAppendTime"])
def test_what_a_line_says_puts_all_right(name: str, policy: str, retention: str, stamped: str) -> None:
    config = DEFAULTS | {"cleanup.policy": policy, "retention.ms": retention, "message.timestamp.type": stamped}
    config |= {"message.timestamp.before.max.ms": "1", "retention.bytes": "9", "max.message.bytes": "1"}
    wrong = problems(SPECS[name], config, 30 * DAY_MS)
    settings = problem_line(wrong, "localhost:9092").partition("--add-config ")[2]
    told = dict(setting.split("=") for setting in settings.split(","))
    assert len(told) == len(wrong)
    assert problems(SPECS[name], config | told, 30 * DAY_MS) == []


def test_sales_of_long_ago_need_a_topic_that_takes_and_keeps_them() -> None:
    limit = {"message.timestamp.before.max.ms": str(7 * DAY_MS), "retention.ms": str(7 * DAY_MS)}
    assert not any(problem.is_fatal for problem in found("demo.purchases", limit, 6 * DAY_MS).values())
    assert all(problem.is_fatal for problem in found("demo.purchases", limit, 8 * DAY_MS).values())


def test_a_dead_letter_holds_any_message_of_the_topics_that_it_may_come_from() -> None:
    spec = SPECS["demo.dead_letters"]
    (problem,) = problems(spec, DEFAULTS | spec.config, 0, dead_letter_bytes=10_000_000)
    assert (problem.setting, problem.wanted, problem.is_fatal) == ("max.message.bytes", "10000000", False)
    assert complete_config(spec, DEFAULTS, 10_000_000)["max.message.bytes"] == "10000000"


def test_batches_are_as_large_as_topics_have_to_take() -> None:
    assert producer.BATCH_BYTES <= topic_policies.MIN_BATCH_BYTES <= int(DEFAULTS["max.message.bytes"])


DIVIDED = TopicSpec("sales", 8, key="topic_purchases")
OTHER = TopicSpec("stocks", 8, key="topic_stockings")
SINGLE = TopicSpec("goods", 1, key="topic_products", is_divided=False)


@pytest.mark.parametrize(
    ("counts", "opened_with", "ends"),
    [
        ({}, None, None),
        ({"sales": 8, "stocks": 8, "goods": 1}, None, None),
        ({"sales": 3}, None, "Set [KAFKA] partitions = 3, or give them other names: [KAFKA] topic_purchases"),
        ({"sales": 3, "goods": 3}, None, "Give other names: [KAFKA] topic_products, topic_purchases"),
        ({"sales": 3, "stocks": 8}, None, "Give other names: [KAFKA] topic_purchases"),
        ({"sales": 3, "stocks": 4}, None, "Give other names: [KAFKA] topic_purchases, topic_stockings"),
        ({"goods": 3}, None, "Partitions cannot be removed. Give other names: [KAFKA] topic_products"),
        ({"sales": 3, "stocks": 3}, 3, "Set [KAFKA] partitions = 3"),
        ({"sales": 3, "stocks": 3}, 0, "Set [KAFKA] partitions = 3"),
        ({"sales": 9, "stocks": 9}, 8, topic_policies.NEW_SHOP_ADVICE),
        ({"sales": 9, "stocks": 8}, 8, topic_policies.NEW_SHOP_ADVICE),
    ],
)
def test_of_other_partitions_what_is_possible_is_said(counts: Any, opened_with: int | None, ends: str | None) -> None:
    said = partition_problem((DIVIDED, OTHER, SINGLE), counts, opened_with)
    assert said is None if ends is None else said is not None and said.endswith(ends)


def test_a_cluster_that_wants_more_copies_than_are_made_is_told_of_before_a_topic_is_made() -> None:
    """As one with min.insync.replicas = 2 for all topics, where [KAFKA] replication_factor is 1."""
    defaults = {"demo.purchases": DEFAULTS | {"min.insync.replicas": "2"}}
    with pytest.raises(topics.TopicsError, match=r"Set \[KAFKA\] replication_factor = 2$"):
        topics._check_replicas({}, {}, defaults, 1, "localhost:9092")
    topics._check_replicas({}, {}, defaults, 2, "localhost:9092")
