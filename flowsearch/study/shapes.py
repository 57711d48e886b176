"""What training steps of each shape were measured to take, kept for the next study: `$FLOWSEARCH_HOME/shapes.json`.

A shape is everything that decides a step's memory and time: the network, the batch, the image's size, not the rates.
Entries are by device, so that a laptop's times are not taken for a GPU's.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowsearch.data.store import data_home, locked

_log = logging.getLogger(__name__)

FILE = "shapes.json"
SHAPE = (
    *("method", "prox", "prox_parameters", "folds", "weights", "depth", "levels", "hidden", "last_depth", "memory"),
    *("features", "blocks", "channels", "iterations", "batch_size", "precision", "start", "end", "task"),
)


def shape_of(config: Mapping[str, Any], channels: int) -> str:
    """The name of a trial's shape, on images of so many channels."""
    words = [f"{name}={config[name]}" for name in SHAPE if config.get(name) is not None]
    return " ".join([_images(config, channels), *words])


def prior_shape_of(config: Mapping[str, Any], channels: int) -> str:
    """The name of the shape of a trial's pre-training, on images of so many channels."""
    words = [f"{name}={config[name]}" for name in ("depth", "levels", "hidden", "last_depth", "precision")]
    prior = config["prior"]
    words += [f"memory={prior['memory']}", f"batch_size={prior['batch_size']}"]
    return " ".join(["prior", _images(config, channels), *words])


def _images(config: Mapping[str, Any], channels: int) -> str:
    return f"size={config['data']['size']}" + ("" if channels == 3 else f" images={channels}")


class Shapes:
    """The measurements on `device`; `bytes` is a step's peak, all of it, `seconds` its time."""

    def __init__(self, device: str, path: Path | None = None) -> None:
        self.device = device
        self._path = path or data_home().parent / FILE
        self._known: dict[str, dict[str, float]] = self._read().get(device, {})

    def bytes(self, shape: str) -> int | None:
        """Memory that the shape was measured to take."""
        value = self._known.get(shape, {}).get("bytes")
        return None if value is None else int(value)

    def seconds(self, shape: str) -> float | None:
        """Time that a step of the shape was measured to take."""
        return self._known.get(shape, {}).get("seconds")

    def remember(self, shape: str, **measured: float) -> None:
        """Keep a measurement; of memory the largest counts. What cannot be written is said and forgotten."""
        known = self._known.setdefault(shape, {})
        if measured.get("bytes", 0) < known.get("bytes", 0):
            measured.pop("bytes")
        if all(known.get(name) == value for name, value in measured.items()):
            return
        known |= measured
        try:
            with locked(self._path):
                everything = self._read()
                everything.setdefault(self.device, {}).setdefault(shape, {}).update(known)
                aside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
                aside.write_text(json.dumps(everything, indent=1, sort_keys=True), encoding="utf-8")
                aside.replace(self._path)
        except OSError as error:
            _log.warning("what %s takes could not be noted in %s: %s", shape, self._path, error)

    def _read(self) -> dict[str, dict[str, dict[str, float]]]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}
