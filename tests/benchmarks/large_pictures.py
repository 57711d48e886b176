"""A network on pictures larger than its images: PSNR near the borders of windows of its size, and elsewhere; of a
deblurring network, too, near the border of pictures that were cut out of larger blurred ones.

python tests/benchmarks/large_pictures.py MODEL
"""

import sys

import torch
from torch import Tensor

from flowsearch.data.faces import draw_face
from flowsearch.operators.blur import Blur
from flowsearch.training.metrics import clip
from flowsearch.training.reconstruct import reconstruct, reconstruct_measured
from flowsearch.training.saved import load_saved

COUNT, SEED = 6, 77
NEAR, RIM = 4, 12
"""Pixels from a border that are near it: of a window, and of the picture."""


def main(model: str) -> None:
    """Print mean PSNRs over drawn faces, five windows wide."""
    saved = load_saved(model, "cpu")
    width = 5 * saved.size
    to_window = torch.arange(width) % saved.size
    inner = to_window.minimum(saved.size - 1 - to_window) >= NEAR
    simulated, cut_out = [], []
    for index in range(COUNT):
        truth_CHW = _face(width, index)
        found_CHW = reconstruct(saved, truth_CHW, torch.Generator().manual_seed(0)).reconstruction_CHW
        simulated.append(_psnrs(found_CHW, truth_CHW, inner))
        operator = saved.task.operator
        if isinstance(operator, Blur):
            margin = saved.size
            large_CHW = _face(width + 2 * margin, index)
            blurred_CHW = operator.resized(*large_CHW.shape[1:])(large_CHW[None])[0]
            inside = (..., slice(margin, -margin), slice(margin, -margin))
            y_CHW = ((blurred_CHW[inside] + 0.5) * 255).round() / 255 - 0.5
            found_CHW = reconstruct_measured(saved, y_CHW).reconstruction_CHW
            places = torch.arange(width)
            cut_out.append(_psnrs(found_CHW, large_CHW[inside], places.minimum(width - 1 - places) >= RIM))
    for rows, what in ((simulated, f"within {NEAR} pixels of windows"), (cut_out, f"{RIM} outermost pixels, measured")):
        if rows:
            whole, near, elsewhere = torch.tensor(rows).mean(dim=0).tolist()
            print(f"{saved.task.name}: {whole:.2f} dB; {what} {near:.2f} dB, elsewhere {elsewhere:.2f} dB")


def _face(width: int, index: int) -> Tensor:
    return torch.from_numpy(draw_face(width, SEED, index)).float() / 255 - 0.5


def _psnrs(found_CHW: Tensor, truth_CHW: Tensor, inner: Tensor) -> list[float]:
    """Of the whole picture, of what is near a border, and of the rest."""
    error_HW = (clip(found_CHW) - truth_CHW).square().mean(dim=0)
    rest = inner[:, None] & inner[None, :]
    return [float(-10 * part.mean().log10()) for part in (error_HW, error_HW[~rest], error_HW[rest])]


if __name__ == "__main__":
    main(sys.argv[1])
