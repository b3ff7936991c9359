"""How products.csv becomes products, and what a person is told when it does not."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from unicodedata import normalize

import pytest
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as hypothesis_settings
from support import product_ids

from yasdg_app.config import catalog
from yasdg_app.config.catalog import CatalogError, Product
from yasdg_app.config.catalog_text import BLANKS

PRODUCTS = Path(__file__).parents[2] / "products.csv"
HEADER = (
    "ID,Category,Item,Size,Price,Inventory,ContainsFruit,ContainsVeggies,ContainsNuts,ContainsCaffeine,"
    "_CatWeight,_ItemWeight,_TotalWeight,_RangeWeight"
)
ID = "1 to 64 printable characters other than . and .."
MONEY = "an amount of money of at least 0 with at most two decimals, below 1000000000"
in_a_folder = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def line(product_id: str = "CS01", **cells: object) -> str:
    """A line of products.csv; `cells` are by the name of the column, in lower case."""
    values: dict[str, object] = dict(
        id=product_id, category="Classic Smoothies", item="Sunrise Sunset", size="24 oz.", price="4.99", inventory=75,
        fruit=1, veggies=0, nuts=0, caffeine=0, catweight=3, itemweight=2, totalweight="?", rangeweight="?",
    )  # fmt: skip
    assert cells.keys() <= values.keys()
    return ",".join(str(value) for value in (values | cells).values())


def load(folder: Path, *lines: str) -> tuple[Product, ...]:
    (folder / "products.csv").write_text("\n".join(lines), encoding="utf-8", newline="")
    return catalog.load(folder / "products.csv")


def problems(folder: Path, *lines: str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(folder, *lines)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_the_projects_products_are_those_of_the_original() -> None:
    products = catalog.load(PRODUCTS)
    assert len(products) == 27
    assert sum(product.inventory for product in products) == 1590
    by_category = {product.category: (product.price_cents, product.cost_cents) for product in products}
    assert by_category == {
        "Classic Smoothies": (499, 150),
        "Superfoods Smoothies": (599, 210),
        "Supercharged Smoothies": (599, 270),
        "Indulgent Smoothies": (549, 220),
    }
    by_id = {product.product_id: product for product in products}
    assert {key: by_id[key].range_weight for key in ("CS01", "CS02", "SF01", "SF07", "SC02", "SC03", "IS04")} == {
        "CS01": 6, "CS02": 21, "SF01": 108, "SF07": 136, "SC02": 160, "SC03": 172, "IS04": 242,
    }  # fmt: skip


def test_a_line_is_a_product(folder: Path) -> None:
    assert load(folder, HEADER, line()) == (
        Product(
            "CS01", "Classic Smoothies", "Sunrise Sunset", "24 oz.", 499, None, 75, True, False, False, False, 3, 2, 6
        ),
    )


def test_a_product_cannot_be_changed(folder: Path) -> None:
    [product] = load(folder, HEADER, line())
    with pytest.raises(dataclasses.FrozenInstanceError):
        product.inventory = 0  # type: ignore[misc]


def test_the_weight_is_that_of_the_category_times_that_of_the_item(folder: Path) -> None:
    [product] = load(folder, HEADER, line(catweight=3, itemweight=4))
    assert (product.weight, type(product.weight)) == (12, int)


def test_weights_may_be_fractions(folder: Path) -> None:
    products = load(folder, HEADER, line("a", catweight=3, itemweight="0.5"), line("b", catweight=0, itemweight=1))
    assert [product.range_weight for product in products] == [1.5, 1.5]


def test_superfoods_and_supercharged_are_the_first_group_of_supplements(folder: Path) -> None:
    products = load(folder, HEADER, *map(line, ("CS01", "SF01", "SC01", "IS01")))
    assert [product.supplement_group for product in products] == [2, 1, 1, 2]


def test_columns_may_be_in_any_order_and_others_are_not_looked_at(folder: Path) -> None:
    [product] = load(
        folder,
        "Note, _ItemWeight,_CatWeight,ContainsCaffeine,ContainsNuts,ContainsVeggies,ContainsFruit,"
        "Inventory,COGS,Price,Size,Item,Category,ID",
        '"a note, ""quoted""", 2 ,3,true,False,0,1,75,1.5,4.99,24 oz.,Item,Category,X',
    )
    assert product == Product("X", "Category", "Item", "24 oz.", 499, 150, 75, True, False, False, True, 3, 2, 6)


