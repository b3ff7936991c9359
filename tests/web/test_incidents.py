"""What the pages of incidents reject, from the parts of a worker: without a process, and without Kafka."""

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from support.small_shops import PRODUCTS

from yasdg_app.cluster_state.control_topic import IncidentConflictError, TooEarlyError, UnknownIncidentError
from yasdg_app.config.settings import Settings
from yasdg_app.web import incidents
from yasdg_app.web.incidents import IncidentPages
from yasdg_app.web.responses import NOT_OPEN

STORM = b'{"name": "storm-1", "kind": "storm"}'
CLOCK = "The clock of this machine was set forward."


class Control:
    """A control topic that answers with an error, or not at all."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = False

    async def read(self) -> Any:
        if self.hangs:
            await asyncio.Event().wait()

    async def set_incident(self, *_: Any) -> Any:
        assert self.error is not None
        raise self.error

    async def end(self, _: str) -> Any:
        assert self.error is not None
        raise self.error


class Worker:
    def __init__(self) -> None:
        self.control = Control()
        self.shop = SimpleNamespace(is_open=True, control=self.control, products=PRODUCTS, settings=Settings())
        self.follower = SimpleNamespace(plan=SimpleNamespace(calendar=SimpleNamespace(utc=None)))
        self.sales = SimpleNamespace(jumps=SimpleNamespace(reason=""))

    @property
    def pages(self) -> IncidentPages:
        whole: Any = self
        return IncidentPages(whole)

    async def add(self, body: bytes) -> tuple[int, Any]:
        async def read() -> bytes:
            return body

        request: Any = SimpleNamespace(read=read)
        response = await self.pages.add(request)
        return response.status, orjson.loads(response.body)  # type: ignore[arg-type]

    async def end(self, name: str) -> tuple[int, Any]:
        request: Any = None
        response = await self.pages.end(request, name)
        return response.status, orjson.loads(response.body)  # type: ignore[arg-type]


@pytest.fixture
def worker() -> Worker:
    return Worker()


async def test_nothing_is_done_while_the_shop_is_not_open(worker: Worker) -> None:
    worker.shop.is_open = False
    request: Any = None
    listed: Any = await worker.pages.list_all(request)
    assert (listed.status, orjson.loads(listed.body)) == (503, NOT_OPEN)
    assert await worker.add(STORM) == (503, NOT_OPEN)
    assert await worker.end("storm-1") == (503, NOT_OPEN)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'"x"'])
async def test_a_body_that_is_not_an_object_is_rejected_with_an_example(worker: Worker, body: bytes) -> None:
    status, answer = await worker.add(body)
    assert status == 400
    assert incidents.EXAMPLE in answer["error"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"name": "a b", "kind": "storm"}', "Incident rejected: 1 invalid field"),
        (b'{"name": "a b", "kind": "x"}', "Incident rejected: 2 invalid fields"),
    ],
)
async def test_each_invalid_field_is_a_problem(worker: Worker, body: bytes, error: str) -> None:
    status, answer = await worker.add(body)
    assert (status, answer["error"]) == (400, error)
    assert f"{len(answer['problems'])} invalid" in error


async def test_while_the_clock_is_unreliable_nothing_is_changed(worker: Worker) -> None:
    worker.sales.jumps.reason = CLOCK
    for status, answer in (await worker.add(STORM), await worker.end("storm-1")):
        assert (status, answer) == (503, {"error": f"{CLOCK} Try again then, or use another worker."})


async def test_nobody_waits_for_a_broker_that_does_not_answer(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "READ_SECONDS", 0.01)
    worker.control.hangs = True
    assert await worker.add(STORM) == (503, {"error": incidents.NO_ANSWER})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TooEarlyError("start: too early"), 400),
        (UnknownIncidentError("name: unknown"), 404),
        (IncidentConflictError("name: taken"), 409),
    ],
)
async def test_what_the_control_topic_rejects_has_a_status_of_its_own(
    worker: Worker, error: Exception, status: int
) -> None:
    worker.control.error = error
    body = {"error": str(error)} | ({"problems": [str(error)]} if status == 400 else {})
    assert await worker.add(STORM) == (status, body)
    assert await worker.end("storm-1") == (status, body)
