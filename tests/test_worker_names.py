"""What workers tell each other, Prometheus and the log has the names that it had.

Workers of two versions run side by side during an upgrade, dashboards and alerts name metrics, and a log that shows
what libraries say at INFO is another log.
"""

import importlib
import logging
import pkgutil
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import mode
import msgspec
import pytest
from faust.types import TP

import yasdg_app
from yasdg_app.app import load
from yasdg_app.faust_runtime.log_levels import silence_libraries
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.web.access import TOKEN_COOKIE
from yasdg_app.web.driver import PARTIAL_RESULTS_PATH
from yasdg_app.web.metrics import Metrics
from yasdg_app.web.query_params import PageParams
from yasdg_app.web.responses import encode_json
from yasdg_app.web.results import (
    PartialLevels,
    PartialResult,
    PartialSales,
    PartialSnapshot,
    PartialState,
    ProductLine,
    SalesCount,
    SalesHistory,
    Totals,
    WindowSales,
    WorkerState,
)
from yasdg_app.web.share import SharePage
from yasdg_app.web.snapshot import SnapshotBuilder
from yasdg_app.web.token_proof import PROOF_HEADER, PeerRequest, authorization_of
from yasdg_app.web.views import Views

# --- /share/ between two versions -------------------------------------------------------------------------------------

STATE = WorkerState(True, ["why"], 0, 1.5, None)
COUNTED = SalesCount(0, "CS01", 1, 2, 998)
ROW = InventoryLevel("CS01", 74, 75, 1, 1, 0, 0, 499, 150, "", 7)
LINE = ProductLine("CS01", "Sunrise Sunset", "Classic", 74, 75, 10, 15, 0, None, 1.5, 1, 2, 4.99, 3)
PAST = SalesHistory(
    0, 60_000_000, {"minute": WindowSales({"Classic": (1, 2, 998)}, [COUNTED])}, {"Classic": [(1, 998)]}
)
SHARES: list[tuple[PartialResult, bytes]] = [
    (
        PartialState(3, [0, 1], STATE),
        b'{"generation":3,"partitions":[0,1],"state":{"ready":true,"reasons":["why"],"lag":0,"rate":1.5,"behind":null}}',
    ),
    (
        PartialLevels(3, [0], [(0, {"product_id": "CS01"})]),
        b'{"generation":3,"partitions":[0],"rows":[[0,{"product_id":"CS01"}]]}',
    ),
    (
        PartialSales(None, [], 1, 2, [COUNTED]),
        b'{"generation":null,"partitions":[],"complete_from":1,"complete_through":2,'
        b'"rows":[{"place":0,"key":"CS01","sales":1,"units":2,"cents":998}]}',
    ),
    (
        PartialSnapshot(
            3, [0], STATE, 1, 2, Totals(1, 2, 3, 4, 5), [LINE], PAST, [{"stocking_id": "a"}], [{"lost": "b"}]
        ),
        b'{"generation":3,"partitions":[0],"state":{"ready":true,"reasons":["why"],"lag":0,"rate":1.5,"behind":null},'
        b'"complete_from":1,"complete_through":2,"totals":{"sales":1,"units":2,"cents":3,"restocks":4,"lost_sales":5},'
        b'"products":[{"product_id":"CS01","item":"Sunrise Sunset","category":"Classic","level":74,"initial":75,'
        b'"minimum":10,"restock_amount":15,"on_order":0,"promised":null,"to_empty":1.5,"sales":1,"sold":2,'
        b'"revenue":4.99,"lost_sales":3}],"past":{"first":0,"through":60000000,"windows":{"minute":{"categories":'
        b'{"Classic":[1,2,998]},"products":[{"place":0,"key":"CS01","sales":1,"units":2,"cents":998}]}},'
        b'"series":{"Classic":[[1,998]]}},"restocks":[{"stocking_id":"a"}],"lost_sales":[{"lost":"b"}]}',
    ),
]


@pytest.mark.parametrize(("share", "answer"), SHARES, ids=lambda value: type(value).__name__)
def test_a_share_is_told_and_read_as_it_was(share: PartialResult, answer: bytes) -> None:
    assert encode_json(msgspec.to_builtins(share)) == answer
    assert msgspec.json.decode(answer, type=type(share)) == share


