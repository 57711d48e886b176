"""Fixtures for the study tests: a small study file, and one local Ray for the session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowsearch.study import Study, load

HERE = Path(__file__).parent

TEXT = """\
name: small
data: {source: faces, size: 32}
fixed: {epochs: 4}
space:
  prox: [glow, resnet, unet]
  folds: {int: [1, 4]}
  weights: [tied, untied]
  lr: {float: [1e-4, 1.0e-3], log: true}
  depth: {int: [2, 6], when: {prox: glow}}
  levels: {int: [2, 5], when: {prox: glow}}
  pretrain: {choice: [true, false], when: {prox: glow}}
objective: {val_psnr: maximize}
search: {sampler: tpe, trials: 8, seed: 0}
scheduler: {asha: {grace: 1, reduction: 2}}
"""

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
