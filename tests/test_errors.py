"""Every exception class of the package stands in the tree that yasdg_app/errors.py draws, below its base."""

import ast
import builtins
from pathlib import Path

from yasdg_app import errors

PACKAGE = Path(errors.__file__).parent
OTHER_BASES = {"KafkaConnectionError"}
"""Exceptions of libraries that classes of the package derive from."""


def declared() -> dict[str, str]:
    """The base of each exception class in the package's sources, by its name."""
    bases = {
        node.name: ast.unparse(node.bases[0]).rpartition(".")[2]
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and node.bases
    }

    def is_exception(name: str) -> bool:
        if name in bases and bases[name] != name:
            return is_exception(bases[name])
        known = getattr(builtins, name, None)
        return name in OTHER_BASES or (isinstance(known, type) and issubclass(known, BaseException))

    return {name: base for name, base in bases.items() if is_exception(name)}


def drawn() -> tuple[dict[str, str], set[str]]:
    """The base of each class in the tree, and the names in the list of those that are not in it."""
    assert errors.__doc__ is not None
    blocks = [block for block in errors.__doc__.split("\n\n") if block.startswith("    ")]
    tree, rest = blocks
    bases: dict[str, str] = {}
    path: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 4 - 1
        path[depth:] = [name]
        assert name not in bases, f"{name} is drawn twice"
        bases[name] = path[depth - 1] if depth else "Exception"
    return bases, {line.split()[0] for line in rest.splitlines()}


def test_the_tree_of_errors_is_complete() -> None:
    tree, others = drawn()
    classes = declared()
    assert {name: base for name, base in classes.items() if name not in others} == tree, (
        "draw it in yasdg_app/errors.py"
    )


def test_what_is_no_error_of_yasdg_is_listed_with_the_reason() -> None:
    tree, others = drawn()
    assert others == declared().keys() - tree.keys()
