"""The page in a real browser: what it shows of a shop that runs, and what is done by it."""

import csv
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from support.browser import Browser, NoBrowserError, browser
from support.product_ids import ODD
from support.shop import Shop, Worker

from yasdg_app.config import catalog, rules
from yasdg_app.config.files import PROJECT
from yasdg_app.config.settings import INCIDENT_KINDS, SalesSettings

Sums = dict[str, list[Any]]
MINUTES = {"minute": 1, "hour": 60, "day": 24 * 60}
CATEGORY = "Superfoods Smoothies"


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


@pytest.fixture
def page() -> Iterator[Browser]:
    try:
        with browser() as made:
            yield made
    except NoBrowserError as none:
        pytest.skip(str(none))


def visit(page: Browser, worker: Worker) -> None:
    """Open a worker's page, once it has one."""
    worker.get("/health/")
    page.open(worker.web)


def configure(shop: Shop, kafka: Kafka, text: str) -> Shop:
    (shop.folder / "configuration.ini").write_text(text)
    return shop.on(kafka.bootstrap_servers).configured_by(shop.folder / "configuration.ini")


def text_of(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"


def whole(number: int) -> str:
    return f"{number:,}"


def money(value: Any) -> str:
    return f"{Decimal(str(value)):,.2f}"


# --- What the page shows --------------------------------------------------------------------------------------------


class Books:
    """What a plain consumer makes of the topics."""

    def __init__(self, shop: Shop) -> None:
        self.products = {each["product_id"]: each for each in shop.messages("products")}
        self.sales = shop.purchases()
        self.stockings = shop.messages("stockings")
        self.lost = shop.messages("lost_sales")

    def sums(self, by: str, since: str, until: str) -> Sums:
        """Sales, units and revenue by product or category between two event times."""
        sums: Sums = defaultdict(lambda: [0, 0, Decimal(0)])
        for sale in self.sales:
            if since <= sale["transaction_time"] < until:
                key = sale["product_id"] if by == "product" else self.products[sale["product_id"]]["category"]
                one = sums[key]
                one[0] += 1
                one[1] += sale["quantity"]
                one[2] += Decimal(str(sale["total_purchase"]))
        return sums

    def window(self, name: str, through: str) -> tuple[str, str]:
        end = datetime.fromisoformat(through)
        return text_of(end - timedelta(minutes=MINUTES[name])), text_of(end)

    def totals(self) -> dict[str, str]:
        return {
            "sales": whole(len(self.sales)),
            "units": whole(sum(sale["quantity"] for sale in self.sales)),
            "revenue": money(sum(Decimal(str(sale["total_purchase"])) for sale in self.sales)),
            "restocks": whole(len(self.stockings)),
            "lost_sales": whole(len(self.lost)),
        }

    def levels(self) -> dict[str, int]:
        levels = {key: product["inventory"] for key, product in self.products.items()}
        for stocking in self.stockings:
            levels[stocking["product_id"]] += stocking["stock_quantity"]
        for sale in self.sales:
            levels[sale["product_id"]] -= sale["quantity"]
        return levels


def test_numbers_on_the_page_are_those_of_the_topics(kafka: Kafka, shop: Shop, page: Browser) -> None:
    # Three hours of sales up to ten minutes ago; from there on nobody can buy, so that numbers stand still.
    stop = datetime.now(UTC).replace(tzinfo=None, second=0, microsecond=0) - timedelta(minutes=10)
    start = stop - timedelta(hours=3)
    configure(
        shop,
        kafka,
        f"""
        [CLOCK]
        start = {start:%Y-%m-%d %H:%M}
        [SALES]
        max_sale_freq = 2
        substitution_freq = 5
        [INVENTORY]
        restock_amount = 60
        [SUPPLY]
        lead_time = 5m - 10m - 30m
        [INCIDENT night]
        kind = power_outage
        start = {stop:%Y-%m-%d %H:%M}
        duration = 10d
        """.replace("\n        ", "\n"),
    )
    workers = [shop.worker(), shop.worker()]
    workers[0].until(lambda: all(each.get("/ready/")["ready"] for each in workers), "two workers that are ready")
    visit(page, workers[1])
    page.find("#minutes summary").click()
    for window in ("day", "minute", "hour"):
        page.find(f"input[name=window][value={window}] + span").click()
        shown = page.until_read(
            lambda shown: shown["through"] > text_of(stop) and shown["totals"]["sales"] != "0" and not shown["notices"],
            "all sales",
        )
        books = Books(shop)
        best = books.sums("product", *books.window(window, shown["through"]))
        order = {each.product_id: place for place, each in enumerate(catalog.load(SalesSettings().products))}
        expected = [
            [key, whole(sales), whole(units), money(revenue)]
            for key, (sales, units, revenue) in sorted(best.items(), key=lambda each: (-each[1][0], order[each[0]]))
        ]
        assert shown["sellers"] == expected[:10]
        assert bool(expected) == (window != "minute")
    assert len(books.sales) > 5000
    assert shown["totals"] == books.totals()
    assert int(shown["totals"]["lost_sales"].replace(",", "")) > 5
    levels = books.levels()
    sold = books.sums("product", "", "9")
    assert set(shown["shelves"]) == set(levels)
    for key, level in levels.items():
        shelf = shown["shelves"][key]
        assert (shelf["level"], shelf["minimum"], shelf["sold"]) == (whole(level), "| 10", whole(sold[key][1])), key
        assert shelf["state"] == ("empty" if level == 0 else "low" if level <= 10 else ""), key
        full = max(books.products[key]["inventory"], 70, level)
        assert float(shelf["bar"].rstrip("%")) == pytest.approx(100 * level / full, abs=0.01), key
        assert shelf["order"].startswith("60due " if level <= 10 else "–"), key  # what is low was ordered
        assert shelf["empty"] == ("empty" if level == 0 else "never"), key  # nobody buys any more

    for what, ours in (("restocks", books.stockings), ("lost_sales", books.lost)):
        key = {"restocks": "stocking_id", "lost_sales": "lost_sale_id"}[what]
        latest = sorted(ours, key=lambda each: (each["event_time"], each[key]), reverse=True)[:50]
        assert [row[0] for row in shown[what]] == [each[key] for each in latest]
        for row, each in zip(shown[what], latest, strict=True):  # of yesterday the page shows no seconds
            assert row[1][-8:] == each["event_time"][11:19] or row[1][-5:] == each["event_time"][11:16]
    for row, lost in zip(shown["lost_sales"], latest, strict=True):
        assert row[4] == money(lost["value"])
        assert bool(lost["substitute"]) == ("took" in row[3])

    def minutes_are_right(at: int, text: Any) -> None:
        for name, texts in page.read()["minutes"].items():
            minute = datetime.fromisoformat(name).replace(tzinfo=None)
            sums = books.sums("category", text_of(minute), text_of(minute + timedelta(minutes=1)))
            known = minute >= start + timedelta(minutes=1) or texts[1] != "–"  # the shop opened in between
            categories = sorted({product["category"] for product in books.products.values()})
            if known:
                assert texts[1:5] == [text(sums[category][at]) for category in categories], name
                assert texts[5] == text(sum(each[at] for each in sums.values())), name
                assert texts[6] == ("night" if minute >= stop else ""), name

    assert len(shown["minutes"]) == 180
    minutes_are_right(0, whole)
    page.find("input[name=measure][value=revenue] + span").click()
    minutes_are_right(2, money)
    shown = page.read()
    for category, texts in shown["legend"].items():
        hour, day = (books.sums("category", *books.window(name, shown["through"])) for name in ("hour", "day"))
        assert texts[2:] == [money(hour[category][2]), money(day[category][2])]
    assert "Revenue per minute" in page.find("#chart").get_attribute("aria-label")
    assert shown["bands"]["night"]["start"] == text_of(stop)
    assert shown["bands"]["night"]["width"] > 10
    assert {number for each in shown["workers"].values() for number in each["partitions"]} == set(range(8))
    assert page.complaints() == []


# --- What is done by it ---------------------------------------------------------------------------------------------

FAST = """
[CLOCK]
start = 12h
speed = 120
[SALES]
max_sale_freq = 2
"""


def fill(page: Browser, **values: str) -> None:
    for name, value in values.items():
        field = page.find(f"#incident [name={name}]")
        if field.tag_name == "select":
            Select(field).select_by_value(value)
        else:
            for _ in range(5):  # the page may put a name into it meanwhile
                field.clear()
                field.send_keys(value)
                if field.get_attribute("value") == value:
                    break


def test_an_incident_starts_and_ends_by_a_click(kafka: Kafka, shop: Shop, page: Browser) -> None:
    worker = configure(shop, kafka, FAST).worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    visit(page, worker)
    page.until_read(lambda shown: shown["legend"], "a whole minute")
    assert page.complaints() == []

    def problems() -> dict[str, str]:
        found: dict[str, str] = page.run(
            "return Object.fromEntries([...document.querySelectorAll('.problem')].filter((each) => each.textContent)"
            ".map((each) => [each.id, each.textContent]))"
        )
        return found

    # What is wrong is told beside its field, and the first such field is where the keyboard is.
    fill(page, kind="promotion", name="flash", duration="2 hours", factor="-1", discount="half", products="SF1")
    page.find("#incident [type=submit]").click()
    page.until(lambda: len(problems()) == 3, "three problems")
    assert "a duration of whole minutes" in problems()["duration-problem"]
    assert set(problems()) == {"duration-problem", "factor-problem", "discount-problem"}
    assert page.run("return document.activeElement.name") == "duration"
    assert page.find("#duration").get_attribute("aria-invalid") == "true"
    fill(page, duration="40m", factor="3", discount="0.25", products="SF1")
    page.find("#incident [type=submit]").click()
    page.until(lambda: "did you mean SF" in problems().get("products-problem", ""), "what is wrong with SF1")
    page.find("#products").clear()
    page.find(f"#categories input[value='{CATEGORY}']").click()
    # Chromium itself logs each answer of status 400. Nothing else is there.
    assert all("status of 400" in each for each in page.complaints())

    page.find("#incident [type=submit]").click()
    shown = page.until_read(lambda shown: "flash" in shown["bands"], "a band in the chart")
    assert page.find("#incident-status").text.startswith("flash begins at ")
    band = shown["bands"]["flash"]
    assert (band["kind"], band["label"]) == ("promotion", "flash")
    shown = page.until_read(lambda shown: shown["incidents"]["flash"]["state"] == "on", "flash is on")
    assert "25 % off, Superfoods Smoothies" in shown["incidents"]["flash"]["details"]
    five = text_of(datetime.fromisoformat(band["start"]) + timedelta(minutes=5))
    shown = page.until_read(lambda shown: shown["through"] >= five, "five minutes of it")
    assert shown["bands"]["flash"]["width"] > band["width"]
    assert "flash" in page.find("#minutes").get_attribute("textContent") or not shown["minutes"]

    page.find("#incidents li[data-name=flash] button").click()
    page.until_read(lambda shown: shown["incidents"]["flash"]["outcome"].startswith("ends at "), "that it ends")
    shown = page.until_read(lambda shown: shown["incidents"]["flash"]["state"] == "ended", "that it is over")
    assert not shown["incidents"]["flash"]["can_end"]
    ended = shown["bands"]["flash"]["end"]
    assert ended < band["end"]
    page.until_read(lambda shown: shown["through"] > ended, "minutes behind it")

    # The name is taken: that is told beside its field.
    fill(page, name="flash", duration="40m")
    page.find("#incident [type=submit]").click()
    page.until(lambda: "there is an incident flash already" in problems().get("name-problem", ""), "that it is taken")
    assert all("status of 409" in each for each in page.complaints())
    assert worker.stop() == 0

    told = [(told["phase"], told["event_time"], told["discount"]) for told in shop.messages("incidents")]
    assert told == [("start", band["start"], 0.25), ("end", ended, 0.25)]
    cheap = 0
    for sale in shop.purchases():
        on = band["start"] <= sale["transaction_time"] < ended and sale["product_id"].startswith("SF")
        assert sale["promotion_discount"] == (0.25 if on else 0), sale
        cheap += on
    assert cheap > 10
    assert len(shop.read(f"{shop.name}-control")) == 2


def test_a_killed_workers_share_is_missing_until_another_has_it(kafka: Kafka, shop: Shop, page: Browser) -> None:
    shop.on(kafka.bootstrap_servers)
    left, right = shop.worker(), shop.worker()
    visit(page, left)

    def share_of(shown: dict[str, Any], worker: Worker) -> list[int]:
        partitions: list[int] = shown["workers"].get(worker.web, {"partitions": []})["partitions"]
        return partitions

    shown = page.until_read(lambda shown: share_of(shown, left) and share_of(shown, right), "two workers that share")
    theirs = share_of(shown, right)
    assert sorted(share_of(shown, left) + theirs) == list(range(8))
    page.until_read(lambda shown: not shown["notices"] and len(shown["shelves"]) == 27, "all of the shop")
    right.kill()
    shown = page.until_read(lambda shown: "Missing: partition" in "".join(shown["notices"]), "what is missing")
    assert right.web in shown["notices"][0]
    assert len(shown["shelves"]) == 27  # as they were known last
    old = {key for key, shelf in shown["shelves"].items() if shelf["old"]}
    assert 0 < len(old) < 27
    assert "without partitions" in shown["opened"]
    shown = page.until_read(lambda shown: "Missing" not in "".join(shown["notices"]), "that nothing is missing")
    assert share_of(shown, left) == list(range(8))
    assert not any(shelf["old"] for shelf in shown["shelves"].values())
    before = shown["through"]
    page.until_read(lambda shown: shown["through"] > before and not shown["notices"], "a further minute", 90)
    assert page.complaints() == []


def test_the_page_of_a_worker_that_ends_says_so_and_comes_back_with_it(kafka: Kafka, shop: Shop, page: Browser) -> None:
    shop.on(kafka.bootstrap_servers)
    left, right = shop.worker(), shop.worker()
    visit(page, left)
    page.until_read(lambda shown: len(shown["workers"]) == 2 and len(shown["shelves"]) == 27, "two workers")
    left.kill()
    shown = page.until_read(lambda shown: "No data from this worker" in "".join(shown["notices"]), "that it is silent")
    assert shown["state"] == "stale"
    assert page.find("#connection").text.startswith("last update ")
    assert page.find("#notices a").get_attribute("href").rstrip("/") == right.web
    assert len(shown["shelves"]) == 27  # still there, greyed
    assert all("ERR_CONNECTION" in each or "ERR_INCOMPLETE" in each for each in page.complaints())

    left.process = subprocess.Popen(
        left.process.args, cwd=shop.folder, env=shop.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    page.until_read(lambda shown: shown["state"] == "live" and not shown["notices"], "that it is back", 90)
    page.complaints()
    left.kill()
    page.until(lambda: page.driver.find_elements("css selector", "#notices a"), "a link to the other worker")
    page.complaints()
    page.find("#notices a").click()
    shown = page.until_read(lambda shown: shown["state"] == "live" and shown["shelves"], "the other worker's page")
    assert page.driver.current_url.startswith(right.web)
    assert [each for each in page.complaints() if left.web not in each] == []


# --- How it is made -------------------------------------------------------------------------------------------------

CONTRAST = """
const bright = ([r, g, b]) => [r, g, b].map((value) => value / 255)
  .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
  .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
const colour = (text) => text.match(/[0-9.]+/g).map(Number);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const found = colour(getComputedStyle(at).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
const weak = [];
let count = 0;
for (const element of document.querySelectorAll("body *")) {
  const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!text || !element.checkVisibility() || element.closest("option, noscript, script")) continue;
  const [one, other] = [colour(getComputedStyle(element).color), behind(element)].map(bright).sort((a, b) => a - b);
  count += 1;
  if ((other + 0.05) / (one + 0.05) < 4.5) weak.push([element.outerHTML.slice(0, 120), (other + 0.05) / (one + 0.05)]);
}
return [count, weak];
"""
UNNAMED = """
return [...document.querySelectorAll("input, select, button, summary, a, [role=region], [role=img]")].filter((each) =>
  !(each.labels?.length || each.ariaLabel || each.getAttribute("aria-labelledby") || each.textContent.trim())
).map((each) => each.outerHTML);
"""
BARE_TABLES = """
return [...document.querySelectorAll("table")].filter((each) =>
  each.tBodies[0].rows.length && (!each.querySelector("thead th[scope=col]") ||
    [...each.tBodies[0].rows].some((row) => !row.querySelector("th[scope]")))
).map((each) => each.outerHTML.slice(0, 200));
"""
"""Tables that have a row or column without a header."""


NOWHERE = """
return [...document.querySelectorAll("[aria-describedby], [aria-labelledby]")]
  .flatMap((each) => (each.getAttribute("aria-describedby") ?? each.getAttribute("aria-labelledby")).split(" "))
  .filter((id) => !document.getElementById(id));
"""
"""What elements name as their description, and is not there."""

BEYOND = """
return [...document.querySelectorAll("main *")].filter((each) => each.checkVisibility()
  && !each.closest("#minutes, #chart, .hidden, .switch") && each.getBoundingClientRect().right > innerWidth + 1
).map((each) => each.outerHTML.slice(0, 100));
"""
"""What reaches beyond the right edge of the screen."""

PAGE_WIDTH = "return document.documentElement.scrollWidth"
FONTS = ("Liberation Sans", "DejaVu Sans", "DejaVu Sans Mono")
"""Narrow and wide ones. A machine may have any of them, and shows the page in another one where it has none."""

FOCUSED = """
const at = document.activeElement;
const seen = getComputedStyle(at.matches(".switch input") ? at.nextElementSibling : at);
return [at.id || at.name || at.tagName, seen.outlineStyle, seen.outlineWidth];
"""
KEPT = "return [window.ours.isConnected, window.scrollY, document.activeElement.id]"


def test_everybody_can_read_and_use_it(kafka: Kafka, shop: Shop, page: Browser) -> None:
    worker = configure(shop, kafka, FAST + "[INCIDENT rain]\nkind = storm\nstart = 2020-01-01\nduration = 40y").worker()
    visit(page, worker)
    page.until_read(lambda shown: shown["legend"] and shown["sellers"] and shown["restocks"], "sales and restocks")

    # It is all ours, and nothing of it stands in the document itself.
    loaded = page.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert len(loaded) >= 8
    assert all(each.startswith(worker.web) for each in loaded)
    assert page.run("return document.querySelectorAll('script:not([src]), style, [onclick]').length") == 0

    # The kinds of incidents are those of the settings, and so are their factors.
    kinds = {}
    for option in Select(page.find("#kind")).options:
        option.click()
        kinds[option.get_attribute("value")] = page.find("#factor").get_attribute("placeholder")
    assert kinds == {kind: "required" if factor is None else f"{factor:g}" for kind, factor in INCIDENT_KINDS.items()}
    assert not page.find("#discount-field").is_displayed() or page.find("#kind").get_attribute("value") == "custom"

    # With a screen reader.
    page.find("#minutes summary").click()
    assert page.run(UNNAMED) == []
    assert page.run(BARE_TABLES) == []
    assert page.run(NOWHERE) == []
    page.find("#minutes summary").click()

    # In any light, on any screen.
    for scheme in ("light", "dark"):
        page.prefer(color_scheme=scheme, reduced_motion="reduce")
        count, weak = page.run(CONTRAST)
        assert count > 200
        assert weak == [], scheme
        background = page.run("return getComputedStyle(document.body).backgroundColor")
        assert (int(background.split("(")[1].split(",")[0]) < 40) == (scheme == "dark")
    assert page.run("return getComputedStyle(document.querySelector('.bar i')).transitionDuration") == "0s"
    for font in FONTS:
        page.run("document.documentElement.style.setProperty('--font', arguments[0])", f"'{font}'")
        for width in (360, 700, 1000, 1280):
            page.resize(width, 800)
            page.until(lambda width=width: page.run(PAGE_WIDTH) <= width, f"{width} pixels in {font}")
            assert page.run(BEYOND) == [], (width, font)
    page.run("document.documentElement.style.removeProperty('--font')")

    # Updates leave alone what stays: rows, the keyboard's place, and where somebody has scrolled to.
    page.run("window.ours = document.querySelector('#shelves tr[data-product]'); window.scrollTo(0, 500);")
    page.run("document.querySelector('#duration').focus({ preventScroll: true });")
    sold = page.read()["totals"]["sales"]
    page.until_read(lambda shown: shown["totals"]["sales"] != sold, "more sales")
    assert page.run(KEPT) == [True, 500, "duration"]

    # With the keyboard alone: from the top to the form, which is sent by Enter.
    page.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    visit(page, worker)
    page.until_read(lambda shown: shown["legend"], "the page again")
    reached = []
    for _ in range(60):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        name, *ring = page.run(FOCUSED)
        reached.append(name)
        assert ring == ["solid", "2px"], reached
        if reached[-1] == "kind":
            page.driver.switch_to.active_element.send_keys("sto")
        if reached[-1] == "duration":
            break
    assert {"measure", "window", "SUMMARY", "kind", "name"} <= set(reached)
    page.driver.switch_to.active_element.send_keys(Keys.CONTROL, "a")
    page.driver.switch_to.active_element.send_keys("90m", Keys.ENTER)
    page.until_read(lambda shown: "storm-1" in shown["incidents"], "the incident that was set by the keyboard")
    (said,) = [json.loads(record.value or b"") for record in shop.read(f"{shop.name}-control")]
    assert "storm-1" in json.dumps(said)
    assert page.complaints() == []


def test_a_category_may_be_called_anything_or_nothing(kafka: Kafka, shop: Shop, page: Browser) -> None:
    names = ["", "P0", "Shakes, Malts & More", "0"]
    head = (PROJECT / "products.csv").read_text().splitlines()[0]
    lines = [f'P{at},"{name}",Item,24 oz.,1.50,4.99,75,TRUE,FALSE,FALSE,FALSE,1,1,1,1' for at, name in enumerate(names)]
    (shop.folder / "odd.csv").write_text("\n".join([head, *lines, ""]))
    worker = shop.on(kafka.bootstrap_servers).configure(SALES_PRODUCTS=str(shop.folder / "odd.csv")).worker()
    visit(page, worker)
    page.until_read(lambda shown: set(shown["shelves"]) == {"P0", "P1", "P2", "P3"}, "four shelves")
    heads = [each.text for each in page.driver.find_elements("css selector", "#shelves tr.heads")]
    assert sorted(heads) == sorted(names)
    assert page.complaints() == []
    assert worker.stop() == 0


def test_any_id_is_shown_as_text_and_can_be_named_in_the_form(kafka: Kafka, shop: Shop, page: Browser) -> None:
    with (shop.folder / "odd.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("ID", "Item", "Price", "Category"))
        rows.writerows((product_id, f"<b>{product_id}</b>", "4.99", "Books") for product_id in ODD)
    worker = configure(shop, kafka, FAST).configure(SALES_PRODUCTS=str(shop.folder / "odd.csv")).worker()
    visit(page, worker)
    shelves = "return [...document.querySelectorAll('#shelves tr[data-product]')].map((each) => each.dataset.product)"
    page.until(lambda: set(page.run(shelves)) == set(ODD), "all shelves")
    assert len(page.driver.find_elements("css selector", "#shelves tr.heads")) == 1
    assert page.driver.find_elements("css selector", "#shelves script, #shelves b:not(:empty)") == []
    typed = [product_id for product_id in ODD if max(product_id) < "\U00010000"]  # as the driver can type
    fill(page, kind="storm", name="odd", duration="40m", products=rules.listed(typed))
    page.find("#incident [type=submit]").click()
    page.until(lambda: page.find("#incident-status").text.startswith("odd begins at "), "that it begins")
    (incident,) = worker.get("/incidents/")["incidents"]
    assert incident["products"] == sorted(typed)
    assert page.complaints() == []
    assert worker.stop() == 0
