"""Environment variables that Faust and mode know belong to others: they change nothing here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import faust
import mode
from faust.types.settings import Settings

ADDED = ("PORT", "HOST", "DEBUG", "LOGLEVEL", "FAUST_APP")  # common ones, which Faust may know some day
HARMLESS = ("NO_CYTHON",)  # whether Faust's compiled modules are used
PRINT = """
import json, sys
import yasdg_app.__main__
from faust.cli.base import builtin_options, cli
from yasdg_app import app
import faust.types._env, mode.utils.logging
conf = {name: repr(getattr(app.conf, name)) for name in sorted(app.conf.SETTINGS)}
cli_defaults = {each.name: repr(each.default) for each in cli.params}
constants = {name: repr(getattr(faust.types._env, name)) for name in faust.types._env.__all__}
loop = repr("mode.loop.uvloop" in sys.modules)
print(json.dumps([conf, cli_defaults, constants, repr(mode.utils.logging.DEVLOG), loop]))
"""


def known() -> set[str]:
    """Every variable that the installed Faust and mode read."""
    names = {each.env_name for each in Settings.SETTINGS.values() if each.env_name}
    folders = [Path(str(package.__file__)).parent for package in (faust, mode)]
    for source in (path.read_text() for folder in folders for path in folder.rglob("*.py")):
        names |= set(re.findall(r"""environ(?:\.get\(|\[)["']([A-Z_]+)["']""", source))
        for name in re.findall(r"""_getenv\(\s*"(\w+)\"""", source):
            names |= {f"FAUST_{name}", f"F_{name}"}
    return names


def conf(**more: str) -> object:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("YASDG_")}
    run = subprocess.run(
        [sys.executable, "-c", PRINT], env=environment | more, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(re.sub(r" at 0x[0-9a-f]+|f-reply-[0-9a-f-]+", "", run.stdout))


def test_no_variable_of_faust_or_mode_changes_the_settings_of_a_worker() -> None:
    names = known() - {"SHELL", "GEVENT_LOOP", *HARMLESS}
    assert len(names) > 90
    assert {"WEB_PORT", "BROKER_URL", "TIMEZONE", "F_DATADIR", "FAUST_LOOP", "DJANGO_SETTINGS_MODULE"} <= names
    plain = conf()
    assert conf(**dict.fromkeys({*names, *ADDED}, "1")) == plain
    assert conf(**dict.fromkeys({*names, *ADDED}, "hostile://value")) == plain
    prefixed = {f"OTHER_{name}": "1" for name in names}
    assert conf(APP_ENV_PREFIX="OTHER", **prefixed) == plain


def test_ours_still_count() -> None:
    assert conf() != conf(YASDG_WEB_PORT="7077")
