"""Draws dashboard.png, dashboard-dark.png and dashboard-phone.png anew, from a shop that it opens for that.

    PYTHONPATH=tests .venv/bin/python docs/pictures/dashboard.py

Needs chromium and chromedriver, and takes a minute: two workers and an Apache Kafka of
their own, in a temporary folder.
"""

import json
import tempfile
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.browser import Browser, browser
from support.shop import Shop, Worker

HERE = Path(__file__).parent
HOURS = [1, 1, 2, 2, 3, 3, 4, 6, 5, 3, 3, 2]  # how busy it is, from eight hours ago on; the rush is an hour ago
CONFIGURATION = """
[CLOCK]
start = 8h
[SALES]
max_sale_freq = 3
substitution_freq = 4
[INVENTORY]
min_inventory = 30
restock_amount = 150
[VOLUME]
every_day = {volume}
[SUPPLY]
lead_time = 5m - 10m - 45m
[INCIDENT storm]
kind = storm
start = {storm:%Y-%m-%d %H:%M}
duration = 40m
ramp_up = 5m
ramp_down = 10m
[INCIDENT no-fruit]
kind = supply
start = {supply:%Y-%m-%d %H:%M}
duration = 1h
categories = Classic Smoothies
"""
LIVE = {
    "name": "happy-hour",
    "kind": "promotion",
    "duration": "45m",
    "discount": 0.2,
    "categories": ["Superfoods Smoothies"],
}


def open_shop(folder: Path) -> tuple[Shop, list[Worker]]:
    """Open a shop that has eight hours behind it, with a rush, a storm and late deliveries."""
    now = datetime.now(UTC)
    volume = {(now.hour - 8 + at) % 24: busy for at, busy in enumerate(HOURS)}
    configuration = CONFIGURATION.format(
        volume=" ".join(str(volume.get(hour, 1)) for hour in range(24)),
        storm=now - timedelta(minutes=75),
        supply=now - timedelta(minutes=150),
    )
    (folder / "configuration.ini").write_text(configuration)
    shop = Shop(folder, "pictures").embedded().configured_by(folder / "configuration.ini")
    first = shop.worker()
    first.get("/health/")
    return shop, [first, shop.worker()]


def draw(page: Browser, name: str, width: int, height: int, scale: float, scheme: str) -> None:
    page.resize(width, height, scale)
    page.prefer(color_scheme=scheme)
    shown = page.read()["totals"]["sales"]
    page.until_read(lambda now: now["totals"]["sales"] != shown, "the next sales")
    page.driver.save_screenshot(str(HERE / name))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, browser() as page:
        shop, workers = open_shop(Path(folder))
        try:
            workers[0].until(lambda: all(each.get("/ready/")["ready"] for each in workers), "two ready workers")
            body = json.dumps(LIVE).encode()
            headers = {"Content-Type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(f"{workers[0].web}/incidents/", body, headers), timeout=30)
            page.open(workers[0].web)
            page.until_read(
                lambda shown: shown["through"] > shown["bands"].get("happy-hour", {"start": "9"})["start"],
                "a minute of the happy hour",
                200,
            )
            draw(page, "dashboard.png", 1280, 1000, 1, "light")
            draw(page, "dashboard-dark.png", 1280, 2240, 1, "dark")
            draw(page, "dashboard-phone.png", 360, 780, 2, "light")
            for worker in reversed(workers):
                worker.stop()
        finally:
            shop.close()


if __name__ == "__main__":
    main()