def test_a_cost_that_is_not_known_may_be_left_out(folder: Path) -> None:
    assert load(folder, HEADER + ",COGS", line() + ",")[0].cost_cents is None


def test_a_byte_order_mark_windows_line_ends_and_empty_lines_do_no_harm(folder: Path) -> None:
    lines = ["\ufeff" + HEADER, line("a"), "", "," * 13, line("b"), ""]
    assert len(load(folder, *(text + "\r" for text in lines))) == 2


def test_names_may_hold_any_text(folder: Path) -> None:
    assert load(folder, HEADER, line(item='"Kale, “Yeah” \u200f\U0001f353"'))[0].item == "Kale, “Yeah” \u200f\U0001f353"


@pytest.mark.parametrize("column", ["Category", "Item", "Size"])
@pytest.mark.parametrize("code", [0x00, 0x09, 0x0A, 0x1B, 0x7F, 0x85, 0x9B, 0x2028, 0x2029, 0x202E, 0x2066])
def test_a_control_character_in_a_text_is_refused_with_its_place(folder: Path, column: str, code: int) -> None:
    (problem,) = problems(folder, HEADER, line(**{column.lower(): f'" a{chr(code)}b"'}))
    assert problem.startswith(f"products.csv:2: {column} = ")
    assert problem.endswith(f": expected a text without control characters: remove U+{code:04X} at character 2")
    assert problem.isprintable()
    assert load(folder, HEADER, line(**{column.lower(): '"ab"'}))  # it was removed


@pytest.mark.parametrize("blank", [" ", "\t", "\xa0", "\u3000", "\u2003", "\ufeff", '"\n"'])
def test_blanks_around_any_cell_are_stripped(folder: Path, blank: str) -> None:
    def with_blanks(text: str) -> str:
        return ",".join(f"{blank}{cell}{blank}" if '"' not in blank else f'"\n{cell}\n"' for cell in text.split(","))

    assert load(folder, with_blanks(HEADER), with_blanks(line())) == load(folder, HEADER, line())
    assert load(folder, HEADER, line(), with_blanks("," * HEADER.count(","))) == load(folder, HEADER, line())
    assert problems(folder, HEADER, line(), f"\xa0{line()}") == [
        "products.csv:3: ID = CS01: expected another id than line 2"
    ]


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title, str.swapcase])
def test_headers_are_known_in_any_case(folder: Path, change: Callable[[str], str]) -> None:
    assert load(folder, change(HEADER), line()) == load(folder, HEADER, line())


def test_of_headers_that_differ_in_case_the_one_that_is_written_right_counts(folder: Path) -> None:
    assert load(folder, f"{HEADER},price", f"{line()},oops") == load(folder, HEADER, line())
    assert problems(folder, f"{HEADER},price".replace("Price", "PRICE"), f"{line()},1") == [
        "products.csv:1: column Price: found 2 times"
    ]


def test_only_id_item_and_price_are_required(folder: Path) -> None:
    products = load(folder, "Item,ID,Price", "Emma,b1,9.99", "Persuasion,b2,8")
    assert products == tuple(
        Product(id_, "Products", item, "", price, None, 50, *(False,) * 4, 1, 1, weight)
        for id_, item, price, weight in (("b1", "Emma", 999, 1), ("b2", "Persuasion", 800, 2))
    )
    assert [product.supplement_group for product in products] == [2, 2]


def test_a_missing_column_is_the_same_as_one_with_its_default(folder: Path) -> None:
    """To the fingerprint, too: if the column is added later, this continues the same shop."""
    without = load(folder, "ID,Item,Price", " a ,Emma,9.99", "SF1, Persuasion,8")
    with_all = load(
        folder, ",".join(("ID,Item,Price", *catalog.DEFAULTS)),
        *(",".join((cells, *catalog.DEFAULTS.values())) for cells in (" a ,Emma,9.99", "SF1, Persuasion,8")),
    )  # fmt: skip
    assert without == with_all
    assert list(catalog.fingerprinted(without)) == list(catalog.fingerprinted(with_all))


