"""Checks across keys: between values that are each valid, and between settings and catalog."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from yasdg_app.config import rules
from yasdg_app.config.rules import MINUTES_PER_DAY, WEEKDAYS, clock_text, did_you_mean
from yasdg_app.config.sections import SECRET_KEYS, SECTIONS
from yasdg_app.config.settings import (
    FAULTS,
    LARGEST_QUANTITY,
    MIN_SECONDS_BETWEEN_SALES,
    KafkaSettings,
    SalesSettings,
    Settings,
)
from yasdg_app.config.values import ParsedValues
from yasdg_app.text import printable


def check_together(settings: Settings, values: ParsedValues) -> None:
    """Check the conditions between values that are each valid; add each violation to the problems of `values`."""
    sales, pace = settings.sales, ("max_sale_freq", "min_sale_freq")
    if values.all_read("SALES", *pace):
        if sales.min_sale_freq > sales.max_sale_freq:
            both = f"{sales.min_sale_freq:g} and {sales.max_sale_freq:g}"
            values.refuse("SALES", pace, f"expected min_sale_freq to be at most max_sale_freq; they are {both}")
        elif sales.mean_seconds_between_sales < MIN_SECONDS_BETWEEN_SALES * (1 - 1e-9):  # sums of decimals are inexact
            least = f"{MIN_SECONDS_BETWEEN_SALES:f} seconds"
            values.refuse("SALES", pace, f"expected a mean of min_sale_freq and max_sale_freq of at least {least}")

    _check_quantities(settings, values)

    # Kafka treats names that differ only in "." and "_" as equal and rejects the second one.
    seen: dict[str, str] = {}
    for key in SECTIONS["KAFKA"]:
        if key.startswith("topic_") and values.all_read("KAFKA", key):
            other = seen.setdefault(getattr(settings.kafka, key).replace(".", "_"), key)
            if other != key:
                why = f"expected {key} and {other} to differ in more than dots and underscores"
                values.refuse("KAFKA", (key, other), why)

    if values.all_read("KAFKA", "bootstrap_servers", "auth_method"):
        _check_login(settings.kafka, values)

    clock = settings.clock
    if values.all_read("CLOCK", "start", "speed") and clock.start is None and clock.speed and clock.speed > 1:
        why = "a speed above 1 needs a start in the past, such as start = 30d, or its sales would be of the future"
        values.refuse("CLOCK", ("speed",), why)
    if isinstance(clock.start, datetime) and isinstance(clock.end, datetime) and clock.end <= clock.start:
        values.refuse("CLOCK", ("end",), f"expected an end after the start, {clock.start}")

    if values.all_read("HOURS", "every_day", *WEEKDAYS):
        _check_hours(settings, values)

    web = settings.web
    if values.all_read("WEB", "host", "token") and not is_open_to(web.host, web.token):
        values.refuse("WEB", ("host",), f"expected 127.0.0.1, or a token as well: {TOKEN_REQUIRED}")

    suppliers: dict[str, str] = {}
    for supplier in settings.suppliers:
        for category in supplier.categories:
            other = suppliers.setdefault(category, supplier.name)
            if other != supplier.name:
                why = f"expected categories of no other supplier; {printable(category)} is one of [SUPPLIER {other}]"
                values.refuse(f"SUPPLIER {supplier.name}", ("categories",), why)

    together = sum(getattr(settings.faults, kind) for kind in FAULTS)
    if values.all_read("FAULTS", *FAULTS) and together > 1:
        why = f"expected {', '.join(FAULTS)} to be at most 1 together, since a message has one fault"
        values.refuse("FAULTS", FAULTS, f"{why}; they are {together}")

    form = settings.format
    if form.value != "json" and values.all_read("FORMAT", "value", "registry", "time"):
        if not form.registry:
            values.refuse("FORMAT", ("value",), "expected a registry as well, such as registry = http://localhost:8081")
        if form.time != "sql":
            values.refuse("FORMAT", ("time",), f"expected no time beside {form.value}, which has a type for times")
        if settings.faults.any:
            values.refuse("FORMAT", ("value",), "expected json beside [FAULTS], which damage text")


def _check_quantities(settings: Settings, values: ParsedValues) -> None:
    sales, inventory = settings.sales, settings.inventory
    if not sales.quantities or not values.all_read("SALES", "quantities", "quantity_one_freq"):
        return
    other = values.given.get(("SALES", "quantity_one_freq"))
    if other is not None and sales.quantity_thresholds != replace(sales, quantities=()).quantity_thresholds:
        values.refuse("SALES", ("quantities",), f"contradicts {other.place}; expected only one of them")
    largest = sales.largest_quantity
    why = f"because one sale takes up to {largest}, by {values.given['SALES', 'quantities'].place}"
    for key, least in (("min_inventory", largest - 1), ("restock_amount", largest)):
        if values.all_read("INVENTORY", key) and getattr(inventory, key) < least:
            values.refuse("INVENTORY", (key,), f"expected at least {least}, {why}")


_NEEDED = {
    "sasl_plain": ("sasl_username", "sasl_password"),
    "sasl_scram": ("sasl_username", "sasl_password"),
    "sasl_oauthbearer": (
        "sasl_oauthbearer_token_endpoint_url", "sasl_oauthbearer_client_id", "sasl_oauthbearer_client_secret",
    ),
    "aws_msk_iam": ("aws_region",),
}  # fmt: skip
"""Keys required for authentication, by auth_method."""


def _check_login(kafka: KafkaSettings, values: ParsedValues) -> None:
    method = kafka.auth_method
    if kafka.embedded and method != "plaintext":
        why = "the embedded broker asks nobody who they are. Name your cluster in [KAFKA] bootstrap_servers"
        values.refuse("KAFKA", ("auth_method",), f"expected plaintext: {why}")
    for key in _NEEDED.get(method, ()):
        by_file = f"{key}_file" if ("KAFKA", key) in SECRET_KEYS else key
        if not getattr(kafka, key) and not getattr(kafka, by_file) and values.all_read("KAFKA", key, by_file):
            elsewhere = f", better in YASDG_KAFKA_{key.upper()} or in the file that {by_file} names"
            expected = key + (elsewhere if by_file != key else "")
            values.refuse("KAFKA", ("auth_method",), f"expected {expected} as well")
    for section, key in sorted(SECRET_KEYS):
        if section == "KAFKA" and getattr(kafka, key) and getattr(kafka, f"{key}_file"):
            values.refuse("KAFKA", (key,), f"expected either {key} or {key}_file, not both")
    if kafka.ssl_key_file and not kafka.ssl_cert_file and values.all_read("KAFKA", "ssl_cert_file"):
        values.refuse("KAFKA", ("ssl_key_file",), "expected ssl_cert_file as well, the certificate that it belongs to")
    if method == "aws_msk_iam" and kafka.sasl_protocol == "sasl_plaintext":
        values.refuse("KAFKA", ("sasl_protocol",), "expected sasl_ssl: Amazon MSK takes IAM through TLS alone")


def _check_hours(settings: Settings, values: ParsedValues) -> None:
    week = settings.hours.week
    if not any(week):
        values.refuse("HOURS", (*WEEKDAYS, "every_day"), "expected hours on at least one weekday")
        return
    told = False
    for day, spans in enumerate(week):
        next_day = (day + 1) % 7
        if spans and week[next_day] and spans[-1][1] - MINUTES_PER_DAY > week[next_day][0][0]:
            keys = [key for key in (WEEKDAYS[day], WEEKDAYS[next_day], "every_day") if ("HOURS", key) in values.given]
            if keys[0] != "every_day" or not told:  # every_day is the same on all days: report it once
                told = told or keys[0] == "every_day"
                until, since = clock_text(spans[-1][1]), clock_text(week[next_day][0][0])
                closes = f"the hours of {WEEKDAYS[day]} to end before {WEEKDAYS[next_day]} opens at {since}"
                values.refuse("HOURS", keys, f"expected {closes}, not at {until}")

    if values.all_read("VOLUME", "every_day", *WEEKDAYS):
        curve = [factor for factors in settings.volume.week for factor in factors]
        open_hours = (
            hour
            for day, spans in enumerate(week)
            for start, end in spans
            for hour in range((MINUTES_PER_DAY * day + start) // 60, (MINUTES_PER_DAY * day + end - 1) // 60 + 1)
        )
        if not any(curve[hour % len(curve)] for hour in open_hours):
            why = "expected a number above 0 in at least one hour of the week in which the shop is open"
            values.refuse("VOLUME", (*WEEKDAYS, "every_day"), why)


TOKEN_REQUIRED = (
    "others may ask a server that this machine is not alone to reach, so set [WEB] token, or YASDG_WEB_TOKEN"
)


def is_open_to(host: str, token: str) -> bool:
    """Return whether a web server may listen on an address: without a token only on a loopback address."""
    return bool(token) or rules.is_loopback(host)


MAX_NAMED_PRODUCTS = 5  # in one message
MAX_SALE_AMOUNT = Decimal("9999999999.99")  # decimal(12, 2), of which the schemas are; two units never cost more


class _Product(Protocol):
    @property
    def product_id(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def inventory(self) -> int: ...
    @property
    def price_cents(self) -> int: ...
    @property
    def cost_cents(self) -> int | None: ...


def check_products(settings: Settings, products: Iterable[_Product]) -> list[str]:
    """Return a message for each product and category that incidents and suppliers name but the catalog lacks.

    Each message names the section and the key. Two more name the products of which one
    sale may take more than the shelf holds, or cost more than a message can say.
    """
    names_products = any(each.products for each in settings.incidents)
    ids: dict[str, str] = {}
    categories: dict[str, str] = {}
    largest = settings.sales.largest_quantity
    several = largest > LARGEST_QUANTITY  # every catalog is fit for fewer
    short: list[_Product] = []
    dear: list[_Product] = []
    for product in products:  # there may be a million of them
        if names_products:
            ids[product.product_id] = product.product_id
        if several and product.inventory < largest:
            short.append(product)
        if several and largest * _unit_amount(product, settings.sales) > MAX_SALE_AMOUNT:
            dear.append(product)
        if product.category not in categories:
            categories[product.category] = printable(product.category)
    scopes = [(f"[SUPPLIER {each.name}] categories", each.categories, categories) for each in settings.suppliers]
    for each in settings.incidents:
        scopes.append((f"[INCIDENT {each.name}] categories", each.categories, categories))
        scopes.append((f"[INCIDENT {each.name}] products", each.products, ids))
    problems = [
        f"{place}: {printable(name)} is not in the catalog of products{did_you_mean(name, known, known)}"
        for place, names, known in scopes
        for name in names
        if name not in known
    ]
    if short:
        names = _some([f"{product.product_id} = {product.inventory}" for product in short])
        problems.append(
            f"[SALES] quantities: one sale takes up to {largest} units; expected an Inventory of at least {largest} "
            f"for every product; found {names}"
        )
    if dear:
        names = _some([product.product_id for product in dear])
        problems.append(
            f"[SALES] quantities: expected {largest} units of a product, with supplements, to cost at most "
            f"{MAX_SALE_AMOUNT}, which is all that the schemas hold; those of {names} cost more"
        )
    return problems


def _unit_amount(product: _Product, sales: SalesSettings) -> Decimal:
    """Return the larger of price and cost of one unit with supplements."""
    price = Decimal(product.price_cents) / 100 + sales.supplements_cost
    return max(price, Decimal(product.cost_cents or 0) / 100 + sales.supplements_cogs)


def _some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED_PRODUCTS
    return ", ".join(names[:MAX_NAMED_PRODUCTS]) + (f" and {more} more" if more > 0 else "")
