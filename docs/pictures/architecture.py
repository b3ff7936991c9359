"""Draws architecture.svg, how a sale comes about and what checks it, and house.svg, the folders of yasdg_app/.

    .venv/bin/python docs/pictures/architecture.py

Needs nothing but Python. The layers of house.svg are those that pyproject.toml gives to import-linter.
tests/test_docs.py checks that the committed pictures are what this file draws.
"""

import re
import textwrap
import tomllib
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
WIDTH, GAP = 1000, 12
INK, MUTED, LINE, PAPER = "#1b2430", "#5b6675", "#8b95a3", "#ffffff"
FILLS = {"input": "#fdf3dc", "worker": "#e8f0fe", "kafka": "#e9f5ec", "reader": "#f3ecf9", "plain": "#ffffff"}
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


SMALL = ("__main__", "errors")
"""Layers that are not drawn."""

ROOMS = {
    "cli": "one file per command, thin",
    "web": "dashboard, views, health, metrics",
    "app": "the Faust application on one page: topics, table, agents, timers",
    "application": "temporary: parts of web and cli that do not take the shop yet find it here",
    "pipeline": "what a worker does: produce sales, apply them to the table, restore after a rebalance, inject faults",
    "aggregates": "sales by minute, hour and day",
    "faust_runtime": "what is replaced of Faust: transport, table, worker; which partitions are assigned",
    "audit": "checks the books from the topics",
    "forecast": "what a configuration will do",
    "inventory": "sales become rows of the table",
    "sinks": "copies in SQLite, PostgreSQL, DynamoDB",
    "truth": "the exact result, from the inputs",
    "cluster_state": "what all workers agree on: the manifest, the control topic, downtime, claims on topics",
    "messages": "what is on the topics: records, encoders, decoders, formats",
    "kafka": "client, producer, reader, topics, authentication, embedded broker",
    "shop": "the simulated world, pure: customers, prices, shelves, suppliers, incidents",
    "config": "settings, rules, the catalog of products",
    "process": "crashes, ports, descriptors, terminal",
    "text": "text for a terminal",
}
FLOORS = (
    {"shop": "input", "config": "input", "kafka": "kafka", "messages": "kafka", "pipeline": "worker"}
    | dict.fromkeys(("app", "application", "aggregates", "faust_runtime", "inventory", "cluster_state"), "worker")
    | dict.fromkeys(("audit", "truth", "forecast"), "reader")
)


class Box(NamedTuple):
    """A rectangle with a title and lines of text below it."""

    x: int
    y: int
    width: int
    height: int
    fill: str
    title: str
    lines: tuple[str, ...] = ()


class Arrow(NamedTuple):
    """A line through points, with a head at its end, and a label."""

    points: tuple[tuple[int, int], ...]
    label: str = ""
    at: tuple[int, int] = (0, 0)
    anchor: str = "middle"


BOXES = (
    Box(20, 70, 190, 112, "input", "Inputs", ("configuration.ini", "products.csv (catalog)", "seed", "event time")),
    Box(270, 36, 320, 346, "worker", "Workers, 1 to n: one Faust application"),
    Box(
        286,
        70,
        288,
        70,
        "plain",
        "Simulation",
        ("a pure function of the inputs:", "customers, prices, shelves, supply"),
    ),
    Box(286, 158, 288, 54, "plain", "Sales", ("what is due by now, per partition",)),
    Box(
        286,
        230,
        288,
        70,
        "plain",
        "Inventory agent",
        ("applies sales to the table, orders", "restocks; positions are in the table"),
    ),
    Box(286, 318, 288, 54, "plain", "Web server", ("dashboard, views, health, metrics",)),
    Box(690, 36, 290, 346, "kafka", "Apache Kafka: embedded, or yours"),
    Box(706, 70, 258, 104, "plain", "Sales", ("demo.purchases", "demo.lost_sales", "demo.dirty_purchases, faults")),
    Box(706, 192, 258, 74, "plain", "Restocks", ("demo.stockings", "changelog of the table")),
    Box(
        706,
        284,
        258,
        88,
        "plain",
        "Context",
        ("demo.products, demo.incidents", "demo.dead_letters", "opening, control"),
    ),
    Box(20, 440, 250, 60, "reader", "yasdg truth", ("the exact result, from inputs",)),
    Box(340, 440, 190, 60, "reader", "yasdg verify", ("each row that differs",)),
    Box(600, 440, 170, 60, "reader", "Your engine", ("Flink, Spark, Beam …",)),
    Box(800, 440, 180, 60, "reader", "yasdg audit", ("do the books balance?",)),
)

