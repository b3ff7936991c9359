"""Incidents in requests and responses: reading those that a client sends, and describing those that are shown.

The web server and `yasdg incident` share this. Knows neither of the two, nor Kafka.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from yasdg_app.cluster_state.control_records import ControlState
from yasdg_app.config.catalog import Product
from yasdg_app.config.checks import check_products
from yasdg_app.config.ini import SettingsError, parse_incident
from yasdg_app.config.rules import normalized_id
from yasdg_app.config.settings import IncidentSettings, Settings
from yasdg_app.messages.times import SECOND, time_text
from yasdg_app.shop.incident import Incident
from yasdg_app.shop.incidents import DAY, Incidents
from yasdg_app.shop.price import BASIS_POINTS
from yasdg_app.text import printable

UPCOMING_MICROSECONDS = 7 * DAY  # of event time, within which random incidents are listed
MAX_RANDOM = 200  # of these that are listed, the earliest
MAX_OVER = 20  # incidents that are over and still listed, the latest
OVER_MICROSECONDS = DAY  # of event time, for which they are
LIST_FIELDS = ("categories", "products")  # whose value may be a list
MISSING_NAME = "name: missing; expected a name of 1 to 40 letters, digits, underscores or hyphens"

_OCCURRENCE = re.compile(r"(.+)-[0-9]{8}T[0-9]{4}(-[0-9]+)?")


def read_incident(given: Mapping[str, Any], products: Iterable[Product]) -> IncidentSettings:
    """Return the incident in a request: texts, numbers or lists of texts, by field.

    A text may have several names separated by commas, as in the configuration; in a list each entry is one name,
    commas included.

    Raises SettingsError with every problem found; each begins with its field.
    """
    problems = [] if "name" in given else [MISSING_NAME]
    texts: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for key, value in given.items():
        text = _text(value)
        if text is not None:
            texts[key] = text
        elif key in LIST_FIELDS and isinstance(value, list) and all(isinstance(each, str) for each in value):
            names = [each.strip() for each in value]  # an empty list: all products
            lists[key] = tuple(dict.fromkeys(map(normalized_id, names) if key == "products" else names))
        else:
            expected = "a text or a list of texts" if key in LIST_FIELDS else "a text or a number"
            problems.append(f"{printable(key)}: expected {expected}")
    name = texts.pop("name", "incident")
    try:
        settings = replace(parse_incident(name, texts), **lists)  # type: ignore[arg-type]
    except SettingsError as error:
        # A field with an invalid value is not reported as missing.
        sent = tuple(f"{key}: missing" for key in given)
        raise SettingsError(
            problems + [problem for problem in error.problems if not problem.startswith(sent)]
        ) from None
    place = f"[INCIDENT {name}] "
    problems += (problem.removeprefix(place) for problem in check_products(Settings(incidents=(settings,)), products))
    if problems:
        raise SettingsError(problems)
    return settings


def _text(value: object) -> str | None:
    """Return a value as it would be written in the configuration; None if it cannot be."""
    match value:
        case str():
            return value
        case bool():
            return None
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return str(value)
        case _:
            return None


def is_configured(name: str, settings: Iterable[IncidentSettings]) -> bool:
    """Return whether a name is that of an incident of the configuration, or of one of its occurrences."""
    occurrence = _OCCURRENCE.fullmatch(name)
    return any(
        name == each.name or (each.every is not None and occurrence is not None and occurrence[1] == each.name)
        for each in settings
    )


def described(incident: Incident, control: ControlState, now: int) -> dict[str, Any]:
    """Return an incident as clients see it at event time `now` (microseconds); ramps in seconds."""
    return {
        "name": incident.name,
        "kind": incident.kind,
        "start": time_text(incident.start),
        "end": time_text(incident.end),
        "ramp_up": incident.ramp_up / SECOND,
        "ramp_down": incident.ramp_down / SECOND,
        "categories": sorted(incident.categories),
        "products": sorted(incident.products),
        "factor": float(incident.factor),
        "discount": incident.discount / BASIS_POINTS,
        "source": "live" if any(incident.name == other.name for other in control.live) else "configuration",
        "state": _state(incident, control, now),
    }


def _state(incident: Incident, control: ControlState, now: int) -> str:
    if not incident.is_over(now):
        return "ahead" if now < incident.start else "on"
    return "ended" if incident.name in control.ended else "over"


def listed(incidents: Incidents, control: ControlState, now: int) -> list[dict[str, Any]]:
    """Return the incidents that are active or upcoming at `now`, and the last that are over, by their start.

    Of random incidents it has those that are active, and those of the next seven days. Its length is bounded.
    """
    timeline = incidents.with_live(control.live)
    known = [each for each in timeline.known() if not each.is_over(now)]
    over = [each for each in timeline.known() if each.is_over(now) and each.end > now - OVER_MICROSECONDS]
    last = sorted(over, key=lambda each: (each.end, each.name))[-MAX_OVER:]
    random = timeline.random_between(now, now + UPCOMING_MICROSECONDS, MAX_RANDOM)
    found = {each.name: each for each in (*known, *last, *random)}
    ordered = sorted(found.values(), key=lambda each: (each.start, each.name))
    return [described(each, control, now) for each in ordered]
