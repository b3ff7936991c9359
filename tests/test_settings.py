"""How configuration.ini and the environment become settings, and what a person is told when they do not."""

import configparser
import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as hypothesis_settings

from yasdg_app import settings
from yasdg_app.settings import InventorySettings, KafkaSettings, SalesSettings, Settings, SettingsError

HERE = Path(__file__).parent
ORIGINAL = HERE / "data" / "original_configuration.ini"
in_a_folder = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory on a machine where the project has no configuration file of its own."""
    monkeypatch.setattr(settings, "PROJECT", tmp_path / "project")
    (tmp_path / "work" / "config").mkdir(parents=True)
    return tmp_path / "work"


def load(folder: Path, text: str | bytes | None = None, **environ: str) -> Settings:
    if text is not None:
        data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
        (folder / "config" / "configuration.ini").write_bytes(data)
    return settings.load(environ, folder)


def problems(folder: Path, text: str | bytes | None = None, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(folder, text, **environ)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


# --- Values


def test_without_a_file_the_defaults_hold(folder: Path) -> None:
    assert load(folder) == Settings(
        KafkaSettings(data_dir=folder / ".yasdg"), SalesSettings(products=folder / "products.csv")
    )


def test_the_projects_own_file_has_every_key_with_its_default(tmp_path: Path) -> None:
    loaded = settings.load({}, tmp_path)
    project = HERE.parent
    assert loaded == Settings(
        KafkaSettings(data_dir=tmp_path / ".yasdg"),
        SalesSettings(products=project / "products.csv"),
        InventorySettings(),
        project / "config" / "configuration.ini",
    )
    parser = configparser.RawConfigParser()
    parser.read(project / "config" / "configuration.ini")
    for section, kind in (("KAFKA", KafkaSettings), ("SALES", SalesSettings), ("INVENTORY", InventorySettings)):
        assert list(parser[section]) == [key.name for key in dataclasses.fields(kind)]


def test_the_originals_file_works_unchanged(folder: Path) -> None:
    loaded = load(folder, ORIGINAL.read_bytes())
    assert loaded.kafka == KafkaSettings(bootstrap_servers="localhost:9092", data_dir=folder / ".yasdg")
    assert loaded.sales == SalesSettings(
        products=folder / "products.csv", min_sale_freq=60, max_sale_freq=240, number_of_sales=500
    )
    assert loaded.inventory == InventorySettings(10, 15)
    assert loaded.source == folder / "config" / "configuration.ini"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        KafkaSettings().partitions = 9  # type: ignore[misc]


def test_numbers_have_the_type_that_they_are_written_in(folder: Path) -> None:
    sales = load(folder, "[SALES]\nmember_freq = 3\nquantity_one_freq = 2.5\nclub_member_discount=.1255\n").sales
    assert (sales.member_freq, type(sales.member_freq)) == (3, int)
    assert sales.quantity_one_freq == 2.5
    assert sales.club_member_discount == Decimal("0.1255")


def test_keys_may_be_in_any_case(folder: Path) -> None:
    assert load(folder, "[SALES]\nSeed = 7\n").sales.seed == 7


def test_a_comment_may_follow_a_value(folder: Path) -> None:
    assert load(folder, "[SALES]\nseed = 7 ; lucky\n").sales.seed == 7


def test_percent_signs_and_hashes_have_no_meaning(folder: Path) -> None:
    assert load(folder, "[KAFKA]\ndata_dir = 100%(x)s #1\n").kafka.data_dir == folder / "100%(x)s #1"


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(folder: Path) -> None:
    assert load(folder, b"\xef\xbb\xbf[SALES]\r\nseed = 7\r\n").sales.seed == 7


def test_the_mean_time_between_sales_lies_in_the_middle() -> None:
    assert SalesSettings().mean_seconds_between_sales == 2
    assert SalesSettings(min_sale_freq=60, max_sale_freq=240).mean_seconds_between_sales == 150


def test_half_a_million_sales_a_second_is_the_limit(folder: Path) -> None:
    load(folder, "[SALES]\nmin_sale_freq = 0.000001\nmax_sale_freq = 0.000003\n")
    [problem] = problems(folder, "[SALES]\nmin_sale_freq = 0\nmax_sale_freq = 0.0000039\n")
    assert problem == (
        "config/configuration.ini: [SALES] max_sale_freq = 0.0000039: "
        "expected a mean of min_sale_freq and max_sale_freq of at least 0.000002 seconds"
    )


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("Embedded", "embedded"),
        ("localhost", "localhost:9092"),
        ("localhost:19092", "localhost:19092"),
        ("b-1.example.com:9094, b-2.example.com", "b-1.example.com:9094,b-2.example.com:9092"),
        ("my_broker", "my_broker:9092"),
        ("[::1]:9093", "[::1]:9093"),
        ("[2001:DB8::1],10.0.0.1", "[2001:db8::1]:9092,10.0.0.1:9092"),
    ],
)
def test_servers_get_their_ports(folder: Path, written: str, means: str) -> None:
    kafka = load(folder, YASDG_KAFKA_BOOTSTRAP_SERVERS=written).kafka
    assert kafka.bootstrap_servers == means
    assert kafka.embedded == (means == "embedded")


@pytest.mark.parametrize(
    "written",
    ["", ",", "a,", "a:", "a:0", "a:65536", "a:-1", "a:1_0", "::1", "[::1", "[::1]x", "[::1]:", "[x]", "a b", "-a",
     "kafka://a:9092", ":9092", "a:9092:9093", "ö"],
)  # fmt: skip
def test_what_is_no_server_is_refused(folder: Path, written: str) -> None:
    assert problems(folder, YASDG_KAFKA_BOOTSTRAP_SERVERS=written) == [
        f"YASDG_KAFKA_BOOTSTRAP_SERVERS={written}: "
        "expected embedded, or host:port[,host:port] with ports from 1 to 65535"
    ]


@pytest.mark.parametrize(
    ("variable", "written", "expected"),
    [
        ("SALES_MIN_SALE_FREQ", "abc", "a number of seconds of at least 0"),
        ("SALES_MIN_SALE_FREQ", "nan", "a number of seconds of at least 0"),
        ("SALES_MIN_SALE_FREQ", "-1", "a number of seconds of at least 0"),
        ("SALES_MAX_SALE_FREQ", "inf", "a number of seconds above 0"),
        ("SALES_MAX_SALE_FREQ", "1e999", "a number of seconds above 0"),
        ("SALES_MAX_SALE_FREQ", "0", "a number of seconds above 0"),
        ("SALES_SEED", "18446744073709551616", "a whole number from 0 to 18446744073709551615"),
        ("SALES_SEED", "1.0", "a whole number from 0 to 18446744073709551615"),
        ("SALES_SEED", "٣", "a whole number from 0 to 18446744073709551615"),
        ("SALES_MEMBER_FREQ", "10.5", "a number from 0 to 10"),
        ("SALES_MEMBER_FREQ", "", "a number from 0 to 10"),
        ("SALES_CLUB_MEMBER_DISCOUNT", "1.1", "a share from 0 to 1 with at most four decimals, such as .10"),
        ("SALES_CLUB_MEMBER_DISCOUNT", ".00001", "a share from 0 to 1 with at most four decimals, such as .10"),
        ("SALES_SUPPLEMENTS_COST", "1.999",
         "an amount of money of at least 0 with at most two decimals, below 1000000000"),
        ("SALES_PRODUCTS", "", "a path"),
        ("INVENTORY_MIN_INVENTORY", "0", "a whole number from 1 to 1000000000"),
        ("INVENTORY_RESTOCK_AMOUNT", "1", "a whole number from 2 to 1000000000, because one sale takes up to 2"),
        ("KAFKA_PARTITIONS", "0", "a whole number from 1 to 1024"),
        ("KAFKA_TOPIC_PRODUCTS", "..", "a topic name of 1 to 249 letters, digits, dots, underscores or hyphens"),
        ("KAFKA_TOPIC_PRODUCTS", "a b", "a topic name of 1 to 249 letters, digits, dots, underscores or hyphens"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_with_what_was_expected(
    folder: Path, variable: str, written: str, expected: str
) -> None:
    assert problems(folder, **{f"YASDG_{variable}": written}) == [f"YASDG_{variable}={written}: expected {expected}"]


@given(number=strategies.floats(min_value=0.00001, max_value=1e300))
@in_a_folder
def test_any_finite_time_is_taken_as_it_is_written(folder: Path, number: float) -> None:
    environ = {"YASDG_SALES_MIN_SALE_FREQ": repr(number), "YASDG_SALES_MAX_SALE_FREQ": repr(number)}
    assert load(folder, **environ).sales.max_sale_freq == number


# --- Values that must agree with each other


def test_the_least_time_between_sales_is_at_most_the_most(folder: Path) -> None:
    [problem] = problems(folder, "[SALES]\nmin_sale_freq = 5\n")
    assert problem == (
        "config/configuration.ini: [SALES] min_sale_freq = 5: "
        "expected min_sale_freq to be at most max_sale_freq; they are 5 and 3"
    )


def test_a_value_that_cannot_be_read_is_not_compared(folder: Path) -> None:
    assert len(problems(folder, "[SALES]\nmin_sale_freq = x\nmax_sale_freq = .5\n")) == 1
    assert len(problems(folder, "[KAFKA]\ntopic_products = !\ntopic_purchases = demo.products\n")) == 1


def test_topics_differ_in_more_than_what_kafka_takes_for_the_same(folder: Path) -> None:
    [problem] = problems(folder, "[KAFKA]\ntopic_stockings = demo_products\n")
    assert problem == (
        "config/configuration.ini: [KAFKA] topic_stockings = demo_products: "
        "expected topic_stockings and topic_products to differ in more than dots and underscores"
    )


# --- Where values come from


def test_a_variable_overrides_the_file(folder: Path) -> None:
    loaded = load(folder, "[SALES]\nseed = 7\nmember_freq = 1\n", YASDG_SALES_SEED="8")
    assert (loaded.sales.seed, loaded.sales.member_freq) == (8, 1)


def test_a_variable_names_another_file(folder: Path) -> None:
    (folder / "mine.ini").write_text("[SALES]\nseed = 9\n")
    loaded = load(folder, "[SALES]\nseed = 7\n", YASDG_CONFIG="mine.ini")
    assert (loaded.sales.seed, loaded.source) == (9, folder / "mine.ini")


@pytest.mark.parametrize("named", ["", "nowhere.ini", "config"])
def test_the_file_that_is_named_must_exist(folder: Path, named: str) -> None:
    assert problems(folder, YASDG_CONFIG=named) == [f"YASDG_CONFIG={named}: expected the path of an existing file"]


def test_the_projects_file_is_read_where_the_working_directory_has_none(folder: Path) -> None:
    (settings.PROJECT / "config").mkdir(parents=True)
    (settings.PROJECT / "config" / "configuration.ini").write_text("[SALES]\nseed = 7\n")
    assert load(folder).sales.seed == 7
    assert load(folder, "[SALES]\nseed = 8\n").sales.seed == 8


def test_products_are_looked_for_in_the_working_directory_then_beside_the_configuration_then_in_the_project(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "other" / "config").mkdir(parents=True)
    (tmp_path / "other" / "config" / "x.ini").touch()
    (tmp_path / "project").mkdir()
    environ = {"YASDG_CONFIG": "../other/config/x.ini"}
    for place in (tmp_path / "project", folder / "../other", folder):
        (place / "products.csv").touch()
        assert load(folder, **environ).sales.products == place / "products.csv"


def test_products_that_are_nowhere_are_those_of_the_working_directory(folder: Path) -> None:
    assert load(folder, YASDG_SALES_PRODUCTS="x.csv").sales.products == folder / "x.csv"


# --- Names that do not exist


def test_an_unknown_key_is_answered_with_the_one_that_was_meant(folder: Path) -> None:
    assert problems(folder, "[SALES]\nmin_sales_freq = 1\nfoo = 1\nmin_inventory = 5\n") == [
        "config/configuration.ini: [SALES] min_sales_freq: unknown key; did you mean min_sale_freq?",
        "config/configuration.ini: [SALES] foo: unknown key",
        "config/configuration.ini: [SALES] min_inventory: unknown key; it belongs in [INVENTORY]",
    ]


def test_an_unknown_section_is_answered_with_the_one_that_was_meant(folder: Path) -> None:
    assert problems(folder, "[sales]\nseed = x\n[DEFAULT]\nseed = 1\n") == [
        "config/configuration.ini: [sales]: unknown section; did you mean [SALES]?",
        "config/configuration.ini: [DEFAULT]: unknown section",
    ]


def test_an_unknown_variable_is_answered_with_the_one_that_was_meant_and_its_value_is_not_repeated(
    folder: Path,
) -> None:
    assert problems(folder, YASDG_SALES_SED="secret", PATH="x", yasdg_x="x") == [
        "YASDG_SALES_SED: unknown variable; did you mean YASDG_SALES_SEED?"
    ]


# --- Files that cannot be read


def test_all_problems_are_reported_at_once(folder: Path) -> None:
    text = """seed = 1
