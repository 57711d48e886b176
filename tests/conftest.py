"""What all tests share: a home of their own for image sets, one thread, and their place among processes."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is imported: Ray's workers take their environment from here."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # Ray's workers give way to all others by default, so that trials would stand still while other tests compute.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 Ray names it so
    config.stash[_HOME] = tempfile.TemporaryDirectory(prefix="flowsearch-tests-")
    os.environ["FLOWSEARCH_HOME"] = config.stash[_HOME].name


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file share a process, for its fixtures; so do all that start Ray, which then starts once.

    The longest groups go first, Ray's and then the browser's, so that none is left to run alone at the end.
    """
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("ray", "browser")])
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_unconfigure(config: pytest.Config) -> None:
    """The home goes with the tests."""
    config.stash[_HOME].cleanup()


_HOME = pytest.StashKey[tempfile.TemporaryDirectory]()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URI of an empty bucket of an S3 server on loopback, which the environment knows."""
    from object_store import bucket, s3_server

    with s3_server() as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        yield bucket(endpoint)


CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium; one a process, as Playwright has it."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests that load torch run it on one thread, as trials do: the last digits of a sum depend on the number."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
