"""Draws architecture.svg: how a sale comes about, where it goes, and what checks it.

    .venv/bin/python docs/pictures/architecture.py

Needs nothing but Python. tests/test_docs.py checks that the committed picture is what this file draws.
"""

from html import escape
from pathlib import Path
from typing import NamedTuple

PICTURE = Path(__file__).with_name("architecture.svg")
WIDTH, HEIGHT = 1000, 520
INK, MUTED, LINE, PAPER = "#1b2430", "#5b6675", "#8b95a3", "#ffffff"
FILLS = {"input": "#fdf3dc", "worker": "#e8f0fe", "kafka": "#e9f5ec", "reader": "#f3ecf9", "plain": "#ffffff"}
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


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


def drawn() -> str:
    """Return the picture."""
    head = '<path d="M0,0 L8,4 L0,8 z" fill="' + INK + '"/>'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{FONT}" role="img">',
        "<title>Architecture of YASDG: inputs, workers, Apache Kafka, and what checks the result</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" markerWidth="6" markerHeight="6" refX="8" refY="4" orient="auto">',
        f"{head}</marker></defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
        *(part for each in BOXES for part in box(each)),
        *(part for each in ARROWS for part in arrow(each)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(drawn(), "utf-8")
