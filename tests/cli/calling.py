"""The command line called in this process, and a small study file for it."""

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


def flowsearch(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "160"})
    return result.exit_code, result.stdout, result.stderr
