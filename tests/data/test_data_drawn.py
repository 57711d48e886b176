"""The built-in sources: deterministic, varied, of any size, and different from each other."""

import subprocess
import sys

import numpy as np
import pytest

from flowsearch import data

SOURCES = ("faces", "anime")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("size", [8, 13, 32, 64, 200])
def test_an_image_has_the_size_asked_for(source: str, size: int) -> None:
    image = data.draw(source, size, 0, 3)
    assert image.shape == (3, size, size)
    assert image.dtype == np.uint8
    assert image.std() > 10


@pytest.mark.parametrize("source", SOURCES)
def test_an_image_depends_on_seed_and_index_alone(source: str) -> None:
    before = data.draw(source, 32, 5, 7)
    data.draw(source, 64, 1, 2)
    assert np.array_equal(before, data.draw(source, 32, 5, 7))
    assert not np.array_equal(before, data.draw(source, 32, 5, 8))
    assert not np.array_equal(before, data.draw(source, 32, 6, 7))


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_picture_at_every_size(source: str) -> None:
    small = data.draw(source, 32, 0, 4).astype(float)
    large = data.draw(source, 64, 0, 4).reshape(3, 32, 2, 32, 2).mean(axis=(2, 4))
    assert np.abs(small - large).mean() < 6.0


@pytest.mark.parametrize("source", SOURCES)
def test_images_do_not_repeat(source: str) -> None:
    images = np.stack([data.draw(source, 16, 0, index) for index in range(120)])
    assert len({image.tobytes() for image in images}) == len(images)
    flat = images.reshape(len(images), -1).astype(np.float32)
    distance = np.abs(flat[:, None] - flat[None]).mean(axis=2)[np.triu_indices(len(flat), 1)]
    assert distance.min() > 5.0


@pytest.mark.parametrize("count", [3, 320])
def test_stored_images_are_the_drawn_ones_whatever_the_count(count: int) -> None:
    images, manifest = data.drawn("faces", 16, 2, count)
    assert manifest.count == len(images) == count
    for index in (0, 1, count // 2, count - 1):
        assert np.array_equal(images[index], data.draw("faces", 16, 2, index))


def test_what_is_stored_is_not_drawn_again(home: object) -> None:
    first, manifest = data.drawn("anime", 16, 0, 4)
    again, same = data.drawn("anime", 16, 0, 4)
    assert manifest == same
    assert np.array_equal(first, again)
    assert isinstance(again, np.memmap)
    assert again.filename == first.filename  # type: ignore[attr-defined]


def test_anime_has_flatter_shading_and_larger_dark_eyes() -> None:
    def flatness(source: str) -> float:
        """Share of neighbouring pixels that hardly differ: high where shading is flat."""
        images = np.stack([data.draw(source, 64, 0, index) for index in range(40)]).astype(float).mean(axis=1)
        return float((np.abs(np.diff(images, axis=2)) < 1.0).mean())

    def eyes(source: str) -> float:
        """Contrast of the band that holds the eyes, over the middle of the face."""
        images = np.stack([data.draw(source, 64, 0, index) for index in range(40)]).astype(float).mean(axis=1)
        return float(images[:, 30:42, 16:48].std(axis=(1, 2)).mean())

    assert flatness("anime") > 2.0 * flatness("faces")
    assert eyes("anime") > 1.1 * eyes("faces")


def test_grey_is_one_channel() -> None:
    grey = data.draw("faces", 24, 0, 1, grey=True)
    colour = data.draw("faces", 24, 0, 1)
    assert grey.shape == (1, 24, 24)
    assert abs(float(grey.mean()) - float(colour.mean())) < 40


def test_processes_that_want_the_same_set_at_once_get_the_same() -> None:
    script = (
        "from flowsearch import data\n"
        "sets = data.load(data.DataConfig(source='faces', size=16, train=40, val=4, test=4))\n"
        "print(sets.fingerprint)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
