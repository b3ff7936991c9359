"""The description of the web server is a valid one, and of exactly the pages that there are."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from yasdg_app import web

DESCRIPTION: dict[str, Any] = json.loads(Path(web.__file__).with_name("openapi.json").read_bytes())
PAGES = """
import json
from yasdg_app import app
app.web.init_server()
pages = app.web.web_app.router.resources()
print(json.dumps([(page.canonical, sorted(route.method for route in page)) for page in pages]))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The methods of each page, by its path."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("YASDG_")}
    command = [sys.executable, "-c", PAGES]
    folder = tmp_path_factory.mktemp("pages")
    output = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    found = json.loads(output)
    assert len(found) == len({path for path, _ in found})
    return dict(found)


def test_it_is_valid() -> None:
    validate(DESCRIPTION)


def test_it_has_all_pages_and_their_methods_and_no_others(pages: dict[str, list[str]]) -> None:
    described = {path: {method.upper() for method in methods} for path, methods in DESCRIPTION["paths"].items()}
    assert described == {path: set(methods) - {"HEAD"} for path, methods in pages.items()}


def test_head_is_there_wherever_get_is(pages: dict[str, list[str]]) -> None:
    assert {"HEAD" in methods for methods in pages.values() if "GET" in methods} == {True}
    assert {"HEAD" in methods for methods in pages.values() if "GET" not in methods} == {False}


def test_objects_say_all_that_they_have() -> None:
    """So that an answer with a field that is not described does not pass."""
    objects = [schema for schema in DESCRIPTION["components"]["schemas"].values() if schema.get("type") == "object"]
    assert len(objects) > 20
    assert all(schema["additionalProperties"] is False for schema in objects)
