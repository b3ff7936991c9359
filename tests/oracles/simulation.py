"""What a shop's stream has to be, made from its configuration and its control topic alone: no worker, no table."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from support.shop import Shop, partitions

from yasdg_app.cluster_state.control_records import read_control
from yasdg_app.cluster_state.lifetime import last_moment
from yasdg_app.cluster_state.manifest import ShopManifest, read_manifest
from yasdg_app.config import catalog, ini
from yasdg_app.config.catalog import Product
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.reader import Reader, read_all
from yasdg_app.messages import ids, reference
from yasdg_app.messages.encoders import LostSaleEncoder, PurchaseEncoder
from yasdg_app.messages.reference import announcement, encode
from yasdg_app.messages.times import event_time
from yasdg_app.shop.customer_behaviour import quantity_of
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sale_limit import SaleLimit
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


def opening_of(shop: Shop) -> ShopManifest:
    opening = read_manifest(asyncio.run(read_all(Connection(shop.servers), f"{shop.name}-opening")))
    assert opening is not None
    return opening


def plan_of(shop: Shop) -> Plan:
    """The plan by the shop's configuration and what its control topic says by now."""
    opening = opening_of(shop)
    configured = ini.load(shop.environment, shop.folder)
    products = catalog.load(configured.sales.products)
    records = asyncio.run(read_all(Connection(shop.servers), f"{shop.name}-control", opening.producer_id))
    said = read_control(records, opening.clock, products)
    return Plan.of(configured, products, opening.opened_at).with_control(said.live, said.gaps)


def simulate(plan: Plan, until: int, products: Sequence[Product] | None = None) -> Stream:
    """All that a shop tells of up to an event time; of some of its products only, if they are named."""
    till, stream = Till(plan, products or plan.products), Stream()
    encoder, lost_encoder = PurchaseEncoder(till.products, plan.sales), LostSaleEncoder(till.products, plan.sales)
    shelves = [Shelf.of(product) for product in till.products]
    while till.watermark < until:
        served = till.generate_until(until)
        stream.purchases += [value for _, value, _ in encoder.encode(served.sales)]
        stream.lost_sales += [value for _, value, _ in lost_encoder.encode(served.lost)]
        columns = (served.sales.product.tolist(), served.sales.at.tolist(), served.sales.option.tolist())
        for product, at, option in zip(*columns, strict=True):
            shelf = shelves[product]
            restocks = shelf.receive_and_sell(quantity_of(option), at, plan.supply)
            stream.stockings += [encode(reference.stocking(shelf.product.product_id, restock)) for restock in restocks]
    told = plan.incidents.announcements(plan.opened_at, until + 1)
    stream.incidents += [encode(announcement(at, phase, incident)) for at, phase, incident in told]
    return stream


def logged(shop: Shop) -> dict[str, list[bytes]]:
    """What stands on the topics, sorted."""
    return {what: sorted(record.value or b"" for record in shop.read(shop.topic(what))) for what in STREAM}


def as_simulated(shop: Shop, empty: tuple[str, ...] = (), topics: tuple[str, ...] = STREAM) -> None:
    """Every message of a shop whose run is over is the simulation's; none is missing, and there is none on `empty`."""
    plan, configured = plan_of(shop), ini.load(shop.environment, shop.folder)
    closes_at = last_moment(configured, plan.opened_at)
    assert closes_at is not None
    last = SaleLimit(plan, configured.sales.number_of_sales or 10**9)
    while last.cursor is None and last.look(closes_at - 1) < closes_at - 1:
        pass
    wanted, told = simulate(plan, last.cursor.at if last.cursor else closes_at - 1).sorted(), logged(shop)
    assert tuple(what for what in topics if not wanted[what]) == empty
    for what in topics:
        assert told[what] == wanted[what], what


def differences(shop: Shop, foreign: bool = False) -> list[str]:
    """Compare sales and lost sales as far as they go, partition by partition, with the simulation; any time.

    Foreign messages are left out, unless `foreign` says that each of them is a difference.
    """
    return asyncio.run(_differences(shop, plan_of(shop), foreign))


async def _differences(shop: Shop, plan: Plan, foreign: bool) -> list[str]:
    different, count = [], await partitions(shop.servers, shop.topic("purchases"))
    async with Reader(Connection(shop.servers)) as reader:
        for partition in range(count):
            own = [
                product for product in plan.products if ids.default_partition(product.product_id, count) == partition
            ]
            # Lost sales are appended ahead of sales, so either log may be the one that goes further.
            logs = {what: TopicPartition(shop.topic(what), partition) for what in WHEN}
            ends = await reader.ends(logs.values())
            for what, tp in logs.items():
                log = []
                async for message in (m async for chunk in reader.chunks(tp, 0, ends[tp]) for m in chunk):
                    value = message.value or b""
                    if foreign or WHEN[what].encode() in value:
                        log.append((message.offset, value))
                if not log:
                    continue
                until = event_time(json.loads(log[-1][1])[WHEN[what]])
                expected = made(Till(plan, own), what, until)
                for offset, value in log:
                    wanted = next(expected, None)
                    if value != wanted:
                        different.append(f"{tp}, offset {offset}: {value!r}, not {wanted!r}")
                        break
                else:
                    if (rest := next(expected, None)) is not None:
                        different.append(f"{tp} ends at {ends[tp]}, without {rest!r}")
    return different


def made(till: Till, what: str, until: int) -> Iterator[bytes]:
    """The values of a till's purchases or lost sales, in order."""
    sales, lost_sales = (kind(till.products, till.plan.sales) for kind in (PurchaseEncoder, LostSaleEncoder))
    while till.watermark < until:
        served = till.generate_until(until)
        rows = sales.encode(served.sales) if what == "purchases" else lost_sales.encode(served.lost)
        yield from (value for _, value, _ in rows)
