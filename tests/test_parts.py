"""Parts of one's own are found by name, or the reason why not is said."""

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest

import flowsearch
from flowsearch.parts import is_part, load_part


def test_a_part_is_what_its_module_holds() -> None:
    assert load_part("collections:OrderedDict") is OrderedDict
    assert load_part("collections:OrderedDict.fromkeys")("ab") == {"a": None, "b": None}


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("a:b", True),
        ("a.b.c:D.e", True),
        ("a", False),
        ("a:", False),
        (":b", False),
        ("a-b:c", False),
        ("a:b c", False),
    ],
)
def test_names_of_parts(text: str, yes: bool) -> None:
    assert is_part(text) == yes


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("collections", "is named module:name"),
        ("no_such_module:x", "there is no module no_such_module; install it"),
        ("collections.no_such:x", "there is no module collections.no_such"),
        ("collections:OrderedDct", "holds no OrderedDct; did you mean OrderedDict"),
        ("collections:__name__", "a function or a class, not str"),
    ],
)
def test_what_is_not_there_is_said(path: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        load_part(path)


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import no_such_dependency", "No module named 'no_such_dependency' .part_failing.py, line 1.; inst"),
        ("\n1 / 0", r"importing part_failing failed: ZeroDivisionError: division by zero \(part_failing.py, line 2\)$"),
        ("import json\njson.loads('')", r"failed: JSONDecodeError: .* \(part_failing.py, line 2\)$"),
        ("import sys\nsys.exit('no GPU')", r"failed: SystemExit: no GPU \(part_failing.py, line 2\)$"),
        ("x = (", r"importing part_failing failed: SyntaxError: .* \(part_failing.py, line 1\)$"),
    ],
)
def test_a_module_that_fails_says_why(code: str, rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "part_failing.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=rule):
        load_part("part_failing:x")


@pytest.mark.parametrize(
    "module", ["flowsearch", "flowsearch.operators", "flowsearch.results", "flowsearch.study", "flowsearch.training"]
)
def test_a_notebook_completes_what_loads_on_demand(module: str) -> None:
    code = f"import {module} as it; print(sorted(set(it.__all__) - set(dir(it))))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_type_checker_is_told_that_flowsearch_has_types() -> None:
    assert (Path(flowsearch.__file__).parent / "py.typed").is_file()
