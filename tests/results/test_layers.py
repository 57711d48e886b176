"""What lies below knows nothing of what lies above: imports point one way."""

import ast
from pathlib import Path

import pytest

import flowsearch

HOUSE = Path(flowsearch.__file__).parent
BELOW = {
    "statistics": {"statistics"},
    "results": {"statistics", "results"},
    "analysis": {"statistics", "results", "analysis"},
}


@pytest.mark.parametrize("package", BELOW)
def test_a_package_imports_only_what_is_below_it(package: str) -> None:
    found = set()
    for path in (HOUSE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {name.split(".")[1] for name in names if name and name.startswith("flowsearch.")}
    found = {name for name in found if (HOUSE / name).is_dir()}  # single modules beside the packages serve them all
    assert package in found
    assert found <= BELOW[package]
