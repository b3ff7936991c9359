"""`yasdg broker`: the embedded Apache Kafka on its own."""

import sys
from typing import Any

from yasdg_app.cli.base import ShopCommand
from yasdg_app.errors import YasdgError
from yasdg_app.kafka.embedded.broker import run_in_foreground
from yasdg_app.process.crashes import one_line
from yasdg_app.process.exits import exit_with_error


class broker(ShopCommand):
    """Run the embedded Apache Kafka in the foreground until Ctrl-C. Workers find it.

    Examples: yasdg broker; YASDG_KAFKA_EMBEDDED_PORT=9192 yasdg broker
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it in this thread: the broker's supervisor handles signals itself."""
        kafka = self.shop.settings.kafka
        if not kafka.embedded:
            print(f"yasdg: [KAFKA] bootstrap_servers is {kafka.bootstrap_servers}: no broker to run.", file=sys.stderr)
            raise SystemExit(2)
        try:
            raise SystemExit(run_in_foreground(kafka.data_dir, kafka.embedded_port))
        except (YasdgError, OSError) as error:
            exit_with_error(YasdgError(one_line(error)), 1)
