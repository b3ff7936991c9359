"""What all commands have in common: each runs on its own event loop, and prints only its result."""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, cast

from aiokafka.errors import KafkaError
from faust.cli import AppCommand

from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.errors import YasdgError
from yasdg_app.faust_runtime.log_levels import silence_libraries
from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.process.crashes import one_line
from yasdg_app.process.exits import exit_with_error
from yasdg_app.process.terminal import escape_what_the_output_cannot_take

Run = Callable[..., Awaitable[int | None]]
"""The body of a command; returns the exit status, None for 0."""


class ShopCommand(AppCommand):
    """Base class of the commands; `run` returns the exit status, None for 0."""

    abstract: ClassVar[bool] = True
    app: ShopApp

    @property
    def shop(self) -> RunningShop:
        """The configured shop."""
        return self.app.shop

    def print_notes(self) -> None:
        """Print what was understood in another way than the configuration file says it."""
        for note in self.shop.settings.notes:
            print(f"yasdg: note: {note}", file=sys.stderr, flush=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command, with the embedded broker if that is configured."""
        silence_libraries()
        escape_what_the_output_cannot_take()  # for callers that use `faust -A yasdg_app`
        signal.signal(signal.SIGINT, signal.default_int_handler)  # see __main__.py
        try:
            status = asyncio.run(self._run_with_broker())
        except KeyboardInterrupt:
            status = 0
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader is gone; avoid an error at exit
            status = 0
        except (YasdgError, KafkaError, OSError) as error:
            if str(self.state.loglevel).upper() == "DEBUG":
                traceback.print_exception(error)
            exit_with_error(self._explained(error), 1)
        raise SystemExit(status or 0)

    def _explained(self, error: Exception) -> YasdgError:
        if isinstance(error, YasdgError):
            return error
        where = f"Apache Kafka at {self.shop.connection.servers}: " if isinstance(error, KafkaError) else ""
        return YasdgError(where + (str(error) if where else one_line(error)))

    async def _run_with_broker(self) -> Any:
        await self.shop.connect_broker()
        try:
            return await self.run(*self.args, **self.kwargs)
        finally:
            await self.shop.leave_broker()


class OfflineCommand(ShopCommand):
    """A command that needs no broker."""

    abstract: ClassVar[bool] = True

    async def _run_with_broker(self) -> Any:
        return await self.run(*self.args, **self.kwargs)


def command(*options: Any, base: type[ShopCommand] = ShopCommand) -> Callable[[Run], type[ShopCommand]]:
    """Turn a coroutine into a command; `options`: Faust's `argument` and `option`. Its docstring is the help text."""
    return cast(Callable[[Run], type[ShopCommand]], base.from_handler(*options))
