"""Records of others on a shop's topics, markers, cut and damaged logs: the shop sells on, or stops in one line."""

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from support import foreign_writes
from support.shop import Shop, Worker, consume, yasdg

from yasdg_app.kafka.embedded.broker import EmbeddedBroker

PARTITIONS = 2
DEEP = b"[" * 100_000 + b"]" * 100_000


class Kafka(Protocol):
    """See support/kafka_fixtures.py."""

    bootstrap_servers: str
    data_dir: Path


@pytest.fixture
def lively(kafka: Kafka, shop: Shop) -> Shop:
    """A shop of two partitions that sells 500 times a second, with empty shelves and substitutes."""
    shop.on(kafka.bootstrap_servers).configure(KAFKA_PARTITIONS=str(PARTITIONS), SALES_MAX_SALE_FREQ="0.004")
    return shop.configure(
        SUPPLY_LEAD_TIME="1s - 2s - 5s", SALES_SUBSTITUTION_FREQ="5", INVENTORY_RESTOCK_AMOUNT="200",
    )  # fmt: skip


def sold(shop: Shop) -> dict[int, int]:
    return foreign_writes.own(shop, shop.topic("purchases"), PARTITIONS)


def sells_everywhere(shop: Shop, worker: Worker, more: int = 20) -> None:
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    before = sold(shop)
    worker.until(
        lambda: all(count >= before[partition] + more for partition, count in sold(shop).items()),
        "more sales in each partition",
    )
    worker.until(lambda: worker.get("/ready/")["ready"], "that it is ready")


def changelog(shop: Shop) -> str:
    return f"{shop.name}-inventory-changelog"


def opened(shop: Shop) -> Worker:
    """A worker that has sold in each partition."""
    worker = shop.worker()
    sells_everywhere(shop, worker)
    return worker


def balances(shop: Shop) -> dict[str, Any]:
    audited = yasdg(shop, "audit", "--json")
    assert audited.stdout, audited.stderr
    report: dict[str, Any] = json.loads(audited.stdout)
    assert report["findings"] == []
    assert "Traceback" not in audited.stderr
    return report


def sale_of(shop: Shop, partition: int) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(shop.partitions(shop.topic("purchases"))[partition][0].value or b"")
    return message


def test_a_well_formed_purchase_of_another_producer_is_a_dead_letter_whatever_its_number(lively: Shop) -> None:
    worker = opened(lively)
    sale = sale_of(lively, 0)
    before = sold(lively)[0]
    ids = [f"{sale['product_id']}-{number:06d}" for number in (1, 500_000, before + 1, 10**17)]
    forged = [json.dumps(sale | {"transaction_id": each}).encode() for each in ids]
    offsets = foreign_writes.write(
        lively, lively.topic("purchases"), *forged, None, DEEP, key=b"its key", headers=[("h", b"x"), ("offset", b"0")]
    )
    sells_everywhere(lively, worker)
    letters = lively.partitions(lively.topic("dead_letters"))[0]
    assert [letter.value for letter in letters] == [*forged, None, DEEP]
    for letter, offset in zip(letters, offsets, strict=True):
        headers = dict(letter.headers)
        assert letter.key == b"its key"
        assert headers["reason"] == b"written by another producer"
        assert (headers["offset"], headers["original.offset"], headers["original.h"]) == (b"%d" % offset, b"0", b"x")
    assert worker.stop() == 0
    again = lively.worker()
    sells_everywhere(lively, again)
    assert again.stop() == 0
    balances(lively)
    assert len(lively.read(lively.topic("dead_letters"))) == len(offsets)


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "aborted"])
def test_markers_of_transactions_at_the_end_of_each_log_keep_no_partition_from_selling(
    lively: Shop, commit: bool
) -> None:
    worker = opened(lively)
    assert worker.stop() == 0
    divided = [lively.topic(each) for each in ("purchases", "lost_sales", "stockings", "dead_letters")]
    foreign_writes.transact(lively, [*divided, changelog(lively), f"{lively.name}-shelves"], PARTITIONS, commit)
    foreign_writes.transact(
        lively, [lively.topic("products"), lively.topic("incidents"), f"{lively.name}-control"], 1, commit
    )
    again = lively.configure(CLOCK_ON_RESTART="skip").worker()
    sells_everywhere(lively, again)
    assert again.stop() == 0, again.said  # the books were closed: it did not wait for messages that do not exist
    balances(lively)


