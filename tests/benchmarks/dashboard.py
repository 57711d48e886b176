"""How soon the dashboard's overview and table are on the screen, of a study of 1,000 trials.

    python tests/benchmarks/dashboard.py [--study FOLDER] [--rounds 5]

Times are the browser's own (`performance.now()` at the frame after the content is there, 0 when the address is asked
for), in a new browser context each time, so that nothing is cached. The server is warm, as it is a few seconds after
its start; the first visit after a start is told apart.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from made_up import make_study
from playwright.sync_api import Page, sync_playwright

from flowsearch.analysis.dashboard import prepare

# What has to be there for a page to count as shown.
SHOWN = {
    "overview": ("/", ".counts .count"),
    "table": ("/trials", ".first-sight > :last-child, .ag-row:nth-child(10)"),
    "table, to work with": ("/trials", ".ag-center-cols-container .ag-row:nth-child(10)"),
    "trial": ("/trial/0000", ".panels img"),
    "overview's figure": ("/", "[data-plot] .scatterlayer .point"),
    "first figure of all": ("/figures", "[data-plot] .scatterlayer .point"),
}
WATCH = """
const selector = %s;
const watcher = new MutationObserver(() => {
  if (window.shownAt !== undefined || !document.querySelector(selector)) return;
  window.shownAt = null;
  requestAnimationFrame(() => requestAnimationFrame(() => { window.shownAt = performance.now(); }));
});
watcher.observe(document, { subtree: true, childList: true, attributes: true });
"""


def main() -> None:
    """Make the study where there is none, serve it, and look at each page in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, help="a study that is there already")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = options.study or make_study(Path(folder) / "big", 1000, epochs=100, images=200, folds=(5, 5), panels=1)
        served = prepare(study, port=0)
        threading.Thread(target=served.run, daemon=True).start()
        try:
            look(served.url.rstrip("/"), options.rounds)
        finally:
            served.close()


def look(url: str, rounds: int) -> None:
    """Print, for each page, the first time and then the median, the fastest and the slowest of the others, in ms."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("there is no chromium here; apt-get install chromium")
    print(f"{'ms':20} {'first':>7} {'median':>7} {'min':>7} {'max':>7}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, (path, selector) in SHOWN.items():
            times = []
            for _ in range(rounds + 1):
                context = browser.new_context(viewport={"width": 1400, "height": 900})
                page = context.new_page()
                page.add_init_script(WATCH % json.dumps(selector))
                page.goto(url + path, wait_until="commit")
                times.append(shown_at(page))
                context.close()
            first, *others = times
            told = (first, statistics.median(others), min(others), max(others))
            print(f"{name:20} " + " ".join(f"{time:7.0f}" for time in told), flush=True)
        browser.close()


def shown_at(page: Page) -> float:
    """Milliseconds from the request to the frame that shows the content."""
    while True:
        found = page.evaluate("window.shownAt ?? null")
        if found is not None:
            return float(found)
        page.wait_for_timeout(20)


if __name__ == "__main__":
    main()
