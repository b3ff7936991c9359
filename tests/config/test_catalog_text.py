"""Encodings and separators of a catalog: what can be read in one way is read, all else is refused by name."""

import codecs
import io
from pathlib import Path

import pytest

from yasdg_app.config import catalog
from yasdg_app.config.catalog import CatalogError, Product
from yasdg_app.config.catalog_text import SEPARATORS, Separator, find_separator

NOT_UTF_8 = "not UTF-8 text ({} of the line; maybe Windows-1252 or Latin-1)"
TWO = "expected one separator; put names that contain another one in double quotes"
UTF_8 = 'expected a file saved as UTF-8 (in a spreadsheet: "CSV UTF-8")'
BETWEEN = "expected commas, semicolons, tabs or vertical bars between the columns"
ROWS = ("ID,Category,Item,Price,COGS,Note", "é 1,Café,Thé,4.99,1.5,x", "2,Café,Lait,5,,")
OTHERS = [each for each in SEPARATORS if each != ","]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(data: bytes | str) -> tuple[Product, ...]:
    Path("own.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    return catalog.load(Path("own.csv"))


def problems(data: bytes | str) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load(data)
    assert all(problem.isprintable() for problem in caught.value.problems)
    return [problem.removeprefix("own.csv") for problem in caught.value.problems]


def rows(separator: str = ",", end: str = "\n") -> str:
    return end.join(ROWS).replace(",", separator) + end


# --- Encodings


@pytest.mark.parametrize(
    "data",
    [
        rows().encode("utf-8-sig"),
        rows(end="\r\n").encode("utf-16"),
        codecs.BOM_UTF16_LE + rows().encode("utf-16-le"),
        codecs.BOM_UTF16_BE + rows().encode("utf-16-be"),
        codecs.BOM_UTF16_LE + rows("\t", "\r\n").encode("utf-16-le"),  # what a spreadsheet calls Unicode text
    ],
)
def test_an_encoding_that_the_file_names_is_read(data: bytes) -> None:
    assert load(data) == load(rows())


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (rows().encode("latin-1"), f":2: {NOT_UTF_8.format('byte 0xE9 at position 1')}: {UTF_8}"),
        (rows().encode("utf-8-sig").replace(b"Lait", b"Cr\xe8me"),
         f":3: {NOT_UTF_8.format('byte 0xE8 at position 11')}: {UTF_8}"),
        (rows().encode("utf-16-le"), f": UTF-16 text without a byte order mark: {UTF_8}"),
        (rows().encode("utf-16-be"), f": UTF-16 text without a byte order mark: {UTF_8}"),
        (codecs.BOM_UTF16_LE + rows().encode("utf-16-le")[:-1], f": damaged UTF-16 text: {UTF_8}"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8a\x00", f": damaged UTF-16 text: {UTF_8}"),
        (rows().encode("utf-32"), f": UTF-32 text: {UTF_8}"),
        (codecs.BOM_UTF32_BE + rows().encode("utf-32-be"), f": UTF-32 text: {UTF_8}"),
        (b"PK\x03\x04\x14\0", ": this is a ZIP file, as spreadsheets are stored (.xlsx, .ods): save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1", ": this is a spreadsheet in Excel's old format (.xls): save the sheet as CSV"),
        (b"\x1f\x8b\x08", ": this is a gzip file: unpack it"),
    ],
)  # fmt: skip
def test_any_other_encoding_is_refused_by_name(data: bytes, problem: str) -> None:
    assert problems(data) == [problem]


# --- Separators


@pytest.mark.parametrize("separator", OTHERS)
def test_a_separator_that_is_the_only_one_in_the_header_is_taken(separator: str) -> None:
    assert load(rows(separator)) == load(rows())
    assert load("\n" + separator * 5 + "\n" + rows(separator)) == load(rows())
    assert load(rows(separator).replace("Note", '"A note, or ""two"";|\t"')) == load(rows())  # in quotes it is text