[SALES]
seed = x
this is no setting
SEED = 2
[INVENTORY]
restock_amount = 1
[SALES]
member_freq = 11
"""
    assert problems(folder, text, YASDG_KAFKA_PARTITIONS="none") == [
        "config/configuration.ini:1: seed = 1: expected a [SECTION] first",
        "config/configuration.ini:5: [SALES] seed stands here a second time",
        "config/configuration.ini:8: [SALES] stands here a second time",
        "config/configuration.ini:4: this is no setting: expected key = value",
        "config/configuration.ini: [SALES] seed = x: expected a whole number from 0 to 18446744073709551615",
        "config/configuration.ini: [INVENTORY] restock_amount = 1: "
        "expected a whole number from 2 to 1000000000, because one sale takes up to 2",
        "config/configuration.ini: [SALES] member_freq = 11: expected a number from 0 to 10",
        "YASDG_KAFKA_PARTITIONS=none: expected a whole number from 1 to 1024",
    ]


def test_a_file_of_another_encoding_is_named_with_the_line(folder: Path) -> None:
    assert problems(folder, "[SALES]\n; für alle\n".encode("latin-1")) == [
        "config/configuration.ini:2: not UTF-8 text: expected a file saved as UTF-8"
    ]


def test_a_file_that_cannot_be_opened_is_a_problem_and_no_other_is_taken_instead(folder: Path) -> None:
    (folder / "config" / "configuration.ini").mkdir()
    assert problems(folder) == ["config/configuration.ini: cannot be read: Is a directory"]


@given(text=strategies.text(strategies.sampled_from("[]=:; \n\r\t\0ab\ud800é") | strategies.characters(), max_size=200))
@in_a_folder
def test_whatever_stands_in_the_file_there_are_settings_or_problems(folder: Path, text: str) -> None:
    try:
        load(folder, text)
    except SettingsError as error:
        assert error.problems
        assert all(problem.isprintable() for problem in error.problems)


@given(
    lines=strategies.lists(
        strategies.sampled_from(
            ["[SALES]", "[KAFKA]", "[X]", "seed = 1", " seed=2", "x", "", "; y", "topic_products = a"]
        )
    )
)
@in_a_folder
def test_whatever_the_order_of_lines_there_are_settings_or_problems(folder: Path, lines: list[str]) -> None:
    try:
        load(folder, "\n".join(lines))
    except SettingsError as error:
        assert error.problems
