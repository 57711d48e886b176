"""How strongly the proximal map of each fold shrinks what lies around an image, as a Markdown table.

    python tests/benchmarks/contraction.py results/table1-small/checkpoints/{0000,0008} --images 2

By the singular values of the map's Jacobian where the fold takes it: a linear flow would have 1 / (1 + lambda) for all
of them. The Jacobian of a 32 x 32 image has 3,072 rows, a backward pass each.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from flowsearch.data import load
from flowsearch.flows import Glow
from flowsearch.models import GlowProx, ScoreProx, Unrolled
from flowsearch.training.checkpoint import BEST
from flowsearch.training.evaluate import Measured
from flowsearch.training.saved import load_saved


def main() -> None:
    """A line for each fold of each network, and one for the whole of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+", help="folders of trials")
    parser.add_argument("--images", type=int, default=1, help="of the test images, the first ones")
    given = parser.parse_args()
    print("| prox | fold | 1 / (1 + lambda) | median | below 1/2 | above 1 | error before | after |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for folder in given.checkpoints:
        saved = load_saved(folder / BEST, "cpu")
        model = saved.model
        assert isinstance(model, Unrolled)
        _by_autograd(model)
        data = saved.config.data
        measured = Measured.of(load(data).test[: given.images], saved.task, "test", data.seed, saved.device)
        for name, cells in rows(model, measured).items():
            print(f"| {saved.config.prox} | {name} | {' | '.join(cells)} |", flush=True)


def rows(model: Unrolled, measured: Measured) -> dict[str, list[str]]:
    """The cells of each fold, means over the images (of the singular values: over all of them)."""
    values: dict[str, list[Tensor]] = {}
    errors: dict[str, list[tuple[float, float]]] = {}
    lambdas: list[float] | list[None] = [None] * model.folds if model.lambda_K is None else model.lambda_K.tolist()

    def note(name: str, function: Callable[[Tensor], Tensor], x_BCHW: Tensor, before: Tensor, truth: Tensor) -> Tensor:
        after = function(x_BCHW).detach()
        values.setdefault(name, []).append(torch.linalg.svdvals(jacobian(function, x_BCHW)))
        errors.setdefault(name, []).append((_rms(before - truth), _rms(after - truth)))
        return after

    for truth, y in zip(measured.truth_BCHW.split(1), measured.y.split(1), strict=True):
        x_BCHW = first = model.first(y).detach()
        for k in range(model.folds):
            shrinkage = None if lambdas[k] is None else torch.tensor(lambdas[k])
            x_BCHW = model.data_step(k, x_BCHW, y).detach()
            x_BCHW = note(str(k + 1), lambda x, k=k, by=shrinkage: model.prox(k)(x, by), x_BCHW, x_BCHW, truth)
        note("all", model, y, first, truth)
    found = {}
    latent = isinstance(model.prox(0), GlowProx)  # the only map that lambda shrinks by
    for (name, singular), one in zip(
        values.items(), [*(lambdas if latent else [None] * model.folds), None], strict=True
    ):
        s = torch.cat(singular)
        before, after = torch.tensor(errors[name]).mean(dim=0).tolist()
        found[name] = ["" if one is None else f"{1 / (1 + one):.2f}", f"{s.median():.3f}"]
        found[name] += [f"{(s < 0.5).float().mean():.0%}", f"{(s > 1).float().mean():.0%}"]
        found[name] += [f"{before:.4f}", f"{after:.4f}"]
    return found


def jacobian(function: Callable[[Tensor], Tensor], x_1CHW: Tensor) -> Tensor:
    """d function / d x, one row for each value of the result."""
    x_1CHW = x_1CHW.clone().requires_grad_()
    values = function(x_1CHW).flatten()
    return torch.stack([torch.autograd.grad(one, x_1CHW, retain_graph=True)[0].flatten() for one in values])


def _by_autograd(model: nn.Module) -> None:
    """Many backward passes go through one forward pass, which no pass that computes or rebuilds again takes."""
    for part in model.modules():
        if isinstance(part, Glow):
            part.memory = "autograd"
        elif isinstance(part, ScoreProx):
            part.computed_again = False


def _rms(x_BCHW: Tensor) -> float:
    return float(x_BCHW.square().mean().sqrt())


if __name__ == "__main__":
    main()
