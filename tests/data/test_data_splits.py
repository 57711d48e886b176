"""Splits: disjoint, reproducible, memory-mapped, and clear about what is missing."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_images import Maker, encoded, write_zip

from flowsearch import data

DRAWN = data.DataConfig(source="faces", size=16, train=9, val=4, test=3, ood="anime")
PREPARED = data.DataConfig(source="mine", size=16, train=9, val=4, test=3, ood=None)


def rows(images: np.ndarray | None) -> set[bytes]:
    assert images is not None
    return {image.tobytes() for image in images}


def config_of(kind: str, make_zip: Maker) -> data.DataConfig:
    if kind == "drawn":
        return DRAWN
    data.prepare("mine", make_zip(25), size=16)
    return replace(PREPARED, seed=0 if kind == "stored order" else 3)


@pytest.mark.parametrize("kind", ["drawn", "stored order", "other seed"])
def test_parts_are_disjoint_reproducible_and_mapped(kind: str, make_zip: Maker) -> None:
    config = config_of(kind, make_zip)
    sets, again = data.load(config), data.load(config)
    parts = {"train": sets.train, "val": sets.val, "test": sets.test}
    assert [len(part) for part in parts.values()] == [9, 4, 3]
    assert len(rows(sets.train) | rows(sets.val) | rows(sets.test)) == 16
    assert sets.fingerprint == again.fingerprint
    for name, part in parts.items():
        assert part.shape[1:] == (3, 16, 16)
        assert isinstance(part, np.memmap)
        assert not part.flags.writeable
        assert np.array_equal(part, getattr(again, name))


@pytest.mark.parametrize("kind", ["drawn", "stored order", "other seed"])
def test_more_training_images_leave_the_other_parts_as_they_are(kind: str, make_zip: Maker) -> None:
    config = config_of(kind, make_zip)
    few, many = data.load(config), data.load(replace(config, train=12))
    assert np.array_equal(few.test, many.test)
    assert np.array_equal(few.val, many.val)
    assert rows(few.train) < rows(many.train)


@pytest.mark.parametrize("kind", ["drawn", "stored order"])
def test_the_seed_changes_the_split(kind: str, make_zip: Maker) -> None:
    config = config_of(kind, make_zip)
    one, other = data.load(config), data.load(replace(config, seed=config.seed + 1))
    assert one.fingerprint != other.fingerprint
    assert rows(one.train) != rows(other.train)


def test_a_split_depends_on_its_seed_and_not_on_how_the_set_was_stored(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(25), size=16, seed=0)
    data.prepare("yours", make_zip(25), size=16, seed=3)
    gathered = data.load(replace(PREPARED, seed=3))
    stored = data.load(replace(PREPARED, source="yours", seed=3))
    assert np.array_equal(gathered.train, stored.train)


def test_the_fingerprint_covers_the_counts() -> None:
    assert data.load(DRAWN).fingerprint != data.load(replace(DRAWN, val=5)).fingerprint
    assert data.load(DRAWN).fingerprint != data.load(replace(DRAWN, ood=None)).fingerprint


def test_ood_is_as_many_as_the_test_images_or_all(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(2), size=16)
    ood = data.load(DRAWN).ood
    assert ood is not None
    assert len(ood) == DRAWN.test
    fewer = data.load(replace(DRAWN, ood="mine")).ood
    assert fewer is not None
    assert len(fewer) == 2


@pytest.mark.parametrize("source", ["faces", "mine"])
def test_ood_of_the_same_source_never_overlaps(source: str, make_zip: Maker) -> None:
    data.prepare("mine", make_zip(18), size=16)
    sets = data.load(replace(DRAWN, source=source, ood=source))
    assert sets.ood is not None
    assert len(sets.ood) == (3 if source == "faces" else 2)
    assert not rows(sets.ood) & (rows(sets.train) | rows(sets.val) | rows(sets.test))


def test_no_image_is_left_for_ood_of_the_same_source(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(16), size=16)
    with pytest.raises(ValueError, match="all images of mine that ood could have are in use"):
        data.load(replace(PREPARED, ood="mine"))


@pytest.mark.parametrize("source", ["faces", "mine", "yours"])
def test_further_images_for_priors_are_those_of_no_other_part(source: str, make_zip: Maker) -> None:
    data.prepare("mine", make_zip(25), size=16)
    data.prepare("yours", make_zip(9), size=16)
    number = 4 if source == "faces" else None
    ood = "yours" if source == "yours" else "anime"
    config = replace(DRAWN, source="mine" if source == "mine" else "faces", ood=ood, prior=source, prior_images=number)
    sets = data.load(config)
    without = data.load(replace(config, prior=None, prior_images=None))
    assert without.prior is None
    assert without.pretraining is without.train
    assert sets.prior is not None
    assert sets.ood is not None
    held = DRAWN.train + DRAWN.val + DRAWN.test
    assert len(sets.prior) == {"faces": 4, "mine": 25 - held, "yours": 9 - DRAWN.test}[source]
    others = rows(sets.train) | rows(sets.val) | rows(sets.test) | rows(sets.ood)
    assert not rows(sets.prior) & others
    assert rows(sets.pretraining) == rows(sets.train) | rows(sets.prior)
    assert np.array_equal(sets.train, without.train)
    assert np.array_equal(sets.ood, without.ood)
    assert sets.fingerprint != without.fingerprint


@pytest.mark.parametrize("seed", [0, 3])
def test_equal_images_of_another_set_are_left_out(
    seed: int, make_zip: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data.prepare("mine", make_zip(25), size=16)
    data.prepare("all", make_zip(30), size=16)
    members = [(f"renamed/{index}.png", encoded(index)) for index in range(40)]
    data.prepare("most", write_zip(tmp_path / "most.zip", members), size=16)
    config = replace(PREPARED, seed=seed, ood="most", prior="all")
    sets, alone = data.load(config), data.load(replace(config, ood=None, prior=None))
    used = rows(sets.train) | rows(sets.val) | rows(sets.test)
    everything = rows(data.open_images(data.folder_of("all", 16), data.find_dataset("all", 16)[0]))
    first = data.load(replace(config, source="most", ood=None, prior=None)).test
    assert sets.ood is not None
    assert sets.prior is not None
    assert 0 < len(sets.ood) < 3
    assert rows(sets.ood) == rows(first) - used
    assert rows(sets.prior) == everything - used - rows(sets.ood)
    assert not sets.prior.flags.writeable
    assert "images of all are left out of prior: other parts have the same pixels" in caplog.text
    for part in ("train", "val", "test"):
        assert np.array_equal(getattr(sets, part), getattr(alone, part))


def test_an_ood_set_of_the_same_images_is_refused(make_zip: Maker) -> None:
    for name in ("mine", "again"):
        data.prepare(name, make_zip(16), size=16)
    with pytest.raises(ValueError, match="all images of again that ood could have are in use"):
        data.load(replace(PREPARED, ood="again"))


def test_of_two_parts_that_no_image_is_left_for_the_first_is_named(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(16), size=16)
    with pytest.raises(ValueError, match="all images of mine that ood could have are in use"):
        data.load(replace(PREPARED, ood="mine", prior="mine"))


def test_further_images_for_priors_have_to_be_counted_where_they_are_made() -> None:
    with pytest.raises(ValueError, match="prior faces makes as many images as are asked for"):
        replace(DRAWN, prior="faces")
    with pytest.raises(ValueError, match="prior_images counts the images of prior, which is null"):
        replace(DRAWN, prior_images=3)


@pytest.mark.parametrize("name", ["prior", "ood", "source", "train"])
def test_a_set_may_be_called_as_a_part_is(name: str, make_zip: Maker) -> None:
    data.prepare(name, make_zip(20), size=16)
    data.prepare("mine", make_zip(20), size=16)
    called, mine = data.load(replace(PREPARED, source=name)), data.load(PREPARED)
    assert np.array_equal(called.train, mine.train)
    assert called.prior is None


def test_no_image_is_left_for_priors(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(16), size=16)
    with pytest.raises(ValueError, match="all images of mine that prior could have are in use"):
        data.load(replace(PREPARED, prior="mine"))


def test_grey_sources_bring_a_grey_ood(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(20), size=16, grey=True)
    sets = data.load(replace(PREPARED, ood="anime"))
    assert sets.ood is not None
    assert sets.train.shape[1] == sets.ood.shape[1] == 1


def test_channels_that_differ_are_refused(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(20), size=16)
    data.prepare("grey", make_zip(20), size=16, grey=True)
    with pytest.raises(ValueError, match=r"set .* is in colour and ood grey is grey; prepare both"):
        data.load(replace(PREPARED, ood="grey"))


def test_too_few_images(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(15), size=16)
    with pytest.raises(ValueError, match="mine has 15 images; train 9, val 4 and test 3 need 16: ask for fewer"):
        data.load(PREPARED)


def test_an_unknown_set_names_the_nearest_and_the_command(make_zip: Maker) -> None:
    data.prepare("celeba", make_zip(3), size=16)
    with pytest.raises(
        ValueError, match=r"'celbea'; did you mean celeba\?.*known: faces, anime, celeba.*data prepare celbea"
    ):
        data.load(replace(PREPARED, source="celbea"))


def test_another_size_says_which_there_are(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(3), size=16)
    with pytest.raises(ValueError, match=r"prepared at size 16, not 32; run: flowsearch data prepare mine .*--size 32"):
        data.load(replace(PREPARED, size=32))


def test_a_damaged_set_says_what_to_do(make_zip: Maker) -> None:
    data.prepare("mine", make_zip(20), size=16)
    images = data.folder_of("mine", 16) / "images.npy"
    images.write_bytes(images.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cannot be read .* prepare it again"):
        data.load(PREPARED)


def test_a_config_goes_through_json() -> None:
    import json

    assert data.DataConfig.from_dict(json.loads(json.dumps(DRAWN.to_dict()))) == DRAWN
    with pytest.raises(ValueError, match="sizee"):
        data.DataConfig.from_dict({"sizee": 3})


@pytest.mark.parametrize(
    ("prior", "images"),
    [(None, None), ("faces", 7), ("mine", None), ("mine", 4), ("other", None), ("other", 5)],
    ids=["none", "built in", "own source, all", "own source, some", "another, all", "another, some"],
)
@pytest.mark.parametrize("mode", ["RGB", "L"], ids=["colour", "grey"])
def test_channels_and_images_for_priors_are_counted_without_opening_any(
    prior: str | None, images: int | None, mode: str, tmp_path: Path
) -> None:
    grey = mode == "L"
    for name, first, count in (("mine", 0, 25), ("other", 100, 11)):
        members = [(f"{seed}.png", encoded(seed, mode=mode)) for seed in range(first, first + count)]
        data.prepare(name, write_zip(tmp_path / f"{name}.zip", members), size=16, grey=grey)
    config = replace(PREPARED, prior=prior, prior_images=images)
    counted = data.counted(config)
    sets = data.load(config)
    assert counted == data.Counted(sets.train.shape[1], len(sets.pretraining))


def test_what_is_counted_of_a_partition_is_what_is_loaded(make_zip: Maker, tmp_path: Path) -> None:
    names = [f"{index:03d}.png" for index in range(24)]
    source = write_zip(tmp_path / "parted.zip", [(name, encoded(seed)) for seed, name in enumerate(names)])
    parts = tmp_path / "parts.txt"
    parts.write_text("".join(f"{name} {0 if index < 14 else 1 + index % 2}\n" for index, name in enumerate(names)))
    data.prepare("parted", source, size=16, partition=parts)
    config = data.DataConfig(source="parted", prior="parted", size=16, train=9, val=4, test=3, ood=None)
    assert data.counted(config).pretraining == len(data.load(config).pretraining) == 14


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, None),
        ({"ood": "anime"}, None),
        ({"train": 30}, "data set mine has 25 images"),
        ({"source": "nothing"}, "there is no data set 'nothing'"),
        ({"ood": "colour"}, "mine is grey and ood colour is in colour"),
        ({"prior": "nothing"}, "there is no data set 'nothing'"),
    ],
    ids=["enough", "built in", "too few", "none", "other channels", "no prior"],
)
def test_what_is_lacking_is_what_loading_refuses(change: dict[str, Any], rule: str | None, tmp_path: Path) -> None:
    for name, first, count in (("mine", 0, 25), ("colour", 100, 11)):
        members = [(f"{seed}.png", encoded(seed)) for seed in range(first, first + count)]
        data.prepare(name, write_zip(tmp_path / f"{name}.zip", members), size=16, grey=name == "mine")
    config = replace(PREPARED, **change)
    said = data.lacking(config)
    if rule is None:
        assert said is None
        data.load(config)
    else:
        assert said is not None
        assert rule in said
        with pytest.raises(ValueError, match=re.escape(said)):
            data.load(config)
