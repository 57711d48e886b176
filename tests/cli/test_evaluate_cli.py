"""`flowsearch evaluate`, and what it shares with `reconstruct`, on a small network that is trained once."""

import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from calling import TRIAL, flowsearch, many, train
from PIL import Image

from flowsearch.cli.model import say_code
from flowsearch.data import find_dataset
from flowsearch.parts import beside
from flowsearch.training import checkpoint
from flowsearch.training import evaluate as evaluation
from flowsearch.training.metrics import psnr


def test_evaluate_gives_the_trials_own_numbers(trial: Path, tmp_path: Path) -> None:
    code, printed, said = flowsearch("evaluate", trial, "--json", tmp_path / "deep" / "x.json")
    assert code == 0, said
    found = json.loads((tmp_path / "deep" / "x.json").read_text())
    assert f"test PSNR {found['psnr']['mean']:.2f} dB" in (trial / "printed").read_text()
    assert f"SSIM {found['ssim']['mean']:.3f}" in (trial / "printed").read_text()
    assert len(found["per_image"]) == found["images"] == 4
    assert f"{found['psnr']['mean']:.2f}" in printed
    code, printed, said = flowsearch("evaluate", trial, "--split", "ood")
    assert code == 0, said
    ood = (trial / "printed").read_text().partition("out of distribution ")[2].partition(" dB")[0]
    assert ood in printed
    assert "of anime (ood)" in printed


def test_evaluate_on_another_source_and_task(trial: Path, tmp_path: Path) -> None:
    numbers = []
    for task in ("denoise-0.2", "denoise-0.4"):
        json_file = tmp_path / f"{task}.json"
        code, _, said = flowsearch(
            "evaluate", trial, "--source", "anime", "--count", 3, "--task", task, "--json", json_file
        )
        assert code == 0, said
        numbers.append(json.loads(json_file.read_text()))
    assert [one["images"] for one in numbers] == [3, 3]
    assert [one["source"] for one in numbers] == ["anime", "anime"]
    assert numbers[0]["measurement_psnr"]["mean"] > numbers[1]["measurement_psnr"]["mean"] + 4


@pytest.mark.parametrize("named", [[], ["--source", "faces"]], ids=["own", "own by name"])
@pytest.mark.parametrize("split", ["test", "val"])
def test_evaluate_takes_no_image_that_was_trained_on(split: str, named: list[str], trial: Path, tmp_path: Path) -> None:
    code, _, said = flowsearch("evaluate", trial, "--split", split, *named, "--count", 5)
    assert (code, f"the trial has 4 {split} images" in said, len(said.splitlines())) == (2, True, 1)
    found = []
    for count in ([], ["--count", 3]):
        arguments = ["--split", split, *named, *count, "--json", tmp_path / "x.json"]
        assert flowsearch("evaluate", trial, *arguments)[0] == 0
        found.append([row["psnr"] for row in json.loads((tmp_path / "x.json").read_text())["per_image"]])
    assert found[1] == pytest.approx(found[0][:3])


def test_evaluate_takes_more_of_a_published_part(tmp_path: Path) -> None:
    folder = many(tmp_path)
    lines = [f"{number}.png {0 if number < 18 else 1 if number < 22 else 2}" for number in range(30)]
    (tmp_path / "parts.txt").write_text("\n".join(lines))
    arguments = [folder, "--size", 16, "--partition", tmp_path / "parts.txt"]
    assert flowsearch("data", "prepare", "parted", *arguments)[0] == 0
    model = train(tmp_path / "trial", "data.source=parted", "data.ood=null")
    code, printed, said = flowsearch("evaluate", model, "--count", 8)
    assert (code, "on 8 images of parted (test)" in printed) == (0, True), said
    code, _, said = flowsearch("evaluate", model, "--count", 9)
    assert (code, "has 8 test images by parts.txt" in said) == (2, True)


