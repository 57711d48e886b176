"""What README and docs show of study files can be loaded."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flowsearch.study import Study
from flowsearch.study.file import read
from flowsearch.study.source import Source, dump

HOUSE = Path(__file__).parents[2]
PAGES = (HOUSE / "README.md", *sorted((HOUSE / "docs").glob("*.md")))
LEAST: dict[str, Any] = {
    "name": "least",
    "space": {"prox": ["glow", "unet"], "folds": [1, 5], "weights": ["tied", "untied"], "depth": [18], "levels": [4]},
}
"""What an example of something else leaves out."""
FIRST = re.compile(rf"({'|'.join([*Study.model_fields, 'profiles'])}):\s")


def examples(page: str) -> list[str]:
    """Indented blocks and code within the text that begin with a name of the study file; where a name stands more than
    once in a block, its lines are an example each."""
    blocks = [textwrap.dedent(block) for block in page.split("\n\n") if block.startswith("    ")]
    found = []
    for block in [*blocks, *re.findall(r"`(\w+: [^`]+)`", page)]:
        names = re.findall(r"^\w+:", block, re.M)
        found += block.splitlines() if len(set(names)) < len(names) else [block]
    return [one for one in found if FIRST.match(one) and "..." not in one]


SHOWN = [
    pytest.param(text, id=f"{page.stem}: {' '.join(text.split())[:60]}")
    for page in PAGES
    for text in examples(page.read_text(encoding="utf-8"))
]


def test_the_pages_have_examples():
    assert len(SHOWN) > 25


@pytest.mark.parametrize("text", SHOWN)
def test_an_example_can_be_loaded(text):
    values = YAML(typ="safe", pure=True).load(text)
    assert isinstance(read(Source("page", dump(LEAST | values))), Study)
