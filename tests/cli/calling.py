"""The command line called in this process, a small study file for it, and a small trial."""

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from flowsearch.cli import app

FILE = """\
name: small
data: {source: faces, size: 16, train: 16, val: 4, test: 4}
fixed: {epochs: 1, batch_size: 4, hidden: 8, features: 4, channels: 4, task: denoise-0.2}
space:
  prox: [glow, resnet]
  folds: {int: [1, 3]}
  depth: {int: [1, 4], when: {prox: glow}}
  levels: {choice: [1, 2], when: {prox: glow}}
search: {trials: 4, startup: 4, sampler: random}
prior: {epochs: 1}
"""

TRIAL = ["data.size=16", "data.train=16", "data.val=4", "data.test=4", "prox=resnet", "features=4", "folds=1"]
TRIAL += ["epochs=1", "task=denoise-0.2"]


def flowsearch(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "160"})
    return result.exit_code, result.stdout, result.stderr


def train(folder: Path, *more: str) -> Path:
    sets = [part for one in [*TRIAL, *more] for part in ("--set", one)]
    code, printed, said = flowsearch("train", *sets, "--out", folder)
    assert code == 0, said
    (folder / "printed").write_text(printed)
    return folder


def many(folder: Path) -> Path:
    (folder / "many").mkdir()
    for number in range(30):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "many" / f"{number}.png")
    return folder / "many"
