"""The unrolled proximal-gradient network (paper section IV-B).

Shapes: y_B... is a batch of measurements, x_BCHW of images; share_K, mu_K and lambda_K have a number for each fold.
"""

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from flowsearch.checks import PRECISIONS, check_choice, check_int
from flowsearch.models.prox import FlowProx, ProximalMap, ReadyGlowProx
from flowsearch.operators import LinearOperator


class Unrolled(nn.Module):
    """K folds of proximal gradient descent, x = P(x + mu A^T (y - A x)) (paper eqs. (8) to (11)).

    The data step descends the residual (eq. (8) prints the sign that would climb it). mu and lambda are learned per
    fold, lambda = softplus(raw) > 0. `start` is x0: `mode` (g(0) of the first fold's flow) or `adjoint`
    (A^T y / |A|^2, a full step from zero: as bright as an image whatever the scale of A). `end` is `prox` (the last
    fold shrinks too) or `data` (eq. (12) read literally: its prox is skipped, as g(f(x~)) = x~, so that only the K - 1
    folds before it have a map, and the last lambda is not used).

    `precision: bf16` runs the proximal maps' convolutions in bfloat16 (autocast); data steps, and all that is
    invertible in a flow, stay in float32.
    """

    def __init__(
        self,
        operator: LinearOperator,
        proxes: list[ProximalMap],
        folds: int,
        start: str = "adjoint",
        end: str = "prox",
        precision: str = "fp32",
    ) -> None:
        """`proxes`: one map, which all folds share (tied weights), or one for each fold that has one (untied).

        Raises ValueError where these do not go together, or a proximal map is none.
        """
        super().__init__()
        check_choice("start", start, ("mode", "adjoint"))
        check_choice("end", end, ("prox", "data"))
        check_choice("precision", precision, PRECISIONS)
        check_int("folds", folds, 1)
        self.mapped_folds = folds - (end == "data")
        if len(proxes) not in (1, self.mapped_folds):
            raise ValueError(
                f"there is one proximal map for all {self.mapped_folds} folds that end in one, or one for each, not "
                f"{len(proxes)}"
            )
        for prox in proxes:
            if not isinstance(prox, ProximalMap):
                raise ValueError(
                    "a proximal map is a flowsearch.models.ProximalMap, forward(x, shrinkage) -> x, not "
                    f"{type(prox).__name__}; flowsearch.models.OwnProx(network) makes one of any module"
                )
        if start == "mode" and not hasattr(proxes[0], "mode"):
            raise ValueError(
                f"start: mode needs a flow to have a mode; {type(proxes[0]).__name__} starts from the adjoint"
            )
        self.operator, self.precision = operator, precision
        self.proxes = nn.ModuleList(proxes)
        self.folds, self.start, self.end = folds, start, end
        self.share_K = nn.Parameter(_first_steps(folds))
        start_at = next((prox.raw_lambda for prox in proxes if prox.shrinks), None)
        self.raw_lambda_K = None if start_at is None else nn.Parameter(torch.full((folds,), start_at))

    @property
    def is_tied(self) -> bool:
        """Whether several folds share one map."""
        return len(self.proxes) < self.mapped_folds

    @property
    def mu_K(self) -> Tensor:
        """The step size of each fold. What is learned is its share of 1 / |A|^2, the longest step that cannot
        overshoot: the optimizer then does the same whatever the scale of A."""
        return self.share_K / self.operator.norm**2

    @property
    def lambda_K(self) -> Tensor | None:
        """The shrinkage of each fold, or None where no proximal map shrinks."""
        return None if self.raw_lambda_K is None else softplus(self.raw_lambda_K)

    def forward(self, y: Tensor) -> Tensor:
        """The reconstruction of the measurements `y`, unclipped."""
        return self.iterates(y)[-1]

    def iterates(self, y: Tensor) -> list[Tensor]:
        """The image after each fold, K in all."""
        lambda_K = self.lambda_K
        tied = self.is_tied
        images = []
        for k in range(self.folds):
            if k == 0 or (k < self.mapped_folds and not tied):
                with in_precision(self.precision, y.device):
                    prox = self.prox(k).ready(keep=tied)
            if k == 0:
                x_BCHW = self.first(y, prox)
            x_BCHW = self.data_step(k, x_BCHW, y)
            if k < self.mapped_folds:
                with in_precision(self.precision, y.device):
                    x_BCHW = prox(x_BCHW, None if lambda_K is None else lambda_K[k]).to(x_BCHW.dtype)
            images.append(x_BCHW)
        return images

    def first(self, y: Tensor, prox: "ProximalMap | ReadyGlowProx | None" = None) -> Tensor:
        """x0, the image before the first fold; `prox` is the first fold's map where that has been made ready."""
        if self.start == "mode":
            with in_precision(self.precision, y.device):
                return cast("FlowProx | ReadyGlowProx", prox or self.prox(0)).mode(len(y))
        return self.operator.adjoint(y) / self.operator.norm**2

    def data_step(self, k: int, x_BCHW: Tensor, y: Tensor) -> Tensor:
        """x + mu A^T (y - A x) with the step size of fold `k` (paper eq. (8))."""
        return x_BCHW + self.mu_K[k] * self.operator.adjoint(y - self.operator(x_BCHW))

    @torch.no_grad()
    def initialize(self, y: Tensor) -> None:
        """Let what has a data-dependent start (a fresh flow's actnorms) take it from these measurements; running means
        of batch normalization take a step of theirs."""
        training = self.training
        self.train()
        self(y)
        self.train(training)

    def prox(self, k: int) -> ProximalMap:
        """The proximal map of fold `k`, counted from 0, one that has a map."""
        return cast(ProximalMap, self.proxes[k % len(self.proxes)])

    def scalars(self) -> list[nn.Parameter]:
        """The parameters that learn at their own rate: mu, and lambda where there is one."""
        return [self.share_K] if self.raw_lambda_K is None else [self.share_K, self.raw_lambda_K]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        """Checkpoints of earlier versions hold mu itself."""
        if (mu_K := state_dict.pop(f"{prefix}mu_K", None)) is not None:
            state_dict[f"{prefix}share_K"] = mu_K * self.operator.norm**2
        super()._load_from_state_dict(state_dict, prefix, *more)


def in_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 for `bf16`, nothing for `fp32`."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def untie(prox: ProximalMap, count: int) -> list[ProximalMap]:
    """So many copies of `prox`, one for each fold that has a map, all starting alike."""
    return [copy.deepcopy(prox) for _ in range(count)]


def _first_steps(folds: int) -> Tensor:
    """Step sizes to start from, times norm^2: a full first step, then the share that averages the folds' estimates."""
    return 1.0 / torch.arange(1, folds + 1)