def test_a_column_gives_the_supplement_group(folder: Path) -> None:
    lines = [f"{line(product_id)},{group}" for product_id, group in (("a", 0), ("b", 1), ("SF", 2), ("SC", ""))]
    products = load(folder, f"{HEADER},SupplementGroup", *lines)
    assert [product.supplement_group for product in products] == [0, 1, 2, 1]
    (problem,) = problems(folder, f"{HEADER},SupplementGroup", f"{line()},3")
    assert problem == "products.csv:2: SupplementGroup = 3: expected 0, 1, 2 or nothing"


@pytest.mark.parametrize("own", ["Supplement Group", "Supplement_Group", "SupplementGroups", "COG"])
def test_columns_that_could_always_be_missing_are_not_missed(folder: Path, own: str) -> None:
    assert load(folder, f"{HEADER},{own}", f"{line()},berries") == load(folder, HEADER, line())


def test_a_supplement_group_is_in_the_fingerprint_only_if_it_is_not_that_of_the_id(folder: Path) -> None:
    told = [list(catalog.fingerprinted(load(folder, HEADER, *map(line, ("CS", "SF")))))]
    for groups in (("", ""), ("2", "1"), ("0", "1")):
        lines = (f"{line(product_id)},{group}" for product_id, group in zip(("CS", "SF"), groups, strict=True))
        told.append(list(catalog.fingerprinted(load(folder, f"{HEADER},SupplementGroup", *lines))))
    assert told[0] == told[1] == told[2]
    assert told[3] == [told[0][0] | {"supplement_group": 0}, told[0][1]]


MISSING = {
    "Category": "all products are of the category `Products`",
    "Size": "empty",
    "COGS": "not known",
    "SupplementGroup": "1 for ids that begin with SF or SC, otherwise 2",
}
"""What the documentation says of a missing column, if it is more than the default."""


def test_the_example_of_the_documentation_is_a_catalog(folder: Path) -> None:
    page = (PRODUCTS.parent / "docs" / "catalog.md").read_text()
    example = dedent(page[page.index("    ID,Item") : page.index("    EOF\n")])
    assert [product.product_id for product in load(folder, example)] == ["FIC AUS 1", "FIC BRO 1", "POE 杜 1"]
    columns = page[page.index("## Columns") : page.index("## IDs")]
    for name, default in catalog.DEFAULTS.items():
        (row,) = (row for row in columns.splitlines() if row.startswith("|") and name in row.split("|")[1])
        assert row.split("|")[3].strip() == MISSING.get(name, default), name
    for name in catalog.REQUIRED:
        assert re.search(rf"^\| {name} \|.*\| required \|$", columns, re.MULTILINE), name


@pytest.mark.parametrize(
    ("missing", "found", "problem"),
    [
        ("Category", "Categry", "column Categry: unknown; did you mean Category?"),
        ("Inventory", "Inventry", "column Inventry: unknown; did you mean Inventory?"),
        ("ContainsFruit", "Contains Fruit", "column Contains Fruit: unknown; did you mean ContainsFruit?"),
        ("_CatWeight", "Cat-Weight", "column Cat-Weight: unknown; did you mean _CatWeight?"),
        ("Size", "Sizes", "column Sizes: unknown; did you mean Size?"),
        ("Size", "Si\x85ze", "column Si\\x85ze: unknown; did you mean Size?"),
        ("Price", "Pri\x85ce", "column Price is missing; did you mean Pri\\x85ce?"),
        ("Price", "Pirce", "column Price is missing; did you mean Pirce?"),
        ("ID", "Number", "column ID is missing"),
    ],
)
def test_a_misspelt_column_is_not_taken_for_a_missing_one(folder: Path, missing: str, found: str, problem: str) -> None:
    assert problems(folder, HEADER.replace(missing, found, 1), line()) == [f"products.csv:1: {problem}"]


@pytest.mark.parametrize("product_id", product_ids.ODD)
def test_an_id_may_be_any_printable_text(folder: Path, product_id: str) -> None:
    cell = '"' + product_id.replace('"', '""') + '"'
    assert [product.product_id for product in load(folder, HEADER, line(cell), line("b"))] == [product_id, "b"]


