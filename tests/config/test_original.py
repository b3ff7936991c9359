"""The configuration files of the original generator, and the notes on what YASDG understands in another way.

The files here are put together from the seed's file and from what is known of the keys of the later versions; they are
not the original's own files.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from yasdg_app.config import catalog, files, fingerprint, ini
from yasdg_app.config.ini import SettingsError
from yasdg_app.config.settings import SalesSettings, Settings

PROJECT = Path(__file__).parents[2]
SEED = (PROJECT / "tests" / "data" / "original_configuration.ini").read_text()
PRODUCTS = catalog.load(PROJECT / "products.csv")
FILE = "config/configuration.ini"
CREDENTIALS = "sasl_username = foo\nsasl_password = bar\n"

TOPIC_NOTE = (
    f"{FILE}: [KAFKA] topic_inventories = demo.inventories: read as topic_stockings; the messages are YASDG's restocks"
)
ITEM_NOTE = f"{FILE}: [SALES] item_quantity_one_freq = 24: out of 30 lines; read as quantities = 24 5 1"
ABOVE_NOTE = (
    f"{FILE}: [SALES] quantity_one_freq = 24: out of 30 sales, as in some versions of the original, because it is "
    "above 10; read as quantities = 24 5 1"
)
NO_AUTH_NOTE = f"{FILE}: [KAFKA] auth_method = no_auth: read as auth_method = plaintext"
WITH_NO_AUTH_NOTE = (
    f"{FILE}: [SALES] quantity_one_freq = 24: out of 30 sales, as in the original's versions with auth_method = no_auth"
    "; read as quantities = 24 5 1"
)
ONE_LINE_NOTE = (
    f"{FILE}: [SALES] transaction_quantity_one_item_freq = 13: not used yet. Every order has one line; in the original"
    ", 7 of 20 have two or three"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory on a machine where the project has no configuration file of its own."""
    monkeypatch.setattr(files, "PROJECT", tmp_path / "project")
    (tmp_path / "work" / "config").mkdir(parents=True)
    return tmp_path / "work"


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    (folder / FILE).write_text(text)
    return ini.load(environ or {}, folder)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    return caught.value.problems


def seed_with(*changes: tuple[str, str]) -> str:
    text = SEED
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


OF_30 = ("quantity_one_freq = 8\n", "quantity_one_freq = 24\n")
LINES_KEYS = ("quantity_one_freq = 8\n", "transaction_quantity_one_item_freq = 13\nitem_quantity_one_freq = 24\n")
INVENTORIES = ("topic_stockings = demo.stockings\n", "topic_inventories = demo.inventories\n")
NO_AUTH = ("[KAFKA]\n", f"[KAFKA]\nauth_method=no_auth\n{CREDENTIALS}")
PLAINTEXT = ("[KAFKA]\n", f"[KAFKA]\nauth_method = plaintext\n{CREDENTIALS}")
SHAPES = [
    pytest.param((), [], id="the seed's keys"),
    pytest.param((OF_30,), [ABOVE_NOTE], id="of 30"),
    pytest.param((OF_30, NO_AUTH), [NO_AUTH_NOTE, WITH_NO_AUTH_NOTE], id="of 30, no_auth"),
    pytest.param((OF_30, PLAINTEXT), [ABOVE_NOTE], id="of 30, plaintext"),
    pytest.param((LINES_KEYS, PLAINTEXT), [ITEM_NOTE, ONE_LINE_NOTE], id="transactions"),
    pytest.param((LINES_KEYS, PLAINTEXT, INVENTORIES), [TOPIC_NOTE, ITEM_NOTE, ONE_LINE_NOTE], id="inventories"),
]


