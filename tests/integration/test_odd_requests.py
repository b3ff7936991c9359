"""Whatever somebody sends to the web server: an answer that says what was wrong, and nothing that stays."""

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import psutil
import pytest
from support.malformed_requests import drawn, get, made_by_hand, post, request
from support.shop import Shop, Worker

from yasdg_app.web.responses import COMMON_HEADERS

NUMBER = int(os.environ.get("ODD_REQUESTS", "1000"))  # drawn by lot; 7,000 in the long form
AT_ONCE = 8
ANSWER_SECONDS = 1.5  # for which an answer is waited: to half a request there is none
MORE_BYTES = 40_000_000  # of memory, which a catalog's windows take as well
MORE_DESCRIPTORS = 10


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def answer_to(address: tuple[str, int], sent: bytes) -> bytes:
    """Return what is answered, as far as it comes in time; nothing if the connection is just closed."""
    answer = b""
    with socket.create_connection(address, timeout=30) as connection:
        try:
            connection.sendall(sent)
            connection.settimeout(ANSWER_SECONDS)
            end = time.monotonic() + ANSWER_SECONDS  # events never end
            while not is_whole(answer) and time.monotonic() < end and (data := connection.recv(1 << 20)):
                answer += data
        except (TimeoutError, ConnectionError):
            pass
    return answer


def is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return is_whole(body)
    length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"")
    return bool(end) and length.strip().isdigit() and len(body) >= int(length)


def status_of(sent: bytes, answer: bytes) -> int:
    """Return the status of an answer, which is one of ours: with all headers, and in JSON if it is a refusal."""
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    if not answer:
        return 0
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    status = int(line.split()[1])
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    assert status < 500 or status == 503, (sent[:500], answer[:500])
    for name, value in COMMON_HEADERS.items():
        assert headers.get(name.lower()) == value, (name, sent[:500], answer[:500])
    assert "x-forged" not in headers
    if status >= 400:
        assert headers["content-type"] == "application/json; charset=utf-8", (sent[:500], answer[:500])
        if body:
            assert json.loads(body)["error"], sent[:500]
    return status


def ask_all(worker: Worker, requests: Iterable[bytes]) -> Counter[int]:
    host, _, port = worker.web.removeprefix("http://").partition(":")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return Counter(pool.map(lambda sent: status_of(sent, answer_to((host, int(port)), sent)), requests))


def test_no_request_is_too_odd_for_an_answer_and_none_leaves_anything_behind(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    by_hand = ask_all(worker, made_by_hand())
    assert by_hand.total() >= 200
    ask_all(worker, drawn(1, 300))  # what is made once, such as patterns and caches, is there now
    process = psutil.Process(worker.process.pid)
    memory, descriptors = process.memory_info().rss, process.num_fds()
    statuses = ask_all(worker, drawn(2, NUMBER))
    print(by_hand, statuses, process.memory_info().rss - memory, process.num_fds() - descriptors)
    assert {200, 400, 404, 405, 415, 417} <= statuses.keys() | by_hand.keys()
    worker.until(lambda: process.num_fds() < descriptors + MORE_DESCRIPTORS, "that no descriptor stays")
    assert process.memory_info().rss < memory + MORE_BYTES
    assert worker.get("/health/") == {"status": "live"}
    assert worker.stop() == 0
    for word in ("Traceback", "[ERROR]", "[WARNING]", "forged", "\x1b"):
        assert word not in worker.said


FRAMEWORK = {
    "no HTTP": (b"nonsense\r\n\r\n", 400),
    "a header that is none": (get("/health/", "X"), 400),
    "a header that is too long": (get("/health/", "X: " + "y" * 9_000), 400),
    "too many headers": (get("/health/", *["X: y"] * 1_000), 400),
    "an expectation": (get("/health/", "Expect: 200-ok"), 417),
    "no page": (get("/nothing"), 404),
    "a method that is none": (b"BREW / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400),
    "a method that no page has": (request("TRACE", "/", "Host: localhost", "Connection: close"), 405),
    "a body that is too large": (post(b"x" * 70_000), 413),
    "an encoding that is not understood": (post(b"{}", "Content-Encoding: br"), 415),
    "an encoding that is not true": (post(b"{}", "Content-Encoding: gzip"), 415),
    "a date in year 1": (get("/sales/?through=0001-01-01T00:00"), 400),
    "a date in year 9999": (get("/sales/?through=9999-12-31T23:59&window=day"), 400),
    "a date before 1970": (get("/sales/?through=1969-12-31T23:59"), 400),
    "a field twice": (get("/sales/?by=product&by=category"), 400),
    "half a character in a name": (post(b'{"name": "\\ud800", "kind": "storm"}'), 400),
}


@pytest.fixture(scope="module")
def answers(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    shop = Shop(tmp_path_factory.mktemp("framework"), f"framework-{os.getpid()}").on(kafka.bootstrap_servers)
    try:
        worker = shop.worker()
        worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
        host, _, port = worker.web.removeprefix("http://").partition(":")
        found = {name: answer_to((host, int(port)), sent) for name, (sent, _) in FRAMEWORK.items()}
        assert worker.stop() == 0
        return found
    finally:
        shop.close()


@pytest.mark.parametrize("name", FRAMEWORK)
def test_what_the_framework_refuses_is_refused_in_our_words(answers: dict[str, bytes], name: str) -> None:
    sent, status = FRAMEWORK[name]
    assert status_of(sent, answers[name]) == status