def test_images_made_anew_under_the_same_name_are_not_the_trials(tmp_path: Path) -> None:
    folder = many(tmp_path)
    assert flowsearch("data", "prepare", "anew", folder, "--size", 16)[0] == 0
    model = train(tmp_path / "trial", "data.source=anew", "data.ood=null")
    (folder / "29.png").unlink()
    for number in range(10):
        (folder / f"{number}.png").rename(folder / f"renamed-{number}.png")
    assert flowsearch("data", "prepare", "anew", folder, "--size", 16, "--overwrite")[0] == 0
    code, _, said = flowsearch("evaluate", model)
    assert (code, "the test images of anew are not those of the trial (fingerprint" in said) == (2, True)
    code, printed, said = flowsearch("evaluate", model, "--source", "anew", "--count", 5)
    assert (code, "on 5 images of anew (test)" in printed) == (0, True), said


def test_an_image_that_is_not_finite_is_said_and_the_mean_unknown(
    trial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "psnr", lambda *images: psnr(*images).index_fill(0, torch.tensor([1]), math.nan))
    code, printed, said = flowsearch("evaluate", trial, "--json", tmp_path / "x.json")
    assert code == 0, said
    assert "1 of 4 reconstructions are not finite" in printed
    assert "unknown" in printed
    found = json.loads((tmp_path / "x.json").read_text())
    assert (found["psnr"], found["non_finite"], found["per_image"][1]["psnr"]) == (None, 1, None)
    assert found["ssim"]["mean"] > 0


def test_evaluate_does_not_need_the_priors_images(photos: Path, tmp_path: Path) -> None:
    assert flowsearch("data", "prepare", "further", photos, "--size", 16)[0] == 0
    folder = train(tmp_path / "trial", "data.prior=further")
    shutil.rmtree(find_dataset("further", 16)[1])
    code, _, said = flowsearch("evaluate", folder)
    assert code == 0, said


@pytest.mark.parametrize(
    ("pretrain", "count", "expected"),
    [
        (True, 4, "was trained on all of the first 4 test images of anime, and is evaluated on images that it has not"),
        (True, 9, "on 3 images of anime (test)"),
        (False, 4, "on 4 images of anime (test)"),
    ],
    ids=["none left", "some left", "no prior"],
)
def test_evaluate_leaves_out_what_the_prior_was_trained_on(
    pretrain: bool, count: int, expected: str, tmp_path: Path
) -> None:
    more = ["prox=glow", "features=null", "depth=1", "levels=1", "hidden=4", "prior.epochs=1", "data.ood=null"]
    model = train(tmp_path / "trial", *more, f"pretrain={pretrain}", "data.prior=anime", "data.prior_images=6")
    code, printed, said = flowsearch("evaluate", model, "--source", "anime", "--count", count, "--json", tmp_path / "x")
    assert (code, expected in printed + said) == (2 if "all" in expected else 0, True), printed + said
    assert ("6 more of its images are left out" in printed) == (count == 9)
    if code == 0:
        assert json.loads((tmp_path / "x").read_text())["left_out"] == (6 if pretrain else 0)


def test_evaluate_leaves_out_copies_of_training_images(tmp_path: Path) -> None:
    """Also where they are in a set of another name; not where it is not known what the network was trained on."""
    folder = many(tmp_path)
    assert flowsearch("data", "prepare", "first", folder, "--size", 16)[0] == 0
    model = train(tmp_path / "trial", "data.source=first", "data.ood=null", "data.train=20")
    assert flowsearch("data", "prepare", "copy", folder, "--size", 16)[0] == 0
    arguments = ["evaluate", model, "--source", "copy", "--count", 28]
    code, printed, said = flowsearch(*arguments)
    assert (code, "on 8 images of copy (test)" in printed, "20 more of its images" in printed) == (0, True, True), said
    shutil.rmtree(find_dataset("first", 16)[1])
    assert "on 28 images of copy (test)" in flowsearch(*arguments)[1]


