"""`/incidents/`: list all incidents, set new ones while the shop runs, and end those.

Incidents that are set here are records of the control topic, so any worker can be used, and all workers apply them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import orjson
from aiokafka.errors import KafkaError
from faust.web import View

from yasdg_app.application import app, tills, watch
from yasdg_app.cluster_state.control_records import ControlState
from yasdg_app.cluster_state.control_topic import (
    ControlError,
    IncidentConflictError,
    TooEarlyError,
    UnknownIncidentError,
)
from yasdg_app.cluster_state.incident_requests import described, is_configured, listed, read_incident
from yasdg_app.config.ini import SettingsError
from yasdg_app.errors import YasdgError
from yasdg_app.messages.times import time_text

logger = logging.getLogger(__name__)

READ_SECONDS = 2.0  # for the broker to return the records of the control topic
WRITE_SECONDS = 10.0  # for the broker to acknowledge a record
EXAMPLE = '{"name": "flash-sale", "kind": "promotion", "duration": "2h", "discount": 0.2}'
STATUS: dict[type[ControlError], int] = {TooEarlyError: 400, UnknownIncidentError: 404, IncidentConflictError: 409}
NO_ANSWER = "The broker does not answer. Try again in a moment."
UNKNOWN_OUTCOME = "The broker does not answer. GET /incidents/ shows whether the incident was {done}."

T = TypeVar("T")


class RequestRejectedError(YasdgError):
    """A request is rejected; `problems` has the reason for each invalid field."""

    def __init__(self, status: int, error: str, problems: Sequence[str] = ()) -> None:
        super().__init__(error)
        self.status = status
        self.problems = list(problems)

    @property
    def body(self) -> dict[str, Any]:
        """The body of the response."""
        return {"error": str(self)} | ({"problems": self.problems} if self.problems else {})


def event_time_now() -> int:
    """Return the time of the shop's clock: event time in microseconds."""
    return app.opening.clock.at(time.time_ns() // 1000)


def _check_clock() -> None:
    """Raise RequestRejectedError while this machine's clock is unreliable: it determines when an incident begins."""
    if tills.jumps.reason:
        raise RequestRejectedError(503, f"{tills.jumps.reason} Try again then, or use another worker.")


async def current_control() -> ControlState:
    """Return the current state of the control topic.

    Raises
    ------
    RequestRejectedError
        The shop is not open, or the broker does not answer.
    """
    if not hasattr(app, "control"):
        raise RequestRejectedError(503, "The shop is not open yet. Try again in a moment.")
    return await _in_time(app.control.read(), READ_SECONDS, NO_ANSWER)


async def _in_time(answer: Awaitable[T], seconds: float, timeout_error: str) -> T:
    try:
        return await asyncio.wait_for(answer, seconds)
    except ControlError as error:
        status = STATUS.get(type(error), 503)
        raise RequestRejectedError(status, str(error), [str(error)] if status == 400 else ()) from error
    except (TimeoutError, KafkaError, YasdgError) as error:
        logger.debug("Cannot reach the control topic: %r", error)
        raise RequestRejectedError(503, timeout_error) from error


async def set_incident(body: bytes) -> dict[str, Any]:
    """Set the incident of a request's body; return it as `/incidents/` lists it. Raises RequestRejectedError."""
    try:
        given = orjson.loads(body)
    except ValueError as error:
        raise RequestRejectedError(400, f"Invalid JSON: {error}. Expected an object such as {EXAMPLE}") from error
    if not isinstance(given, dict):
        raise RequestRejectedError(400, f"Expected a JSON object such as {EXAMPLE}")
    _check_clock()
    await current_control()  # so that nothing is sent to a broker that does not answer
    try:
        settings = read_incident(given, app.products)
    except SettingsError as error:
        number = len(error.problems)
        fields = "field" if number == 1 else "fields"
        raise RequestRejectedError(400, f"Incident rejected: {number} invalid {fields}", error.problems) from error
    incident = await _in_time(
        app.control.set_incident(settings, _is_taken, watch.plan.calendar.utc),
        WRITE_SECONDS,
        UNKNOWN_OUTCOME.format(done="set"),
    )
    return described(incident, ControlState(live=(incident,)), event_time_now())


async def end_incident(name: str) -> dict[str, Any]:
    """End an incident that was set while the shop ran; return it as it is then. Raises RequestRejectedError."""
    _check_clock()
    await current_control()
    if _is_taken(name):
        raise RequestRejectedError(409, f"name: {name} belongs to the configuration; it cannot be ended here")
    incident = await _in_time(app.control.end(name), WRITE_SECONDS, UNKNOWN_OUTCOME.format(done="ended"))
    return described(incident, ControlState(live=(incident,)), event_time_now())


def _is_taken(name: str) -> bool:
    return is_configured(name, app.shop.incidents)


@app.page("/incidents/")
class AllIncidents(View):
    """All incidents."""

    async def get(self, request: Any) -> Any:
        """List current, upcoming and recent incidents; of random ones, those of the next seven days."""
        try:
            control = await current_control()
        except RequestRejectedError as error:
            return self.json(error.body, status=error.status)
        now = event_time_now()
        return self.json({"now": time_text(now), "incidents": listed(watch.plan.incidents, control, now)})

    async def post(self, request: Any) -> Any:
        """Set an incident."""
        try:
            return self.json(await set_incident(await request.read()), status=201)
        except RequestRejectedError as error:
            return self.json(error.body, status=error.status)


@app.page("/incidents/{name}/")
class OneIncident(View):
    """An incident that was set while the shop ran."""

    async def delete(self, request: Any, name: str) -> Any:
        """End it."""
        try:
            return self.json(await end_incident(name))
        except RequestRejectedError as error:
            return self.json(error.body, status=error.status)
