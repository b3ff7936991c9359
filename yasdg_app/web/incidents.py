"""Incidents while the shop runs: `/incidents/` shows them, sets new ones, and ends those that were set here.

What is set stands on the control topic, so any worker may be asked, and all go by it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import orjson
from aiokafka.errors import KafkaError
from faust.web import View

from yasdg_app.application import app
from yasdg_app.cluster_state.control_records import ControlState
from yasdg_app.cluster_state.control_topic import (
    ControlError,
    IncidentConflictError,
    TooEarlyError,
    UnknownIncidentError,
)
from yasdg_app.cluster_state.incident_requests import described, is_configured, listed, read_incident
from yasdg_app.config.settings import SettingsError
from yasdg_app.errors import YasdgError
from yasdg_app.messages.times import time_text
from yasdg_app.pipeline.control_follower import watch
from yasdg_app.pipeline.sales_timer import tills

logger = logging.getLogger(__name__)

ANSWER = 2.0  # seconds in which the cluster has to say what stands on the topic
LONGEST = 10.0  # seconds that it may take to write to it
OBJECT = '{"name": "flash-sale", "kind": "promotion", "duration": "2h", "discount": 0.2}'
STATUS: dict[type[ControlError], int] = {TooEarlyError: 400, UnknownIncidentError: 404, IncidentConflictError: 409}

T = TypeVar("T")


class Refused(YasdgError):
    """What was asked for is not done; `problems` says of each field why."""

    def __init__(self, status: int, error: str, problems: Sequence[str] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.problems = list(problems)

    @property
    def body(self) -> dict[str, Any]:
        return {"error": str(self)} | ({"problems": self.problems} if self.problems else {})


def event_time_now() -> int:
    """Return what the shop's clock shows, in event time."""
    return app.opening.clock.at(time.time_ns() // 1000)


def _check_clock() -> None:
    """Raises Refused while the clock of this machine cannot be believed: what is set begins shortly, by that clock."""
    if tills.jumps.reason:
        raise Refused(503, f"{tills.jumps.reason} Ask again then, or another worker.")


async def said() -> ControlState:
    """Return what the control topic says now. Raises Refused if the shop is not open, or the cluster away."""
    if not hasattr(app, "control"):
        raise Refused(503, "the shop is not open yet, ask again in a moment")
    return await _in_time(app.control.read(), ANSWER, "The broker does not answer. Ask again in a moment.")


async def _in_time(answer: Awaitable[T], seconds: float, otherwise: str) -> T:
    try:
        return await asyncio.wait_for(answer, seconds)
    except ControlError as error:
        status = STATUS.get(type(error), 503)
        raise Refused(status, str(error), [str(error)] if status == 400 else ()) from error
    except (TimeoutError, KafkaError, YasdgError) as error:
        logger.debug("The control topic is out of reach: %r", error)
        raise Refused(503, otherwise) from error


async def set_incident(body: bytes) -> dict[str, Any]:
    """Set the incident that somebody sent; return it as it stands. Raises Refused."""
    try:
        given = orjson.loads(body)
    except ValueError as error:
        raise Refused(400, f"This is no JSON: {error}. Expected an object such as {OBJECT}") from error
    if not isinstance(given, dict):
        raise Refused(400, f"Expected a JSON object such as {OBJECT}")
    _check_clock()
    await said()  # so that nothing is on its way to a cluster that is away
    try:
        settings = read_incident(given, app.products)
    except SettingsError as error:
        raise Refused(400, f"The incident is not set: {len(error.problems)} to mend", error.problems) from error
    incident = await _in_time(
        app.control.set_incident(settings, _is_taken, watch.plan.calendar.utc),
        LONGEST,
        "The broker does not answer. Whether the incident is set, GET /incidents/ will show.",
    )
    return described(incident, ControlState(live=(incident,)), event_time_now())


async def end_incident(name: str) -> dict[str, Any]:
    """End an incident that was set while the shop ran; return it as it is then. Raises Refused."""
    _check_clock()
    await said()
    if _is_taken(name):
        raise Refused(409, f"name: {name} belongs to the configuration; it cannot be ended here")
    incident = await _in_time(
        app.control.end(name), LONGEST, "The broker does not answer. Whether it is ended, GET /incidents/ will show."
    )
    return described(incident, ControlState(live=(incident,)), event_time_now())


def _is_taken(name: str) -> bool:
    return is_configured(name, app.shop.incidents)


@app.page("/incidents/")
class AllIncidents(View):
    """All incidents: list them, or add one."""

    async def get(self, request: Any) -> Any:
        """List them; of those that come at random what is on, and the next seven days."""
        try:
            control = await said()
        except Refused as refused:
            return self.json(refused.body, status=refused.status)
        now = event_time_now()
        return self.json({"now": time_text(now), "incidents": listed(watch.plan.incidents, control, now)})

    async def post(self, request: Any) -> Any:
        """Set one."""
        try:
            return self.json(await set_incident(await request.read()), status=201)
        except Refused as refused:
            return self.json(refused.body, status=refused.status)


@app.page("/incidents/{name}/")
class OneIncident(View):
    """An incident that was set while the shop ran."""

    async def delete(self, request: Any, name: str) -> Any:
        """End it shortly ahead."""
        try:
            return self.json(await end_incident(name))
        except Refused as refused:
            return self.json(refused.body, status=refused.status)
