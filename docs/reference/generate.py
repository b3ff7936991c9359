"""Writes the reference pages from the code: configuration.md, topics.md, metrics.md and cli.md.

    make reference

With --check it writes nothing, and exits with 1 if a page is not what the code says. What the code does not know, such
as the meaning of a message's field, is in topics.toml and in the tables below; a key, field or metric that is missing
there, or named there and gone from the code, ends the program with an error.
"""

import ast
import contextlib
import io
import os
import pkgutil
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from yasdg_app.config.rules import WEEKDAYS
from yasdg_app.config.sections import REPEATED_SECTIONS, SECRET_KEYS, SECTIONS
from yasdg_app.config.settings import FAULTS, FaultSettings, IncidentSettings, KafkaSettings, Settings
from yasdg_app.kafka.topics import specs as topic_specs
from yasdg_app.messages.records import Announcement, Fault, LostSaleMessage, ProductMessage, Purchase, Stocking

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
COLUMNS = 100
NOTICE = "<!-- Written by docs/reference/generate.py (make reference). Change the code, not this file. -->"


class ReferenceError(Exception):
    """The code and what is said about it do not fit."""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a table of Markdown."""
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def wrapped(text: str, indent: str = "") -> list[str]:
    """Return the lines of a paragraph. None of them begins with the dash of "1d - 3d", which would begin a list."""
    kept = text.replace(" - ", "\N{NO-BREAK SPACE}-\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(kept, COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def prose(text: str) -> list[str]:
    """Return paragraphs with their lines wrapped; tables as they are."""
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        lines += ["", *(paragraph.split("\n") if paragraph.startswith("|") else wrapped(paragraph.replace("\n", " ")))]
    return lines[1:]


def same(known: Iterable[str], described: Iterable[str], where: str) -> None:
    """Raise ReferenceError if one of both has something that the other lacks."""
    known, described = set(known), set(described)
    if known != described:
        raise ReferenceError(
            f"{where}: not described: {sorted(known - described)}; described, but not in the code: "
            f"{sorted(described - known)}"
        )


# --- configuration.md -----------------------------------------------------------------------------------------------

UNITS = {
    "SALES": {
        "min_sale_freq": "seconds", "max_sale_freq": "seconds", "number_of_sales": "sales",
        "quantity_one_freq": "of 10 sales", "quantities": "relative weight", "member_freq": "of 10 sales",
        "club_member_discount": "share of the price",
        "add_supp_freq_group1": "of 10 sales", "add_supp_freq_group2": "of 10 sales",
        "supplements_cost": "currency of the catalog", "supplements_cogs": "currency of the catalog",
        "substitution_freq": "of 10 customers",
    },
    "INVENTORY": {"min_inventory": "units", "restock_amount": "units"},
    "CLOCK": {"speed": "times real time"},
    "HOURS": dict.fromkeys(("every_day", *WEEKDAYS, "on_holidays"), "time of day, shop's clock"),
    "VOLUME": {
        **dict.fromkeys(("every_day", *WEEKDAYS, "months"), "relative weight"), "growth": "share per year",
    },
    "SUPPLY": {"partial_freq": "of 10 deliveries"},
    "INCIDENT": {"factor": "times demand or speed", "discount": "share of the price"},
    "FAULTS": dict.fromkeys(FAULTS, "share of the sales"),
}  # fmt: skip
ALL, BY_KIND, AS_EVERY_DAY = "all of them", "by kind", "as `every_day`"
"""Defaults that nobody can write into the file."""

UNITS["SUPPLIER"] = UNITS["SUPPLY"]
"""Units of the keys that are numbers or times of day; a duration has its unit in its text."""


class Block(NamedTuple):
    """A comment of configuration.ini, and the keys below it with their values."""

    section: str
    comment: list[str]
    keys: dict[str, str]
    example: list[str]


def blocks(text: str) -> Iterator[Block]:
    """Yield the parts of configuration.ini that blank lines separate."""
    section = ""
    for part in text.split("\n\n"):
        lines = part.strip("\n").split("\n")
        comment: list[str] = []
        keys: dict[str, str] = {}
        example: list[str] = []
        for line in lines:
            header = re.fullmatch(r";?\[(\w+).*\]", line)
            if header:
                section = header[1]
            if line.startswith("; ") or line == ";":
                comment.append(line[2:])
            elif line.startswith(";"):
                example.append(line[1:])
            elif not header and line:
                key, _, value = line.partition("=")
                keys[key.strip()] = value.strip()
        yield Block(section, comment, keys, example)


def sentences(comment: list[str], keys: Iterable[str] = (), about: Iterable[str] = ()) -> list[str]:
    """Return a comment as Markdown.

    Lines that begin with one of `keys` and a colon become a list; a comment `about` some keys begins with their names.
    """
    start = re.compile(rf"({'|'.join(keys) or '(?!)'})( and [a-z_]+)?: ")
    paragraph = [", ".join(f"`{key}`" for key in about) + ":"] if about else []
    items: list[list[str]] = [paragraph]
    for line in comment:
        if start.match(line):
            names, _, text = line.partition(": ")
            items.append(["- " + re.sub("[a-z_]+(?<!and)", r"`\g<0>`", names) + ":", text])
        else:
            items[-1].append(line.strip())
    lines = wrapped(marked(" ".join(items[0])))
    if len(items) > 1:
        lines.append("")
    return lines + [line for item in items[1:] for line in wrapped(marked(" ".join(item)), "  ")]


def marked(text: str) -> str:
    """Return the text of a comment as Markdown: variables as code, names of pages as links."""
    parts = re.split(r"(`[^`]*`|YASDG_[A-Z_<>]+(?:=[0-9]+)?)", text)
    for at, part in enumerate(parts):
        if at % 2:
            parts[at] = part if part.startswith("`") else f"`{part}`"
        else:
            part = re.sub(r"([<\[\]])", r"\\\1", part)
            parts[at] = re.sub(r"docs/([a-z]+\.md)", r"[\g<0>](../\1)", part)
    return "".join(parts)


def default_text(value: Any) -> str:
    match value:
        case timedelta():
            return f"{value // timedelta(hours=1)}h" if value else "0"
        case Decimal():
            return f"{value:f}"
        case ():
            return ALL
        case None:
            return ""
        case _:
            return str(value)


def named_defaults(kind: str) -> dict[str, str]:
    """Return the defaults of the keys of a section that may be there several times."""
    if kind == "SUPPLIER":
        return {**ini_values()["SUPPLY"], "categories": ""}
    found = {key.name: default_text(key.default) for key in fields(IncidentSettings) if key.default is not MISSING}
    return {**found, "kind": "", "factor": BY_KIND}


def ini_text() -> str:
    return (PROJECT / "config" / "configuration.ini").read_text("utf-8")


def ini_values() -> dict[str, dict[str, str]]:
    """Return section and key of configuration.ini with their values, which are the defaults."""
    found: dict[str, dict[str, str]] = {}
    for block in blocks(ini_text()):
        found.setdefault(block.section, {}).update(block.keys)
    return found


def configuration() -> list[str]:
    lines = [
        "# Configuration",
        "",
        *prose(
            "This page is made from `config/configuration.ini`, which explains every key, and from the rules by which "
            "YASDG reads it. All invalid values are reported at startup, each with its place and what is expected; the "
            "exit status is 2. Secrets are never printed. `[SUPPLIER name]` and `[INCIDENT name]` may be there any "
            "number of times; they have no variables."
        ),
        "",
        *prose(
            "What the stream depends on cannot be changed while the stream is in the log: seed, rates, prices, "
            "products, hours, incidents, rules and the format. A worker that is configured differently prints what "
            "changed and exits. A configuration file of the original generator works "
            "[unchanged](../getting-started.md#coming-from-the-original)."
        ),
    ]
    values = ini_values()
    rules = {**SECTIONS, **REPEATED_SECTIONS}
    if unknown := UNITS.keys() - rules.keys():
        raise ReferenceError(f"UNITS: no such section: {sorted(unknown)}")
    section = ""
    for block in blocks(ini_text()):
        if not block.section:
            lines += ["", *sentences(block.comment)]
            continue
        if block.section != section:
            section = block.section
            lines += ["", f"## [{section} name]" if section in REPEATED_SECTIONS else f"## [{section}]", ""]
            lines += key_table(section, rules[section], values.get(section, {}))
        if block.comment:
            lines += ["", *sentences(block.comment, () if block.keys else rules[section], block.keys)]
        if block.example:
            lines += ["", *(f"    {line}" for line in block.example)]
    return lines


def key_table(section: str, rules: Mapping[str, Any], values: Mapping[str, str]) -> list[str]:
    units = UNITS.get(section, {})
    if unknown := units.keys() - rules.keys():
        raise ReferenceError(f"UNITS of [{section}]: no such key: {sorted(unknown)}")
    defaults = (
        named_defaults(section) if section in REPEATED_SECTIONS else {**values, **dict.fromkeys(WEEKDAYS, AS_EVERY_DAY)}
    )
    rows = []
    for key, rule in rules.items():
        if key not in defaults:
            raise ReferenceError(f"[{section}] {key} is not in configuration.ini")
        name, default = f"`{key}`", defaults[key]
        if key in WEEKDAYS[1:]:
            continue
        if key == WEEKDAYS[0]:
            name = f"`{WEEKDAYS[0]}` … `{WEEKDAYS[-1]}`"
        if (section, key) in SECRET_KEYS:
            name += " (secret)"
        if default not in ("", ALL, BY_KIND, AS_EVERY_DAY):
            default = f"`{default}`"
        rows.append((name, rule.expected, units.get(key, ""), default))
    if section == "HOURS":
        rows.append(("a date: `2026-12-24`", rules["every_day"].expected, units["every_day"], "none"))
    return table(("Key", "Type and bounds", "Unit", "Default"), rows)


# --- topics.md ------------------------------------------------------------------------------------------------------

RECORDS = {
    "products": ProductMessage,
    "purchases": Purchase,
    "stockings": Stocking,
    "lost_sales": LostSaleMessage,
    "incidents": Announcement,
    "faults": Fault,
}
"""The messages, by the topic's key of [KAFKA] without `topic_`."""

