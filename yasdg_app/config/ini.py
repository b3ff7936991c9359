"""Reads the settings from config/configuration.ini and YASDG_ variables, and an incident from texts.

All problems are reported at once, each with its place and the expected value.
"""

import configparser
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

from yasdg_app.config import files, original, rules
from yasdg_app.config.checks import check_together
from yasdg_app.config.rules import WEEKDAYS, InvalidValueError, did_you_mean
from yasdg_app.config.sections import AMBIGUOUS_SECTIONS, REPEATED_SECTIONS, SECRET_KEYS, SECTIONS, VARIABLES, rules_of
from yasdg_app.config.settings import (
    ALWAYS,
    DISCOUNTED_KINDS,
    FLAT,
    INCIDENT_KINDS,
    KINDS_WITHOUT_RAMPS,
    ClockSettings,
    DatastoreSettings,
    FaultSettings,
    FormatSettings,
    HoursSettings,
    IncidentSettings,
    InventorySettings,
    KafkaSettings,
    SalesSettings,
    Settings,
    SupplierSettings,
    VolumeSettings,
    WebSettings,
)
from yasdg_app.config.values import GivenValue, ParsedValues, is_date_key
from yasdg_app.errors import ConfigurationError
from yasdg_app.text import printable, printable_path

T = TypeVar("T")

_DAY, _NAME = rules.day(), rules.name()
ALTERNATIVES = (("SALES", "quantities"), ("SALES", "quantity_one_freq"))
"""Two keys for the same thing: a variable for one of them overrides the other one in the file."""
_MINUTE = timedelta(minutes=1)


class SettingsError(ConfigurationError):
    """The configuration file or a YASDG_ variable is invalid."""


def load(environ: Mapping[str, str], cwd: Path) -> Settings:
    """Return the settings of a program started in the folder `cwd` with the environment `environ`.

    The file is the one that YASDG_CONFIG names, in `cwd` or in the project; it must exist. Without YASDG_CONFIG it is
    config/configuration.ini in `cwd`, else the project's own. If there is none, the defaults apply. A variable
    YASDG_<SECTION>_<KEY> overrides one value of the file.

    Raises SettingsError, which lists every problem found.
    """
    cwd = cwd.absolute()
    values = ParsedValues()
    source = _find(environ, cwd, values.problems)
    if source is not None:
        _read_file(source, printable_path(source, cwd), values)
        original.translate(values, _overridden(environ))
    _read_environment(environ, values)
    values.parse()
    read, named = values.read, values.named
    settings = Settings(
        KafkaSettings(**read["KAFKA"]),
        SalesSettings(**read["SALES"]),
        InventorySettings(**read["INVENTORY"]),
        ClockSettings(**read["CLOCK"]),
        _hours(read["HOURS"]),
        VolumeSettings(_week(read["VOLUME"], FLAT), **_without_days(read["VOLUME"])),
        SupplierSettings(**read["SUPPLY"]),
        tuple(_supplier(section, values) for section in named if section.startswith("SUPPLIER ")),
        tuple(_incident(section, values) for section in named if section.startswith("INCIDENT ")),
        FaultSettings(**read["FAULTS"]),
        WebSettings(**read["WEB"]),
        FormatSettings(**read["FORMAT"]),
        DatastoreSettings(**read["DATASTORE"]),
        source,
        tuple(values.notes.values()),
    )
    check_together(settings, values)
    if values.problems:
        raise SettingsError(values.problems)
    paths: dict[str, Any] = {
        k: cwd / path
        for k, path in ((key.name, getattr(settings.kafka, key.name)) for key in fields(settings.kafka))
        if isinstance(path, Path)
    }
    kafka = replace(settings.kafka, **paths)
    sales = replace(settings.sales, products=_find_products(settings.sales.products, source, cwd))
    return replace(settings, kafka=kafka, sales=sales)


def parse_incident(name: str, given: Mapping[str, str]) -> IncidentSettings:
    """Return an incident that is about to happen, from texts like the keys of a section [INCIDENT name].

    The start is optional: without one, the incident starts shortly. It happens once, so `every` is rejected.
    `check_products` checks its products and categories against the catalog.

    Raises SettingsError, which lists every problem found. Each problem begins with its key, or with `name`.
    """
    section, values = f"INCIDENT {name}", ParsedValues()
    values.named[section] = ""
    try:
        _NAME.read(name)
    except InvalidValueError as error:
        values.problems.append(f"name = {printable(name)}: expected {error}")
    known = [key for key in REPEATED_SECTIONS["INCIDENT"] if key != "every"]
    for key, text in given.items():
        if key in known:
            values.given[section, key] = GivenValue(text.strip(), f"{key} = {printable(text)}")
        elif key == "every":
            values.problems.append(f"every = {printable(text)}: expected a start or nothing; this incident comes once")
        else:
            values.problems.append(f"{printable(key)}: unknown key{did_you_mean(key, known)}")
    values.parse()
    result = _incident(section, values, live=True)
    if values.problems:
        raise SettingsError(values.problems)
    return result


