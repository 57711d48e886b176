"""A researcher's own source, `module:name`: called once, kept, split like any other, and held to what images are."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flowsearch import data

BEGIN = """
import numpy as np
from pathlib import Path
from PIL import Image

CALLS = Path(__file__).with_name("calls")

def arrays(count, shape=(20, 24, 3)):
    with CALLS.open("a") as file:
        file.write("called\\n")
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]
"""
CONFIG = data.DataConfig(source="ownpictures:load", size=16, train=9, val=4, test=3, ood=None)
Write = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the module `ownpictures`, and forget the one imported before."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def make(body: str) -> None:
        (tmp_path / "ownpictures.py").write_text(BEGIN + body)
        monkeypatch.delitem(sys.modules, "ownpictures", raising=False)
        import importlib

        importlib.invalidate_caches()

    return make


def calls(root: Path) -> int:
    path = root / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(
    "given",
    [
        "arrays(20)",
        "[Image.fromarray(image) for image in arrays(20)]",
        "(image.transpose(2, 0, 1) for image in arrays(20))",
        "(image / 255 for image in arrays(20))",
    ],
    ids=["arrays", "Pillow images", "channels first", "floating-point"],
)
def test_what_it_gives_is_split_like_any_other_set(given: str, write: Write, tmp_path: Path) -> None:
    write(f"def load(size):\n    return {given}\n")
    sets = data.load(CONFIG)
    again = data.load(replace(CONFIG, train=8))
    assert calls(tmp_path) == 1
    assert [len(part) for part in (sets.train, sets.val, sets.test)] == [9, 4, 3]
    assert isinstance(sets.train, np.memmap)
    assert sets.train.shape[1:] == (3, 16, 16)
    assert np.array_equal(sets.test, again.test)
    np.save(tmp_path / "same.npy", np.stack([np.array(image) for image in _pictures()]))
    data.prepare("same", tmp_path / "same.npy", size=16)
    same = data.load(replace(CONFIG, source="same"))
    assert np.array_equal(sets.train, same.train)
    assert np.array_equal(sets.test, same.test)


def _pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (20, 24, 3), dtype=np.uint8) for _ in range(20)]


def test_other_seeds_split_anew_without_a_call_where_it_takes_none(write: Write, tmp_path: Path) -> None:
    write("def load(size):\n    return arrays(20)\n")
    zero, one = data.load(CONFIG), data.load(replace(CONFIG, seed=1))
    assert not np.array_equal(zero.test, one.test)
    assert calls(tmp_path) == 1


def test_it_gets_those_of_the_arguments_that_it_names(write: Write) -> None:
    write(
        "def load(size, *, seed, count, grey=False):\n"
        "    for index in range(count):\n"
        "        image = np.full((size, size), 20 * seed + index, np.uint8)\n"
        "        yield image if grey else np.stack([image] * 3)\n"
    )
    sets = data.load(replace(CONFIG, seed=2))
    values = {int(image.max()) for part in (sets.train, sets.val, sets.test) for image in part}
    assert values == set(range(40, 56))


def test_a_larger_count_leaves_test_and_val_as_they_were(write: Write) -> None:
    write(
        "def load(size, *, seed, count):\n"
        "    for index in range(count):\n"
        "        yield np.random.default_rng([seed, index]).integers(0, 256, (size, size, 3), dtype=np.uint8)\n"
    )
    few, more = data.load(CONFIG), data.load(replace(CONFIG, train=12, prior=CONFIG.source, prior_images=5))
    first = np.random.default_rng([0, 0]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(few.test[0], first.transpose(2, 0, 1))
    assert np.array_equal(few.test, more.test)
    assert np.array_equal(few.val, more.val)
    assert np.array_equal(few.train, more.train[:9])


def test_a_change_of_its_code_makes_a_new_set(write: Write, tmp_path: Path) -> None:
    write("def load(size):\n    return arrays(20)\n")
    before = data.load(CONFIG).fingerprint
    write("def load(size):\n    return [255 - image for image in arrays(20)]\n")
    assert data.load(CONFIG).fingerprint != before
    assert calls(tmp_path) == 2
    assert {manifest.name for manifest in data.list_own()} == {"ownpictures:load"}
    assert data.list_datasets() == []


def test_it_may_fill_one_array_again_and_again(write: Write) -> None:
    write(
        "def load(size):\n"
        "    image = np.zeros((size, size, 3), np.uint8)\n"
        "    for value in range(30):\n"
        "        image[:] = value\n"
        "        yield image\n"
    )
    sets = data.load(CONFIG)
    values = [int(image.max()) for part in (sets.train, sets.val, sets.test) for image in part]
    assert len(set(values)) == 16


def test_one_to_test_outside_on_is_called_once_for_counting_and_loading(write: Write, tmp_path: Path) -> None:
    write("def load(size):\n    return arrays(20)\n")
    config = replace(CONFIG, source="faces", ood="ownpictures:load")
    assert data.lacking(config) is None
    data.counted(config)
    data.load(config)
    assert calls(tmp_path) == 1


def test_an_ood_set_has_the_channels_of_the_source(write: Write, tmp_path: Path) -> None:
    write("def load(size):\n    return arrays(20)\n")
    np.save(tmp_path / "grey.npy", np.stack(_pictures())[..., 0])
    data.prepare("grey", tmp_path / "grey.npy", size=16, grey=True)
    ood = data.load(replace(CONFIG, source="grey", ood="ownpictures:load")).ood
    assert ood is not None
    assert ood.shape == (3, 1, 16, 16)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (
            "def load(): return arrays(20)",
            r"callable that takes size, and may take seed, grey and count; it takes \(\)",
        ),
        ("def load(size, path): return arrays(20)", r"it takes \(size, path\)"),
        ("def load(size): return 3", "return images one after another, not int"),
        ("def load(size): return []", "ownpictures:load gave no image"),
        ("def load(size): return ['a', 'b']", "image 0 of ownpictures:load is no image"),
        ("def load(size): return [*arrays(2), np.zeros((5, 20, 20))]", "image 2 of ownpictures:load is no image"),
        (
            "def load(size): return [*arrays(2), arrays(1)[0][..., 0]]",
            "image 2 of .* is grey and image 0 in colour; give",
        ),
        ("def load(size): return [image / 127.5 - 1 for image in arrays(2)]", r"load, image 0: .* in \[0, 1\]"),
        ("def load(size): return [image.astype(int) for image in arrays(2)]", "image 0: pixels are uint8"),
        ("def load(size): return [np.full((20, 20), np.nan)]", "image 0 of ownpictures:load cannot be used"),
        (
            "def load(size):\n    yield from arrays(2)\n    {}['spacing']",
            r"^image 2 of ownpictures:load failed: KeyError: 'spacing' \(ownpictures.py, line 15\)$",
        ),
        (
            "def load(size):\n    raise OSError('no answer')",
            r"^ownpictures:load is called with size 16, and failed: OSError: no answer \(ownpictures.py, line 14\)$",
        ),
        ("def load(size): return arrays(5)", "has 5 images; train 9, val 4 and test 3 need 16"),
        ("def other(size): return arrays(5)", "load"),
    ],
    ids=lambda value: value if value.startswith("def") else "",
)
def test_what_is_wrong_with_it_is_said(body: str, rule: str, write: Write, home: Path) -> None:
    write(body)
    with pytest.raises(ValueError, match=rule):
        data.load(CONFIG)
    assert "need 16" in rule or not list(home.rglob("*.npy"))


def test_show_takes_one_that_lies_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from flowsearch.cli.data import app

    (tmp_path / "ownhere.py").write_text(BEGIN + "def load(size):\n    return arrays(20)\n")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "sheet.png"
    result = CliRunner().invoke(app, ["show", "ownhere:load", "--size", "16", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "20 images of 3x16x16 from ownhere:load" in result.stdout
    assert out.is_file()


def test_a_prior_is_trained_on_one_that_lies_beside_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from flowsearch.cli.prior import app

    (tmp_path / "ownbeside.py").write_text(BEGIN + "def load(size):\n    return arrays(20)\n")
    data_of = "{source: ownbeside:load, size: 16, train: 9, val: 4, test: 3, ood: null}"
    (tmp_path / "flow.yaml").write_text(f"data: {data_of}\ndepth: 1\nlevels: 2\nhidden: 4\nprior: {{epochs: 1}}\n")
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    result = CliRunner().invoke(app, ["train", str(tmp_path / "flow.yaml"), "--results", str(tmp_path / "results")])
    assert result.exit_code == 0, result.output
    assert "after 1 epoch" in result.stdout
