"""A machine that gives notice: training stops between two optimizer steps and goes on there, with the same numbers."""

import itertools
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_trial import config, numbers

from flowsearch.training import TrialConfig, checkpoint, notice, run_trial
from flowsearch.training.prior import run_prior, sample
from flowsearch.training.prior_store import UNFINISHED, PriorStore


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Notice is given at every third look that training takes."""
    looks = itertools.count(1)
    monkeypatch.setattr(notice, "given", lambda: next(looks) % 3 == 0)


@pytest.mark.parametrize("kind", ["glow", "glow pre-trained", "unet"])
def test_an_epoch_goes_on_where_notice_was_given(kind: str, tmp_path: Path, notices: Any) -> None:
    trial = config(kind)
    undisturbed = config(kind)
    broken: list[dict[str, Any]] = []
    left = 0
    while not broken or broken[-1]["phase"] != "final":
        try:
            for record in run_trial(trial, checkpoint_dir=tmp_path / "b", prior_dir=tmp_path / "priors-b"):
                broken.append(record)
        except notice.LeavingError:
            left += 1
    assert left >= 3
    notice.given = lambda: False  # taken back by the fixture
    whole = list(run_trial(undisturbed, checkpoint_dir=tmp_path / "a", prior_dir=tmp_path / "priors-a"))
    assert numbers(whole) == numbers(broken)


def test_a_notice_in_the_first_epoch_keeps_what_was_done(tmp_path: Path, notices: Any) -> None:
    with pytest.raises(notice.LeavingError, match="kept after 3 of 6 steps of epoch 1"):
        next(run_trial(config("resnet"), checkpoint_dir=tmp_path))
    about = checkpoint.about(tmp_path / checkpoint.LAST)
    assert about["epoch"] == 0
    assert len(about["under_way"]["losses"]) == 3


def with_prior() -> TrialConfig:
    """A flow that is pre-trained in six steps an epoch."""
    trial = config("glow pre-trained")
    return replace(trial, prior=replace(trial.prior, batch_size=8))


def test_a_notice_in_the_first_epoch_of_a_prior_keeps_what_was_done(tmp_path: Path, notices: Any) -> None:
    store = tmp_path / "priors"
    with pytest.raises(notice.LeavingError, match="kept after 3 of 6 steps of epoch 1 of pre-training"):
        next(run_prior(with_prior(), checkpoint_dir=tmp_path, prior_dir=store))
    (known,) = PriorStore(store).listed()
    assert (known.finished, known.about["epoch"], len(known.about["under_way"]["losses"])) == (False, 0, 3)
    images, _ = sample(store / known.key / UNFINISHED, 1, 0.7, 0)
    assert len(images) == 2


@pytest.mark.parametrize("micro_batch", [None, 4])
def test_a_prior_goes_on_within_an_epoch_with_the_same_numbers(
    micro_batch: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = with_prior()
    whole = list(run_prior(one, checkpoint_dir=tmp_path, prior_dir=tmp_path / "a", micro_batch=micro_batch))
    looks = itertools.count(1)
    monkeypatch.setattr(notice, "given", lambda: next(looks) % 4 == 0)
    broken: list[dict[str, Any]] = []
    left = 0
    while not broken or broken[-1]["phase"] != "final":
        try:
            for record in run_prior(one, checkpoint_dir=tmp_path, prior_dir=tmp_path / "b", micro_batch=micro_batch):
                broken.append(record)
        except notice.LeavingError:
            left += 1
    assert left >= 2
    assert numbers(whole) == numbers(broken)


def test_a_notice_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "_given", threading.Event())
    assert not notice.given()
    notice.give()
    assert notice.given()