@given(product_id=product_ids.product_ids())
@in_a_folder
def test_any_valid_id_is_read_as_it_is_written_or_composed(folder: Path, product_id: str) -> None:
    for form in ("NFC", "NFD"):
        cell = '"' + normalize(form, product_id).replace('"', '""') + '"'  # type: ignore[arg-type]
        (product,) = load(folder, HEADER, line(cell))
        assert product.product_id == product_id


@given(text=strategies.text(max_size=70))
@in_a_folder
def test_an_id_is_valid_or_refused(folder: Path, text: str) -> None:
    cell = '"' + text.replace('"', '""') + '"'
    wanted = normalize("NFC", text.strip(BLANKS))
    if product_ids.is_id(wanted):
        assert load(folder, HEADER, line(cell))[0].product_id == wanted
    else:
        assert all(": ID = " in problem and problem.isprintable() for problem in problems(folder, HEADER, line(cell)))


@pytest.mark.parametrize(
    "code", [0x00, 0x09, 0x1B, 0x7F, 0x85, 0xA0, 0xAD, 0x200D, 0x2028, 0x202E, 0x2066, 0xE000, 0xFDD0]
)
def test_what_is_not_printable_in_an_id_is_refused_with_its_place(folder: Path, code: int) -> None:
    (problem,) = problems(folder, HEADER, line(f'" a{chr(code)}b"'))
    assert problem.startswith("products.csv:2: ID = ")
    assert problem.endswith(f": expected {ID}: remove U+{code:04X} at character 2")
    assert problem.isprintable()


def test_what_is_not_printable_is_counted_in_the_id_as_it_is_in_the_file(folder: Path) -> None:
    for written, problem in (
        ("e\u0301\u200db", "remove U+200D at character 3"),
        ("e\u0301\u2000b", "remove U+2000 at character 3"),  # whose normal form is U+2002
    ):
        (found,) = problems(folder, HEADER, line(written))
        assert found.endswith(f": expected {ID}: {problem}")
    assert load(folder, HEADER, line("e\u0301" * 64))[0].product_id == "\xe9" * 64
    (found,) = problems(folder, HEADER, line("e\u0301" * 65))
    assert found.endswith("; it has 65")


def test_ids_that_differ_only_in_their_normal_form_are_the_same(folder: Path) -> None:
    assert problems(folder, HEADER, line("e\u0301"), line("x"), line("\xe9"), line("e\u0301")) == [
        "products.csv:4: ID = \xe9: expected another id than line 2 (the same letters, composed of other characters)",
        "products.csv:5: ID = \xe9: expected another id than line 2",
    ]
    assert problems(folder, HEADER, line("\xe9"), line("\xe9"), line("e\u0301")) == [
        "products.csv:3: ID = \xe9: expected another id than line 2",
        "products.csv:4: ID = \xe9: expected another id than line 2 (the same letters, composed of other characters)",
    ]


@pytest.mark.parametrize(
    ("column", "written", "expected"),
    [
        ("Price", "-1", MONEY),
        ("Price", "1.999", MONEY),
        ("Price", "nan", MONEY),
        ("Price", "$5", MONEY),
        ("Price", "", MONEY),
        ("Price", "1e3", MONEY),
        ("Inventory", "1", "a whole number from 2 to 1000000000, because one sale takes up to 2"),
        ("Inventory", "7.5", "a whole number from 2 to 1000000000, because one sale takes up to 2"),
        ("_CatWeight", "nan", "a number from 0 to 1000000"),
        ("_CatWeight", "-1", "a number from 0 to 1000000"),
        ("_ItemWeight", "inf", "a number from 0 to 1000000"),
        ("_ItemWeight", "", "a number from 0 to 1000000"),
        ("ID", "", ID),
        ("ID", ".", ID),
        ("ID", "..", ID),
        ("ID", "x" * 65, f"{ID}; it has 65"),
    ],
)
def test_a_cell_that_cannot_be_is_refused_with_what_was_expected(
    folder: Path, column: str, written: str, expected: str
) -> None:
    bad = line(**{column.strip("_").lower(): written})
    assert problems(folder, HEADER, line("good"), bad) == [f"products.csv:3: {column} = {written}: expected {expected}"]


