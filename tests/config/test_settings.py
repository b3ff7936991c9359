"""How configuration.ini and the environment become settings, and what a person is told when they do not."""

import configparser
import dataclasses
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as hypothesis_settings

from yasdg_app.config import catalog, checks, files, fingerprint, ini, rules, sections, settings
from yasdg_app.config.ini import SettingsError
from yasdg_app.config.settings import (
    ALWAYS,
    FLAT,
    ClockSettings,
    DatastoreSettings,
    FaultSettings,
    FormatSettings,
    IncidentSettings,
    InventorySettings,
    KafkaSettings,
    SalesSettings,
    Settings,
    SupplierSettings,
    WebSettings,
)

HERE = Path(__file__).parents[1]
FILE = "config/configuration.ini"
ORIGINAL = HERE / "data" / "original_configuration.ini"
in_a_folder = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory on a machine where the project has no configuration file of its own."""
    monkeypatch.setattr(files, "PROJECT", tmp_path / "project")
    (tmp_path / "work" / "config").mkdir(parents=True)
    return tmp_path / "work"


def load(folder: Path, text: str | bytes | None = None, **environ: str) -> Settings:
    if text is not None:
        data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
        (folder / "config" / "configuration.ini").write_bytes(data)
    return ini.load(environ, folder)


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
    loaded = ini.load({}, tmp_path)
    project = HERE.parent
    assert loaded == Settings(
        KafkaSettings(data_dir=tmp_path / ".yasdg"),
        SalesSettings(products=project / "products.csv"),
        source=project / "config" / "configuration.ini",
    )
    parser = configparser.RawConfigParser()
    parser.read(project / "config" / "configuration.ini")
    keys = {section: list(parser[section]) for section in parser.sections()}
    kinds = {"KAFKA": KafkaSettings, "SALES": SalesSettings, "INVENTORY": InventorySettings, "CLOCK": ClockSettings}
    kinds["FAULTS"] = FaultSettings
    kinds["WEB"] = WebSettings
    kinds["FORMAT"] = FormatSettings
    kinds["DATASTORE"] = DatastoreSettings
    of_weekdays = {"HOURS": ["every_day", "holidays", "on_holidays"], "VOLUME": ["every_day", "months", "growth"]}
    assert keys == {
        **{section: [key.name for key in dataclasses.fields(kind)] for section, kind in kinds.items()},
        **of_weekdays,
        "SUPPLY": ["lead_time", "delivery_days", "partial_freq"],
    }


def test_the_examples_in_the_projects_own_file_work(folder: Path) -> None:
    text = (HERE.parent / "config" / "configuration.ini").read_text()
    loaded = load(folder, "\n".join(line.removeprefix(";") for line in text.splitlines() if line[:2] != "; "))
    assert loaded.hours.week[4:] == (((480, 720), (780, 1200)), ((1200, 1560),), ())
    assert loaded.hours.dates == ((date(2026, 12, 24), ((480, 840),)),)
    assert loaded.volume.week[6][12] == 5
    assert [supplier.delivery_days for supplier in loaded.suppliers] == [(0, 3)]
    assert {key for section in sections.REPEATED_SECTIONS.values() for key in section} <= set(re.findall(r"\w+", text))
    assert loaded.incidents == (
        IncidentSettings(
            "summer-sale", "promotion", datetime(2026, 7, 1, 8), None, timedelta(weeks=2), factor=2,
            categories=("Classic Smoothies",), products=("SF01", "SC01"), discount=Decimal("0.20"),
        ),
        IncidentSettings(
            "storm", "storm", None, timedelta(days=30), timedelta(hours=5), timedelta(minutes=30), timedelta(hours=1),
            factor=0.3,
        ),
    )  # fmt: skip
    assert checks.check_products(loaded, catalog.load(HERE.parent / "products.csv")) == []


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


# --- Quantities


def test_without_quantities_there_are_one_and_two_units() -> None:
    sales = SalesSettings(quantity_one_freq=2.5)
    assert (sales.largest_quantity, sales.quantity_thresholds, sales.mean_quantity) == (2, (2.5,), 1.75)


def test_quantities_are_weights(folder: Path) -> None:
    sales = load(folder, "[SALES]\nquantities = 80 14 3 2 1\n").sales
    assert (sales.largest_quantity, sales.quantity_thresholds) == (5, (8.0, 9.4, 9.7, 9.9))
    assert sales.mean_quantity == pytest.approx((80 + 28 + 9 + 8 + 5) / 100)
    assert load(folder, "[SALES]\nquantities = 5\n").sales.mean_quantity == 1


def test_quantities_beside_quantity_one_freq_must_mean_the_same(folder: Path) -> None:
    ours = "config/configuration.ini: [SALES] quantities = "
    for written in ("8 2", "80 20", ".4 .1"):
        text = f"[SALES]\nquantity_one_freq = 8\nquantities = {written}\n"
        assert load(folder, text).sales.quantities == (4, 1)
    for written in ("7 3", "8 1 1", "1"):
        [problem] = problems(folder, f"[SALES]\nquantity_one_freq = 8\nquantities = {written}\n")
        other = "config/configuration.ini: [SALES] quantity_one_freq = 8"
        assert problem == f"{ours}{written}: contradicts {other}; expected only one of them"


def test_a_variable_for_the_chances_of_quantities_overrides_either_key_of_the_file(folder: Path) -> None:
    of_ten, weights = "[SALES]\nquantity_one_freq = 4\n", "[SALES]\nquantities = 7 2 1\n"
    assert load(folder, of_ten, YASDG_SALES_QUANTITIES="6 3 1").sales.quantities == (6, 3, 1)
    assert load(folder, of_ten, YASDG_SALES_QUANTITIES=" ").sales.quantity_one_freq == 4
    sales = load(folder, weights, YASDG_SALES_QUANTITY_ONE_FREQ="5").sales
    assert (sales.quantities, sales.quantity_one_freq) == ((), 5)
    assert problems(folder, "", YASDG_SALES_QUANTITY_ONE_FREQ="5", YASDG_SALES_QUANTITIES="7 2 1") == [
        "YASDG_SALES_QUANTITIES=7 2 1: contradicts YASDG_SALES_QUANTITY_ONE_FREQ=5; expected only one of them"
    ]


def test_a_shelf_holds_the_largest_quantity(folder: Path) -> None:
    text = "[SALES]\nquantities = 5 1 1 1\n[INVENTORY]\n"
    load(folder, f"{text}min_inventory = 3\nrestock_amount = 4\n")
    because = "because one sale takes up to 4, by config/configuration.ini: [SALES] quantities = 5 1 1 1"
    assert problems(folder, f"{text}min_inventory = 2\nrestock_amount = 3\n") == [
        f"config/configuration.ini: [INVENTORY] min_inventory = 2: expected at least 3, {because}",
        f"config/configuration.ini: [INVENTORY] restock_amount = 3: expected at least 4, {because}",
    ]


def test_the_catalog_has_the_largest_quantity_of_each_product() -> None:
    products = [
        SimpleNamespace(product_id=f"P{stock}", category="A", inventory=stock, price_cents=499, cost_cents=None)
        for stock in range(2, 10)
    ]
    assert checks.check_products(Settings(), products) == []
    shop = Settings(sales=SalesSettings(quantities=(1, 1, 1)))
    assert checks.check_products(shop, products[1:]) == []
    assert checks.check_products(shop, products) == [
        "[SALES] quantities: one sale takes up to 3 units; expected an Inventory of at least 3 for every product; "
        "found P2 = 2"
    ]
    [problem] = checks.check_products(Settings(sales=SalesSettings(quantities=(1,) * 8)), products)
    assert problem.endswith("found P2 = 2, P3 = 3, P4 = 4, P5 = 5, P6 = 6 and 1 more")


def test_a_sale_costs_no_more_than_the_schemas_hold() -> None:
    dear = [
        SimpleNamespace(product_id=product_id, category="A", inventory=9, price_cents=price, cost_cents=cost)
        for product_id, price, cost in (("A", 124_999_999_800, 1), ("B", 124_999_999_801, 1), ("C", 1, 124_999_999_951))
    ]
    assert checks.check_products(Settings(sales=SalesSettings(quantities=(1,) * 7)), dear) == []
    assert checks.check_products(Settings(sales=SalesSettings(quantities=(1,) * 8)), dear) == [
        "[SALES] quantities: expected 8 units of a product, with supplements, to cost at most 9999999999.99, which is "
        "all that the schemas hold; those of B, C cost more"
    ]


def test_quantities_enter_the_fingerprint_only_if_there_are_more_than_two(folder: Path) -> None:
    def texts(text: str) -> dict[str, str]:
        return fingerprint.setting_texts(load(folder, f"[SALES]\n{text}\n"))

    of_ten = texts("quantity_one_freq = 8")
    assert of_ten == fingerprint.setting_texts(Settings())
    for same in ("quantities =", "quantities = 8 2", "quantities = 80 20", "quantities = .08 .02"):
        assert list(texts(same).items()) == list(of_ten.items())
    assert texts("quantities = 3") == texts("quantity_one_freq = 10")
    several = texts("quantities = 80 15 5")
    assert several == texts("quantities = 16, 3, 1")
    assert several.items() - of_ten.items() == {("SALES.quantities", "16, 3, 1")}
    assert fingerprint.fingerprint_differences(of_ten, several) == [
        "SALES.quantities was not set, is 16, 3, 1", "SALES.quantity_one_freq was 8, is not set",
    ]  # fmt: skip


def test_keys_may_be_in_any_case(folder: Path) -> None:
    assert load(folder, "[SALES]\nSeed = 7\n").sales.seed == 7


@pytest.mark.parametrize("before", ["", "\n  CS01,\n  "])
def test_ids_that_look_like_comments_are_listed_in_quotes(folder: Path, before: str) -> None:
    text = f'[INCIDENT a]\nkind = storm\nstart = 2026-01-01\nduration = 1h\nproducts = {before}";A", "#B"\n'
    (incident,) = load(folder, text).incidents
    assert incident.products == ((*(("CS01",) if before else ()), ";A", "#B"))


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


def test_the_shop_closes_after_it_opened(folder: Path) -> None:
    clock = "[CLOCK]\nstart = 2026-01-01\nend = 2026-01-01 00:00:0"
    assert load(folder, clock + "1").clock.end == datetime(2026, 1, 1, second=1)
    assert problems(folder, clock + "0") == [
        f"{FILE}: [CLOCK] end = 2026-01-01 00:00:00: expected an end after the start, 2026-01-01 00:00:00"
    ]


def test_a_clock_that_runs_faster_starts_in_the_past(folder: Path) -> None:
    assert load(folder, YASDG_CLOCK_SPEED="60", YASDG_CLOCK_START="30d").clock.start == timedelta(days=30)
    assert load(folder, YASDG_CLOCK_SPEED=".5").clock.speed == 0.5
    assert problems(folder, YASDG_CLOCK_SPEED="60") == [
        "YASDG_CLOCK_SPEED=60: a speed above 1 needs a start in the past, such as start = 30d, "
        "or its sales would be of the future"
    ]
    assert len(problems(folder, YASDG_CLOCK_SPEED="60", YASDG_CLOCK_START="x")) == 1


def test_a_shop_is_open_on_some_weekday(folder: Path) -> None:
    assert problems(folder, "[HOURS]\nevery_day = closed\n2026-01-01 = 08:00-09:00") == [
        f"{FILE}: [HOURS] every_day = closed: expected hours on at least one weekday"
    ]


def test_hours_past_midnight_end_before_those_of_the_next_weekday(folder: Path) -> None:
    load(folder, "[HOURS]\nsunday = 20:00-01:00\nmonday = 01:00-02:00")
    assert problems(folder, "[HOURS]\nsunday = 20:00-01:01\nmonday = 01:00-02:00") == [
        f"{FILE}: [HOURS] sunday = 20:00-01:01: "
        "expected the hours of sunday to end before monday opens at 01:00, not at 01:01"
    ]
    assert problems(folder, "[HOURS]\nfriday = 20:00-02:00") == [
        f"{FILE}: [HOURS] friday = 20:00-02:00: "
        "expected the hours of friday to end before saturday opens at 00:00, not at 02:00"
    ]
    assert len(problems(folder, "[HOURS]\nevery_day = 00:00-02:00, 20:00-01:00")) == 1


def test_something_is_asked_for_while_the_shop_is_open(folder: Path) -> None:
    nights = "1 1" + 21 * " 0" + " 1"
    load(folder, f"[HOURS]\nevery_day = 20:00-23:01\n[VOLUME]\nevery_day = {nights}")
    load(folder, f"[HOURS]\nevery_day = closed\nfriday = 12:00-01:00\n[VOLUME]\nevery_day = {nights}")
    assert problems(folder, f"[HOURS]\nevery_day = 02:00-23:00\n[VOLUME]\nevery_day = {nights}") == [
        f"{FILE}: [VOLUME] every_day = {nights}: "
        "expected a number above 0 in at least one hour of the week in which the shop is open"
    ]
    assert len(problems(folder, f"[VOLUME]\nevery_day = {24 * ' 0'}")) == 1


def test_no_category_has_two_suppliers(folder: Path) -> None:
    assert problems(folder, "[SUPPLIER a]\ncategories = X, Y\n[SUPPLIER b]\ncategories = Z, Y") == [
        f"{FILE}: [SUPPLIER b] categories = Z, Y: expected categories of no other supplier; Y is one of [SUPPLIER a]"
    ]


# --- The shop's life


def test_a_clock_is_read(folder: Path) -> None:
    text = "[CLOCK]\nstart = 2026-01-01\nspeed = 60\nend = 1y\ntime_zone = Europe/Berlin\non_restart = Skip\n"
    clock = ClockSettings(datetime(2026, 1, 1), 60, timedelta(days=365), "Europe/Berlin", "skip")
    assert load(folder, text).clock == clock


def test_a_weekday_overrides_every_day(folder: Path) -> None:
    hours = load(folder, "[HOURS]\nmonday = closed\nevery_day = 08:00-20:00", YASDG_HOURS_SUNDAY="08:00-12:00").hours
    assert hours.week == ((), *[((480, 1200),)] * 5, ((480, 720),))
    volume = load(folder, f"[VOLUME]\ntuesday = {24 * '2,'}".rstrip(",")).volume
    assert volume.week == (FLAT, (2.0,) * 24, *[FLAT] * 5)


def test_dates_and_holidays_have_hours_of_their_own(folder: Path) -> None:
    text = "[HOURS]\n2026-12-31 = closed\n2026-12-24 = 08:00-14:00\nholidays = DE-BY\non_holidays = 10:00-12:00"
    hours = load(folder, text).hours
    assert hours.week == (ALWAYS,) * 7
    assert hours.dates == ((date(2026, 12, 24), ((480, 840),)), (date(2026, 12, 31), ()))
    assert (hours.holidays, hours.on_holidays) == ("DE-BY", ((600, 720),))


def test_a_date_that_is_none_and_hours_that_are_none_are_refused(folder: Path) -> None:
    assert problems(folder, "[HOURS]\n2026-02-30 = closed\n2026-02-20 = open\n24.12.2026 = closed") == [
        f"{FILE}: [HOURS] 2026-02-30: expected a date from 1971-01-01 to 2199-12-31, such as 2026-12-24",
        f"{FILE}: [HOURS] 24.12.2026: expected a date from 1971-01-01 to 2199-12-31, such as 2026-12-24",
        f"{FILE}: [HOURS] 2026-02-20 = open: "
        "expected closed, or hours such as 08:00-12:00, 13:00-20:00, from 00:00 to 24:00",
    ]


def test_a_curve_may_take_several_lines(folder: Path) -> None:
    text = f"[VOLUME]\nevery_day =\n  {12 * '1 '}\n  {12 * '.5 '}\nmonths = {11 * '1 '} 0\ngrowth = -.05\n"
    volume = load(folder, text).volume
    assert volume.week == ((1.0,) * 12 + (0.5,) * 12,) * 7
    assert (volume.months, volume.growth) == ((1.0,) * 11 + (0.0,), -0.05)


def test_suppliers_are_read(folder: Path) -> None:
    text = "[SUPPLY]\nlead_time = 2d\n[SUPPLIER a-1]\ncategories = X, Y\ndelivery_days = friday monday\n"
    loaded = load(folder, text + "partial_freq = .5\n")
    assert loaded.supply == SupplierSettings(lead_time=(timedelta(days=2),) * 3)
    assert loaded.suppliers == (SupplierSettings("a-1", ("X", "Y"), delivery_days=(0, 4), partial_freq=0.5),)


def test_a_supplier_supplies_something(folder: Path) -> None:
    assert problems(folder, "[SUPPLIER a]\n[SUPPLIER b]\ncategories = ,") == [
        f"{FILE}: [SUPPLIER b] categories = ,: expected categories with commas between them",
        f"{FILE}: [SUPPLIER a] categories: missing; expected categories with commas between them",
    ]


def test_sections_of_a_name_have_one_and_only_one(folder: Path) -> None:
    storm = "kind = storm\nstart = 2026-01-01\n"
    text = f"[INCIDENT]\n[INCIDENT ö]\n[INCIDENT a b]\n[SUPPLY x]\n[INCIDENT x]\n{storm}[INCIDENT  x]\n[INCIDENTS x]"
    name = "expected a name of 1 to 40 letters, digits, underscores or hyphens after INCIDENT"
    assert problems(folder, text) == [
        f"{FILE}: [INCIDENT]: {name}",
        f"{FILE}: [INCIDENT ö]: {name}",
        f"{FILE}: [INCIDENT a b]: {name}",
        f"{FILE}: [SUPPLY x]: unknown section; did you mean [SUPPLY]?",
        f"{FILE}: [INCIDENT  x]: duplicate section",
        f"{FILE}: [INCIDENTS x]: unknown section; did you mean [INCIDENT name]?",
    ]
    assert problems(folder, f"[INCIDENT x]\n{storm}[INCIDENT x]\n") == [f"{FILE}:4: [INCIDENT x]: duplicate section"]


def test_sections_of_a_name_have_no_variables(folder: Path) -> None:
    assert len(problems(folder, YASDG_INCIDENT_X_KIND="storm")) == 1


# --- Incidents


@pytest.mark.parametrize("kind", ["storm", "power_outage", "promotion", "viral", "road_works", "supply"])
def test_the_factor_of_an_incident_is_that_of_its_kind(folder: Path, kind: str) -> None:
    text = f"[INCIDENT x]\nkind = {kind}\nstart = 2026-01-01 08:00\n"
    expected = IncidentSettings("x", kind, datetime(2026, 1, 1, 8), factor=settings.INCIDENT_KINDS[kind] or 0.0)
    assert load(folder, text).incidents == (expected,)
    assert ini.parse_incident("x", {"kind": kind, "start": "2026-01-01T08:00"}) == expected
    assert load(folder, text + "factor = 3").incidents[0].factor == 3


WHOLE = "a duration of whole minutes such as 30m or 1d 12h, up to 50y"
ALL_KINDS = "storm, power_outage, promotion, viral, road_works, supply or custom"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start = 2026-01-01", [f" kind: missing; expected {ALL_KINDS}"]),
        ("kind = stormy; start = 2026-01-01", [f" kind = stormy: expected {ALL_KINDS}; did you mean storm?"]),
        ("kind = viral",
         [" start: missing; expected start, the time at which it comes, or every, the mean time between two"]),
        ("kind = viral; start = 2026-01-01; every = 1d",
         [" every = 1d: expected either start or every, not both"]),
        ("kind = viral; start = 1d",
         [" start = 1d: expected a date or a time in whole minutes, such as 2026-01-01 08:30, from 1971 to 2199"]),
        ("kind = viral; start = 2026-01-01 08:00:01",
         [" start = 2026-01-01 08:00:01: "
          "expected a date or a time in whole minutes, such as 2026-01-01 08:30, from 1971 to 2199"]),
        ("kind = viral; every = 0", [f" every = 0: expected {WHOLE}"]),
        ("kind = viral; every = 1d; duration = 90s", [f" duration = 90s: expected {WHOLE}"]),
        ("kind = viral; every = 1d; ramp_up = 1s", [f" ramp_up = 1s: expected 0, or {WHOLE}"]),
        ("kind = viral; every = 1d; ramp_up = 30m; ramp_down = 31m",
         [" ramp_up = 30m: expected ramp_up and ramp_down to fit into duration; they take 61m of 60m"]),
        ("kind = supply; every = 1d; ramp_down = 10m",
         [" ramp_down = 10m: expected no ramps in an incident of kind supply"]),
        ("kind = storm; every = 1d; discount = .1",
         [" discount = .1: expected no discount, but in an incident of kind promotion or custom"]),
        ("kind = promotion; every = 1d; discount = 1",
         [" discount = 1: expected a share from 0 below 1 with at most four decimals, such as .10"]),
        ("kind = custom; every = 1d", [" factor: missing; expected a number from 0 to 100"]),
        ("kind = custom; every = 1d; factor = -1", [" factor = -1: expected a number from 0 to 100"]),
        ("kind = viral; every = 1d; products = a,,b",
         [" products = a,,b: expected ids of products with commas between them"]),
        ("kind = viral; every = 1d; end = 2026-01-01", [" end: unknown key"]),
        ("kind = viral; every = 1d; ramp = 1m", [" ramp: unknown key"]),
    ],
)  # fmt: skip
def test_an_incident_that_cannot_be_is_refused(folder: Path, text: str, expected: list[str]) -> None:
    found = problems(folder, "[INCIDENT x]\n" + text.replace("; ", "\n"))
    assert found == [f"{FILE}: [INCIDENT x]{each}" for each in expected]


def test_all_problems_of_an_incident_are_told_at_once_and_name_its_keys() -> None:
    given = {"kind": "supply", "every": "1d", "ramp_up": "5m", "ramp_down": "x", "discount": ".1", "who\n": "me"}
    with pytest.raises(SettingsError) as caught:
        ini.parse_incident("a b", given)
    assert caught.value.problems == [
        "name = a b: expected a name of 1 to 40 letters, digits, underscores or hyphens",
        "every = 1d: expected a start or nothing; this incident comes once",
        "who\\n: unknown key",
        f"ramp_down = x: expected 0, or {WHOLE}",
        "discount = .1: expected no discount, but in an incident of kind promotion or custom",
        "ramp_up = 5m: expected no ramps in an incident of kind supply",
    ]


def test_an_incident_that_is_about_to_happen_needs_no_start() -> None:
    assert ini.parse_incident("x", {"kind": " viral "}) == IncidentSettings("x", "viral", factor=4.0)
    with pytest.raises(SettingsError, match=r"^kind: missing; expected storm, power_outage, .* or custom$"):
        ini.parse_incident("x", {})


@given(name=strategies.text(max_size=3), texts=strategies.dictionaries(
    strategies.sampled_from(["kind", "start", "every", "duration", "ramp_up", "factor", "discount", "x"]),
    strategies.sampled_from(["", "storm", "custom", "supply", "1d", "5m", "0", ".5", "2026-01-01"]) | strategies.text(),
))  # fmt: skip
def test_whatever_is_said_of_an_incident_it_is_one_or_there_are_problems(name: str, texts: dict[str, str]) -> None:
    try:
        assert ini.parse_incident(name, texts).name == name
    except SettingsError as error:
        assert error.problems
        assert all(problem.isprintable() for problem in error.problems)


# --- What others ask of the settings


def test_what_the_catalog_does_not_have_is_told() -> None:
    own = Settings(
        suppliers=(SupplierSettings("a", ("Classic Smoothie", "Superfoods Smoothies")),),
        incidents=(IncidentSettings("b", "storm", categories=("Fish\n",), products=("CS01", "cs02")),),
    )
    assert checks.check_products(own, catalog.load(HERE.parent / "products.csv")) == [
        "[SUPPLIER a] categories: Classic Smoothie is not in the catalog of products; did you mean Classic Smoothies?",
        "[INCIDENT b] categories: Fish\\n is not in the catalog of products",
        "[INCIDENT b] products: cs02 is not in the catalog of products; did you mean CS02?",
    ]


def test_the_texts_are_all_that_the_stream_is_a_function_of(folder: Path) -> None:
    text = """[SALES]
