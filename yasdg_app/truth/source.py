"""The source of the truth about a shop: the shop in the cluster if there is one, otherwise the configuration alone."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime

from aiokafka.errors import KafkaError

from yasdg_app.cluster_state.control_records import read_control
from yasdg_app.cluster_state.lifetime import first_moment, last_moment
from yasdg_app.cluster_state.manifest import ConfigurationChangedError, UnknownShopError, find_shop
from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.fingerprint import fingerprint_of
from yasdg_app.errors import YasdgError
from yasdg_app.kafka import topics as shop_topics
from yasdg_app.kafka.client import administration
from yasdg_app.kafka.embedded.errors import BrokerError
from yasdg_app.kafka.embedded.folder import BrokerFolder
from yasdg_app.kafka.reader import read_all
from yasdg_app.messages.times import time_text
from yasdg_app.shop.faults import Faults
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sale_limit import generate_all
from yasdg_app.shop.till import Till
from yasdg_app.text import length
from yasdg_app.truth.arrivals import ArrivalSimulator
from yasdg_app.truth.offline_stream import FOREVER
from yasdg_app.truth.stream_end import reproduction_hint, require_enough_sales
from yasdg_app.truth.tumbling import Span
from yasdg_app.truth.windows import sorted_products

CLUSTER_TIMEOUT_SECONDS = 5.0  # in which a reachable cluster responds
SECOND = 1_000_000  # microseconds
ALL = "all"  # one window


class TruthError(YasdgError):
    """The requested truth is not known."""


@dataclass(frozen=True, slots=True)
class TruthSource:
    """What the truth is computed from.

    Attributes
    ----------
    shop
        As configured.
    plan
        Of the shop.
    now
        Event time.
    source
        Where these come from, for people.
    """

    shop: RunningShop
    plan: Plan
    now: int
    source: str

    @property
    def number_of_sales(self) -> int:
        """Number of sales after which the shop closes; 0: it does not."""
        return self.plan.sales.number_of_sales

    @property
    def closes(self) -> bool:
        """Whether the configuration gives the shop an end."""
        return bool(self.number_of_sales) or self.shop.settings.clock.end is not None

    @property
    def until(self) -> int:
        """Last event time of the shop, inclusive."""
        closes_at = last_moment(self.shop.settings, self.plan.opened_at)
        return FOREVER if closes_at is None else closes_at - 1

    def span(self, window: int | None, begin: int | None, end: int | None) -> Span:
        """Return the event times that count. Raises TruthError if there are none.

        Parameters
        ----------
        window
            Length of a window; None: a single window.
        begin, end
            As requested. Without an end: that of the shop; if the shop has none: the end of the last complete window.
        """
        opened_at = self.plan.opened_at
        if end is None and not self.closes:
            end = self.now if window is None else self.now // window * window
        elif end is None and self.number_of_sales:
            end = self._last_sale() + 1
        end = self.until + 1 if end is None else min(end, self.until + 1)
        begin = opened_at if begin is None else max(begin, opened_at)
        if begin >= end:
            raise TruthError(
                f"There are no sales from {time_text(begin)} to {time_text(end)} (UTC): the shop opened "
                f"{time_text(opened_at)}. Set the end, such as --to '{time_text(begin)[:10]} 23:59'"
            )
        return Span(begin, end, window)

    def whole_windows(self, window: int | None, begin: int | None, end: int | None) -> Span:
        """Return the span of the windows that are compared: see `span`, without those that `begin` or `end` cut.

        The shop's first and last moment do not count as cuts: such a window contains all of its events. Raises
        TruthError if there are none.
        """
        span = self.span(window, begin, end)
        if window is None:
            return span
        first, before = span.begin, span.end
        if begin is not None and begin > self.plan.opened_at:
            first = -(-begin // window) * window
        if end is not None and end < self.until + 1:
            before = end // window * window
        if first >= before:
            raise TruthError(
                f"There is no complete window of {length(window / SECOND)} between {time_text(span.begin)} and "
                f"{time_text(span.end)} (UTC), and windows that --from or --to cut are not compared. Set other times"
            )
        return Span(first, before, window)

    def _last_sale(self) -> int:
        """Return the event time of the sale that ends a run of so many sales. Raises GenerateError if there is none."""
        require_enough_sales(self.shop.settings, self.plan, self.until, self.number_of_sales)
        served = generate_all(Till(self.plan, self.plan.products), self.until, self.number_of_sales)
        return max(through for _, through in served)

    def arrivals(self, span: Span, lateness: int | None, deduplicated: bool) -> ArrivalSimulator | None:
        """Return a simulator of the arrivals that an engine sees; None if no allowed lateness is given."""
        if lateness is None:
            if deduplicated:
                raise TruthError(
                    "--deduplicated is for an engine that reads the dirty topic: it requires --allowed-lateness"
                )
            return None
        if not self.shop.settings.faults.any:
            raise TruthError(
                "--allowed-lateness requires a shop with [FAULTS]: without them, all messages are on time and in order"
            )
        return self._simulator(span, lateness, deduplicated)

    def faults(self, span: Span) -> ArrivalSimulator:
        """Return a simulator that records the fault of each sale and changes nothing."""
        return self._simulator(span, None, False)

    def _simulator(self, span: Span, lateness: int | None, deduplicated: bool) -> ArrivalSimulator:
        faults = Faults.of(self.shop.settings.faults, self.plan.sales.seed)
        return ArrivalSimulator(faults, sorted_products(self.plan), span, lateness, deduplicated)


async def resolve_truth_source(shop: RunningShop, opened_at: int | None, of_a_stream: bool = False) -> TruthSource:
    """Return the source of the truth.

    Parameters
    ----------
    opened_at
        Event time of the opening, microseconds since 1970; if given, no cluster is contacted.
    of_a_stream
        A stream of the shop exists, so its opening is in the past: if its time is unknown, this raises TruthError.
    """
    found, why = None, "the time of its opening is given"
    if opened_at is None:
        try:
            found, why = await _in_the_cluster(shop)
        except (KafkaError, OSError, TimeoutError, BrokerError) as error:
            why = f"Apache Kafka at {shop.connection.servers} does not answer ({str(error) or 'in time'})"
        finally:
            await shop.leave_broker()
    if found is None:
        now = time.time_ns() // 1000
        by_now = opened_at is None and not isinstance(shop.settings.clock.start, datetime)
        if by_now and of_a_stream:
            raise TruthError(
                "The time of this shop's opening is unknown: [CLOCK] start is relative to it. Set --opened-at, or the "
                f"cluster that contains the shop ([KAFKA] bootstrap_servers): {why}"
            )
        begin = first_moment(shop.settings, now) if opened_at is None else opened_at
        found = TruthSource(
            shop, Plan.of(shop.settings, shop.products, begin), now,
            f"the configuration alone, without changes made while the shop ran: {why}"
            + (f". It is a simulated shop, opened now{reproduction_hint(begin)}" if by_now else ""),
        )  # fmt: skip
    return found


async def _in_the_cluster(shop: RunningShop) -> tuple[TruthSource | None, str]:
    """Return the shop in the cluster; if there is none, the reason."""
    kafka = shop.settings.kafka
    if kafka.embedded:
        if not BrokerFolder(kafka.data_dir).data.exists():
            return None, f"no shop was opened in {kafka.data_dir}"
        await shop.connect_broker()
    servers, control = shop.connection.servers, shop_topics.control_topic(kafka)
    async with asyncio.timeout(CLUSTER_TIMEOUT_SECONDS), administration(shop.connection) as admin:
        existing = set(await admin.list_topics())
    try:
        manifest = await find_shop(shop.connection, kafka, existing, fingerprint_of(shop.settings, shop.products))
    except UnknownShopError:
        return None, f"the shop {kafka.application_id} was never opened on {servers}"
    except ConfigurationChangedError as error:
        raise TruthError(
            f"The shop on {servers} was opened {time_text(error.manifest.opened_at)} with another configuration: "
            f"{'; '.join(error.changes)}. Restore these values, or set --opened-at for another shop"
        ) from None
    state = read_control(await read_all(shop.connection, control, manifest.producer_id), manifest.clock, shop.products)
    plan = Plan.of(shop.settings, shop.products, manifest.opened_at).with_control(state.live, state.gaps)
    live = ", ".join(incident.name for incident in state.live) or "none"
    return TruthSource(
        shop,
        plan,
        manifest.clock.at(time.time_ns() // 1000),
        f"the shop on {servers}, opened {time_text(manifest.opened_at)} (UTC); incidents set while it ran: {live}; "
        f"skipped downtimes: {len(state.gaps) or 'none'}",
    ), ""