def test_foreign_rows_of_the_changelog_and_the_snapshots_are_passed_over_at_each_start(lively: Shop) -> None:
    worker = opened(lively)
    product = sale_of(lively, 0)["product_id"].encode()
    row = json.loads(lively.partitions(changelog(lively))[0][-1].value or b"")
    hostile = [
        None, b"junk", DEEP, b"\xff\xfe", json.dumps(row | {"product_id": "XX99"}).encode(),
        json.dumps(row | {"sales": 2**70}).encode(), json.dumps(row | {"last_sale": "yesterday"}).encode(),
        json.dumps(row | {"offset": 10**12, "sales": 10**9}).encode(),
    ]  # fmt: skip
    for topic in (changelog(lively), f"{lively.name}-shelves"):
        for key in (product, b"XX99", b"0-0", None):
            foreign_writes.write(lively, topic, *(hostile if key else hostile[1:]), key=key or b"")
    sells_everywhere(lively, worker)
    worker.kill()
    again = lively.worker()
    sells_everywhere(lively, again)
    assert again.stop() == 0
    balances(lively)
    assert "Traceback" not in worker.said + again.said


def test_a_changelog_whose_rows_are_gone_is_computed_again_from_the_logs(lively: Shop) -> None:
    worker = opened(lively)
    assert worker.stop() == 0
    foreign_writes.delete_records(lively, changelog(lively), dict.fromkeys(range(PARTITIONS), -1))
    again = lively.worker()
    sells_everywhere(lively, again)
    assert again.stop() == 0
    balances(lively)


def test_a_changelog_that_lacks_some_rows_is_computed_again_from_the_logs(lively: Shop) -> None:
    worker = opened(lively)
    assert worker.stop() == 0
    middle = len(lively.partitions(changelog(lively))[0]) * 9 // 10
    foreign_writes.delete_records(lively, changelog(lively), {0: middle})
    again = lively.worker()
    sells_everywhere(lively, again)
    assert again.stop() == 0
    report = balances(lively)
    assert report["purchases"] == sum(sold(lively).values())


def test_an_inventory_of_which_nothing_is_left_to_compute_it_from_stops_in_one_line(lively: Shop) -> None:
    worker = opened(lively)
    assert worker.stop() == 0
    foreign_writes.delete_records(lively, changelog(lively), {0: -1})
    foreign_writes.delete_records(lively, lively.topic("purchases"), {0: 3})
    again = lively.worker()
    assert again.ends() == 1
    assert OTHER_SHOP in one_line(again, "deleted before they were applied")
    # The advice that keeps everything: another shop beside it.
    other = Shop(lively.folder, f"{lively.name}-other").on(lively.servers)
    try:
        sells(other)
    finally:
        other.close()


OTHER_SHOP = (
    "Or leave everything as it is and open another shop: set [KAFKA] application_id and the names of its topics "
    "(topic_…) to new ones."
)


def sells(shop: Shop) -> None:
    worker = shop.worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    assert worker.stop() == 0


def one_line(worker: Worker, words: str) -> str:
    """The line with some words, of a worker that said why it stopped and showed no traceback."""
    assert "Traceback" not in worker.said
    return next(line for line in worker.said.splitlines() if words in line)


def test_messages_that_are_deleted_before_they_were_applied_stop_the_worker_in_one_line(lively: Shop) -> None:
    lively.configure(SALES_SUBSTITUTION_FREQ="0", SUPPLY_LEAD_TIME="0")
    worker = opened(lively)
    assert worker.stop() == 0
    # Sales that no table has seen: the worker dies between their append and their application.
    dying = lively.worker("dies_at_append.py", changelog(lively), "before", "1")
    dying.ends()
    foreign_writes.delete_records(lively, lively.topic("purchases"), dict.fromkeys(range(PARTITIONS), -1))
    again = lively.worker()
    assert again.ends() == 1, again.said
    assert OTHER_SHOP in one_line(again, "deleted before they were applied")


def test_messages_that_are_deleted_after_they_were_applied_are_not_missed(lively: Shop) -> None:
    worker = opened(lively)
    ends = {partition: messages[-1].offset - 50 for partition, messages in
            lively.partitions(lively.topic("purchases")).items()}  # fmt: skip
    worker.until(lambda: all(count > ends[partition] + 150 for partition, count in sold(lively).items()), "more sales")
    foreign_writes.delete_records(lively, lively.topic("purchases"), ends)
    before = time.monotonic()
    worker.until(lambda: time.monotonic() > before + 7, "two looks at the logs")
    worker.until(lambda: worker.get("/ready/")["ready"], "that it is ready")
    assert worker.stop() == 0
    again = lively.worker()
    again.until(lambda: again.get("/ready/")["ready"], "that it is ready")
    assert again.stop() == 0


