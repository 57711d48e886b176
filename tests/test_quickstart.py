"""The quickstart as README gives it: all three proximal maps, every completed network well above its measurements."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1200)
def test_quickstart(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "flowsearch",
        "study",
        "run",
        "studies/quickstart.yaml",
        "--results",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "quickstart"
    trials = pd.read_parquet(folder / "trials")
    assert len(trials) >= 12
    assert set(trials["status"]) <= {"completed", "pruned"}
    completed = trials[trials["status"] == "completed"]
    assert set(completed["prox"]) == {"glow", "resnet", "unet"}
    assert set(completed["weights"]) == {"tied", "untied"}
    assert set(completed["pretrain"].dropna()) == {True, False}
    assert len(set(trials["folds"])) > 1
    assert (completed["test_psnr"] > completed["measurement_psnr"] + 3).all()
    assert (completed["ood_psnr"] > 15).all()
    assert (folder / "report.html").stat().st_size < 8_000_000
