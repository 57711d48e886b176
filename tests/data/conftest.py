"""What the tests of image sets share: a home of their own, made-up images, and the real archives where they are."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_images import Maker, encoded, write_zip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for image sets."""
    monkeypatch.setenv("FLOWSEARCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def make_zip(tmp_path: Path) -> Maker:
    """Make a zip of `count` different images."""

    def make(count: int, name: str = "pictures.zip", **options: object) -> Path:
        members = [(f"images/{index:04d}.png", encoded(index, **options)) for index in range(count)]  # type: ignore[arg-type]
        return write_zip(tmp_path / name, members)

    return make


@pytest.fixture(scope="session")
def archive() -> Callable[[str], Path]:
    """The path of a real archive; skips where there is none."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    root = Path(os.environ.get("FLOWSEARCH_TEST_ARCHIVES", default))

    def find(name: str) -> Path:
        path = root / name
        if not path.is_file():
            pytest.skip(f"{name} is not in {root}; set FLOWSEARCH_TEST_ARCHIVES to the folder that holds it")
        return path

    return find
