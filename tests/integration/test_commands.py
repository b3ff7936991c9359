"""The commands as a person types them, on a real Apache Kafka."""

import json
import os
import pty
import subprocess
import sys
from typing import Protocol

import pytest
from support.shop import Shop, consume, yasdg


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def delete_at_a_terminal(shop: Shop, answer: bytes) -> tuple[int, str]:
    """Type an answer to the question of `yasdg topics delete`; its exit status and all that the terminal showed."""
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "yasdg_app", "topics", "delete"]
    # With a session of its own and the terminal as what controls it, so that a typed Ctrl-C is a signal.
    start = f"import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, {command})"
    process = subprocess.Popen(
        [sys.executable, "-c", start],
        cwd=shop.folder,
        env=shop.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, answered = b"", False
    try:
        while True:
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # nobody holds the other side any more
                break
            if not answered and b"[y/N]" in shown:
                os.write(terminal, answer)
                answered = True
        return process.wait(60), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_topics_are_listed_created_described_and_deleted_with_all_that_belongs_to_them(
    kafka: Kafka, shop: Shop
) -> None:
    shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="50")
    assert yasdg(shop, "topics").stdout.count(": not there") == 10
    assert yasdg(shop, "topics", "create").stdout.count(": created") == 10
    assert yasdg(shop, "topics", "create").stdout.count(": was there") == 10
    assert shop.worker().ends() == 0
    assert f"{shop.topic('purchases')}: 8 partitions, 50 messages" in yasdg(shop, "topics", "list").stdout
    described = yasdg(shop, "topics", "describe").stdout
    assert f"{shop.topic('products')}: 1 partitions, replication 1, cleanup.policy=compact" in described

    refused = yasdg(shop, "topics", "delete")
    assert refused.returncode == 1
    assert "yasdg topics delete --yes" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert yasdg(shop, "topics").stdout.count(": not there") == 0

    deleted = yasdg(shop, "topics", "delete", "--yes")
    assert deleted.returncode == 0, deleted.stderr
    assert yasdg(shop, "topics").stdout.count(": not there") == 10
    assert shop.worker().ends() == 0  # a clean start: fifty sales from one
    assert len(shop.purchases()) == 50


def test_nothing_is_deleted_while_a_worker_runs(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    refused = yasdg(shop, "topics", "delete", "--yes")
    assert refused.returncode == 1
    assert "are running. Stop them first." in refused.stderr
    assert worker.stop() == 0


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x03", b"\x04"], ids=["no", "enter", "ctrl-c", "ctrl-d"])
def test_nothing_is_deleted_without_a_yes(kafka: Kafka, shop: Shop, answer: bytes) -> None:
    assert yasdg(shop.on(kafka.bootstrap_servers), "topics", "create").returncode == 0
    status, shown = delete_at_a_terminal(shop, answer)
    assert status == 0, shown
    assert "Traceback" not in shown
    assert yasdg(shop, "topics").stdout.count(": not there") == 0


def test_a_yes_at_the_terminal_deletes(kafka: Kafka, shop: Shop) -> None:
    assert yasdg(shop.on(kafka.bootstrap_servers), "topics", "create").returncode == 0
    status, shown = delete_at_a_terminal(shop, b"y\n")
    assert status == 0, shown
    assert yasdg(shop, "topics").stdout.count(": not there") == 10


def test_deleting_from_a_broker_that_has_just_started_waits_for_it(shop: Shop) -> None:
    deleted = yasdg(shop.embedded(), "topics", "delete", "--yes")
    assert deleted.returncode == 0, deleted.stderr


def test_messages_are_shown_as_lines_and_as_json(kafka: Kafka, shop: Shop) -> None:
    assert shop.on(kafka.bootstrap_servers).configure(SALES_NUMBER_OF_SALES="800").worker().ends() == 0
    sale = json.loads(consume(shop, 1, "--from-beginning", "--json")[0])
    assert sale in shop.purchases()
    for what, words in (("products", "24 oz."), ("purchases", " × "), ("stockings", " restocked: ")):
        assert all(words in line for line in consume(shop, 3, what, "--from-beginning"))
    shop.environment |= {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    assert all(" \\u00d7 " in line for line in consume(shop, 3, "purchases", "--from-beginning"))


def test_a_broker_is_not_run_where_a_cluster_is_configured(kafka: Kafka, shop: Shop) -> None:
    ended = yasdg(shop.on(kafka.bootstrap_servers), "broker")
    assert ended.returncode == 2
    assert "no broker to run" in ended.stderr


def test_fausts_own_commands_know_the_shop(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers)
    assert "update_inventory" in yasdg(shop, "agents").stdout
    assert "inventory" in yasdg(shop, "tables").stdout
    assert "messages.records.Purchase" in yasdg(shop, "models").stdout
    listed = yasdg(shop, "--help").stdout
    assert all(command in listed for command in ("worker", "send", "consume", "topics", "broker"))