@pytest.mark.parametrize("separator", SEPARATORS)
def test_a_first_line_may_say_which_separator_it_is(separator: str) -> None:
    assert load(f"sep={separator}\n" + rows(separator)) == load(rows())
    bad = load_problem_lines(f"sep={separator}\n" + rows(separator).replace("4.99", "x"))
    assert bad == [3]
    assert load(f'"sep={separator}"\n' + rows(separator)) == load(rows())


@pytest.mark.parametrize("first", ['"sep=;', 'sep=;"'])
def test_a_quote_that_is_not_closed_makes_no_separator(first: str) -> None:
    assert ":1: not CSV: unexpected end of data" in problems(f"{first}\n" + rows(";"))


def test_a_first_line_that_is_not_csv_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "find_separator", lambda *_: Separator(";", has_line=True))
    assert problems('"sep"x\n' + rows(";")) == [":1: not CSV: ';' expected after '\"'"]


def load_problem_lines(text: str) -> list[int]:
    return [int(problem.split(":")[1]) for problem in problems(text)]


def test_a_header_with_commas_is_read_with_commas_whatever_else_it_has() -> None:
    assert load(rows().replace("Note", "a; b|c\td")) == load(rows())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ID;Item;Price;a,b\n1;x;1;\n", f":1: the header contains commas and semicolons: {TWO}"),
        ("\nID;Item|Price\n", f":2: the header contains semicolons and vertical bars: {TWO}"),
        ("ID:Item:Price\n1:x:1\n", f":1: ID:Item:Price: this is one column: {BETWEEN}"),
        ("ID  Item  Price\n1  x  1\n", f":1: ID  Item  Price: this is one column: {BETWEEN}"),
        ("ID,Item\tPrice\n1,x\t1\n", f":1: the header contains commas and tabs: {TWO}"),
        ("sep=:\nID:Item:Price\n", f":1: sep=:: {BETWEEN}"),
        ("sep=\nID,Item,Price\n", f":1: sep=: {BETWEEN}"),
    ],
)  # fmt: skip
def test_any_other_separator_is_refused_by_name(text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(("separator", "name"), [each for each in SEPARATORS.items() if each[0] != ","])
def test_a_missing_column_names_the_separator_that_was_found(separator: str, name: str) -> None:
    assert problems(f"ID{separator}Item\n1{separator}x\n") == [
        f":1: column Price is missing (there are {name} between the columns)"
    ]


def test_finding_the_separator_reads_no_more_than_the_header() -> None:
    data = io.BytesIO(b"ID;Item;Price\n" + b"1;x;1\n" * 100_000)
    assert find_separator(data, ["id", "item", "price"]) == Separator(";")
    assert data.tell() < 100_000


# --- Decimal commas


@pytest.mark.parametrize("separator", OTHERS)
def test_a_decimal_comma_is_read_where_commas_separate_nothing(separator: str) -> None:
    text = rows(separator).replace("4.99", "4,99").replace("1.5", ",5")
    (product, other) = load(text)
    assert (product.price_cents, product.cost_cents, other.price_cents, other.cost_cents) == (499, 50, 500, None)


@pytest.mark.parametrize("amount", ["1,234", "1,234 €", "1,234.50", "1.234,50", "4,9,9", "1 234,50", "1'234,50"])
def test_a_comma_that_may_separate_thousands_is_refused(amount: str) -> None:
    (problem,) = problems(rows(";").replace("4.99", amount))
    assert problem.startswith(f":2: Price = {amount}: expected an amount of money")
    assert problem.endswith(", without separators between thousands")


@pytest.mark.parametrize("amount", ["4,", ",", "4,99 €", "€ 4,99", "4,9999", "-4,99"])
def test_any_other_amount_with_a_comma_is_refused_as_an_amount(amount: str) -> None:
    (problem,) = problems(rows(";").replace("4.99", amount))
    money = "an amount of money of at least 0 with at most two decimals, below 1000000000"
    assert problem == f":2: Price = {amount}: expected {money}"


def test_between_commas_a_decimal_comma_is_refused() -> None:
    (problem,) = problems(rows().replace("4.99", '"4,99"'))
    assert problem.endswith(
        "with a decimal point: a decimal comma needs another separator between the columns, such as semicolons"
    )
    assert load_problem_lines(rows().replace("4.99", "4,99")) == [2]  # one cell too many
