"""Incidents as people meet them while the shop runs: what they send, what they are shown, and which names are taken.

The web server and `yasdg incident` say the same of them. Knows neither of the two, nor Kafka.
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
from yasdg_app.config.settings import IncidentSettings, Settings
from yasdg_app.messages.times import SECOND, time_text
from yasdg_app.shop.incidents import DAY, Incident, Incidents
from yasdg_app.shop.price import BASIS_POINTS
from yasdg_app.text import printable

SOON = 7 * DAY  # event time from now on in which incidents that come at random are shown
MAX_RANDOM = 200  # of these that are shown, the first to come
MAX_OVER = 20  # incidents that are over and shown all the same, the last ones
OVER_FOR = DAY  # event time for which they are
LISTS = ("categories", "products")  # keys whose value may be a list
NAME = "name: missing; expected a name of 1 to 40 letters, digits, underscores or hyphens"

_OCCURRENCE = re.compile(r"(.+)-[0-9]{8}T[0-9]{4}(-[0-9]+)?")


def read_incident(given: Mapping[str, Any], products: Iterable[Product]) -> IncidentSettings:
    """Make an incident of what somebody sent: texts, numbers or lists of texts, by field.

    A text may have several names with commas between them, as in the configuration; in a list each entry is one name,
    whatever is in it.

    Raises SettingsError with every problem found; each begins with the field that it is about.
    """
    problems = [] if "name" in given else [NAME]
    texts: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for key, value in given.items():
        text = _text(value)
        if text is not None:
            texts[key] = text
        elif key in LISTS and isinstance(value, list) and all(isinstance(each, str) for each in value):
            lists[key] = tuple(dict.fromkeys(each.strip() for each in value))  # none: all products
        else:
            expected = "a text or a list of texts" if key in LISTS else "a text or a number"
            problems.append(f"{printable(key)}: expected {expected}")
    name = texts.pop("name", "incident")
    try:
        settings = replace(parse_incident(name, texts), **lists)  # type: ignore[arg-type]
    except SettingsError as error:
        # A field that was of no use is not missing.
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
    """Return a value as somebody would write it into the configuration; None if it cannot be one."""
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
    """Tell whether a name is that of an incident of the configuration, or of one occurrence of it."""
    occurrence = _OCCURRENCE.fullmatch(name)
    return any(
        name == each.name or (each.every is not None and occurrence is not None and occurrence[1] == each.name)
        for each in settings
    )


def described(of: Incident, said: ControlState, now: int) -> dict[str, Any]:
    """Return all that is told of an incident when event time is `now`."""
    return {
        "name": of.name,
        "kind": of.kind,
        "start": time_text(of.start),
        "end": time_text(of.end),
        "ramp_up": of.ramp_up / SECOND,
        "ramp_down": of.ramp_down / SECOND,
        "categories": sorted(of.categories),
        "products": sorted(of.products),
        "factor": float(of.factor),
        "discount": of.discount / BASIS_POINTS,
        "source": "live" if any(of.name == other.name for other in said.live) else "configuration",
        "state": _state(of, said, now),
    }


def _state(of: Incident, said: ControlState, now: int) -> str:
    if not of.is_over(now):
        return "ahead" if now < of.start else "on"
    return "ended" if of.name in said.ended else "over"


def listed(incidents: Incidents, said: ControlState, now: int) -> list[dict[str, Any]]:
    """Return what is shown of the incidents that are on or ahead, by their start, and of the last that are over.

    Of those that come at random there are the present and the next. However many there were, the list stays short.
    """
    timeline = incidents.with_live(said.live)
    known = [each for each in timeline.known() if not each.is_over(now)]
    over = [each for each in timeline.known() if each.is_over(now) and each.end > now - OVER_FOR]
    last = sorted(over, key=lambda each: (each.end, each.name))[-MAX_OVER:]
    random = timeline.random_between(now, now + SOON, MAX_RANDOM)
    found = {each.name: each for each in (*known, *last, *random)}
    ordered = sorted(found.values(), key=lambda each: (each.start, each.name))
    return [described(each, said, now) for each in ordered]
