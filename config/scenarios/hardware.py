"""Writes hardware.csv, the catalog of the scenario `hardware`: 10,000 products, always the same ones.

    python config/scenarios/hardware.py

An id is a short name, dimensions, and the quantity in a pack: HB-M8x40-A2/50. What looks random is computed from it.
"""

import csv
import io
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

PRODUCTS = 10_000
HEADER = ("ID", "Category", "Item", "Size", "COGS", "Price", "Inventory", "_CatWeight", "_ItemWeight")
CATEGORY_WEIGHTS = {
    "Bolts": 2, "Screws": 5, "Nuts": 2, "Washers": 2, "Anchors": 4, "Drill bits": 4, "Sanding": 4, "Paint": 8,
    "Pipes": 3, "Fittings": 3, "Cables": 4, "Timber": 3, "Hand tools": 6, "Tapes": 8, "Locks": 3,
}  # fmt: skip
"""The categories. A category's weight is that of each of its products: of paint there are few, which sell well."""

METRIC = (3, 4, 5, 6, 8, 10, 12, 14, 16, 20)
FINISHES = {"ZN": "zinc", "A2": "A2", "A4": "A4", "BK": "black"}
PACKS = (1, 10, 25, 50, 100, 200)
COLOURS = (
    "white",
    "ivory",
    "sand",
    "stone grey",
    "slate",
    "black",
    "sky blue",
    "navy",
    "sage",
    "moss",
    "terracotta",
    "red",
)


class Product(NamedTuple):
    """A product; its cost is in cents."""

    product_id: str
    category: str
    item: str
    size: str
    cost: int


def pieces(number: int) -> str:
    """Return the size of a pack."""
    return "each" if number == 1 else f"{number} pcs"


