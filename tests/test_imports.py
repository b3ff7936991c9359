"""Importing the package, or any module of it, reads no configuration and never ends the program."""

import os
import subprocess
import sys
from pathlib import Path

from faust.cli.base import find_app

import yasdg_app
from yasdg_app.faust_runtime.shop_app import ShopApp

IMPORT_ALL = """
import importlib, pkgutil
import yasdg_app
names = [each.name for each in pkgutil.walk_packages(yasdg_app.__path__, "yasdg_app.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
"""
BROKEN = {"YASDG_SALES_SEED": "not a number", "YASDG_WEB_PORT": "-1"}


def test_no_module_reads_the_configuration_when_it_is_imported(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], env=os.environ | BROKEN, cwd=tmp_path, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_an_invalid_configuration_ends_the_program_when_the_app_is_asked_for(tmp_path: Path) -> None:
    program = "import yasdg_app; yasdg_app.app"
    run = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | BROKEN, cwd=tmp_path, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("yasdg: 2 configuration errors:\n")


def test_the_app_is_where_faust_looks_for_it_before_and_after_its_module_is_imported() -> None:
    assert isinstance(find_app("yasdg_app"), ShopApp)
    from yasdg_app.app import load

    app, _ = load()
    assert yasdg_app.app is app
    assert find_app("yasdg_app") is app
