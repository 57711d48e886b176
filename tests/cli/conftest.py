"""What the tests of commands share."""

from pathlib import Path

import numpy as np
import pytest
from calling import FILE, flowsearch, many, train
from PIL import Image


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("model") / "trial")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    (folder / "deeper").mkdir()
    Image.fromarray(pixels[:9, :9]).save(folder / "deeper" / "a.jpg")
    Image.fromarray(pixels[..., 0]).save(folder.parent / "grey.png")
    np.save(folder.parent / "stack.npy", np.stack([pixels[..., 0]] * 5))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def grey_trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grey")
    assert flowsearch("data", "prepare", "scanned", many(folder), "--size", 16, "--grey")[0] == 0
    return train(folder / "trial", "data.source=scanned", "data.ood=null")
