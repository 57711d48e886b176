"""`flowsearch reconstruct`, on a small network that is trained once."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from calling import flowsearch
from PIL import Image

from flowsearch.parts import beside
from flowsearch.training import evaluate as evaluation
from flowsearch.training.saved import load_saved


def test_reconstruct_writes_pictures_of_folders_and_files(trial: Path, photos: Path, tmp_path: Path) -> None:
    code, printed, said = flowsearch("reconstruct", trial, photos, "--out", tmp_path / "out")
    assert code == 0, said
    assert "50x40, PSNR" in printed
    assert f"{photos / 'deeper' / 'a.jpg'}: 9x9, PSNR" in printed
    assert [line.endswith(", as a-2") for line in printed.splitlines()[:2]] == [False, True]
    assert said == f"passed over in {photos}, by their suffix no images: notes.txt\n"
    kinds = ("measurement", "reconstruction", "side-by-side")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{a}-{k}.png" for a in ("a", "a-2") for k in kinds}
    truth, seen = (
        np.asarray(Image.open(path), dtype=float) for path in (photos / "a.png", tmp_path / "out/a-measurement.png")
    )
    error = ((truth - seen) ** 2).mean() / 255**2
    said_db = float(printed.partition("50x40")[2].partition("measurement ")[2].partition(" dB")[0])
    assert -10 * np.log10(error) == pytest.approx(said_db, abs=0.02)
    assert Image.open(tmp_path / "out/a-side-by-side.png").width > 3 * 240


def test_pictures_written_earlier_are_not_reconstructed(trial: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    for _ in range(2):
        code, printed, said = flowsearch(
            "reconstruct", trial, tmp_path / "photos", "--out", tmp_path / "photos" / "out"
        )
        assert (code, printed.count("PSNR")) == (0, 2), said
        assert said.endswith("by their suffix no images: notes.txt\n")


def test_pictures_are_not_written_among_those_of_the_folder(trial: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    before = sorted(tmp_path.rglob("*"))
    code, printed, said = flowsearch("reconstruct", trial, tmp_path / "photos", "--out", tmp_path / "photos" / ".")
    assert (code, printed) == (2, "")
    assert said.endswith(f"name another folder by --out, such as {tmp_path / 'photos' / 'reconstructions'}\n")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_one_pixel_wide_stays_a_picture(channels: int, shape: tuple[int, int]) -> None:
    opened = Image.open(io.BytesIO(evaluation.to_png(torch.zeros(channels, *shape))))
    assert (opened.height, opened.width, opened.mode) == (*shape, "L" if channels == 1 else "RGB")


def test_a_map_that_draws_gives_the_same_picture_again(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "drawing.py").write_text(
        "import torch\n"
        "class Drawing(torch.nn.Module):\n"
        "    def __init__(self, channels, size):\n"
        "        super().__init__()\n"
        "        self.weight = torch.nn.Parameter(torch.ones(1))\n"
        "    def forward(self, x):\n"
        "        return self.weight * x + 0.1 * torch.randn_like(x)\n"
    )
    (tmp_path / "own.yaml").write_text(
        "{prox: 'drawing:Drawing', folds: 1, epochs: 1, task: denoise-0.2,"
        " data: {size: 16, train: 16, val: 4, test: 4, ood: null}}"
    )
    code, _, said = flowsearch("train", tmp_path / "own.yaml", "--out", tmp_path / "trial")
    assert code == 0, said
    found = {}
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        with beside(tmp_path):
            more = ["--measured", "--seed", seed, "--out", tmp_path / name]
            code, _, said = flowsearch("reconstruct", tmp_path / "trial", photos / "a.png", *more)
        assert code == 0, said
        found[name] = (tmp_path / name / "a-reconstruction.png").read_bytes()
    assert found["first"] == found["again"] != found["other"]


def test_a_measured_picture_has_no_truth(trial: Path, photos: Path, tmp_path: Path) -> None:
    code, printed, said = flowsearch("reconstruct", trial, photos / "a.png", "--measured", "--out", tmp_path)
    assert code == 0, said
    assert "PSNR" not in printed
    assert (np.asarray(Image.open(tmp_path / "a-measurement.png")) == np.asarray(Image.open(photos / "a.png"))).all()


@pytest.mark.parametrize("more", [["--measured"], []], ids=["measured", "simulated"])
@pytest.mark.parametrize("kind", ["16 bits", "floating-point"])
def test_a_grey_picture_keeps_what_eight_bits_cannot_hold(
    kind: str, more: list[str], grey_trial: Path, tmp_path: Path
) -> None:
    numbers = np.random.default_rng(0).uniform(0.5, 0.51, (20, 30)).astype(np.float32)
    numbers = numbers if kind == "floating-point" else (numbers * 65535).round().astype(np.uint16)
    Image.fromarray(numbers).save(tmp_path / "scan.tif")
    code, _, said = flowsearch("reconstruct", grey_trial, tmp_path / "scan.tif", "--out", tmp_path / "out", *more)
    assert code == 0, said
    opened = {name: Image.open(tmp_path / "out" / f"scan-{name}.png") for name in ("measurement", "reconstruction")}
    assert {picture.mode for picture in opened.values()} == {"I;16"}
    if more:
        expected = numbers if kind == "16 bits" else (numbers * 65535).round()
        assert np.array_equal(np.asarray(opened["measurement"]), expected)
        assert len(np.unique(opened["reconstruction"])) > 100
    row = np.asarray(Image.open(tmp_path / "out" / "scan-side-by-side.png"), dtype=float)
    seen = row[:: row.shape[0] - 1][0, :240:8, 0]
    assert np.abs(seen - np.asarray(opened["measurement"], dtype=float)[0] / 257).max() <= 0.5


def test_the_noise_of_a_measured_picture_is_not_cut_off(grey_trial: Path, tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).normal(0.0, 0.2, (16, 16)).astype(np.float32)
    Image.fromarray(noisy).save(tmp_path / "scan.tif")
    code, _, said = flowsearch("reconstruct", grey_trial, tmp_path / "scan.tif", "--measured", "--out", tmp_path)
    assert code == 0, said
    saved = load_saved(grey_trial / "best.safetensors", "cpu")
    with torch.no_grad():
        expected = saved.model(torch.from_numpy(noisy)[None, None] - 0.5)[0, 0].clamp(-0.5, 0.5) + 0.5
    found = np.asarray(Image.open(tmp_path / "scan-reconstruction.png"), dtype=float) / 65535
    assert np.abs(found - expected.numpy()).max() < 1e-4
    refused = flowsearch("reconstruct", grey_trial, tmp_path / "scan.tif", "--out", tmp_path)
    assert (refused[0], "floating-point pixels are in [0, 1], not" in refused[2]) == (2, True)
    Image.fromarray(noisy * 1000).save(tmp_path / "scan.tif")
    refused = flowsearch("reconstruct", grey_trial, tmp_path / "scan.tif", "--measured", "--out", tmp_path)
    assert (refused[0], "floating-point pixels are in [0, 1] ([-1, 2] with noise), not" in refused[2]) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["{trial}", "{photos}/nothing.png"], "nothing.png does not exist"),
        (["{trial}", "{photos}/notes.txt"], "notes.txt is not an image"),
        (["{trial}", "{photos}/../stack.npy"], "stack.npy cannot be used: an array of shape"),
        (["{trial}", "{photos}/../grey.png"], "is grey, and the network is for colour images"),
        (["{trial}", "{empty}"], "holds no image files"),
        (["{trial}", "{photos}", "--task", "inpaint-16"], "the hidden square's width centre is between 1 and 15"),
        (["{trial}", "{photos}", "--task", "denose-0.1"], "did you mean denoise?"),
        (["{trial}", "{photos}", "--task", "superres-2", "--measured"], "is no image of the same size"),
        (["{trial}", "{photos}", "--device", "gpu"], "device is auto, cpu, cuda or cuda:N"),
        (["{photos}", "{photos}"], "holds no model (no best.safetensors)"),
        (["{photos}/a.png", "{photos}"], "a.png has no header of a checkpoint"),
        (["{photos}/nothing", "{photos}"], "nothing does not exist"),
        (
            ["s3://bucket/results/a/checkpoints/0003?region=x", "{photos}"],
            "not s3://bucket/results/a/checkpoints/0003?region=x; write it into a folder first:  "
            "flowsearch study export 's3://bucket/results/a?region=x' --model FOLDER --trial 0003\n",
        ),
    ],
)
def test_reconstruct_refuses_with_one_clear_line(
    arguments: list[str], rule: str, trial: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    filled = [one.format(trial=trial, photos=photos, empty=tmp_path / "empty") for one in arguments]
    code, _, said = flowsearch("reconstruct", *filled, "--out", tmp_path / "out")
    assert code == 2
    assert rule in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_is_said_before_anything_is_reconstructed(
    trial: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowsearch.training.gallery.picture_row", lambda *_, **__: pytest.fail("was reconstructed"))
    code, _, said = flowsearch("reconstruct", trial, photos / "a.png", "--out", photos / "notes.txt")
    assert (code, "the pictures cannot be written to" in said) == (2, True)