member_freq = 2.50
club_member_discount = .10
[CLOCK]
start = 1.5d
speed = 60.0
end = 30d
[HOURS]
friday = 08:00-12:00, 20:00-02:00
saturday = 10:00-24:00
sunday = closed
2026-12-24 = 08:00-14:00
holidays = DE-BY
[VOLUME]
growth = .1
[SUPPLY]
lead_time = 1d - 2d
[SUPPLIER a]
categories = Y, X
delivery_days = friday, monday
[INCIDENT b]
kind = promotion
start = 2026-01-01 08:30
discount = 0.20
"""
    texts = fingerprint.setting_texts(load(folder, text))
    ones = ", ".join(24 * ["1"])
    assert {key: value for key, value in texts.items() if not key.startswith(("SALES", "VOLUME"))} == {
        "INVENTORY.min_inventory": "10",
        "INVENTORY.restock_amount": "15",
        "CLOCK.start": "129600",
        "CLOCK.speed": "60",
        "CLOCK.time_zone": "UTC",
        "HOURS.holidays": "DE-BY",
        **{f"HOURS.{day}": "00:00-24:00" for day in rules.WEEKDAYS[:4]},
        "HOURS.friday": "08:00-12:00, 20:00-02:00",
        "HOURS.saturday": "10:00-24:00",
        "HOURS.sunday": "closed",
        "HOURS.on_holidays": "closed",
        "HOURS.2026-12-24": "08:00-14:00",
        "SUPPLY.lead_time": "86400, 129600, 172800",
        "SUPPLY.delivery_days": ", ".join(rules.WEEKDAYS),
        "SUPPLY.partial_freq": "0",
        "SUPPLIER a.categories": "X, Y",
        "SUPPLIER a.lead_time": "0, 0, 0",
        "SUPPLIER a.delivery_days": "monday, friday",
        "SUPPLIER a.partial_freq": "0",
        "INCIDENT b.kind": "promotion",
        "INCIDENT b.start": "2026-01-01 08:30:00",
        "INCIDENT b.every": "",
        "INCIDENT b.duration": "3600",
        "INCIDENT b.ramp_up": "0",
        "INCIDENT b.ramp_down": "0",
        "INCIDENT b.categories": "",
        "INCIDENT b.products": "",
        "INCIDENT b.factor": "2.5",
        "INCIDENT b.discount": "0.2",
    }
    volume = {key: value for key, value in texts.items() if key.startswith("VOLUME")}
    assert volume == {
        **{f"VOLUME.{day}": ones for day in rules.WEEKDAYS},
        "VOLUME.months": ", ".join(12 * ["1"]),
        "VOLUME.growth": "0.1",
    }
    assert (texts["SALES.member_freq"], texts["SALES.club_member_discount"]) == ("2.5", "0.1")
    sales = [key.removeprefix("SALES.") for key in texts if key.startswith("SALES.")]
    without = ("products", "number_of_sales", "quantities")
    assert sales == [key.name for key in dataclasses.fields(SalesSettings) if key.name not in without]


def test_settings_that_mean_the_same_have_the_same_texts(folder: Path) -> None:
    one = load(
        folder, "[SALES]\nmember_freq = 3.0\nclub_member_discount = .1\n[CLOCK]\nend = 3d\n[KAFKA]\npartitions=4"
    )
    assert list(fingerprint.setting_texts(one).items()) == list(fingerprint.setting_texts(Settings()).items())


# --- Faults


def test_faults_are_read(folder: Path) -> None:
    assert not load(folder).faults.any
    text = "[FAULTS]\nlate = .1\ncorrupt = 0.000001\nlate_by = 30s - 2m\nout_of_order_by = .5s\n"
    faults = FaultSettings(
        late=Decimal(".1"), corrupt=Decimal("0.000001"), late_by=(timedelta(seconds=30), timedelta(minutes=2)),
        out_of_order_by=timedelta(milliseconds=500),
    )  # fmt: skip
    assert load(folder, text).faults == faults
    assert faults.any
    assert load(folder, YASDG_FAULTS_LATE_BY="3m").faults.late_by == (timedelta(minutes=3),) * 2
    assert not load(folder, "", YASDG_FAULTS_LATE_BY="3m").faults.any


SHARE = "expected a share from 0 to 1 with at most six decimals, such as .10"
DELAY = "expected a duration such as 10m, or the shortest and the longest such as 1m - 10m"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("late", "1.1", SHARE),
        ("dropped", ".0000001", SHARE),
        ("corrupt", "-1", SHARE),
        ("duplicate", "1 %", SHARE),
        ("late_by", "10m - 1m", f"{DELAY}; in this order"),
        ("late_by", "1m - 2m - 3m", DELAY),
        ("late_by", "0 - 2m", DELAY),
        ("late_by", "", DELAY),
        ("out_of_order_by", "0", "expected a duration such as 30d or 1d 12h, up to 50y"),
        ("out_of_order_by", "1s - 2s", "expected a duration such as 30d or 1d 12h, up to 50y"),
    ],
)
def test_faults_that_cannot_be_are_refused(folder: Path, key: str, value: str, why: str) -> None:
    assert problems(folder, f"[FAULTS]\n{key} = {value}\n") == [f"{FILE}: [FAULTS] {key} = {value}: {why}"]


def test_shares_of_faults_are_1_together_at_most(folder: Path) -> None:
    assert load(folder, "[FAULTS]\ndropped = .9\nlate = .1\n").faults.any
    assert problems(folder, "[FAULTS]\ndropped = .9\nlate = .1\n", YASDG_FAULTS_CORRUPT=".000001") == [
        f"{FILE}: [FAULTS] late = .1: expected late, duplicate, dropped, out_of_order, corrupt to be at most 1 "
        "together, since a message has one fault; they are 1.000001"
    ]
    assert len(problems(folder, "[FAULTS]\ndropped = .9\nlate = .9\ncorrupt = x")) == 1


def test_a_stream_is_a_function_of_faults_where_there_are_any(folder: Path) -> None:
    assert fingerprint.setting_texts(load(folder, "[FAULTS]\nlate_by = 3m\n")) == fingerprint.setting_texts(Settings())
    texts = fingerprint.setting_texts(load(folder, "[FAULTS]\nlate = 0.010\n"))
    assert {key: value for key, value in texts.items() if key.startswith("FAULTS")} == {
        "FAULTS.late": "0.01",
        **{f"FAULTS.{kind}": "0" for kind in ("duplicate", "dropped", "out_of_order", "corrupt")},
        "FAULTS.late_by": "60, 600",
        "FAULTS.out_of_order_by": "5",
    }


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


def test_a_variable_may_name_a_file_of_the_projects_own(folder: Path) -> None:
    (files.PROJECT / "config" / "scenarios").mkdir(parents=True)
    (files.PROJECT / "config" / "scenarios" / "x.ini").write_text("[SALES]\nseed = 7\n")
    assert load(folder, YASDG_CONFIG="config/scenarios/x.ini").sales.seed == 7
    (folder / "config" / "scenarios").mkdir()
    (folder / "config" / "scenarios" / "x.ini").write_text("[SALES]\nseed = 8\n")
    assert load(folder, YASDG_CONFIG="config/scenarios/x.ini").sales.seed == 8


def test_the_projects_file_is_read_where_the_working_directory_has_none(folder: Path) -> None:
    (files.PROJECT / "config").mkdir(parents=True)
    (files.PROJECT / "config" / "configuration.ini").write_text("[SALES]\nseed = 7\n")
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


def test_a_key_that_means_something_else_in_another_section_is_not_sent_there(folder: Path) -> None:
    assert problems(folder, "[CLOCK]\ntime = 08:00\nmonday = closed\n[KAFKA]\nport = 9093\nspeed = 1\n") == [
        "config/configuration.ini: [CLOCK] time: unknown key",
        "config/configuration.ini: [CLOCK] monday: unknown key; it belongs in [HOURS] or [VOLUME]",
        "config/configuration.ini: [KAFKA] port: unknown key",
        "config/configuration.ini: [KAFKA] speed: unknown key; it belongs in [CLOCK]",
    ]


def test_a_category_with_a_comma_is_one_wherever_categories_are_named(folder: Path) -> None:
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "configuration.ini").write_text(
        '[SUPPLIER a]\ncategories = "Shakes, Malts & More", Classic\n'
        '[INCIDENT b]\nkind = storm\nstart = 2026-01-01\ncategories = Classic, "Shakes, Malts & More"\n'
    )
    loaded = load(folder)
    names = ("Shakes, Malts & More", "Classic")
    assert loaded.suppliers[0].categories == names
    assert loaded.incidents[0].categories == names[::-1]
    sold = [SimpleNamespace(product_id="A", category=name) for name in names]
    assert checks.check_products(loaded, sold) == []
    told = fingerprint.setting_texts(loaded)
    assert told["SUPPLIER a.categories"] == 'Classic, "Shakes, Malts & More"'
    three = dataclasses.replace(loaded.suppliers[0], categories=("Classic", "Shakes", "Malts & More"))
    two = fingerprint.setting_texts(dataclasses.replace(loaded, suppliers=(three,)))
    assert two["SUPPLIER a.categories"] == "Classic, Malts & More, Shakes"


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
        "config/configuration.ini:5: [SALES] seed: duplicate key",
        "config/configuration.ini:8: [SALES]: duplicate section",
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


# --- Who may ask the web server

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost"])
def test_a_web_server_of_this_machine_alone_needs_no_token(folder: Path, host: str) -> None:
    assert load(folder, f"[WEB]\nhost = {host}\n").web == WebSettings(host=host.strip("[]"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "shop.example", "localhost.example"])
def test_a_web_server_for_others_needs_a_token(folder: Path, host: str) -> None:
    (problem,) = problems(folder, f"[WEB]\nhost = {host}\n")
    assert problem.startswith(
        f"config/configuration.ini: [WEB] host = {host}: expected 127.0.0.1, or a token as well: "
    )
    assert "YASDG_WEB_TOKEN" in problem
    assert load(folder, f"[WEB]\nhost = {host}\n", YASDG_WEB_TOKEN=TOKEN).web == WebSettings(host, 6066, TOKEN)


def test_a_token_is_shown_nowhere(folder: Path) -> None:
    secret = "my secret"  # which is no token
    (problem,) = problems(folder, f"[WEB]\ntoken = {secret}\n")
    assert problem.startswith("config/configuration.ini: [WEB] token = …: expected nothing, or 16 to 256 letters")
    (problem,) = problems(folder, YASDG_WEB_TOKEN=secret)
    assert problem.startswith("YASDG_WEB_TOKEN=…: expected nothing")
    loaded = load(folder, f"[WEB]\ntoken = {TOKEN}\n")
    assert loaded.web.token == TOKEN
    assert TOKEN not in repr(loaded)
    assert TOKEN not in str(fingerprint.setting_texts(loaded))


@pytest.mark.parametrize(
    "text", ["port = 0", "port = 65536", "host =", "host = a b", "host = 1:2", "token = ééééééééééééééééé"]
)
def test_a_web_server_that_cannot_be_is_refused(folder: Path, text: str) -> None:
    (problem,) = problems(folder, f"[WEB]\n{text}\n")
    assert ": expected " in problem


# --- Who we are to the cluster

CLUSTER = "[KAFKA]\nbootstrap_servers = kafka.example\n"
SECRETS = ("ssl_key_password", "sasl_password", "sasl_oauthbearer_client_secret")


def test_the_names_that_the_original_came_to_have_work(folder: Path) -> None:
    text = f"{CLUSTER}auth_method = sasl_scram\nsasl_username = till\nsasl_password = hunter2\n"
    kafka = load(folder, text).kafka
    assert (kafka.auth_method, kafka.sasl_username, kafka.sasl_password) == ("sasl_scram", "till", "hunter2")
    assert (kafka.sasl_protocol, kafka.sasl_scram_mechanism) == ("sasl_ssl", "scram-sha-512")


@pytest.mark.parametrize(
    ("method", "missing"),
    [
        ("sasl_plain", ["sasl_username", "sasl_password"]),
        ("sasl_scram", ["sasl_username", "sasl_password"]),
        (
            "sasl_oauthbearer",
            [
                "sasl_oauthbearer_token_endpoint_url",
                "sasl_oauthbearer_client_id",
                "sasl_oauthbearer_client_secret",
            ],
        ),
        ("aws_msk_iam", ["aws_region"]),
        ("ssl", []),
    ],
)
def test_what_a_login_needs_has_to_be_there(folder: Path, method: str, missing: list[str]) -> None:
    if not missing:
        assert load(folder, f"{CLUSTER}auth_method = {method}\n").kafka.auth_method == method
        return
    found = problems(folder, f"{CLUSTER}auth_method = {method}\n")
    assert [problem.split()[6].rstrip(",") for problem in found] == missing
    for key, problem in zip(missing, found, strict=True):
        elsewhere = f", better in YASDG_KAFKA_{key.upper()} or in the file that {key}_file names"
        expected = f"expected {key}{elsewhere if key in SECRETS else ''} as well"
        assert problem == f"config/configuration.ini: [KAFKA] auth_method = {method}: {expected}"


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_stands_in_one_place(folder: Path, key: str) -> None:
    given = {f"YASDG_KAFKA_{key.upper()}": "hunter2", f"YASDG_KAFKA_{key.upper()}_FILE": "secret"}
    (problem,) = problems(folder, CLUSTER, **given)
    assert problem == f"YASDG_KAFKA_{key.upper()}=…: expected either {key} or {key}_file, not both"


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_is_shown_nowhere(folder: Path, key: str) -> None:
    (problem,) = problems(folder, f"{CLUSTER}{key} = hunter2\x07\n")
    assert problem == f"config/configuration.ini: [KAFKA] {key} = …: expected a text on one line, or nothing"
    (problem,) = problems(folder, CLUSTER, **{f"YASDG_KAFKA_{key.upper()}": "hunter2\x07"})
    assert problem.startswith(f"YASDG_KAFKA_{key.upper()}=…: expected")
    for line in (f"{key} hunter2", f"{key.upper()}: hunter2\n{key} hunter2"):
        assert not any("hunter2" in problem for problem in problems(folder, f"{CLUSTER}{line}\n"))
    assert "hunter2" not in problems(folder, f"{key}hunter2 = x\n{CLUSTER}")[0]
    loaded = load(folder, f"{CLUSTER}{key} = hunter2\n")
    assert getattr(loaded.kafka, key) == "hunter2"
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in str(fingerprint.setting_texts(loaded))


@pytest.mark.parametrize("method", ["ssl", "sasl_plain", "aws_msk_iam"])
def test_the_embedded_broker_takes_no_login(folder: Path, method: str) -> None:
    given = "sasl_username = till\nsasl_password = hunter2\naws_region = eu-central-1\n"
    assert problems(folder, f"[KAFKA]\n{given}auth_method = {method}\n") == [
        f"config/configuration.ini: [KAFKA] auth_method = {method}: expected plaintext: the embedded broker asks "
        "nobody who they are. Name your cluster in [KAFKA] bootstrap_servers"
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "auth_method = scram",
            "expected plaintext, ssl, sasl_plain, sasl_scram, sasl_oauthbearer or aws_msk_iam; did you",
        ),
        ("sasl_protocol = ssl", "expected sasl_ssl or sasl_plaintext"),
        ("sasl_scram_mechanism = sha-512", "expected scram-sha-512 or scram-sha-256"),
        ("ssl_key_file = key.pem", "expected ssl_cert_file as well"),
        ("sasl_oauthbearer_token_endpoint_url = login.example.com", "expected nothing, or an address such as https://"),
        ("sasl_oauthbearer_token_endpoint_url = https://a:b@login.example.com/", "expected nothing, or an address"),
        (
            "sasl_oauthbearer_token_endpoint_url = http://login.example.com/",
            "token; http:// is for this machine alone",
        ),
        (
            "sasl_oauthbearer_token_endpoint_url = http://localhost.example.com",
            "token; http:// is for this machine alone",
        ),
        ("sasl_oauthbearer_token_endpoint_url = http://[::1", "expected nothing, or an address such as https://"),
        ("sasl_oauthbearer_extensions = lkc-1", "expected nothing, or name=value[, name=value]"),
    ],
)
def test_a_login_that_cannot_be_is_refused(folder: Path, text: str, why: str) -> None:
    (problem,) = problems(folder, f"{CLUSTER}{text}\n")
    assert why in problem


@pytest.mark.parametrize("url", ["https://login.example.com/token", "http://localhost:8080/", "http://[::1]/token"])
def test_a_clients_secret_goes_through_tls_or_stays_here(folder: Path, url: str) -> None:
    text = f"{CLUSTER}sasl_oauthbearer_token_endpoint_url = {url}\n"
    assert load(folder, text).kafka.sasl_oauthbearer_token_endpoint_url == url


def test_msk_takes_iam_through_tls_alone(folder: Path) -> None:
    text = f"{CLUSTER}auth_method = aws_msk_iam\naws_region = eu-central-1\nsasl_protocol = sasl_plaintext\n"
    (problem,) = problems(folder, text)
    assert problem.endswith("sasl_protocol = sasl_plaintext: expected sasl_ssl: Amazon MSK takes IAM through TLS alone")


def test_files_of_a_login_are_looked_for_where_yasdg_is_started(folder: Path) -> None:
    kafka = load(folder, f"{CLUSTER}ssl_ca_file = certs/ca.pem\nsasl_password_file = /run/secrets/kafka\n").kafka
    assert kafka.ssl_ca_file == folder / "certs" / "ca.pem"
    assert kafka.sasl_password_file == Path("/run/secrets/kafka")
    assert kafka.ssl_cert_file is None


def test_extensions_of_a_token_are_read(folder: Path) -> None:
    text = f"{CLUSTER}sasl_oauthbearer_extensions = logicalCluster = lkc-1, identityPoolId=pool-1\n"
    pairs = load(folder, text).kafka.sasl_oauthbearer_extensions
    assert pairs == (("logicalCluster", "lkc-1"), ("identityPoolId", "pool-1"))


# --- How messages stand on the topics


def test_a_format_is_read(folder: Path) -> None:
    assert load(folder).format == FormatSettings("json", "", "sql")
    registry = "https://user:pass%20word@registry.example:8081/path/"
    loaded = load(folder, f"[FORMAT]\nvalue = avro\nregistry = {registry}\n")
    assert loaded.format == FormatSettings("avro", registry[:-1])
    assert load(folder, "", YASDG_FORMAT_TIME="epoch_ms").format.time == "epoch_ms"
    # A registry that nobody needs may stay.
    assert load(folder, f"[FORMAT]\nregistry = {registry}\n").format.value == "json"


ADDRESS = "expected nothing, or an address such as http://localhost:8081 or https://user:password@registry"


@pytest.mark.parametrize(
    "secret", ["localhost:8081", "ftp://user:hunter2@host", "http://", "http://user:hunter2@host:x"]
)
def test_the_address_of_a_registry_is_shown_nowhere(folder: Path, secret: str) -> None:
    assert problems(folder, f"[FORMAT]\nregistry = {secret}\n") == [f"{FILE}: [FORMAT] registry = …: {ADDRESS}"]
    assert problems(folder, "", YASDG_FORMAT_REGISTRY=secret) == [f"YASDG_FORMAT_REGISTRY=…: {ADDRESS}"]
    loaded = load(folder, "[FORMAT]\nvalue = avro\nregistry = http://user:hunter2@host\n")
    assert "hunter2" not in repr(loaded)
    assert not any("secret" in text for text in fingerprint.setting_texts(loaded).values())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[FORMAT]\nvalue = xml", "[FORMAT] value = xml: expected json, avro or protobuf"),
        ("[FORMAT]\ntime = utc", "[FORMAT] time = utc: expected sql, iso-z, epoch_ms or epoch_us"),
        (
            "[FORMAT]\nvalue = avro",
            "[FORMAT] value = avro: expected a registry as well, such as registry = http://localhost:8081",
        ),
        (
            "[FORMAT]\nvalue = protobuf\nregistry = http://a\ntime = iso-z",
            "[FORMAT] time = iso-z: expected no time beside protobuf, which has a type for times",
        ),
        (
            "[FORMAT]\nvalue = avro\nregistry = http://a\n[FAULTS]\nlate = .1",
            "[FORMAT] value = avro: expected json beside [FAULTS], which damage text",
        ),
    ],
)
def test_formats_that_cannot_be_are_refused(folder: Path, text: str, problem: str) -> None:
    assert problems(folder, text) == [f"{FILE}: {problem}"]


def test_a_stream_is_in_one_format(folder: Path) -> None:
    assert not any(key.startswith("FORMAT") for key in fingerprint.setting_texts(Settings()))
    texts = fingerprint.setting_texts(load(folder, "[FORMAT]\nvalue = avro\nregistry = http://a\n"))
    assert {key: value for key, value in texts.items() if key.startswith("FORMAT")} == {
        "FORMAT.value": "avro",
        "FORMAT.time": "sql",
    }


# --- The datastore


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:///inventory.db",
        "sqlite:////var/lib/the%20shop/inventory.db",
        "postgresql://shop:p%40ss@db.example:5433/shop?sslmode=require",
        "postgresql:///shop",
        "dynamodb://inventory",
        "dynamodb://Shop.Inventory_1?region=eu-central-1&endpoint=http://localhost:8000",
    ],
)
def test_a_datastore_has_an_address(folder: Path, url: str) -> None:
    assert load(folder, f"[DATASTORE]\nurl = {url}\n").datastore == DatastoreSettings(url)
    assert load(folder, YASDG_DATASTORE_URL=url).datastore.url == url


@pytest.mark.parametrize(
    "url",
    [
        "inventory.db",
        "mysql://secret@host/db",
        "sqlite://inventory.db",
        "sqlite:///",
        "sqlite:///folder/",
        "sqlite:///inventory.db?mode=secret",
        "postgresql://shop:secret@host",
        "postgresql://shop:secret@host:99999/db",
        "postgresql://shop:sec/ret@host/db",
        "postgresql://shop:sec#ret@host/db",
        "dynamodb://",
        "dynamodb://in ventory",
        "dynamodb://inventory/secret",
        "dynamodb://inventory?zone=secret",
        "dynamodb://inventory?endpoint=ftp://secret",
    ],
)
def test_an_address_that_is_no_datastores_is_refused_and_not_shown(folder: Path, url: str) -> None:
    (problem,) = problems(folder, f"[DATASTORE]\nurl = {url}\n")
    assert problem.startswith("config/configuration.ini: [DATASTORE] url = …: expected nothing, sqlite:///path")
    (problem,) = problems(folder, YASDG_DATASTORE_URL=url)
    assert problem.startswith("YASDG_DATASTORE_URL=…: expected nothing, sqlite:///path")
    assert "secret" not in problem
    assert "ret@" not in problem


def test_the_password_of_a_datastore_is_shown_nowhere(folder: Path) -> None:
    loaded = load(folder, "[DATASTORE]\nurl = postgresql://shop:my-password@host/db\n")
    assert "my-password" not in repr(loaded)
    assert "my-password" not in str(fingerprint.setting_texts(loaded))
