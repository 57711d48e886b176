"""The notebooks run from a fresh kernel over a small study, and are stored without outputs."""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = """\
name: small
data: {source: faces, size: 16, train: 32, val: 8, test: 8, ood: anime}
fixed: {epochs: 2, folds: 2, depth: 2, levels: 2, hidden: 8, features: 8, channels: 4, batch_size: 8}
tasks: [denoise-0.1, inpaint-5]
mode: grid
space:
  prox: [glow, resnet]
  pretrain: {choice: [true, false], when: {prox: glow}}
objective: {val_psnr: maximize}
prior: {epochs: 1}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real study of two tasks: with and without pre-training, beside a ResNet."""
    from flowsearch.study import load, run

    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "small.yaml").write_text(SMALL)
    ending = run(load(folder / "small.yaml"), folder / "results")
    assert {trial.status for trial in ending.progress.trials.values()} == {"completed"}
    return folder / "results" / "small"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    assert sum("".join(cell["source"]).startswith("STUDY = ") for cell in cells) == 1


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_a_fresh_kernel(path, study, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.source.startswith("STUDY = "):
            cell.source = f"STUDY = {str(study)!r}"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    shown = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert not [out for out in shown if out.output_type == "stream" and out.name == "stderr"]
    pages = [out.get("data", {}).get("text/html", "") + out.get("data", {}).get("text/markdown", "") for out in shown]
    assert not [page for page in pages if "<function" in page or "&lt;function" in page]
    assert any("<img" in out.get("data", {}).get("text/html", "") for out in shown)