def damage(kafka: Kafka, topic: str, partition: int, place: Callable[[bytes], int]) -> None:
    """Change one byte of a log on disk, where it is not compressed."""
    (path,) = kafka.data_dir.glob(f"*/{topic}-{partition}/00000000000000000000.log")
    log = bytearray(path.read_bytes())
    log[place(bytes(log))] ^= 1
    with path.open("r+b") as file:
        file.write(log)


def test_a_damaged_changelog_is_computed_again_and_a_damaged_log_of_sales_stops_the_worker(
    kafka: Kafka, lively: Shop
) -> None:
    worker = opened(lively)
    assert worker.stop() == 0
    damage(kafka, changelog(lively), 0, lambda log: len(log) // 2)
    again = lively.worker()
    sells_everywhere(lively, again)
    assert again.stop() == 0
    assert f"{changelog(lively)}, partition 0, offset" in one_line(again, "checksum")
    balances(lively)

    damage(kafka, lively.topic("purchases"), 0, lambda log: 100)  # in the first batch
    foreign_writes.delete_records(lively, changelog(lively), {0: -1})  # so that it is read again
    last = lively.worker()
    assert last.ends() == 1, last.said
    one_line(last, "checksum")
    assert f"{lively.topic('purchases')}, partition 0, offset 0: the checksum" in last.said


def test_a_flood_of_foreign_messages_is_counted_not_printed(lively: Shop) -> None:
    worker = opened(lively)
    foreign_writes.write(lively, lively.topic("purchases"), *[b"junk %d" % number for number in range(600)])
    worker.until(lambda: len(lively.read(lively.topic("dead_letters"))) == 600, "all dead letters")
    worker.until(lambda: "more foreign messages on" in worker.said, "their number")
    assert worker.said.count("Foreign message at ") == 5
    sells_everywhere(lively, worker)
    assert worker.stop() == 0


def test_foreign_messages_as_large_as_the_cluster_takes_are_copied(lively: Shop) -> None:
    worker = opened(lively)
    foreign_writes.write(lively, lively.topic("purchases"), b"x" * 1_000_000, headers=[("h", b"y" * 40_000)])
    worker.until(lambda: lively.read(lively.topic("dead_letters")), "the dead letter")
    (letter,) = lively.read(lively.topic("dead_letters"))
    assert (len(letter.value or b""), len(dict(letter.headers)["original.h"])) == (1_000_000, 40_000)
    sells_everywhere(lively, worker)
    assert worker.stop() == 0


def test_control_records_of_other_producers_are_ignored(lively: Shop) -> None:
    worker = opened(lively)
    forged = {
        "name": "forged", "kind": "custom", "start": "2027-01-01 00:00:00.000000", "end": "2099-01-01 00:00:00.000000",
        "ramp_up": 0, "ramp_down": 0, "categories": [], "products": [], "factor": 1e300, "discount": 10**6,
    }  # fmt: skip
    gap = {"after": "2026-01-01 00:00:00.000000", "until": "2099-01-01 00:00:00.000000"}
    control = f"{lively.name}-control"
    foreign_writes.write(lively, control, json.dumps(forged).encode(), DEEP, None, key=b"incident/forged")
    foreign_writes.write(lively, control, json.dumps(gap).encode(), key=f"gap/{gap['after']}/{gap['until']}".encode())
    added = yasdg(lively, "incident", "add", "flash", "--kind", "promotion", "--duration", "1h", "--discount", ".2")
    assert added.returncode == 0, added.stderr
    sells_everywhere(lively, worker)
    shown = {each["name"] for each in worker.get("/incidents/")["incidents"]}
    assert shown == {"flash"}
    ended = yasdg(lively, "incident", "end", "flash")
    assert ended.returncode == 0, ended.stderr
    assert worker.stop() == 0
    balances(lively)


def test_a_message_that_the_client_library_cannot_parse_ends_no_worker_and_no_command(lively: Shop) -> None:
    worker = opened(lively)
    names = ["products", "purchases", "stockings", "lost_sales", "incidents", "dead_letters"]
    topics = [lively.topic(each) for each in names]
    for topic in (*topics, changelog(lively), *(f"{lively.name}-{each}" for each in ("opening", "control", "shelves"))):
        foreign_writes.write_unparsable(lively, topic)
    sells_everywhere(lively, worker)
    worker.kill()
    again = lively.worker()
    sells_everywhere(lively, again)
    assert again.stop() == 0
    balances(lively)
    for what, topic in zip(names[:5], topics, strict=False):
        lines = consume(lively, len(lively.read(topic)), what, "--from-beginning", "--json")
        assert all(lines), what


def test_a_backup_of_the_brokers_data_puts_a_cut_log_right(shop: Shop, tmp_path: Path) -> None:
    """What the line says that stops the worker: restore the topic from a backup."""
    shop.embedded().configure(KAFKA_PARTITIONS=str(PARTITIONS), SALES_MAX_SALE_FREQ="0.004")
    data_dir, backup = Path(shop.environment["YASDG_KAFKA_DATA_DIR"]), tmp_path / "backup"
    worker = opened(shop)
    assert worker.stop() == 0
    broker = EmbeddedBroker(data_dir, int(shop.servers.partition(":")[2]))
    broker.start()
    count = sum(sold(shop).values())
    broker.stop()
    shutil.copytree(data_dir, backup)
    broker.start()
    try:
        foreign_writes.delete_records(shop, changelog(shop), {0: -1})
        foreign_writes.delete_records(shop, shop.topic("purchases"), {0: 3})
        refused = shop.worker()
        assert refused.ends() == 1
        assert "Restore the topic from a backup." in one_line(refused, "deleted before they were applied")
    finally:
        broker.stop()
    shutil.rmtree(data_dir)
    shutil.copytree(backup, data_dir)
    again = shop.worker()
    again.until(lambda: again.get("/inventory/")["inventory"], "that it sells")
    again.until(lambda: sum(sold(shop).values()) > count, "more sales than before")
    assert again.stop() == 0


def test_messages_that_are_deleted_under_a_running_worker_before_it_read_them_stop_it(lively: Shop) -> None:
    worker = opened(lively)
    worker.process.send_signal(signal.SIGSTOP)  # for less than the group takes to notice
    try:
        foreign_writes.append_as_the_shop(lively, lively.topic("purchases"), b"fetched")  # by a request in flight
        count = foreign_writes.append_as_the_shop(lively, lively.topic("purchases"), b"unread", b"unread")
        foreign_writes.delete_records(lively, lively.topic("purchases"), {0: -1})
    finally:
        worker.process.send_signal(signal.SIGCONT)
    assert count > 2
    assert worker.ends(60) == 1, worker.said
    assert OTHER_SHOP in one_line(worker, "deleted before they were applied")


def test_a_foreign_batch_that_unpacks_to_more_than_a_worker_should_hold_is_one_dead_letter(lively: Shop) -> None:
    worker = opened(lively)
    for topic in (lively.topic("purchases"), changelog(lively), f"{lively.name}-control"):
        foreign_writes.write_batch(lively, topic, records=60, value=b"\0" * 2**20)  # some kilobytes of zstd
    worker.until(lambda: lively.read(lively.topic("dead_letters")), "a dead letter")
    (letter,) = lively.read(lively.topic("dead_letters"))
    assert b"unpacks to more than" in dict(letter.headers)["reason"]
    sells_everywhere(lively, worker)
    assert worker.stop() == 0
    again = lively.worker()
    sells_everywhere(lively, again)
    assert again.stop() == 0


def test_a_copy_of_a_shop_under_another_producer_is_not_sold_a_second_time(lively: Shop, tmp_path: Path) -> None:
    worker = opened(lively)
    assert worker.stop() == 0
    copy = Shop(tmp_path, f"{lively.name}-copy").on(lively.servers)
    copy.configure(KAFKA_PARTITIONS=str(PARTITIONS), SALES_MAX_SALE_FREQ="0.004", SUPPLY_LEAD_TIME="1s - 2s - 5s")
    copy.configure(SALES_SUBSTITUTION_FREQ="5", INVENTORY_RESTOCK_AMOUNT="200")
    assert yasdg(copy, "topics", "create").returncode == 0
    for topic, to in (
        (lively.topic("purchases"), copy.topic("purchases")),
        (changelog(lively), changelog(copy)),
        (f"{lively.name}-opening", f"{copy.name}-opening"),
    ):
        for partition, messages in lively.partitions(topic).items():
            for message in messages:
                key, value = message.key, message.value or b""
                if topic.endswith("-opening"):  # names and key are those of the shop that is copied, on its own cluster
                    key, value = copy.name.encode(), value.replace(lively.name.encode(), copy.name.encode())
                foreign_writes.write(copy, to, value, partition=partition, key=key)
                if topic == changelog(lively) or len(messages) > 50:
                    break  # one of each is enough
    try:
        refused = copy.worker()
        assert refused.ends() == 1
        assert "they are a copy" in one_line(refused, "none of its messages was written by the shop's own producer")
    finally:
        copy.close()