@pytest.mark.parametrize(("changes", "notes"), SHAPES)
def test_each_set_of_keys_of_the_original_loads_with_its_notes(
    folder: Path, changes: tuple[tuple[str, str], ...], notes: list[str]
) -> None:
    loaded = load(folder, seed_with(*changes))
    assert list(loaded.notes) == notes
    assert not any("\n" in note or "bar" in note for note in notes)
    seeds = load(folder, SEED)
    assert loaded.kafka.auth_method == "plaintext"
    assert loaded.kafka.topic_stockings == ("demo.inventories" if INVENTORIES in changes else "demo.stockings")
    quantities = (24, 5, 1) if OF_30 in changes or LINES_KEYS in changes else ()
    assert replace(loaded, kafka=seeds.kafka, notes=()) == replace(
        seeds, sales=replace(seeds.sales, quantities=quantities)
    )
    differences = fingerprint.fingerprint_differences(
        fingerprint.fingerprint_of(seeds, PRODUCTS), fingerprint.fingerprint_of(loaded, PRODUCTS)
    )
    assert differences == (
        ["SALES.quantities was not set, is 24, 5, 1", "SALES.quantity_one_freq was 8, is not set"] if quantities else []
    )


def test_notes_are_not_part_of_the_fingerprint(folder: Path) -> None:
    loaded = load(folder, seed_with(OF_30))
    assert fingerprint.setting_texts(loaded) == fingerprint.setting_texts(replace(loaded, notes=()))


# --- Scales


@pytest.mark.parametrize(
    ("written", "weights"),
    [
        ("0", (0, 29, 1)),
        ("3", (3, 26, 1)),
        ("24", (24, 5, 1)),
        ("28", (28, 1, 1)),
        ("29", (29, 0, 1)),
        ("30", (29, 0, 1)),
    ],
)
def test_units_of_lines_are_of_30_of_which_one_has_three_whatever_the_number(
    folder: Path, written: str, weights: tuple[int, ...]
) -> None:
    sales = load(folder, f"[SALES]\nitem_quantity_one_freq = {written}\n").sales
    assert sales.quantities == weights
    assert sales.quantity_one_freq == SalesSettings().quantity_one_freq


@pytest.mark.parametrize(("written", "means"), [("10", 10), ("9", 9), ("2.5", 2.5)])
def test_a_number_up_to_ten_is_ours(folder: Path, written: str, means: float) -> None:
    sales = load(folder, f"[SALES]\nquantity_one_freq = {written}\n").sales
    assert (sales.quantity_one_freq, sales.quantities) == (means, ())


@pytest.mark.parametrize(("written", "weights"), [("11", (11, 18, 1)), ("30", (29, 0, 1))])
def test_a_whole_number_above_ten_is_of_30(folder: Path, written: str, weights: tuple[int, ...]) -> None:
    for empty in ("", "quantities =\n"):
        assert load(folder, f"[SALES]\n{empty}quantity_one_freq = {written}\n").sales.quantities == weights


def test_an_originals_file_needs_the_stock_for_three_units(folder: Path) -> None:
    text = "[SALES]\nitem_quantity_one_freq = 24\n[INVENTORY]\nmin_inventory = 1\nrestock_amount = 2\n"
    because = f"because one sale takes up to 3, by {FILE}: [SALES] item_quantity_one_freq = 24"
    assert problems(folder, text) == [
        f"{FILE}: [INVENTORY] min_inventory = 1: expected at least 2, {because}",
        f"{FILE}: [INVENTORY] restock_amount = 2: expected at least 3, {because}",
    ]


@pytest.mark.parametrize("method", ["no_auth", "NO_AUTH"])
def test_beside_no_auth_any_number_is_of_30(folder: Path, method: str) -> None:
    loaded = load(folder, f"[KAFKA]\nauth_method = {method}\n[SALES]\nquantity_one_freq = 9\n")
    assert loaded.sales.quantities == (9, 20, 1)
    assert "out of 30 sales, as in the original's versions with auth_method = no_auth" in loaded.notes[1]


@pytest.mark.parametrize("written", ["10.5", "31", "-1", "24.0", "x"])
def test_other_numbers_are_refused_as_ours(folder: Path, written: str) -> None:
    assert problems(folder, f"[SALES]\nquantity_one_freq = {written}\n") == [
        f"{FILE}: [SALES] quantity_one_freq = {written}: expected a number from 0 to 10"
    ]


