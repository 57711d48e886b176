"""What the tests of commands share."""

from pathlib import Path

import pytest
from calling import FILE


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(FILE)
    return path