def _week(read: Mapping[str, Any], otherwise: T) -> tuple[T, ...]:
    return tuple(read.get(day, read.get("every_day", otherwise)) for day in WEEKDAYS)


def _without_days(read: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in read.items() if key not in ("every_day", *WEEKDAYS)}


def _hours(read: Mapping[str, Any]) -> HoursSettings:
    days = {key: value for key, value in read.items() if is_date_key("HOURS", key)}
    others = {key: value for key, value in _without_days(read).items() if key not in days}
    dates = tuple(sorted((date.fromisoformat(key), spans) for key, spans in days.items()))
    return HoursSettings(_week(read, ALWAYS), dates, **others)


def _supplier(section: str, values: ParsedValues) -> SupplierSettings:
    values.require(section, "categories")
    return SupplierSettings(section.partition(" ")[2], **values.read[section])


def _incident(section: str, values: ParsedValues, *, live: bool = False) -> IncidentSettings:
    """Return the incident of a section from its valid values, and report the rest; `live`: a start is optional."""
    given = {key for in_section, key in values.given if in_section == section}
    values.require(section, "kind")
    if {"start", "every"} <= given:
        values.refuse(section, ("every",), "expected either start or every, not both")
    elif "every" not in given and not live:
        values.require(section, "start", "start, the time at which it comes, or every, the mean time between two")

    result = IncidentSettings(section.partition(" ")[2], **{"kind": "", **values.read[section]})
    if result.kind and "factor" not in given:
        factor = INCIDENT_KINDS[result.kind]
        if factor is None:
            values.require(section, "factor")
        else:
            result = replace(result, factor=factor)
    if result.kind not in (*DISCOUNTED_KINDS, "") and result.discount:
        values.refuse(section, ("discount",), "expected no discount, but in an incident of kind promotion or custom")
    ramps = result.ramp_up + result.ramp_down
    if result.kind in KINDS_WITHOUT_RAMPS and ramps:
        ramp = "ramp_up" if result.ramp_up else "ramp_down"
        values.refuse(section, (ramp,), "expected no ramps in an incident of kind supply")
    elif ramps > result.duration and values.all_read(section, "duration"):
        taken = f"they take {ramps // _MINUTE}m of {result.duration // _MINUTE}m"
        why = f"expected ramp_up and ramp_down to fit into duration; {taken}"
        values.refuse(section, ("ramp_up", "ramp_down"), why)
    return result


def _find(environ: Mapping[str, str], cwd: Path, problems: list[str]) -> Path | None:
    named = environ.get("YASDG_CONFIG")
    if named is not None:
        for path in (cwd / named, files.PROJECT / named):
            # Not is_file(): a pipe or /dev/stdin is accepted. os.path: Path.exists raises if a folder is not
            # accessible.
            if os.path.exists(path) and not os.path.isdir(path):
                return path
        problems.append(f"YASDG_CONFIG={printable(named)}: expected the path of an existing file")
        return None
    # lexists: a file that exists but cannot be read is an error to report, not a reason to use another file.
    return next(
        (
            folder / files.CONFIGURATION
            for folder in (cwd, files.PROJECT)
            if os.path.lexists(folder / files.CONFIGURATION)
        ),
        None,
    )


def _find_products(products: Path, source: Path | None, cwd: Path) -> Path:
    """Return the absolute path of the catalog; if there is none, the first candidate, which catalog.load reports."""
    folders = [cwd, *([source.parent.parent] if source else []), files.PROJECT]
    return next((folder / products for folder in folders if os.path.exists(folder / products)), cwd / products)


def _read_environment(environ: Mapping[str, str], values: ParsedValues) -> None:
    for key, other in (ALTERNATIVES, ALTERNATIVES[::-1]):
        if environ.get(_variable(key), "").strip() and _variable(other) not in environ:
            values.given.pop(other, None)  # of the file
            values.notes.pop(other, None)
    for name, text in environ.items():
        if name in VARIABLES:
            written = "…" if VARIABLES[name] in SECRET_KEYS else printable(text)
            values.given[VARIABLES[name]] = GivenValue(text.strip(), f"{name}={written}")
            values.notes.pop(VARIABLES[name], None)  # it is about the value that this one replaces
        elif name.startswith("YASDG_") and name != "YASDG_CONFIG":
            # The value is not repeated: an unknown variable might hold a password.
            hint = did_you_mean(name, [*VARIABLES, "YASDG_CONFIG"])
            values.problems.append(f"{printable(name)}: unknown variable{hint}")


