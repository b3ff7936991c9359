"""`/incidents/`: list all incidents, set new ones while the shop runs, and end those.

Incidents that are set here are records of the control topic, so any worker can be used, and all workers apply them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError

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
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.web.responses import NOT_OPEN, json_response

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


class IncidentPages:
    """The pages of incidents.

    Parameters
    ----------
    pipeline
        The parts of the worker.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._shop = pipeline.shop
        self._follower = pipeline.follower
        self._sales = pipeline.sales

    # --- Pages ---

    async def list_all(self, request: web.Request) -> web.Response:
        """List current, upcoming and recent incidents; of random ones, those of the next seven days."""
        try:
            state = await self._current_state()
        except RequestRejectedError as error:
            return json_response(error.body, error.status)
        now = self._now()
        incidents = listed(self._follower.plan.incidents, state, now)
        return json_response({"now": time_text(now), "incidents": incidents})

    async def add(self, request: web.Request) -> web.Response:
        """Add the incident in the body of a request."""
        try:
            return json_response(await self._add(await request.read()), 201)
        except RequestRejectedError as error:
            return json_response(error.body, error.status)

    async def end(self, request: web.Request, name: str) -> web.Response:
        """End an incident that was added while the shop was running."""
        try:
            return json_response(await self._end(name))
        except RequestRejectedError as error:
            return json_response(error.body, error.status)

    # --- What they do ---

    async def _add(self, body: bytes) -> dict[str, Any]:
        """Add an incident; return it as `/incidents/` lists it. Raises RequestRejectedError."""
        try:
            given = orjson.loads(body)
        except ValueError as error:
            raise RequestRejectedError(400, f"Invalid JSON: {error}. Expected an object such as {EXAMPLE}") from error
        if not isinstance(given, dict):
            raise RequestRejectedError(400, f"Expected a JSON object such as {EXAMPLE}")
        self._check_clock()
        await self._current_state()  # so that nothing is sent to a broker that does not answer
        try:
            settings = read_incident(given, self._shop.products)
        except SettingsError as error:
            number = len(error.problems)
            fields = "field" if number == 1 else "fields"
            raise RequestRejectedError(400, f"Incident rejected: {number} invalid {fields}", error.problems) from error
        incident = await self._in_time(
            self._shop.control.set_incident(settings, self._is_taken, self._follower.plan.calendar.utc),
            WRITE_SECONDS,
            UNKNOWN_OUTCOME.format(done="set"),
        )
        return described(incident, ControlState(live=(incident,)), self._now())

    async def _end(self, name: str) -> dict[str, Any]:
        """End an incident; return it as it is then. Raises RequestRejectedError."""
        self._check_clock()
        await self._current_state()
        if self._is_taken(name):
            raise RequestRejectedError(409, f"name: {name} belongs to the configuration; it cannot be ended here")
        incident = await self._in_time(
            self._shop.control.end(name), WRITE_SECONDS, UNKNOWN_OUTCOME.format(done="ended")
        )
        return described(incident, ControlState(live=(incident,)), self._now())

    def _is_taken(self, name: str) -> bool:
        return is_configured(name, self._shop.settings.incidents)

    def _now(self) -> int:
        """Return the time of the shop's clock: event time in microseconds."""
        return self._shop.clock.at(time.time_ns() // 1000)

    def _check_clock(self) -> None:
        """Raise RequestRejectedError while this machine's clock is unreliable: it sets when an incident begins."""
        if reason := self._sales.jumps.reason:
            raise RequestRejectedError(503, f"{reason} Try again then, or use another worker.")

    async def _current_state(self) -> ControlState:
        """Return the state of the control topic.

        Raises
        ------
        RequestRejectedError
            The shop is not open, or the broker does not answer.
        """
        if not self._shop.is_open:
            raise RequestRejectedError(503, NOT_OPEN["error"])
        return await self._in_time(self._shop.control.read(), READ_SECONDS, NO_ANSWER)

    async def _in_time(self, answer: Awaitable[T], seconds: float, timeout_error: str) -> T:
        try:
            return await asyncio.wait_for(answer, seconds)
        except ControlError as error:
            status = STATUS.get(type(error), 503)
            raise RequestRejectedError(status, str(error), [str(error)] if status == 400 else ()) from error
        except (TimeoutError, KafkaError, YasdgError) as error:
            logger.debug("Cannot reach the control topic: %r", error)
            raise RequestRejectedError(503, timeout_error) from error
