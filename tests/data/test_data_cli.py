"""`flowsearch data`: what it prints, writes and refuses."""

import os
from pathlib import Path

import numpy as np
import pytest
from made_images import Maker, encoded, write_zip
from PIL import Image
from typer.testing import CliRunner

from flowsearch import data
from flowsearch.cli.data import app
from flowsearch.cli.terminal import visible

RUNNER = CliRunner()


def test_prepare_says_what_it_made(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "some.zip", [(f"{n}.png", encoded(n)) for n in range(20)] + [("notes.txt", b"hi")])
    result = RUNNER.invoke(app, ["prepare", "mine", str(source), "--size", "16"])
    assert result.exit_code == 0, result.output
    manifest = data.list_datasets()[0]
    for part in ("20 images", "notes.txt: not an image", manifest.fingerprint, "source: mine, size: 16", "mine-16"):
        assert part in result.stdout
    again = RUNNER.invoke(app, ["prepare", "mine", str(source), "--size", "16"])
    assert "kept" in again.stdout


@pytest.mark.parametrize("command", ["prepare", "show"])
@pytest.mark.parametrize(
    ("channels", "options", "warned"),
    [(1, [], True), (1, ["--grey"], False), (3, [], False)],
    ids=["grey in colour", "grey", "colour"],
)
def test_grey_images_in_three_channels_are_warned_of(
    channels: int, options: list[str], warned: bool, command: str, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, channels), dtype=np.uint8)
    np.save(tmp_path / "scans.npy", images)
    result = RUNNER.invoke(app, ["prepare", "scans", str(tmp_path / "scans.npy"), "--size", "16", *options])
    if command == "show":
        result = RUNNER.invoke(app, ["show", "scans", "--out", str(tmp_path / "sheet.png")])
    assert result.exit_code == 0, result.output
    assert ("all images are grey" in result.stdout) == warned


@pytest.mark.parametrize("command", ["prepare", "show"])
@pytest.mark.parametrize(
    ("bits", "warned"),
    [(12, "within 0 to 16 of 255"), (14, "within 0 to 64 of 255"), (16, "")],
    ids=["12 bits", "14 bits", "16 bits"],
)
def test_images_that_fill_little_of_sixteen_bits_are_warned_of(
    bits: int, warned: str, command: str, tmp_path: Path
) -> None:
    (tmp_path / "scans").mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 2**bits, (64, 64), dtype=np.uint16)
        pixels[0, 0] = 65535  # a pixel that is hot, or a letter of an annotation
        Image.fromarray(pixels).save(tmp_path / "scans" / f"{number}.tif")
    result = RUNNER.invoke(app, ["prepare", "scans", str(tmp_path / "scans"), "--size", "64", "--grey"])
    if command == "show":
        result = RUNNER.invoke(app, ["show", "scans", "--out", str(tmp_path / "sheet.png")])
    assert result.exit_code == 0, result.output
    assert ("warning" in result.stdout) == bool(warned)
    assert warned in result.stdout


def test_a_name_that_is_no_utf_8_can_be_printed() -> None:
    assert visible(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"


def test_the_printed_split_can_be_loaded(make_zip: Maker) -> None:
    from ruamel.yaml import YAML

    result = RUNNER.invoke(app, ["prepare", "mine", str(make_zip(20)), "--size", "16"])
    line = next(line for line in result.stdout.splitlines() if line.startswith("in a study file: "))
    values = YAML(typ="safe").load(line.removeprefix("in a study file: "))["data"]
    sets = data.load(data.DataConfig.from_dict(dict(values)))
    assert len(sets.train) + len(sets.val) + len(sets.test) == 20


def test_two_images_are_not_offered_as_a_study_s(make_zip: Maker) -> None:
    result = RUNNER.invoke(app, ["prepare", "two", str(make_zip(2)), "--size", "16"])
    assert result.exit_code == 0, result.output
    assert "in a study file: data.ood: two; train, val and test take three images at least" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "mine", "nowhere.zip"],
        ["prepare", "faces", "."],
        ["show", "missing"],
        ["show", "no.such.module:load"],
        ["show", "faces", "--size", "4"],
        ["show", "faces", "--size", "0"],
    ],
    ids=" ".join,
)
def test_what_is_wrong_takes_one_line_and_code_2(arguments: list[str]) -> None:
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_an_empty_source_takes_one_line_and_code_2(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["prepare", "mine", str(write_zip(tmp_path / "empty.zip", []))])
    assert result.exit_code == 2
    assert result.stderr == f"error: {tmp_path / 'empty.zip'} holds no usable image: it is empty\n"


def test_list_names_built_in_and_prepared_sets(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(3), size=16)
    result = RUNNER.invoke(app, ["list"])
    assert result.exit_code == 0, result.output
    for name in ("faces", "anime", "mine"):
        assert name in result.stdout


@pytest.mark.parametrize("name", ["faces", "mine"])
def test_show_writes_a_sheet(name: str, make_zip: Maker, tmp_path: Path) -> None:
    data.prepare("mine", make_zip(10), size=16)
    out = tmp_path / "sheets" / "sheet.png"
    result = RUNNER.invoke(app, ["show", name, "--size", "16", "--count", "6", "--out", str(out)])
    assert result.exit_code == 0, result.output
    with Image.open(out) as sheet:
        assert sheet.width > 16
    for channel in ("red", "green", "blue"):
        assert f"{channel:5s} mean 0." in result.stdout


def test_statistics_are_of_each_channel(make_zip: Maker) -> None:
    manifest = data.prepare("mine", make_zip(5), size=16)
    images = data.open_images(data.folder_of("mine", 16), manifest)
    mean, spread = data.channel_statistics(images)
    assert mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)))
    assert spread == pytest.approx((images / 255).std(axis=(0, 2, 3)))


def prepared_by_partition(make_zip: Maker, folder: Path, parts: list[int]) -> str:
    """What `data prepare` prints of images that a file assigns to these parts."""
    path = folder / "list_eval_partition.txt"
    path.write_text("".join(f"{index:04d}.jpg {part}\n" for index, part in enumerate(parts)))
    images = str(make_zip(len(parts)))
    result = RUNNER.invoke(app, ["prepare", "mine", images, "--size", "16", "--partition", str(path)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_prepare_with_a_partition_proposes_its_parts(make_zip: Maker, tmp_path: Path) -> None:
    said = prepared_by_partition(make_zip, tmp_path, [index % 3 for index in range(20)])
    assert "by list_eval_partition.txt 7 train, 7 val, 6 test" in said
    assert "train: 7, val: 7, test: 6}" in said


def test_prepare_proposes_no_part_without_images(make_zip: Maker, tmp_path: Path) -> None:
    said = prepared_by_partition(make_zip, tmp_path, [0, 2, 0, 2])
    assert "not as data.source, as list_eval_partition.txt gives no image to val" in said