def test_evaluate_refuses_a_priors_set_of_which_it_cannot_tell_what_was_trained_on(tmp_path: Path) -> None:
    folder = many(tmp_path)
    for name in ("own", "priors"):
        assert flowsearch("data", "prepare", name, folder, "--size", 16, "--limit", 30)[0] == 0
    more = ["prox=glow", "features=null", "depth=1", "levels=1", "hidden=4", "prior.epochs=1", "data.ood=null"]
    model = train(tmp_path / "trial", *more, "pretrain=true", "data.source=own", "data.prior=priors", "data.train=8")
    shutil.rmtree(find_dataset("own", 16)[1])
    code, _, said = flowsearch("evaluate", model, "--source", "priors")
    assert "error: the network's prior was trained on images of priors, and which ones cannot be told (" in said
    assert (code, said.count("\n")) == (2, 1)


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study of somebody else, with the code that its model names; the current folder holds it."""
    study = tmp_path / "theirs"
    study.mkdir()
    (study / "theirs_net.py").write_text(
        "import torch\ndef net(channels, size):\n    return torch.nn.Conv2d(channels, channels, 3, padding=1)\n"
    )
    with beside(study):
        train(study / "checkpoints" / "0000", "prox=theirs_net:net")
    monkeypatch.chdir(tmp_path)
    return study


def test_code_that_a_model_names_is_said_to_run(theirs: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(theirs)
    model = theirs / "checkpoints" / "0000"
    for command in (["evaluate", model], ["reconstruct", model, photos / "a.png", "--out", theirs / "out"]):
        code, _, said = flowsearch(*command)
        assert code == 0, said
        assert f"the model names code that runs now: theirs_net:net, of {theirs / 'theirs_net.py'}" in said


@pytest.mark.parametrize("lacks", ["", "data"], ids=["as a mapping", "without data"])
def test_code_is_said_to_run_however_a_model_names_it(
    lacks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"prox": {"theirs_net:net": {"width": 3}}, "task": {"theirs_task:Radon": {}}, "data": {}}
    config.pop(lacks, None)
    checkpoint.write(tmp_path / "best.safetensors", {}, {"config": config})
    say_code(tmp_path / "best.safetensors", images=True)
    said = capsys.readouterr().err
    assert "theirs_net:net, of a module that is not found" in said
    assert "theirs_task:Radon, of a module that is not found" in said


def test_a_study_does_not_bring_its_code_by_a_path_from_the_current_folder(theirs: Path) -> None:
    (theirs / "provenance.json").write_text(json.dumps({"study_folder": "theirs"}))
    code, _, said = flowsearch("evaluate", theirs / "checkpoints" / "0000")
    assert (code, "there is no module theirs_net" in said) == (2, True)


def test_a_grey_network(tmp_path: Path, photos: Path) -> None:
    assert flowsearch("data", "prepare", "greys", many(tmp_path), "--size", 16, "--grey")[0] == 0
    model = train(tmp_path / "grey", "data.source=greys", "data.ood=null")
    code, _, said = flowsearch("reconstruct", model, photos / "a.png", "--out", tmp_path / "out")
    assert (code, "is in colour, and the network is for grey images; --convert converts it" in said) == (2, True)
    assert not (tmp_path / "out").exists()
    for picture, more in ((photos / "a.png", ["--convert"]), (photos.parent / "grey.png", [])):
        assert flowsearch("reconstruct", model, picture, "--out", tmp_path / "out", *more)[0] == 0
    assert Image.open(tmp_path / "out" / "grey-reconstruction.png").mode == "L"
    assert flowsearch("data", "prepare", "colours", tmp_path / "many", "--size", 16)[0] == 0
    code, _, said = flowsearch("evaluate", model, "--source", "colours", "--count", 2)
    assert (code, "colours is in colour and the network's images are grey; prepare colours with --grey" in said) == (
        2,
        True,
    )


def test_a_grey_network_sees_built_in_images_in_grey(tmp_path: Path) -> None:
    assert flowsearch("data", "prepare", "pencilled", many(tmp_path), "--size", 16, "--grey")[0] == 0
    model = train(tmp_path / "grey", "data.source=pencilled")
    found = {}
    for source, split in ((None, "ood"), ("anime", "test"), ("anime", "val")):
        more = [] if source is None else ["--source", source]
        code, _, said = flowsearch("evaluate", model, *more, "--split", split, "--json", tmp_path / "x.json")
        assert code == 0, said
        found[source, split] = json.loads((tmp_path / "x.json").read_text())["psnr"]["mean"]
    assert found[None, "ood"] == pytest.approx(found["anime", "test"], abs=0.3)  # the same images, other noise
    assert abs(found["anime", "val"] - found["anime", "test"]) > 1e-3


def test_a_source_of_ones_own_that_changed_is_to_be_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "import numpy as np\n"
        "def load(size):\n"
        "    rng = np.random.default_rng({})\n"
        "    return [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(30)]\n"
    )
    (tmp_path / "changing.py").write_text(body.format(1))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "changing", raising=False)
    model = train(tmp_path / "trial", "data.source=changing:load", "data.ood=null")
    (tmp_path / "changing.py").write_text(body.format(22))
    monkeypatch.delitem(sys.modules, "changing")
    code, _, said = flowsearch("evaluate", model)
    assert (code, "); put its module and what it reads back, or name the set by --source" in said) == (2, True), said
    sets = [part for one in [*TRIAL, "data.source=changing:load", "data.ood=null"] for part in ("--set", one)]
    code, _, said = flowsearch("train", *sets, "--out", model)
    assert "); put its module and what it reads back, or begin in another folder" in said


@pytest.mark.parametrize("channels", [1, 3])
def test_a_source_of_ones_own_is_called_for_what_the_network_has(
    channels: int, trial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eitherway.py").write_text(
        "import numpy as np\n"
        "def load(size, *, grey, count):\n"
        f"    assert grey is {channels == 1}\n"
        "    for index in range(count):\n"
        "        rng = np.random.default_rng(1000 + index)\n"
        "        yield rng.integers(0, 256, (size, size) if grey else (size, size, 3), dtype=np.uint8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "eitherway", raising=False)
    model = trial
    if channels == 1:
        assert flowsearch("data", "prepare", "charcoal", many(tmp_path), "--size", 16, "--grey")[0] == 0
        model = train(tmp_path / "grey", "data.source=charcoal", "data.ood=null")
    code, printed, said = flowsearch("evaluate", model, "--source", "eitherway:load")
    assert (code, "on 4 images of eitherway:load (test)" in printed) == (0, True), said


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--split", "train"], "split is one of val, test, ood, not 'train'"),
        (["--source", "nosuch"], "there is no data set 'nosuch'"),
        (["--source", "anime", "--split", "ood"], "no ood split"),
        (["--task", "mri-99"], "acceleration is at most 16"),
    ],
)
def test_evaluate_refuses_with_one_clear_line(arguments: list[str], rule: str, trial: Path) -> None:
    code, _, said = flowsearch("evaluate", trial, *arguments)
    assert code == 2
    assert rule in said
    assert len(said.strip().splitlines()) == 1


def test_evaluate_takes_no_object_store_and_says_how_to_go_about_it(trial: Path) -> None:
    code, _, said = flowsearch("evaluate", "s3://bucket/results/a")
    assert (code, said.count("\n")) == (2, 1)
    assert said.endswith(
        "not s3://bucket/results/a; write it into a folder first:  "
        "flowsearch study export s3://bucket/results/a --model FOLDER\n"
    )
    assert flowsearch("evaluate", trial.resolve().as_uri())[0] == 0


def test_a_method_without_a_network_is_refused(tmp_path: Path, photos: Path) -> None:
    model = train(tmp_path / "tv", "prox=null", "features=null", "folds=null", "method=adjoint")
    shutil.copy(model / "chosen.safetensors", model / "best.safetensors")
    code, _, said = flowsearch("evaluate", model)
    assert (code, "is of method adjoint, which trains no network" in said) == (2, True)


def test_what_was_evaluated_is_printed_where_its_file_cannot_be_written(trial: Path, photos: Path) -> None:
    code, printed, said = flowsearch("evaluate", trial, "--json", photos)
    assert (code, "PSNR (dB)" in printed, "error: " in said) == (2, True, True)