@pytest.mark.parametrize("written", ["", "yes", "2", "t"])
def test_what_a_product_contains_is_true_or_false(folder: Path, written: str) -> None:
    [problem] = problems(folder, HEADER, line(nuts=written))
    assert problem == f"products.csv:2: ContainsNuts = {written}: expected TRUE, FALSE, 1 or 0"


def test_an_id_stands_once(folder: Path) -> None:
    [problem] = problems(folder, HEADER, line("a"), line("b"), line("a"))
    assert problem == "products.csv:4: ID = a: expected another id than line 2"


def test_a_row_has_as_many_cells_as_the_header(folder: Path) -> None:
    assert problems(folder, HEADER, "a,b", line() + ",") == [
        "products.csv:2: cells = 2: expected 14, as in the header",
        "products.csv:3: cells = 15: expected 14, as in the header",
    ]


def test_somebody_has_to_want_something(folder: Path) -> None:
    [problem] = problems(folder, HEADER, line(catweight=0), line("b", itemweight=0))
    assert problem == "products.csv: _CatWeight × _ItemWeight is 0 for every product: expected at least one above 0"


def test_columns_that_are_missing_or_double_are_named(folder: Path) -> None:
    header = HEADER.replace("Price", "Prize").replace("Size", "Item")
    assert problems(folder, header, line(inventory=0)) == [
        "products.csv:1: column Item: found 2 times",
        "products.csv:1: column Price is missing",
        "products.csv:2: Inventory = 0: expected a whole number from 2 to 1000000000, because one sale takes up to 2",
    ]


def test_an_empty_file_and_one_without_products_are_refused(folder: Path) -> None:
    assert problems(folder, "") == ["products.csv: empty: expected a header and at least one product"]
    assert problems(folder, HEADER, "") == ["products.csv: expected at least one product below the header"]


def test_all_problems_are_reported_at_once_with_the_line_they_begin_on(folder: Path) -> None:
    two_lines = line(item='"ab\n"', price="x", fruit="x")
    assert problems(folder, HEADER, two_lines, line("b", inventory=""), '"c"x,', '"d') == [
        f"products.csv:2: Price = x: expected {MONEY}",
        "products.csv:2: ContainsFruit = x: expected TRUE, FALSE, 1 or 0",
        "products.csv:4: Inventory = : expected a whole number from 2 to 1000000000, because one sale takes up to 2",
        "products.csv:5: not CSV: ',' expected after '\"'",
        "products.csv:6: not CSV: unexpected end of data",
    ]


def test_problems_without_end_are_counted(folder: Path) -> None:
    found = problems(folder, HEADER, *(line(str(i), price="x") for i in range(150)))
    assert len(found) == 101
    assert found[-1] == "products.csv: and 50 more problems"


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    with pytest.raises(CatalogError, match=r"^nowhere\.csv: cannot be read: No such file or directory$"):
        catalog.load(folder / "nowhere.csv")
    (folder / "products.csv").write_bytes(HEADER.encode() + b"\ncaf\xe9")
    with pytest.raises(CatalogError, match=r"^products\.csv:2: not UTF-8 text \(byte 0xE9 at position 4 of the line; "):
        catalog.load(Path("products.csv"))


@given(weights=strategies.lists(strategies.tuples(*[strategies.integers(0, 1_000_000)] * 2), min_size=1))
@in_a_folder
def test_the_last_range_weight_is_the_sum_of_all_weights(folder: Path, weights: list[tuple[int, int]]) -> None:
    lines = [line(str(i), catweight=category, itemweight=item) for i, (category, item) in enumerate(weights)]
    total = sum(category * item for category, item in weights)
    if total:
        assert load(folder, HEADER, *lines)[-1].range_weight == total
    else:
        assert len(problems(folder, HEADER, *lines)) == 1


@given(cents=strategies.integers(0, 99_999_999_999))
@in_a_folder
def test_prices_are_exact_to_the_cent(folder: Path, cents: int) -> None:
    assert load(folder, HEADER, line(price=f"{cents // 100}.{cents % 100:02}"))[0].price_cents == cents


@given(text=strategies.text(strategies.sampled_from('",\n\r\0a1') | strategies.characters(codec="utf-8")))
@in_a_folder
def test_whatever_stands_in_the_file_there_are_products_or_problems(folder: Path, text: str) -> None:
    assert problems(folder, text)
    problems(folder, HEADER, text)