def _overridden(environ: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return the keys of which nothing in the file counts, because a variable sets them or their alternative."""
    keys = {VARIABLES[name] for name in environ if name in VARIABLES}
    for key, other in (ALTERNATIVES, ALTERNATIVES[::-1]):
        if environ.get(_variable(key), "").strip():
            keys.add(other)
    return keys


def _variable(key: tuple[str, str]) -> str:
    return f"YASDG_{key[0]}_{key[1]}".upper()


def _read_file(path: Path, name: str, values: ParsedValues) -> None:
    try:
        text = files.read_text(path, name)
    except ConfigurationError as error:
        values.problems += error.problems
        return
    headers: set[str] = set()
    for header, content in _parse(text, name, values.problems):
        section = _section(header, name, values, header in headers)
        headers.add(header)
        if section is None:
            continue
        known = rules_of(section)
        for key, text in content.items():
            value = text.strip()  # it may begin on the next line
            place = f"{name}: [{section}] {printable(key)}"
            if key in known or (section, key) in original.KEYS:
                written = "…" if (section, key) in SECRET_KEYS else printable(value)
                values.given[section, key] = GivenValue(value, f"{place} = {written}")
            elif is_date_key(section, key):
                try:
                    _DAY.read(key)
                except InvalidValueError as error:
                    values.problems.append(f"{place}: expected {error}")
                else:
                    values.given[section, key] = GivenValue(value, f"{place} = {printable(value)}")
            else:
                homes = [
                    f"[{other}]" for other, keys in SECTIONS.items() if key in keys and other not in AMBIGUOUS_SECTIONS
                ]
                home = f"; it belongs in {' or '.join(homes)}" if homes and section in SECTIONS else ""
                values.problems.append(f"{place}: unknown key{home or did_you_mean(key, known)}")


def _section(header: str, file: str, values: ParsedValues, again: bool) -> str | None:
    """Return the section of a header; None if there is none. `again`: the same header occurred before."""
    if header in SECTIONS:
        return header
    place = f"{file}: [{printable(header)}]"
    kind, *words = header.split() or [""]
    if kind not in REPEATED_SECTIONS:
        known = {each: f"[{each}]" for each in SECTIONS} | {each: f"[{each} name]" for each in REPEATED_SECTIONS}
        hint = did_you_mean(kind, known, known)
        values.problems.append(f"{place}: unknown section{hint}")
        return None
    try:
        section = f"{kind} {_NAME.read(' '.join(words))}"
    except InvalidValueError as error:
        values.problems.append(f"{place}: expected {error} after {kind}")
        return None
    if section in values.named and not again:
        values.problems.append(f"{place}: duplicate section")
    values.named[section] = f"{file}: [{section}] "
    return section


def _parse(text: str, name: str, problems: list[str]) -> list[tuple[str, dict[str, str]]]:
    """Return the sections of the file; a repeated section is returned twice.

    configparser stops at the first error of most kinds. To report all errors, the line at fault is made harmless and
    the file is parsed again, up to 20 times: a file with more errors is not a configuration file.
    """
    lines = text.replace("\0", "\N{REPLACEMENT CHARACTER}").split("\n")  # frees NUL to mark repeated sections
    for _ in range(20):
        parser = configparser.RawConfigParser(
            interpolation=None,
            inline_comment_prefixes=(";",),  # after a blank; not "#", which occurs in file names
            empty_lines_in_values=False,
            default_section="",  # a name that no header can have: [DEFAULT] is nothing special here
        )
        try:
            parser.read_string("\n".join(lines))
        except configparser.DuplicateSectionError as error:
            at = error.lineno or 1
            problems.append(f"{name}:{at}: [{_original(error.section)}]: duplicate section")
            lines[at - 1] = f"[{error.section}\0{at}]"
        except configparser.DuplicateOptionError as error:
            at = error.lineno or 1
            problems.append(f"{name}:{at}: [{_original(error.section)}] {error.option}: duplicate key")
            lines[at - 1] = ""
        except configparser.MissingSectionHeaderError as error:
            problems.append(
                f"{name}:{error.lineno}: {_shown_line(lines[error.lineno - 1])}: expected a [SECTION] first"
            )
            lines[error.lineno - 1] = ""
        except configparser.ParsingError as error:
            for at in [at for at, _ in error.errors] or [getattr(error, "lineno", 1)]:
                problems.append(f"{name}:{at}: {_shown_line(lines[at - 1])}: expected key = value")
                lines[at - 1] = ""
        else:
            return [(_original(section), dict(parser.items(section))) for section in parser.sections()]
    return []


def _shown_line(line: str) -> str:
    """Return an unreadable line as printable text; "…" if the line may hold a secret."""
    return "…" if any(key in line.lower() for _, key in SECRET_KEYS) else printable(line)


def _original(section: str) -> str:
    return section.partition("\0")[0]