ARROWS = (
    Arrow(((210, 105), (286, 105))),
    Arrow(((430, 140), (430, 158))),
    Arrow(((574, 185), (640, 185), (640, 112), (706, 112)), "append", (640, 104)),
    Arrow(((706, 152), (665, 152), (665, 250), (574, 250)), "read", (632, 244)),
    Arrow(((574, 280), (682, 280), (682, 229), (706, 229)), "append", (636, 296)),
    Arrow(((430, 300), (430, 318))),
    Arrow(((115, 182), (115, 440)), "same inputs", (107, 310), "end"),
    Arrow(((270, 470), (340, 470))),
    Arrow(((600, 470), (530, 470)), "output", (566, 462)),
    Arrow(((730, 382), (730, 440))),
    Arrow(((890, 382), (890, 440))),
)


def text(
    x: int, y: int, words: str, size: int = 13, fill: str = INK, weight: str = "400", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def box(of: Box) -> list[str]:
    parts = [
        f'<rect x="{of.x}" y="{of.y}" width="{of.width}" height="{of.height}" rx="8" '
        f'fill="{FILLS[of.fill]}" stroke="{LINE}"/>',
        text(of.x + 12, of.y + 22, of.title, 14, weight="600"),
    ]
    return parts + [text(of.x + 12, of.y + 42 + 18 * line, words, fill=MUTED) for line, words in enumerate(of.lines)]


def arrow(of: Arrow) -> list[str]:
    points = " ".join(f"{x},{y}" for x, y in of.points)
    parts = [f'<polyline points="{points}" fill="none" stroke="{INK}" stroke-width="1.5" marker-end="url(#head)"/>']
    if of.label:
        parts.append(text(*of.at, of.label, 12, MUTED, anchor=of.anchor))
    return parts


def svg(title: str, height: int, shapes: Iterable[str]) -> str:
    """Return a picture."""
    head = '<path d="M0,0 L8,4 L0,8 z" fill="' + INK + '"/>'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="{FONT}" role="img">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" markerWidth="6" markerHeight="6" refX="8" refY="4" orient="auto">',
        f"{head}</marker></defs>",
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
        *shapes,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def architecture() -> str:
    """Return the picture of inputs, workers, Kafka and what checks the result."""
    shapes = [*(part for each in BOXES for part in box(each)), *(part for each in ARROWS for part in arrow(each))]
    return svg("Architecture of YASDG: inputs, workers, Apache Kafka, and what checks the result", 520, shapes)


def layers() -> list[list[str]]:
    """Return the folders and modules of yasdg_app/, layer by layer, the highest first."""
    described = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    (one_way,) = (each for each in described["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    return [re.findall(r"\w+", layer) for layer in one_way["layers"]]


def house() -> str:
    """Return the picture of the folders of yasdg_app/: a row for each layer, which imports from the rows below it."""
    shapes: list[str] = []
    y = 20
    for names in (layer for layer in layers() if layer[0] not in SMALL):
        width = (WIDTH - 40 - GAP * (len(names) - 1)) // len(names)
        columns = width // 8  # letters in a line
        lines = {name: textwrap.wrap(ROOMS[name], columns) for name in names}
        height = 36 + 18 * max(map(len, lines.values()))
        for at, name in enumerate(names):
            title = f"{name}/" if (PROJECT / "yasdg_app" / name).is_dir() else f"{name}.py"
            shapes += box(
                Box(20 + at * (width + GAP), y, width, height, FLOORS.get(name, "plain"), title, (*lines[name],))
            )
        y += height + GAP
    return svg("The folders of yasdg_app: each imports only from the rows below it", y + 8, shapes)


PICTURES = {"architecture.svg": architecture, "house.svg": house}

if __name__ == "__main__":
    for name, picture in PICTURES.items():
        (HERE / name).write_text(picture(), "utf-8")