JSON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list[str]": "array of strings"}


def type_text(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    text = str(annotation) if "|" in str(annotation) or "[" in str(annotation) else text
    base, _, optional = text.partition(" | ")
    return JSON_TYPES[base] + (" or null" if optional == "None" else "")


def topic_name(spec: Any) -> str:
    """Return the name of a topic in topics.toml."""
    if spec.key != "application_id":
        return str(spec.key.removeprefix("topic_"))
    return str(spec.name.removeprefix(f"{KafkaSettings().application_id}-"))


def topics_page() -> list[str]:
    described = tomllib.loads((HERE / "topics.toml").read_text("utf-8"))
    shop = Settings(faults=FaultSettings(late=Decimal("0.1")))
    specs = {topic_name(spec): spec for spec in topic_specs(shop)}
    same(specs, described, "topics.toml")
    lines = [
        "# Topics",
        "",
        *prose(
            "Messages are JSON unless `[FORMAT]` says otherwise: [Avro and Protobuf](../formats.md) with a schema "
            "registry, or JSON with times as `2022-08-30T12:57:07.942191Z` or as numbers. The key is the ID of the "
            "product, so the sales of a product are in order. Times are UTC, to the microsecond, on every topic. The "
            "first fields are those of the original generator, in its order. Amounts are in the shop's currency, with "
            "two decimals at most. `sample_data.json` holds 100 real messages of the scenario supply-crisis."
        ),
        "",
        *prose(
            "Batches are compressed with zstd. Kafka's own clients, librdkafka and aiokafka read it; kafka-python "
            "needs `pip install zstandard`."
        ),
        "",
        *prose(
            "Names are the defaults; the keys `topic_…` of [`[KAFKA]`](configuration.md#kafka) change them. "
            f"*Partitions* is `[KAFKA] partitions`, {shop.kafka.partitions} by default, or always 1. *Created with* is "
            "what a worker sets on topics that it creates, besides settings for which the cluster's default does not "
            "fit ([why](../decisions/topics.md))."
        ),
        "",
    ]
    rows = []
    for name, spec in specs.items():
        text = described[name]
        title = f"[`{spec.name}`](#{anchor(spec.name)})" if "text" in text else f"`{spec.name}`"
        config = ", ".join(f"`{setting}={value}`" for setting, value in spec.config.items())
        rows.append((title, text["holds"], "configured" if spec.is_divided else "1", config))
    lines += table(("Topic", "Holds", "Partitions", "Created with"), rows)
    lines += [
        "",
        *prose(
            "Topics whose names begin with `yasdg-`, which is `[KAFKA] application_id`, belong to the application. "
            "Their formats are private and may change, except for the field `opened_at` of the first record on "
            "`yasdg-opening`, which `--opened-at` takes."
        ),
    ]
    for name, spec in specs.items():
        if "text" in described[name]:
            lines += one_topic(name, spec.name, described[name])
    return lines


def anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def one_topic(name: str, title: str, described: Mapping[str, Any]) -> list[str]:
    lines = ["", f"## {title}", "", *wrapped(f"Key: {described['key']}."), "", *prose(described["text"])]
    example = described.get("example", "").strip("\n")
    if example:
        lines += ["", *(f"    {line}" for line in example.split("\n"))]
    if name in RECORDS:
        record = RECORDS[name].__annotations__
        meaning = described["fields"]
        same(record, meaning, f"topics.toml, {name}")
        if list(orjson.loads(example)) != list(record):
            raise ReferenceError(f"topics.toml, {name}: the example has other fields than {list(record)}")
        rows = ((f"`{field}`", type_text(kind), meaning[field]) for field, kind in record.items())
        lines += ["", *table(("Field", "JSON type", "Meaning"), rows)]
    return lines


# --- metrics.md -----------------------------------------------------------------------------------------------------

FAMILIES = {"GaugeMetricFamily": "gauge", "CounterMetricFamily": "counter", "_by_partition": "gauge"}
"""What makes a metric in web/metrics.py, and its type."""

WHEN = {
    "yasdg_purchases_lag": "only while the broker answers",
    "yasdg_append": "only after the worker has opened the shop",
    "yasdg_datastore": "only with [DATASTORE]",
}
"""When a metric is there, by the beginning of its name; always, if there is none."""

GOOD_TO_KNOW = {
    "yasdg_till_delay_seconds": "Grows while the broker is slow or unreachable: alert on it.",
    "yasdg_purchases_lag": "Grows while the table is slower than the sales.",
}


def metrics_page() -> list[str]:
    tree = ast.parse(metrics_source())
    rows = []
    for metric in sorted(families(tree), key=lambda each: each.line):
        when = next((text for start, text in WHEN.items() if metric.name.startswith(start)), "")
        meaning = f"{metric.help} {GOOD_TO_KNOW.get(metric.name, '')}".strip()
        labels = "".join(f"{{{label}}}" for label in metric.labels)
        suffix = "_total" if metric.kind == "counter" else ""
        rows.append((f"`{metric.name}{suffix}{labels}`", metric.kind, meaning, when))
    names = [metric.name for metric in families(tree)]
    if unknown := [start for start in (*WHEN, *GOOD_TO_KNOW) if not any(name.startswith(start) for name in names)]:
        raise ReferenceError(f"No such metric: {unknown}")
    return [
        "# Metrics",
        "",
        *prose(
            "Each worker serves `/metrics` on its web port, in Prometheus's text format. The values are those of this "
            "worker; sum counters over all workers. If `[WEB] token` is set, Prometheus must send it: "
            "`authorization: {credentials_file: …}` in its configuration."
        ),
        "",
        *table(("Metric", "Type", "Meaning", "Present"), rows),
        "",
        *prose(
            "Faust's own metrics (`faust_…`) and those of the process (`process_…`) are served, too. Faust's count "
            "what is handed over at once, not messages: a batch of purchases is one message there, under the partition "
            "of the first, and what the shop's own producer appends is not counted."
        ),
        "",
        *prose(
            "`/health/` answers while the worker lives. `/ready/` answers with 200 while it has partitions, is up to "
            "date, and the broker answers, and with 503 and the reasons otherwise."
        ),
    ]


class Family(NamedTuple):
    """A metric as web/metrics.py declares it."""

    line: int
    name: str
    kind: str
    help: str
    labels: tuple[str, ...]


def metrics_source() -> str:
    return (PROJECT / "yasdg_app" / "web" / "metrics.py").read_text("utf-8")


def families(tree: ast.AST) -> Iterator[Family]:
    """Yield the metrics of a module, without running it: it needs a worker."""
    counts = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "COUNTS":
            counts = ast.literal_eval(node.value)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        maker = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if maker not in FAMILIES:
            continue
        labels = ("partition",) if maker == "_by_partition" else ()
        match node.args:
            case [ast.Constant(value=str(name)), ast.Constant(value=str(text)), *_]:
                yield Family(node.lineno, name, FAMILIES[maker], text, labels)
            case [ast.JoinedStr(), *_]:
                for name, text in counts.items():
                    yield Family(node.lineno, f"yasdg_{name}", FAMILIES[maker], text, labels)


# --- cli.md ---------------------------------------------------------------------------------------------------------


def cli() -> list[str]:
    for name in [name for name in os.environ if name.startswith("YASDG_")]:
        del os.environ[name]  # the page shows the defaults, whatever is configured here
    sys.argv = ["yasdg", "-A", "yasdg_app"]  # where Faust looks for the app, while it is imported
    import faust.cli
    from faust.cli.faust import cli as program

    def help_of(*command: str) -> str:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            program.main(
                ["-A", "yasdg_app", *command, "--help"], prog_name="yasdg", standalone_mode=False,
                terminal_width=COLUMNS - 4, max_content_width=COLUMNS - 4,
            )  # fmt: skip
        return output.getvalue().rstrip()

    overview = help_of()
    listed = re.findall(r"^  ([a-z-]+)  ", overview.partition("Commands:")[2], re.MULTILINE)
    of_faust = {module.name.replace("_", "-") for module in pkgutil.iter_modules(faust.cli.__path__)}
    ours = [name for name in listed if name not in of_faust]
    lines = [
        "# Commands",
        "",
        *prose(
            "`yasdg` is in `.venv/bin` of a checkout (`source .venv/bin/activate`), or installed by `pip install .`. "
            "`faust -A yasdg_app` is the same program. Commands that are not described below are Faust's own. "
            "`yasdg --version` prints the version."
        ),
        "",
        "```text",
        overview,
        "```",
    ]
    for name in ("worker", *ours):
        lines += ["", f"## yasdg {name}", "", "```text", help_of(name), "```"]
    return lines


PAGES = {"configuration.md": configuration, "topics.md": topics_page, "metrics.md": metrics_page, "cli.md": cli}


def main(arguments: list[str]) -> int:
    different = []
    for name, page in PAGES.items():
        title, *lines = page()
        text = "\n".join([title, "", NOTICE, *lines]) + "\n"
        path = HERE / name
        if arguments != ["--check"]:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            different.append(f"docs/reference/{name}")
    if different:
        print(f"Not what the code says; run `make reference`: {', '.join(different)}", file=sys.stderr)
    return bool(different)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
