"""All commands, in one place: importing a module of this list adds its command to `yasdg`.

A command is a coroutine with the decorator `cli.base.command`, or a class derived from `cli.base.ShopCommand`. It takes
the shop from itself: `self.shop.settings`, `self.shop.products`, `self.shop.connection`, `self.shop.format`; see
`topics.py`. Helper functions get the shop, or what they need of it, as an argument. A module must not need the shop
when it is imported.
"""

import importlib

COMMANDS = ("audit", "broker", "consume", "generate", "incident", "plan", "topics", "truth", "verify")
"""Modules of commands, in this package."""


def import_commands() -> None:
    """Add all commands to `yasdg`."""
    for name in COMMANDS:
        importlib.import_module(f"yasdg_app.cli.{name}")
