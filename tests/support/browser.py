"""A real headless browser, and what it shows of the page: Debian's chromium, controlled by selenium."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement

NEEDED = "Debian's chromium: apt-get install chromium chromium-driver fonts-liberation fonts-dejavu-core"
PROGRAMS = (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",))

# All at once: a snapshot drawn in between would not match what was read before.
READ = """
const texts = (cells) => [...cells].map((cell) => cell.textContent);
const rows = (id) => [...document.querySelectorAll(`#${id} > tr`)];
const table = (id, key) => Object.fromEntries(rows(id).map((row) => [row.dataset[key], texts(row.cells)]));
return {
  through: document.body.dataset.through ?? "",
  state: document.body.dataset.state,
  notices: texts(document.querySelectorAll("#notices p")),
  opened: document.getElementById("opened").textContent,
  totals: Object.fromEntries([...document.querySelectorAll("[data-total]")].map((dd) => [dd.dataset.total, dd.textContent])),
  legend: table("legend", "category"),
  all: texts(document.querySelectorAll("#legend-all, #legend-hour, #legend-day")),
  sellers: rows("sellers").map((row) => [row.dataset.product, ...texts(row.cells).slice(2)]),
  shelves: Object.fromEntries(rows("shelves").filter((row) => row.dataset.product).map((row) => [row.dataset.product, {
    level: row.querySelector(".level").textContent,
    minimum: row.querySelector(".minimum").textContent,
    bar: row.querySelector(".bar i").style.width,
    state: row.dataset.state,
    old: row.classList.contains("old"),
    order: row.cells[2].textContent,
    empty: row.cells[3].textContent,
    sold: row.cells[4].textContent,
  }])),
  restocks: rows("restocks").map((row) => [row.dataset.id, ...texts(row.cells)]),
  lost_sales: rows("lost-sales").map((row) => [row.dataset.id, ...texts(row.cells)]),
  minutes: Object.fromEntries(rows_of("#minutes tbody").map((row) => [row.dataset.minute, texts(row.cells)])),
  bands: Object.fromEntries([...document.querySelectorAll(".band")].map((band) => [band.dataset.name, {
    ...band.dataset, width: band.getBoundingClientRect().width, label: band.textContent,
  }])),
  incidents: Object.fromEntries([...document.querySelectorAll("#incidents li")].map((item) => [item.dataset.name, {
    state: item.dataset.state, details: item.querySelector(".details").textContent, outcome: item.querySelector(".outcome").textContent,
    can_end: !item.querySelector("button").hidden,
  }])),
  workers: Object.fromEntries(rows("workers").map((row) => [row.dataset.url, {
    partitions: row.dataset.partitions.split(" ").filter(Boolean).map(Number), texts: texts(row.cells),
  }])),
};
function rows_of(selector) { return [...document.querySelectorAll(`${selector} > tr`)]; }
"""  # noqa: E501


class NoBrowserError(Exception):
    """This machine has no browser."""


def _program(names: tuple[str, ...]) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise NoBrowserError(f"{names[0]} is missing. The page is tested with {NEEDED}")


class Browser:
    """A browser with one page.

    Attributes
    ----------
    driver
        The driver of selenium.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> "Browser":
        self.driver.get(url)
        return self

    def read(self) -> dict[str, Any]:
        """Return what the page shows now."""
        shown: dict[str, Any] = self.driver.execute_script(READ)
        return shown

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def until(self, result: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Return the first true result; fail if there is none in time."""
        deadline = time.monotonic() + seconds
        while not (value := result()):
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s. The page shows:\n{self.read()}"
            time.sleep(0.1)
        return value

    def until_read(self, condition: Callable[[dict[str, Any]], Any], what: str, seconds: float = 60) -> dict[str, Any]:
        """Return what the page shows, once it meets a condition."""

        def read() -> dict[str, Any] | None:
            shown = self.read()
            return shown if condition(shown) else None

        shown: dict[str, Any] = self.until(read, what, seconds)
        return shown

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        """Emulate a device with such a screen, however small; a window has a minimum size."""
        screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def prefer(self, **features: str) -> None:
        """Set media features, such as color_scheme="dark"."""
        values = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": values})

    def complaints(self) -> list[str]:
        """Return what the console has logged since the last call."""
        return [f"{entry['level']} {entry['source']}: {entry['message']}" for entry in self.driver.get_log("browser")]


@contextmanager
def browser(width: int = 1280, height: int = 900) -> Iterator[Browser]:
    """Start a browser, and end it in any case. Raises NoBrowserError."""
    chromium, chromedriver = map(_program, PROGRAMS)
    with tempfile.TemporaryDirectory(prefix="yasdg-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-gpu",
            "--disable-background-networking", "--no-first-run", f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ):  # fmt: skip
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
        try:
            made = Browser(driver)
            made.resize(width, height)
            yield made
        finally:
            driver.quit()