def fasteners() -> Iterator[Product]:
    """Yield bolts, screws, nuts and washers in metric sizes, and anchors."""
    lengths = (10, 12, 16, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100, 120, 140, 160)
    for (code, name), metric, length, (finish, finished), pack in product(
        (("HB", "Hex bolt"), ("SB", "Socket bolt"), ("CB", "Carriage bolt")),
        METRIC,
        lengths,
        tuple(FINISHES.items())[:3],
        PACKS[1:3],
    ):
        if 2 * metric <= length <= 12 * metric:
            cost = pack * (2 + metric * metric * (length + 20) // 800) * (1 if finish in ("ZN", "BK") else 2)
            item = f"{name} M{metric} × {length}, {finished}"
            yield Product(f"{code}-M{metric}x{length}-{finish}/{pack}", "Bolts", item, pieces(pack), cost + 40)
    for (code, name), tenths, length, (finish, finished), pack in product(
        (("WS", "Wood screw"), ("CS", "Chipboard screw"), ("DS", "Drywall screw"), ("TS", "Tapping screw")),
        (30, 35, 40, 45, 50, 60, 80), lengths, FINISHES.items(), PACKS[3:5],
    ):  # fmt: skip
        if tenths <= 2 * length <= 4 * tenths + 60:
            cost = pack * (1 + tenths * length // 1500) * (1 if finish in ("ZN", "BK") else 2)
            item = f"{name} {tenths / 10:.1f} × {length}, {finished}"
            yield Product(f"{code}-{tenths / 10:.1f}x{length}-{finish}/{pack}", "Screws", item, pieces(pack), cost + 40)
    for (code, name, category), metric, (finish, finished), pack in product(
        (("HN", "Hex nut", "Nuts"), ("LN", "Lock nut", "Nuts"), ("WN", "Wing nut", "Nuts"), ("CN", "Cap nut", "Nuts"),
         ("FW", "Flat washer", "Washers"), ("SW", "Spring washer", "Washers"), ("RW", "Repair washer", "Washers")),
        METRIC, FINISHES.items(), PACKS[1:],
    ):  # fmt: skip
        cost = pack * (1 + metric * metric // 40) * (1 if finish in ("ZN", "BK") else 2)
        yield Product(
            f"{code}-M{metric}-{finish}/{pack}", category, f"{name} M{metric}, {finished}", pieces(pack), cost + 30
        )
    for (code, name), across, length, pack in product(
        (("NP", "Nylon plug"), ("WA", "Wedge anchor"), ("SA", "Sleeve anchor"), ("HA", "Hollow-wall anchor")),
        (5, 6, 8, 10, 12, 14, 16), (25, 30, 40, 50, 60, 80, 100, 120), PACKS[1:4:2],
    ):  # fmt: skip
        cost = 60 + pack * (2 + across * length // 90)
        yield Product(f"{code}-{across}x{length}/{pack}", "Anchors", f"{name} {across} × {length}", pieces(pack), cost)


def workshop() -> Iterator[Product]:
    """Yield drill bits, sanding, hand tools, tapes and locks."""
    for (code, name, hard), tenths, pack in product(
        (("HSS", "Twist drill bit HSS", 2), ("CO", "Twist drill bit cobalt", 4), ("SDS", "Masonry drill bit SDS", 3),
         ("WD", "Brad-point drill bit", 2)),
        range(10, 130, 5), PACKS[:3],
    ):  # fmt: skip
        item = f"{name} {tenths / 10:.1f} mm"
        yield Product(f"{code}-{tenths / 10:.1f}/{pack}", "Drill bits", item, pieces(pack), hard * pack * (30 + tenths))
    for (code, name, cost), grit, pack in product(
        (("SP", "Sandpaper sheet 230 × 280", 22), ("SD", "Sanding disc 125", 25), ("SO", "Sanding disc 150", 30),
         ("SE", "Sanding belt 75 × 533", 60), ("SS", "Sanding sponge", 70)),
        (40, 60, 80, 100, 120, 150, 180, 220, 240, 320, 400, 600), PACKS[:4],
    ):  # fmt: skip
        yield Product(f"{code}-P{grit}/{pack}", "Sanding", f"{name}, grit {grit}", pieces(pack), cost * pack + 20)
    tools = ("Claw hammer", "Sledge hammer", "Rubber mallet", "Combination pliers", "Side cutter", "Water-pump pliers",
             "Adjustable wrench", "Hand saw", "Hacksaw", "Wood chisel", "Spirit level", "Try square", "Utility knife",
             "Screwdriver slotted", "Screwdriver PH", "Screwdriver PZ", "Screwdriver TX", "Ring spanner",
             "Open-end spanner", "Socket", "Hex key", "File", "Clamp", "Trowel")  # fmt: skip
    for number, name in enumerate(tools):
        for size, (line, factor) in product(range(1, 11), (("Basic", 2), ("Pro", 5))):
            product_id = f"{line[0]}T{number + 1:02d}-{size:02d}"
            yield Product(
                product_id,
                "Hand tools",
                f"{name}, size {size}, {line}",
                "each",
                factor * (90 + 12 * number + 35 * size),
            )
    for (code, name, cost), width, length in product(
        (("MT", "Masking tape", 3), ("DT", "Duct tape", 6), ("ET", "Insulating tape", 4), ("PT", "Packing tape", 3),
         ("AT", "Aluminium tape", 9)),
        (15, 19, 25, 30, 38, 50, 75, 100), (10, 25, 33, 50, 66),
    ):  # fmt: skip
        yield Product(
            f"{code}-{width}x{length}", "Tapes", f"{name} {width} mm", f"{length} m", 20 + cost * width * length // 60
        )
    for (code, name, cost), size, (metal, finish, factor) in product(
        (("PL", "Padlock", 300), ("ML", "Mortise lock", 900), ("CL", "Cylinder lock", 1200), ("CH", "Door chain", 250)),
        (20, 25, 30, 40, 50, 60, 70, 80), (("BR", "brass", 4), ("ST", "steel", 3), ("SS", "stainless steel", 6)),
    ):  # fmt: skip
        yield Product(
            f"{code}-{size}{metal}", "Locks", f"{name} {size} mm, {finish}", "each", cost * factor // 3 + 8 * size
        )


def building() -> Iterator[Product]:
    """Yield paint, pipes, fittings, cables and timber."""
    for (code, name, cost), (number, colour), (millilitres, size) in product(
        (("WP", "Wall paint, matt", 3), ("SG", "Wall paint, silk", 4), ("GP", "Gloss paint", 8),
         ("MP", "Metal paint", 9), ("FP", "Floor paint", 7), ("WG", "Wood glaze", 6)),
        enumerate(COLOURS, 1), ((375, "375 ml"), (750, "750 ml"), (2500, "2.5 l"), (5000, "5 l"), (10_000, "10 l")),
    ):  # fmt: skip
        yield Product(
            f"{code}{number:02d}-{millilitres}", "Paint", f"{name}, {colour}", size, 150 + cost * millilitres // 18
        )
    pipes = (("CU", "Copper pipe", 30), ("PX", "PEX pipe", 9), ("PV", "PVC pipe", 7), ("ST", "Steel pipe", 18))
    for (code, name, cost), across, metres in product(pipes, (12, 15, 18, 22, 28, 35, 42, 54), (1, 2, 3, 5, 10, 25)):
        yield Product(
            f"{code}-{across}/{metres}m", "Pipes", f"{name} {across} mm", f"{metres} m", cost * across * metres // 3
        )
    for (code, name, cost), (kind, factor), across, pack in product(
        pipes, (("elbow 90°", 3), ("elbow 45°", 3), ("tee", 4), ("coupling", 2), ("cap", 1), ("reducer", 3),
                ("union", 5)),
        (12, 15, 18, 22, 28, 35, 42, 54), PACKS[:4],
    ):  # fmt: skip
        item = f"{name.removesuffix(' pipe')} {kind}, {across} mm"
        product_id = f"{code}{kind[:1].upper()}{kind[-2:].strip('°').upper()}-{across}/{pack}"
        yield Product(product_id, "Fittings", item, pieces(pack), pack * (20 + cost * factor * across // 20))
    for (code, name, cost), (wires, area), metres in product(
        (("YM", "Installation cable", 8), ("HO", "Rubber cable", 12), ("LC", "Flexible cable", 7),
         ("NY", "Buried cable", 14)),
        product((2, 3, 4, 5), ("0.75", "1.0", "1.5", "2.5", "4.0", "6.0")), (5, 10, 25, 50, 100),
    ):  # fmt: skip
        price = metres * wires * (4 + int(float(area) * cost))
        yield Product(
            f"{code}-{wires}x{area}/{metres}m", "Cables", f"{name} {wires} × {area} mm²", f"{metres} m", price
        )
    for (code, name, cost), (thick, wide), millimetres in product(
        (("PI", "Pine", 3), ("SP", "Spruce", 3), ("OA", "Oak", 11), ("LA", "Larch", 6), ("TR", "Treated pine", 4)),
        product((18, 24, 28, 38, 45, 60, 80), (45, 60, 80, 100, 120, 145, 200)), (1000, 2000, 2400, 3000, 4000),
    ):  # fmt: skip
        item = f"{name} {thick} × {wide}"
        price = 40 + cost * thick * wide * millimetres // 200_000
        yield Product(
            f"{code}-{thick}x{wide}-{millimetres // 100}", "Timber", item, f"{millimetres / 1000:.1f} m", price
        )


def catalog() -> str:
    """Return the file: all products that are not bolts or screws, and as many of those as fit."""
    every = {each.product_id: each for make in (workshop, building, fasteners) for each in make()}
    # Spread over all of them: the first ones would have been those of the smallest sizes.
    dispensable = [each for each in every.values() if each.category in ("Bolts", "Screws")]
    surplus = len(every) - PRODUCTS
    assert 0 <= surplus < len(dispensable), surplus
    for each in sorted(dispensable, key=lambda each: crc32(each.product_id.encode()))[:surplus]:
        del every[each.product_id]
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(HEADER)
    for each in every.values():
        chance = crc32(each.product_id.encode())
        price = (each.cost * (150 + chance % 90) // 100 + 9) // 10 * 10 - 1  # 9 at the end
        weight = (1, 1, 1, 1, 1, 1, 2, 2, 3, 8)[chance // 128 % 10]  # most hardly sell, a few do
        row = (
            f"{each.cost / 100:.2f}",
            f"{price / 100:.2f}",
            205 + chance // 7 % 200,
            CATEGORY_WEIGHTS[each.category],
            weight,
        )
        table.writerow((*each[:4], *row))
    return file.getvalue()


if __name__ == "__main__":
    Path(__file__).with_suffix(".csv").write_text(catalog(), encoding="utf-8", newline="")
