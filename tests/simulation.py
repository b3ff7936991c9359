"""What a shop's stream has to be, made from its configuration and its control topic alone: no worker, no table."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from support import Shop

from yasdg_app import catalog, messages, settings
from yasdg_app.catalog import Product
from yasdg_app.control import read_control
from yasdg_app.messages import LostSaleEncoder, PurchaseEncoder, announcement, encode, event_time
from yasdg_app.opening import Opening, read_opening
from yasdg_app.reading import read_all
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.shelf import Shelf
from yasdg_app.shop.till import Till

WHEN = {"purchases": "transaction_time", "lost_sales": "event_time"}
STREAM = ("purchases", "lost_sales", "stockings", "incidents")


@dataclass
class Stream:
    """The values of a shop's messages, in the order in which one worker would write them."""

    purchases: list[bytes] = field(default_factory=list)
    lost_sales: list[bytes] = field(default_factory=list)
    stockings: list[bytes] = field(default_factory=list)
    incidents: list[bytes] = field(default_factory=list)

    def sorted(self) -> dict[str, list[bytes]]:
        return {what: sorted(getattr(self, what)) for what in STREAM}


def opening_of(shop: Shop) -> Opening:
    opening = read_opening(asyncio.run(read_all(shop.servers, f"{shop.name}-opening")))
    assert opening is not None
    return opening


def plan_of(shop: Shop) -> Plan:
    """The plan by the shop's configuration and what its control topic says by now."""
    opening = opening_of(shop)
    configured = settings.load(shop.environment, shop.folder)
    said = read_control(asyncio.run(read_all(shop.servers, f"{shop.name}-control")), opening.clock)
    products = catalog.load(configured.sales.products)
    return Plan.of(configured, products, opening.opened_at).with_control(said.live, said.gaps)


def simulate(plan: Plan, until: int, products: Sequence[Product] | None = None) -> Stream:
    """All that a shop tells of up to an event time; of some of its products only, if they are named."""
    till, stream = Till(plan, products or plan.products), Stream()
    encoder, lost_encoder = PurchaseEncoder(till.products, plan.sales), LostSaleEncoder(till.products, plan.sales)
    shelves = [Shelf.of(product) for product in till.products]
    while till.through < until:
        served = till.ring_up(until)
        stream.purchases += [value for _, value, _ in encoder.encode(served.sales)]
        stream.lost_sales += [value for _, value, _ in lost_encoder.encode(served.lost)]
        columns = (served.sales.product.tolist(), served.sales.at.tolist(), served.sales.way.tolist())
        for product, at, way in zip(*columns, strict=True):
            shelf = shelves[product]
            came = [*shelf.receive(at, plan.supply), *shelf.sell((way >> 2) + 1, at, plan.supply)]
            stream.stockings += [encode(messages.stocking(shelf.product.product_id, stocking)) for stocking in came]
    told = plan.incidents.announcements(plan.opened_at, until + 1)
    stream.incidents += [encode(announcement(at, phase, incident)) for at, phase, incident in told]
    return stream


def logged(shop: Shop) -> dict[str, list[bytes]]:
    """What stands on the topics, sorted."""
    return {what: sorted(record.value or b"" for record in shop.read(shop.topic(what))) for what in STREAM}


def differences(shop: Shop) -> list[str]:
    """Compare sales and lost sales as far as they go, partition by partition, with the simulation; any time.

    Foreign messages are left out: they are the audit's affair.
    """
    plan, found = plan_of(shop), []
    logs = {what: shop.partitions(shop.topic(what)) for what in ("purchases", "lost_sales")}
    partitions = len(logs["purchases"])
    for partition in range(partitions):
        own = [product for product in plan.products if messages.home(product.product_id, partitions) == partition]
        told = {
            what: [record.value or b"" for record in log[partition] if WHEN[what].encode() in (record.value or b"")]
            for what, log in logs.items()
        }
        times = [json.loads(value)[WHEN[what]] for what in told for value in told[what][-1:]]
        until = event_time(max(times)) if times else 0
        wanted = simulate(plan, until, own) if own and until else Stream()
        for what, values in told.items():
            simulated = getattr(wanted, what)
            # Of one of the two topics the last ones may be on their way.
            if values != simulated[: len(values)]:
                found.append(f"{what}, partition {partition}, of {len(values)}: not as simulated")
    return found
