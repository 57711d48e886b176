"""A real study, watched from its beginning in the browser: trials appear, a curve grows, one fails and says why."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from looking import until

pytestmark = [pytest.mark.browser, pytest.mark.ray, pytest.mark.slow]

# Two maps of one's own: one that takes its time, so that it can be watched, and one that breaks while it is trained.
PARTS = """
import time

from torch import nn


class Slow(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.body = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        time.sleep(0.02)
        return x + 0.1 * self.body(x)


class Broken(Slow):
    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 9:
            raise RuntimeError("the lens cap is on")
        return super().forward(x)
"""
STUDY = """
name: watched
data: {source: faces, size: 16, train: 32, val: 4, test: 4, ood: null}
fixed: {task: denoise-0.2, folds: 1, epochs: 40, batch_size: 8, channels: 4}
mode: grid
space: {prox: [watched_parts:Slow, watched_parts:Broken, unet]}
resources: {concurrent: 2}
"""
LONG = 90.0
POINTS = "document.querySelector('[data-plot=\"trial/psnr\"] .js-plotly-plot')?._fullData?.[0]?.x.length ?? 0"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """The results' folder of a study that has just been started, and its process."""
    (tmp_path / "watched_parts.py").write_text(PARTS, encoding="utf-8")
    (tmp_path / "watched.yaml").write_text(STUDY, encoding="utf-8")
    results = tmp_path / "results"
    results.mkdir()
    command = [sys.executable, "-m", "flowsearch", "study", "run", "watched.yaml", "--results", "results", "--plain"]
    with (tmp_path / "log").open("w") as log:
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, text=True, env=env)
        yield results, process
        process.terminate()
        process.wait(30)


def test_a_study_is_watched_from_its_first_trial_to_its_last(
    browse: Callable[..., Any], serving: Callable[..., Any], running: tuple[Path, subprocess.Popen[str]]
) -> None:
    results, process = running
    page = browse(serving(results).url)
    assert "There are no studies" in page.locator("main").inner_text()
    page.evaluate("window.stayed = true")

    # The study appears, then its first trial, then the curve of that trial grows; nobody reloads anything.
    page.get_by_role("link", name="watched").click(timeout=LONG * 1000)
    page.get_by_role("link", name="Trials", exact=True).click(timeout=LONG * 1000)
    page.locator("[col-id=trial_id] a", has_text="0000").click(timeout=LONG * 1000)
    page.wait_for_selector("text=Trial 0000")
    until(page, f"{POINTS} > 0", LONG)
    early = page.evaluate(POINTS)
    until(page, f"{POINTS} >= {early} + 3", LONG)
    assert page.locator(".title .badge").inner_text() == "running"

    page.get_by_role("link", name="Overview", exact=True).click()
    page.get_by_role("link", name="1 failed").click(timeout=LONG * 1000)
    page.locator("[col-id=trial_id] a", has_text="0001").click(timeout=LONG * 1000)
    page.wait_for_selector("text=Why it failed")
    text = page.locator("main").inner_text()
    assert "RuntimeError: the lens cap is on" in text
    assert "watched_parts.py" in text
    assert "flowsearch study retry" in text

    page.get_by_role("link", name="Overview", exact=True).click()
    until(page, "document.querySelector('main').innerText.includes('3 of 3 trials done')", LONG)
    until(page, "document.getElementById('study-state').textContent === 'finished'", LONG)
    page.locator(".bests a.id").first.click()
    page.wait_for_selector("text=completed")
    until(page, "document.querySelectorAll('.panels img').length >= 12")
    until(page, "[...document.querySelectorAll('.panels img')].every((image) => image.naturalWidth > 0)")
    assert page.evaluate("window.stayed")

    other = browse(page.url, context=page.context)
    other.wait_for_selector(".panels img")
    assert other.locator(".title").inner_text() == page.locator(".title").inner_text()
    assert process.wait(LONG) == 1  # a study with a failed trial
