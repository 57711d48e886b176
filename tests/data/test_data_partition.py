"""A published partition decides which image can go to which part."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_images import encoded, write_zip

from flowsearch import data
from flowsearch.data.partition import read_partition

PARTS = {"train": 14, "val": 6, "test": 8}
CONFIG = data.DataConfig(source="parted", size=16, train=9, val=4, test=5, ood=None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Images whose file names say which part they belong to, and two that belong to none."""
    members = [
        (f"celeba/{part}{index}.png", encoded(100 * place + index))
        for place, (part, count) in enumerate(PARTS.items())
        for index in range(count)
    ]
    members += [(f"celeba/stray{index}.png", encoded(900 + index)) for index in range(2)]
    return write_zip(tmp_path / "img_align_celeba.zip", members)


@pytest.fixture
def partition(tmp_path: Path) -> Path:
    """Lines as CelebA publishes them, with the extension .jpg whatever that of the images."""
    lines = [
        f"{part}{index}.jpg {place}" for place, (part, count) in enumerate(PARTS.items()) for index in range(count)
    ]
    path = tmp_path / "list_eval_partition.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def named(images: np.ndarray) -> set[str]:
    """The parts that the names of these images tell."""
    manifest, folder = data.find_dataset("parted", 16)
    names = json.loads((folder / "names.json").read_text())
    by_pixels = {image.tobytes(): name for name, image in zip(names, data.open_images(folder, manifest), strict=True)}
    return {Path(by_pixels[image.tobytes()]).stem.rstrip("0123456789") for image in images}


@pytest.mark.parametrize("seed", [0, 1, 2], ids=["stored order", "seed 1", "seed 2"])
def test_each_part_comes_from_its_own(source: Path, partition: Path, seed: int) -> None:
    manifest = data.prepare("parted", source, size=16, partition=partition)
    assert manifest.parts == tuple(PARTS.values())
    assert manifest.partition == partition.name
    assert dict(manifest.skipped) == {f"celeba/stray{index}.png": f"not in {partition.name}" for index in range(2)}
    config = replace(CONFIG, seed=seed, ood="parted")
    sets = data.load(config)
    for part, count in (("train", 9), ("val", 4), ("test", 5)):
        images = getattr(sets, part)
        assert len({image.tobytes() for image in images}) == count
        assert named(images) == {part}
        assert isinstance(images, np.memmap)
    assert sets.ood is not None
    assert named(sets.ood) == {"test"}
    assert len(sets.ood) == PARTS["test"] - 5
    assert not {image.tobytes() for image in sets.ood} & {image.tobytes() for image in sets.test}
    more = data.load(replace(config, train=12, ood=None))
    assert np.array_equal(more.test, sets.test)
    assert np.array_equal(more.val, sets.val)


def test_the_seed_chooses_within_a_part(source: Path, partition: Path) -> None:
    data.prepare("parted", source, size=16, partition=partition)
    data.prepare("stored", source, size=16, partition=partition, seed=3)
    zero, three = data.load(CONFIG), data.load(replace(CONFIG, seed=3))
    assert not np.array_equal(zero.test, three.test)
    assert np.array_equal(three.test, data.load(replace(CONFIG, source="stored", seed=3)).test)


def test_another_source_is_tested_on_its_test_part(source: Path, partition: Path) -> None:
    data.prepare("parted", source, size=16, partition=partition)
    ood = data.load(data.DataConfig(source="faces", ood="parted", size=16, train=2, val=1, test=6)).ood
    assert ood is not None
    assert len(ood) == 6
    assert named(ood) == {"test"}


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_that_is_too_small_is_named(part: str, source: Path, partition: Path) -> None:
    data.prepare("parted", source, size=16, partition=partition)
    there = PARTS[part]
    with pytest.raises(
        ValueError, match=f"{there} {part} images by list_eval_partition.txt, and {part} asks for {there + 1}"
    ):
        data.load(replace(CONFIG, **{part: there + 1}))
    data.load(replace(CONFIG, **{part: there}))


def test_a_limit_takes_of_every_part(source: Path, partition: Path) -> None:
    manifest = data.prepare("parted", source, size=16, partition=partition, limit=20)
    assert manifest.parts is not None
    assert sum(manifest.parts) == manifest.count == 20
    assert min(manifest.parts) > 0