def test_a_row_of_a_share_is_that_of_the_changelog() -> None:
    assert list(ROW.asdict()) == [
        "product_id", "level", "initial", "sales", "sold", "stockings", "restocked", "revenue_cents", "cost_cents",
        "last_sale", "offset", "stocking_offset", "on_order", "ordered_at", "promised", "margin_cents", "lost_sales",
        "lost", "lost_cents", "substituted", "last_lost", "lost_offset",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ({"what": "state"}, ("partial_state",)),
        ({"what": "level", "product_id": "CS01"}, ("level", "CS01")),
        ({"what": "levels", "limit": "5"}, ("levels", 5, None)),
        ({"what": "levels", "limit": "5", "after": "CS01"}, ("levels", 5, "CS01")),
        (
            {
                "what": "sales",
                "window": "minute",
                "by": "product",
                "limit": "5",
                "through": "60000000",
                "after": "CS01",
            },
            ("sales", "minute", "product", 60_000_000, 5, "CS01"),
        ),
        (
            {"what": "sales", "window": "day", "by": "category", "limit": "5"},
            ("sales", "day", "category", None, 5, None),
        ),
        ({"what": "live"}, ("snapshot", None)),
        ({"what": "live", "through": "60000000"}, ("snapshot", 60_000_000)),
    ],
    ids=str,
)
async def test_a_question_of_another_worker_is_understood(query: dict[str, str], asked: tuple[Any, ...]) -> None:
    class Noted:
        categories: ClassVar[dict[str, int]] = {}

        def __getattr__(self, name: str) -> Any:
            async def note(*of: Any) -> tuple[Any, ...]:
                return (name, *of)

            return note

    noted: Any = Noted()
    assert await SharePage(noted, noted, noted, noted).partial_result(query) == asked


async def test_other_workers_are_asked_as_they_were() -> None:
    class Gathers:
        async def gather(self, kind: type[PartialResult], own: Any, **query: str) -> Any:
            return kind.__name__, query

    nothing: Any = SimpleNamespace(shop=None, catalog=None, sales=None, snapshot=None)
    gathers: Any = Gathers()
    assert await Views(nothing, nothing, nothing, gathers, nothing)._gather_sales(
        "minute", "product", 60_000_000, PageParams(5, "CS01")
    ) == (
        "PartialSales",
        {"what": "sales", "window": "minute", "by": "product", "limit": "5", "after": "CS01", "through": "60000000"},
    )
    builder = SnapshotBuilder(nothing, nothing, gathers, nothing)
    assert await builder._gather(60_000_000) == ("PartialSnapshot", {"what": "live", "through": "60000000"})


def test_how_workers_prove_that_they_have_the_token() -> None:
    question = PeerRequest("GET", "/share/?what=state", "http://a:6066", 1_780_272_060, "0" * 32)
    assert PARTIAL_RESULTS_PATH == "/share/"
    assert PROOF_HEADER == "X-YASDG-Proof"
    assert TOKEN_COOKIE == "yasdg_token"
    assert authorization_of("secret", question) == (
        "YASDG-HMAC-SHA256 time=1780272060, nonce=00000000000000000000000000000000, "
        "mac=947797ca37331066c8e800e95fd3b092788b6cc15cd8723e012f2e6c96d085a8"
    )


# --- /metrics ---------------------------------------------------------------------------------------------------------


def test_metrics_have_the_names_and_types_that_they_had() -> None:
    tp = TP("demo.purchases", 3)
    producer = SimpleNamespace(waiting_since=None, seconds=0.0, batches=0)
    sink = SimpleNamespace(waiting=0, lag=0.0, written=0, failures=0)
    shop = SimpleNamespace(is_open=True, producer=producer, counts=Counter())
    app: Any = SimpleNamespace(rebalancing_count=0)
    pipeline: Any = SimpleNamespace(shop=shop, sink=sink, assignment=SimpleNamespace(has_lease=True))
    health: Any = SimpleNamespace(
        owned_last=lambda: [tp],
        delay_of=lambda partition: 2.0,
        rate_of=lambda partition: 2.0,
        lag_of=lambda tp, ends: 2,
    )
    broadcaster: Any = SimpleNamespace(clients=0, dropped=0)
    scatter_gather: Any = SimpleNamespace(gathers=0, incomplete=0)
    metrics = Metrics(app, pipeline, health, broadcaster, scatter_gather)
    lines = metrics.exposition({tp: 9}).decode().splitlines()
    types = dict(line.split()[2:] for line in lines if line.startswith("# TYPE yasdg_"))
    samples = [line.rpartition(" ")[0] for line in lines if line.startswith("yasdg_")]
    assert types == {
        "yasdg_partitions": "gauge",
        "yasdg_till_delay_seconds": "gauge",
        "yasdg_sales_due": "gauge",
        "yasdg_purchases_lag": "gauge",
        "yasdg_sales_total": "counter",
        "yasdg_lost_sales_total": "counter",
        "yasdg_restocks_total": "counter",
        "yasdg_dead_letters_total": "counter",
        "yasdg_overtaken_total": "counter",
        "yasdg_rebalances_total": "counter",
        "yasdg_lease_held": "gauge",
        "yasdg_listeners": "gauge",
        "yasdg_listeners_dropped_total": "counter",
        "yasdg_gathers_total": "counter",
        "yasdg_gathers_incomplete_total": "counter",
        "yasdg_append_wait_seconds": "gauge",
        "yasdg_append_seconds_total": "counter",
        "yasdg_append_batches_total": "counter",
        "yasdg_datastore_rows_waiting": "gauge",
        "yasdg_datastore_lag_seconds": "gauge",
        "yasdg_datastore_rows_written_total": "counter",
        "yasdg_datastore_failures_total": "counter",
    }
    by_partition = {"yasdg_till_delay_seconds", "yasdg_sales_due", "yasdg_purchases_lag"}
    assert samples == [name + ('{partition="3"}' if name in by_partition else "") for name in types]


