"""Fixtures for the study tests: a small study file, and one local Ray for the session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_study import HERE, TEXT

from flowsearch.study import Study, load

StudyOf = Callable[..., Study]


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A small, valid study file."""
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def study_of(study_file: Path) -> StudyOf:
    """The small study with overrides, as `--set` takes them."""
    return lambda *sets: load(study_file, sets)


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[None]:
    """A Ray with two CPUs whose workers can import the fakes."""
    from flowsearch.study.local import joined_ray

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *([before] if before else [])])
    with joined_ray(2):
        yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