@pytest.mark.parametrize(
    ("text", "key", "high"),
    [
        ("[SALES]\nitem_quantity_one_freq = 31\n", "item_quantity_one_freq = 31", 30),
        ("[SALES]\ntransaction_quantity_one_item_freq = x\n", "transaction_quantity_one_item_freq = x", 20),
        ("[KAFKA]\nauth_method = no_auth\n[SALES]\nquantity_one_freq = 8.5\n", "quantity_one_freq = 8.5", 30),
    ],
)
def test_numbers_outside_the_originals_scale_are_refused(folder: Path, text: str, key: str, high: int) -> None:
    assert problems(folder, text) == [f"{FILE}: [SALES] {key}: expected a whole number from 0 to {high}"]


@pytest.mark.parametrize(("written", "several"), [("0", 20), ("13", 7), ("18", 2), ("19", 2), ("20", 2)])
def test_two_of_20_transactions_have_three_lines_whatever_the_number(folder: Path, written: str, several: int) -> None:
    [note] = load(folder, f"[SALES]\ntransaction_quantity_one_item_freq = {written}\n").notes
    assert note.endswith(f"Every order has one line; in the original, {several} of 20 have two or three")


def test_the_chances_are_those_of_the_originals_code(folder: Path) -> None:
    def random_quantity(rnd: int, quantity_one_freq: int) -> int:  # of producer.py, for one number of 1 to 30
        if rnd == 30:
            return 3
        if rnd <= quantity_one_freq:
            return 1
        return 2

    for number in range(31):
        drawn = [random_quantity(rnd, number) for rnd in range(1, 31)]
        weights = load(folder, f"[SALES]\nitem_quantity_one_freq = {number}\n").sales.quantities
        assert weights == tuple(drawn.count(units) for units in (1, 2, 3))


# --- Names


@pytest.mark.parametrize(
    ("section", "first", "second"),
    [
        ("KAFKA", "topic_stockings = a", "topic_inventories = b"),
        ("SALES", "quantity_one_freq = 8", "item_quantity_one_freq = 24"),
        ("SALES", "quantities = 80 20", "item_quantity_one_freq = 24"),
    ],
)
def test_two_spellings_in_one_file_are_an_error_with_both_places(
    folder: Path, section: str, first: str, second: str
) -> None:
    expected = (
        f"{FILE}: [{section}] {second}: the same setting as {FILE}: [{section}] {first}; expected only one of them"
    )
    assert problems(folder, f"[{section}]\n{first}\n{second}\n") == [expected]
    assert problems(folder, f"[{section}]\n{second}\n{first}\n") == [expected]


def test_the_topic_of_the_original_must_be_a_topic_too(folder: Path) -> None:
    [problem] = problems(folder, "[KAFKA]\ntopic_inventories = a b\n")
    assert problem.startswith(f"{FILE}: [KAFKA] topic_inventories = a b: expected a topic name")


def test_iam_is_that_of_amazon(folder: Path) -> None:
    cluster = "[KAFKA]\nbootstrap_servers = b-1:9098\nauth_method = iam\n"
    loaded = load(folder, f"{cluster}aws_region = us-east-1\n")
    assert loaded.kafka.auth_method == "aws_msk_iam"
    assert loaded.notes == (f"{FILE}: [KAFKA] auth_method = iam: read as auth_method = aws_msk_iam",)
    assert problems(folder, cluster) == [f"{FILE}: [KAFKA] auth_method = iam: expected aws_region as well"]


def test_sasl_scram_is_spelled_as_ours(folder: Path) -> None:
    loaded = load(folder, f"[KAFKA]\nbootstrap_servers = b-1:9096\nauth_method = sasl_scram\n{CREDENTIALS}")
    assert (loaded.kafka.auth_method, loaded.kafka.sasl_protocol) == ("sasl_scram", "sasl_ssl")
    assert loaded.kafka.sasl_scram_mechanism == "scram-sha-512"
    assert loaded.notes == ()


