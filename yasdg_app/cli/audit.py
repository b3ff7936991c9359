"""`yasdg audit`: checks from the topics alone that the books balance."""

import gc

import aiohttp
import orjson
from aiokafka.errors import KafkaError
from faust.cli import option

from yasdg_app.audit.account import Topics
from yasdg_app.audit.report import AuditError, AuditReport, ForeignMessages
from yasdg_app.audit.shop_audit import ShopAudit
from yasdg_app.cli.base import ShopCommand, command
from yasdg_app.cli.progress import ProgressBar
from yasdg_app.errors import YasdgError
from yasdg_app.process.exits import exit_with_error

MAX_FINDINGS_PRINTED = 50


@command(
    option("--table", "urls", multiple=True, metavar="URL", help="Also check a running worker's table; repeatable."),
    option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    base=ShopCommand,
)
async def audit(self: ShopCommand, urls: tuple[str, ...], as_json: bool) -> int:
    """Check from the topics alone that the books balance, whether workers run or not.

    Checks that sales and lost sales have no gap and no duplicate, and took place during opening hours; that totals,
    costs and discounts are right to the cent; that every delivery came when it was due; that all stock levels are
    right; that no customer was turned away from a full shelf; and that incidents match the plan. With --table it also
    checks what workers show: name one, which asks the others, or several. The configuration must be that of the shop.

    Exit status: 0 the books balance, 1 there are findings, 2 the topics cannot be read.

    Examples: yasdg audit; yasdg audit --json; yasdg audit --table http://localhost:6066
    """
    # Messages come by the hundred thousand and form no cycles: looking for cycles would take a fifth of the time.
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
    shop_audit = ShopAudit(self.shop.settings, self.shop.products, self.shop.connection, self.shop.format)
    try:
        report = await shop_audit.run(
            urls, lambda purchases: ProgressBar(purchases, "Auditing", "Audited {} of {} purchases")
        )
    except (YasdgError, KafkaError, aiohttp.ClientError, OSError) as error:
        exit_with_error(AuditError(f"Cannot audit {self.shop.connection.servers}: {error}"), 2)
    if as_json:
        print(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        show(report, shop_audit.topics)
    return 0 if report.balanced else 1


def show(report: AuditReport, topics: Topics) -> None:
    """Print the report in human-readable form."""
    span = f", {report.first} to {report.last} (event time)" if report.first else ""
    print(f"{topics.purchases}: {report.purchases} sales of {report.products} products{span}")
    print(f"{topics.stockings}: {report.stockings} restocks")
    print(
        f"{topics.lost_sales}: {report.lost_sales} lost sales: {report.lost_units} units worth "
        f"{report.lost_cents / 100:.2f} not sold, {report.substituted_units} sold of another product instead"
    )
    print(f"{topics.incidents}: {report.incidents} announcements")
    print(f"{topics.dead_letters}: {report.dead_letters} messages")
    if report.table_rows:
        print(f"the workers' table: {report.table_rows} products compared with the log")
    for topic, foreign in report.foreign.items():
        if foreign.count:
            print(f"{topic}: {_foreign_text(topic, foreign, topics)} ({foreign.places_text})")
    if report.by_content:
        print(
            "No batch of purchases, lost sales, restocks or dead letters says that this shop wrote it, as in a copy by "
            "another tool: the audit goes by content, and cannot tell the shop's messages from others."
        )
    if report.balanced:
        print("The books balance.")
        return
    print(f"The books do not balance: {report.kinds_text()}")
    print("\n".join(report.finding_lines(MAX_FINDINGS_PRINTED)))


def _foreign_text(topic: str, foreign: ForeignMessages, topics: Topics) -> str:
    what = f"{foreign.count} message{'s' * (foreign.count > 1)} of other producers"
    if topic not in topics.copied:
        return f"{what} {'were' if foreign.count > 1 else 'was'} ignored"
    part = "all" if foreign.put_aside == foreign.count else str(foreign.put_aside)
    return f"{what}, {part} of them in the dead letters"
