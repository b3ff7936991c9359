"""No class name has two meanings in the package: a reader who sees a name knows which class is meant."""

import ast
from collections import defaultdict
from pathlib import Path

import yasdg_app

PACKAGE = Path(yasdg_app.__file__).parent


def test_no_class_name_has_two_meanings() -> None:
    modules = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                modules[node.name].add(str(path.relative_to(PACKAGE)))
    shared = {name: sorted(paths) for name, paths in modules.items() if len(paths) > 1}
    assert not shared