# --- Environment


def test_a_variable_overrides_the_originals_key_and_its_note(folder: Path) -> None:
    text = seed_with(LINES_KEYS, INVENTORIES, NO_AUTH)
    environ = {
        "YASDG_SALES_QUANTITY_ONE_FREQ": "5",
        "YASDG_KAFKA_TOPIC_STOCKINGS": "restocks",
        "YASDG_KAFKA_AUTH_METHOD": "plaintext",
    }
    loaded = load(folder, text, environ)
    assert (loaded.sales.quantity_one_freq, loaded.sales.quantities) == (5, ())
    assert loaded.kafka.topic_stockings == "restocks"
    assert loaded.notes == (ONE_LINE_NOTE,)


@pytest.mark.parametrize(
    ("text", "variable", "value", "field"),
    [
        ("[KAFKA]\ntopic_inventories = a b\n", "YASDG_KAFKA_TOPIC_STOCKINGS", "a", ("kafka", "topic_stockings", "a")),
        ("[KAFKA]\ntopic_inventories = b\ntopic_stockings = c\n", "YASDG_KAFKA_TOPIC_STOCKINGS", "a",
         ("kafka", "topic_stockings", "a")),
        ("[SALES]\nitem_quantity_one_freq = 31\n", "YASDG_SALES_QUANTITY_ONE_FREQ", "5",
         ("sales", "quantity_one_freq", 5)),
        ("[SALES]\nitem_quantity_one_freq = x\n", "YASDG_SALES_QUANTITIES", "7 2 1",
         ("sales", "quantities", (7, 2, 1))),
        ("[SALES]\nitem_quantity_one_freq = 24\nquantity_one_freq = 8\n", "YASDG_SALES_QUANTITIES", "7 2 1",
         ("sales", "quantities", (7, 2, 1))),
        ("[SALES]\nquantity_one_freq = 24\n", "YASDG_SALES_QUANTITIES", "7 2 1", ("sales", "quantities", (7, 2, 1))),
        ("[KAFKA]\nauth_method = no_auth\n[SALES]\nquantity_one_freq = 8.5\n", "YASDG_SALES_QUANTITY_ONE_FREQ", "5",
         ("sales", "quantity_one_freq", 5)),
        ("[SALES]\nquantity_one_freq = x\n", "YASDG_SALES_QUANTITY_ONE_FREQ", "5", ("sales", "quantity_one_freq", 5)),
    ],
)  # fmt: skip
def test_what_a_variable_overrides_is_neither_an_error_nor_noted(
    folder: Path, text: str, variable: str, value: str, field: tuple[str, str, object]
) -> None:
    section, key, expected = field
    loaded = load(folder, text, {variable: value})
    assert getattr(getattr(loaded, section), key) == expected
    assert loaded.notes == ((NO_AUTH_NOTE,) if "no_auth" in text else ())
    with pytest.raises(SettingsError) if "24\n" not in text or "= 8" in text else nullcontext():
        load(folder, text)


def test_a_method_of_the_original_shows_the_scale_of_its_file_even_if_a_variable_overrides_it(folder: Path) -> None:
    text = "[KAFKA]\nauth_method = no_auth\n[SALES]\nquantity_one_freq = 9\n"
    loaded = load(folder, text, {"YASDG_KAFKA_AUTH_METHOD": "plaintext"})
    assert loaded.sales.quantities == (9, 20, 1)
    [note] = loaded.notes
    assert note.endswith("auth_method = no_auth; read as quantities = 9 20 1")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("YASDG_SALES_ITEM_QUANTITY_ONE_FREQ", "24"),
        ("YASDG_KAFKA_TOPIC_INVENTORIES", "a"),
        ("YASDG_SALES_QUANTITY_ONE_FREQ", "24"),
        ("YASDG_KAFKA_AUTH_METHOD", "no_auth"),
    ],
)
def test_variables_are_only_ours(folder: Path, variable: str, value: str) -> None:
    with pytest.raises(SettingsError):
        load(folder, "", {variable: value})
