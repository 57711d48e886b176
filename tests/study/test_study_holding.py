"""A study is held by one process, as long as its folder is where it was."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from flowsearch.results import schema
from flowsearch.results.lock import LOCK
from flowsearch.study import holding, runner
from flowsearch.study.place import Place


def _taken_over(folder: Path) -> None:
    (folder / LOCK).unlink()
    (folder / LOCK).write_text("process 1 on elsewhere since today\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [(schema.PROVENANCE_FILE, None), (schema.STUDY_FILE, "a study that was begun just now"), ("a.txt", "other than a")],
)
def test_a_folder_is_free_that_has_no_study_yet(tmp_path: Path, name: str, words: str | None) -> None:
    (tmp_path / name).touch()
    with nullcontext() if words is None else pytest.raises(ValueError, match=words):
        runner._check_free(Place(tmp_path))


@pytest.mark.parametrize(
    ("how", "lost"),
    [
        (lambda folder: None, False),
        (lambda folder: (folder / LOCK).chmod(0o444), False),
        (lambda folder: folder.rename(folder.with_name("other")), True),
        (shutil.rmtree, True),
        (_taken_over, True),
    ],
    ids=["left alone", "read-only", "renamed", "removed", "taken over"],
)
def test_a_hold_is_lost_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[[Path], object], lost: bool
) -> None:
    monkeypatch.setattr(holding, "_LOOK_SECONDS", 0.0)
    folder = tmp_path / "small"
    with holding.held(Place(folder)) as hold:
        assert not hold.lost
        how(folder)
        assert hold.lost is lost


def test_a_second_signal_ends_it_on_the_spot_and_says_how_to_go_on() -> None:
    code = "import os\nfrom flowsearch.study.holding import signals\nwith signals():\n"
    code += f"  for _ in 'ab': os.kill(os.getpid(), {signal.SIGINT})\n  print('still here')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "\nended at once; `flowsearch study resume` goes on from the last checkpoints\n"