# --- What is committed beside the last position -----------------------------------------------------------------------


async def test_a_worker_whose_part_is_done_notes_it_as_others_expect_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def yes(*_: Any) -> bool:
        return True

    async def renew_lease(*, at_once: bool) -> None:
        assert at_once

    _, pipeline = load()
    end = pipeline.sales.end_of_run
    assignment = SimpleNamespace(partitions=[0, 3], commit_metadata={}, renew_lease=renew_lease)
    for name, value in (("_assignment", assignment), ("_is_done", yes), ("_is_committed_by_all", yes)):
        monkeypatch.setitem(vars(end), name, value)
    assert await end.finish(1_780_272_060_000_000)
    topic = pipeline.shop.settings.kafka.topic_purchases
    assert assignment.commit_metadata == {
        TP(topic, 0): "closed 1780272060000000",
        TP(topic, 3): "closed 1780272060000000",
    }


# --- What is logged ---------------------------------------------------------------------------------------------------


def modules() -> list[Any]:
    names = [each.name for each in pkgutil.walk_packages(yasdg_app.__path__, "yasdg_app.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def subclasses(of: type) -> set[type]:
    return {each for direct in of.__subclasses__() for each in (direct, *subclasses(direct))}


@pytest.fixture
def levels() -> Iterator[None]:
    """Log as a worker with `-l info` does, and put all levels back."""
    root = logging.getLogger()
    before = {name: each.level for name, each in logging.Logger.manager.loggerDict.items() if hasattr(each, "level")}
    level = root.level
    root.setLevel(logging.INFO)
    silence_libraries()
    yield
    root.setLevel(level)
    for name in logging.Logger.manager.loggerDict:
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))


@pytest.mark.usefixtures("levels")
def test_services_of_faust_and_mode_say_nothing_at_info() -> None:
    """They log under the name of the module of their class: a module that moves has to take its level with it."""
    modules()
    loud = {
        f"{each.__module__}.{each.__qualname__}"
        for each in subclasses(mode.Service)
        for name in (each.__module__, each.logger.name)  # type: ignore[attr-defined]
        if each.__module__.partition(".")[0] in ("yasdg_app", "faust", "mode")
        if logging.getLogger(name).getEffectiveLevel() < logging.WARNING
    }
    assert loud == set(), "add their modules to LOG_LEVELS"


@pytest.mark.usefixtures("levels")
def test_our_own_modules_are_heard_at_info() -> None:
    services = {each.__module__ for each in subclasses(mode.Service)}
    ours = {
        each.logger.name
        for each in modules()
        if isinstance(vars(each).get("logger"), logging.Logger) and each.__name__ not in services
    }
    assert len(ours) >= 10
    assert {name for name in ours if logging.getLogger(name).getEffectiveLevel() != logging.INFO} == set()
    assert logging.getLogger("yasdg_app").getEffectiveLevel() == logging.INFO


@pytest.mark.usefixtures("levels")
@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("faust", logging.WARNING),
        ("mode", logging.WARNING),
        ("mode.timers", logging.ERROR),
        ("aiohttp", logging.WARNING),
        ("aiohttp.server", logging.CRITICAL),
        ("aiokafka", logging.CRITICAL),
        ("boto3", logging.WARNING),
        ("botocore", logging.WARNING),
        ("aioboto3", logging.WARNING),
        ("aiobotocore", logging.WARNING),
        ("aws_msk_iam_sasl_signer", logging.WARNING),
        ("urllib3", logging.WARNING),
        ("httpx", logging.WARNING),
        ("httpcore", logging.WARNING),
        ("confluent_kafka", logging.WARNING),
    ],
)
def test_libraries_are_as_quiet_as_they_were(name: str, level: int) -> None:
    assert logging.getLogger(name).getEffectiveLevel() == level
    assert logging.getLogger(f"{name}.part").getEffectiveLevel() == level
