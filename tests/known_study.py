"""Studies whose answers are known beforehand, written by the real writer: PSNR = what the configuration is worth, what
the seed adds, what the image adds and what is left."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from flowsearch.results import Results, Writer, load

_START = datetime(2026, 3, 1, tzinfo=UTC)
MEASURED = 20.0


def known_study(
    root: Path,
    worth: Iterable[tuple[Mapping[str, Any], float]],
    *,
    repeats: int = 1,
    images: int = 30,
    seed: int = 0,
    of_seed: float = 0.0,
    of_image: float = 1.0,
    rest: float = 0.1,
    study: str = "",
    drop: float = 2.0,
    lost: Collection[tuple[int, int]] = (),
) -> Results:
    """Write a study of the configurations in `worth`, each with its mean test PSNR, and open it.

    `of_seed`, `of_image` and `rest` are standard deviations; what an image adds is the same for all. `study` is text of
    the study file beside its name. Out of distribution everything is `drop` dB lower. `lost` are trials and images
    whose test PSNR is not finite.
    """
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, of_image, images)
    root.mkdir(parents=True)
    (root / "study.yaml").write_text(f"name: {root.name}\n{study}", encoding="utf-8")
    with Writer(root, study=root.name, strict=True) as writer:
        number = 0
        for configuration, (config, mean) in enumerate(worth):
            for repeat in range(repeats):
                trial_id, lucky = f"{number:04d}", float(rng.normal(0, of_seed))
                rows = []
                for split, less in (("test", 0.0), ("ood", drop)):
                    psnr = mean + lucky + hard - hard.mean() + rng.normal(0, rest, images) - less
                    rows += [
                        {
                            "split": split,
                            "image": i,
                            "psnr": float("nan") if split == "test" and (number, i) in lost else float(value),
                            "measurement_psnr": MEASURED + float(hard[i]),
                        }
                        for i, value in enumerate(psnr)
                    ]
                writer.final(trial_id, 1, {"images": rows, "panels": []})
                known = {"trial_id": trial_id, "index": number, "configuration": configuration, "repeat": repeat}
                known |= {"attempt": 1, "status": "completed", "seed": repeat, "task": "denoise-0.1", "prox": "glow"}
                known |= {"ended": _START + timedelta(seconds=number), "val_psnr": mean + lucky, "parameters": 1000}
                means = {f"{split}_psnr": _mean(rows, split) for split in ("test", "ood")}
                writer.trial(known | {"source": "faces", "size": 32, "folds": 3} | means | dict(config))
                number += 1
    return load(root)


def _mean(rows: list[dict[str, Any]], split: str) -> float | None:
    mean = float(np.mean([row["psnr"] for row in rows if row["split"] == split]))
    return mean if np.isfinite(mean) else None
