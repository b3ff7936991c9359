"""The workers of the shop, as Faust knows them.

The group's leader distributes the URL that each worker advertises, and its partitions, at every rebalance.
"""

from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.faust_runtime.table import ChunkedTable


class GroupDirectory:
    """Knows the workers of the consumer group.

    Parameters
    ----------
    app
        The Faust app, a member of the group.
    inventory
        The table, by whose partitions the members are known.
    """

    def __init__(self, app: ShopApp, inventory: ChunkedTable) -> None:
        self._app = app
        self._inventory = inventory

    @property
    def own_url(self) -> str:
        """The URL of this worker, as it is advertised."""
        return str(self._app.conf.canonical_url)

    def workers(self) -> dict[str, list[int]]:
        """Return the URL of each worker, and its partitions, as of the last rebalance."""
        topic = self._inventory.changelog_topic.get_topic_name()
        members = self._app.router.tables_metadata()
        assigned = {str(url): sorted(tps.get(topic, ())) for url, tps in members.items()}
        return {self.own_url: [], **assigned}
