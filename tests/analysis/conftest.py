"""A made-up study that the tests of this folder read, and never change."""

from pathlib import Path

import pytest
from made_up import make_study

from flowsearch.results import Results, load


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of 14 trials with all three proximal maps, one failed and one diverged."""
    return make_study(tmp_path_factory.mktemp("results") / "quickstart")


@pytest.fixture(scope="session")
def results(study: Path) -> Results:
    """The same, opened."""
    return load(study)