def test_where_the_boundaries_lie_is_part_of_the_fingerprint(source: Path, partition: Path, tmp_path: Path) -> None:
    data.prepare("parted", source, size=16, partition=partition)
    assert data.load(CONFIG).fingerprint == data.load(CONFIG).fingerprint
    before = data.load(CONFIG).fingerprint
    with pytest.raises(ValueError, match=r"differs: another source, partition list_eval_partition\.txt"):
        data.prepare("parted", source, size=16)
    data.prepare("parted", source, size=16, overwrite=True)
    assert data.load(CONFIG).fingerprint != before
    partition.write_text(partition.read_text().replace("test0.jpg 2", "test0.jpg 1"))
    assert data.prepare("parted", source, size=16, partition=partition, overwrite=True).parts == (14, 7, 7)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (
            "000001.jpg 0\n000002.jpg 3\n",
            r":2: a line is NAME PART, with PART 0 \(train\), 1 \(val\) or 2 \(test\), not",
        ),
        ("000001.jpg 0\n000001.jpg 2\n", ":2: 000001 is in two parts, train and test"),
        ("\n\n", "names no image"),
        ("image_id,partition\n", "names no image"),
    ],
    ids=["no part", "two parts", "blank", "headings alone"],
)
def test_a_wrong_partition_says_where(content: str, rule: str, source: Path, tmp_path: Path, home: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=rule):
        data.prepare("parted", source, size=16, partition=path)
    assert not home.exists()


def test_commas_and_headings_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "list_eval_partition.csv"
    path.write_text("image_id,partition\n000001.jpg,0\n000002.jpg , 2\n")
    assert read_partition(path).part_of == {"000001": 0, "000002": 2}


def test_a_partition_of_other_images_leaves_none(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("someone.jpg 0\n")
    with pytest.raises(ValueError, match=r"no usable image: 30 skipped \(.*not in other.txt"):
        data.prepare("parted", source, size=16, partition=path)
    with pytest.raises(FileNotFoundError):
        data.prepare("parted", source, size=16, partition=tmp_path / "nowhere.txt")


LINES = {
    "images": "patient1/1.png 0\npatient1/2.png 0\npatient2/1.png 1\npatient2/2.png 1\npatient3/1.png 2\n",
    "patients": "folder,part\npatient1,0\npatient2/,1\npatient3/1.png,2\n",
    "from further out": "a/scans/patient1/1 0\na/scans/patient1/2 0\na/scans/patient2 1\na/scans/patient3/1 2\n",
}


@pytest.mark.parametrize("above", ["scans/", ""], ids=["a folder around", "no folder around"])
@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
def test_patients_whose_images_are_called_alike_stay_apart(lines: str, above: str, tmp_path: Path) -> None:
    """Of the third one the file names one image alone; the fourth it does not name."""
    members = [
        (f"{above}patient{patient}/{index}.png", encoded(10 * patient + index))
        for patient in (1, 2, 3, 4)
        for index in (1, 2)
    ]
    path = tmp_path / "patients.txt"
    path.write_text(lines)
    manifest = data.prepare("parted", write_zip(tmp_path / "scans.zip", members), size=16, partition=path)
    assert manifest.parts == (2, 2, 1)
    left = [f"{above}patient3/2.png", f"{above}patient4/1.png", f"{above}patient4/2.png"]
    assert sorted(manifest.skipped) == [(name, "not in patients.txt") for name in left]


@pytest.mark.parametrize(
    ("member", "part"),
    [("1.png", None), ("2.png", 0), ("b.1/9.png", 2), ("b.2/9.png", None), ("other/2.png", None), ("deep/in/3.png", 1)],
)
def test_a_name_that_is_not_told_apart_is_in_no_part(member: str, part: int | None, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a/1.png 0\nb/1.png 1\na/2.png 0\nb.1 2\n3.jpg 1\n")
    assert read_partition(path).part(member) == part


@pytest.mark.parametrize("member", ["Zoë/1.png", "Zoe\u0308/1.png"], ids=["in one", "apart, as on macOS"])
@pytest.mark.parametrize("named", ["Zoë", "Zoe\u0308"], ids=["listed in one", "listed apart"])
def test_an_accented_letter_may_be_written_either_way(member: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "parts.txt"
    path.write_text(f"{named} 2\n", encoding="utf-8")
    assert read_partition(path).part(member) == 2
