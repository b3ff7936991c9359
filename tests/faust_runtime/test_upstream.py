"""The private names of other libraries that the package relies on are there, and are what they were.

When a library is upgraded and a test here fails: look at what relies on the name, adapt it, then the list in
yasdg_app/faust_runtime/upstream.py. Tests that run workers would notice some of these by waiting in vain, and some
not at all.
"""

import ast
import inspect
import pkgutil
import re
import textwrap
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import yasdg_app
from yasdg_app.faust_runtime import upstream
from yasdg_app.faust_runtime.upstream import Name

LIBRARIES = ("aiokafka", "faust", "mode", "aiohttp")
PACKAGE = Path(yasdg_app.__file__).parent


@cache
def found(dotted: str) -> Any:
    """Return what `module` or `module:Class.method` names."""
    module, _, path = dotted.partition(":")
    thing = import_module(module)
    for part in path.split(".") if path else ():
        thing = inspect.getattr_static(thing, part) if part.startswith("_") else getattr(thing, part)
    return thing


@cache
def source(thing: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(inspect.unwrap(getattr(thing, "fget", thing))))
    except (OSError, TypeError):  # it is compiled
        return ""


@cache
def assigned(thing: Any) -> set[str]:
    """Return the attributes that a class, or one that it inherits from, sets on its instances."""
    names: set[str] = set()
    for each in inspect.getmro(thing) if inspect.isclass(thing) else ():
        names |= set(getattr(each, "__annotations__", ()))
        for node in ast.walk(ast.parse(source(each) or "pass")):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
                names.add(node.attr)
    return names


def parameters(of: Any) -> tuple[str, ...]:
    marks = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    names = tuple(marks.get(each.kind, "") + each.name for each in inspect.signature(of).parameters.values())
    return names[1:] if names[:1] == ("self",) else names


@pytest.mark.parametrize("name", upstream.NAMES, ids=lambda name: f"{name.owner}.{name.name}")
def test_a_name_is_what_it_was(name: Name) -> None:
    what = f"{name.owner.replace(':', '.')}.{name.name}"
    why = f"yasdg_app/{name.relied_on_by} relies on {what}; without it {name.breaks}."
    owner = found(name.owner)
    is_there = hasattr(owner, name.name) or name.name in assigned(owner)
    assert is_there, f"{what} is gone: {why}"
    if name.kind == "class":
        assert inspect.isclass(getattr(owner, name.name)), f"{what} is no class any more: {why}"
    if name.kind == "callable":
        now = parameters(getattr(owner, name.name))
        assert now == name.parameters, f"{what} takes {now} instead of {name.parameters}: {why}"
    if name.read_by:
        text = source(found(name.read_by))
        used = re.search(rf"(?<!def )\b{name.name}\b", text)
        assert used, f"{name.read_by} does not use {name.name} any more: {why}"


def test_a_name_that_is_gone_is_noticed() -> None:
    for name in (
        Name("aiokafka.consumer.fetcher:Fetcher", "_process", "callable", "", ""),
        Name("aiokafka.consumer.fetcher:Fetcher", "_process", "attribute", "", ""),
        Name("aiokafka.consumer.fetcher:Fetcher", "_proc_fetch_request", "callable", "", "", ("assignment", "request")),
        Name("aiokafka.consumer.fetcher:Fetcher", "_records", "attribute", "", "", read_by="mode.worker:Worker"),
    ):
        with pytest.raises(AssertionError, match="relies on"):
            test_a_name_is_what_it_was(name)


def test_what_relies_on_a_name_still_does() -> None:
    for name in upstream.NAMES:
        word = name.owner.partition(":")[2] if name.name == "__init__" else name.name
        texts = [(PACKAGE / file).read_text() for file in name.relied_on_by.split(", ")]
        assert any(re.search(rf"\b{word}\b", text) for text in texts), f"{name.relied_on_by} does not use {word}"


def is_own(target: ast.expr) -> bool:
    return isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"


def test_private_names_of_others_that_are_used_are_listed() -> None:
    """Whatever starts with an underscore and is not defined in the same file."""
    listed = {name.name for name in upstream.NAMES}
    missing = []
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        own = {node.attr for node in nodes if isinstance(node, ast.Attribute) and is_own(node) and is_set(node)}
        own |= {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        own |= {
            node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        missing += [
            f"{path.relative_to(PACKAGE)}:{node.lineno} {node.attr}"
            for node in nodes
            if isinstance(node, ast.Attribute)
            and re.fullmatch("_[a-z].*", node.attr)
            and node.attr not in own | listed | DOCUMENTED
        ]
    assert missing == [], "add to yasdg_app/faust_runtime/upstream.py what these are of other libraries"


def is_set(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store)


def test_private_names_of_others_that_are_overridden_are_listed() -> None:
    listed = {name.name for name in upstream.NAMES}
    missing = []
    for info in pkgutil.walk_packages(yasdg_app.__path__, "yasdg_app."):
        if info.name == "yasdg_app.__main__":
            continue
        for each in vars(import_module(info.name)).values():
            if not inspect.isclass(each) or each.__module__ != info.name:
                continue
            foreign = [base for base in each.__mro__ if base.__module__.partition(".")[0] in LIBRARIES]
            for name in vars(each).keys() - listed - MADE_BY_METACLASSES:
                if re.fullmatch("_[a-z].*", name) and any(name in vars(base) for base in foreign):
                    missing.append(f"{each.__module__}.{each.__qualname__}.{name}")
    assert missing == [], "add to yasdg_app/faust_runtime/upstream.py what these override"


DOCUMENTED = {"_exit", "_fields", "_replace", "_asdict", "_make"}
"""Names of os, and of named tuples, that have an underscore and are documented."""
MADE_BY_METACLASSES = {"_abc_impl", "_click", "_options", "_pending_finalizers"}
