"""Classical reconstructions to compare with: the measurement, its adjoint, and total variation.

Shapes: y_B... is a batch of measurements, x_BCHW of images. A per-image number has shape (B,), or (B, 1, 1, 1) beside
images.
"""

import logging

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from flowsearch.checks import check_float
from flowsearch.operators import LinearOperator

_log = logging.getLogger(__name__)

FLAT = 1e-3
"""A mean length of the gradient that no eye sees, which the gap of a flat image is measured by."""
CHECK_EVERY = 25
"""Iterations of `TotalVariation` from one look at the gap to the next."""


class Adjoint(nn.Module):
    """x = A^T y / |A|^2: one gradient step from zero on 1/2 |A x - y|^2.

    What zero-filling is to a mask and the zero-filled Fourier transform to undersampled spectra. Where |A| is 1, as of
    masks and blurs, it is A^T y.
    """

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, y: Tensor) -> Tensor:
        """The images of the measurements `y`."""
        return self.operator.adjoint(y) / self.operator.norm**2


class Measurement(nn.Module):
    """x = y where a measurement is an image of the same shape, A^T y / |A|^2 elsewhere (A^T y alone would be too faint
    to compare where A averages): what there was before anything was reconstructed."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, y: Tensor) -> Tensor:
        """The measurements `y` as images."""
        back_BCHW = self.operator.adjoint(y)
        return y if y.shape == back_BCHW.shape and not y.is_complex() else back_BCHW / self.operator.norm**2


def gradient(x_BCHW: Tensor) -> Tensor:
    """The forward differences D x, down and to the right, zero at the border, as (2, B, C, H, W)."""
    down = pad(x_BCHW[:, :, 1:] - x_BCHW[:, :, :-1], (0, 0, 0, 1))
    right = pad(x_BCHW[..., 1:] - x_BCHW[..., :-1], (0, 1))
    return torch.stack([down, right])


def gradient_adjoint(q_2BCHW: Tensor) -> Tensor:
    """D^T q, minus the discrete divergence of q: <D x, q> = <x, D^T q>."""
    down, right = q_2BCHW[0], q_2BCHW[1]
    x_BCHW = torch.zeros_like(down)
    x_BCHW[:, :, 1:] += down[:, :, :-1]
    x_BCHW[:, :, :-1] -= down[:, :, :-1]
    x_BCHW[..., 1:] += right[..., :-1]
    x_BCHW[..., :-1] -= right[..., :-1]
    return x_BCHW


def lengths(q_2BCHW: Tensor) -> Tensor:
    """The length of each pixel's gradient over both directions and all channels, (B, 1, H, W)."""
    return q_2BCHW.square().sum(dim=(0, 2)).sqrt()[:, None]


def total_variation(x_BCHW: Tensor) -> Tensor:
    """TV(x), the sum over the pixels of the gradient's length, of each image, (B,).

    Isotropic, and vectorial in colour (Bresson and Chan, 2008): the channels of a pixel share one length, so that their
    edges want to lie in the same places.
    """
    return lengths(gradient(x_BCHW)).flatten(1).sum(dim=1)


class TotalVariation(nn.Module):
    """x = argmin_x 1/2 |A x - y|^2 + w TV(x), each image to its own convergence (Rudin, Osher and Fatemi, 1992).

    The primal-dual method of Chambolle and Pock (2011) on

        min_x max_p,q  <A x - y, p> - |p|^2 / 2 + <D x, q>,   |q| <= w in every pixel,

    needs A, A^T and |A| only. It solves for A / |A|, y / |A| and w / |A|^2, which have the same image, so that it comes
    as far whatever the scale of A. Its steps stand in a ratio that grows with w, as the dual side's size does (30 w was
    the quickest of those tried, by far for blurs), and it is over-relaxed. It ends for an image when the primal value
    exceeds the dual one, taken over |x| <= 1, by less than `tolerance` of the primal value: a certificate that no
    better image is there (images are in [-0.5, 0.5]). An image all but flat, whose value is all but zero, is given a
    gradient of `FLAT` in every pixel to be judged by.
    """

    def __init__(
        self, operator: LinearOperator, weight: float, tolerance: float = 1e-3, most_iterations: int = 5_000
    ) -> None:
        """`most_iterations` bounds the time of a problem that converges slowly, as deblurring without noise does by a
        small weight; `solve` says how far it came."""
        check_float("tv_weight", weight, 0, positive=True)
        super().__init__()
        self.operator, self.weight = operator, weight
        self.tolerance, self.most_iterations = tolerance, most_iterations

    def forward(self, y: Tensor) -> Tensor:
        """The reconstruction of the measurements `y`; logs how many have not converged."""
        x_BCHW, gap_B = self.solve(y)
        if short := int((gap_B > self.tolerance).sum()):
            _log.warning(
                "%d of %d images by total variation of weight %.3g are up to %.1f%% above the least value, not %.1f%%, "
                "after %d iterations",
                *(short, len(y), self.weight, 100 * float(gap_B.max()), 100 * self.tolerance, self.most_iterations),
            )
        return x_BCHW

    def objective(self, x_BCHW: Tensor, y: Tensor) -> Tensor:
        """1/2 |A x - y|^2 + w TV(x) of each image, (B,)."""
        return 0.5 * _square(self.operator(x_BCHW) - y) + self.weight * total_variation(x_BCHW)

    @torch.no_grad()
    def solve(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The images, and the relative gap of each at its end, (B,)."""
        norm = self.operator.norm
        y, weight = y / norm, self.weight / norm**2
        x_BCHW = self._adjoint(y)
        p, q_2BCHW = torch.zeros_like(y), x_BCHW.new_zeros(2, *x_BCHW.shape)
        solved_BCHW, gap_B = x_BCHW.clone(), x_BCHW.new_full((len(y),), torch.inf)
        left = torch.arange(len(y), device=y.device)  # the images that have not converged
        both = 3.0  # no less than the norm of A / |A| and D together, as |D|^2 <= 8
        ratio, relaxation = min(30 * weight, 3.0), 1.8
        tau, sigma = 1 / (ratio * both), ratio / both
        for iteration in range(1, self.most_iterations + 1):
            back_BCHW = self._adjoint(p) + gradient_adjoint(q_2BCHW)
            new_BCHW = x_BCHW - tau * back_BCHW
            ahead_BCHW = 2 * new_BCHW - x_BCHW
            new_p = (p + sigma * (self._forward(ahead_BCHW) - y)) / (1 + sigma)
            new_q = q_2BCHW + sigma * gradient(ahead_BCHW)
            new_q /= (lengths(new_q) / weight).clamp_min(1)
            if iteration % CHECK_EVERY == 0 or iteration == self.most_iterations:
                gaps = self._gap(new_BCHW, new_p, new_q, y, weight)
                solved_BCHW[left], gap_B[left] = new_BCHW, gaps
                going = gaps > self.tolerance
                if not going.any():
                    break
                if not going.all():
                    left, y, p, new_p = left[going], y[going], p[going], new_p[going]
                    x_BCHW, new_BCHW = x_BCHW[going], new_BCHW[going]
                    q_2BCHW, new_q = q_2BCHW[:, going], new_q[:, going]
            x_BCHW = torch.lerp(x_BCHW, new_BCHW, relaxation)
            p = p + relaxation * (new_p - p)
            q_2BCHW = torch.lerp(q_2BCHW, new_q, relaxation)
        return solved_BCHW, gap_B

    def _forward(self, x_BCHW: Tensor) -> Tensor:
        """A x / |A|."""
        return self.operator(x_BCHW) / self.operator.norm

    def _adjoint(self, p: Tensor) -> Tensor:
        """A^T p / |A|."""
        return self.operator.adjoint(p) / self.operator.norm

    def _gap(self, x_BCHW: Tensor, p: Tensor, q_2BCHW: Tensor, y: Tensor, weight: float) -> Tensor:
        """(primal - dual) / primal of each image, by A / |A|; the dual value is min over |x| <= 1 of what p and q leave
        of it."""
        primal_B = 0.5 * _square(self._forward(x_BCHW) - y) + weight * total_variation(x_BCHW)
        slack_B = (self._adjoint(p) + gradient_adjoint(q_2BCHW)).abs().flatten(1).sum(dim=1)
        dual_B = -0.5 * _square(p) - (p.conj() * y).real.flatten(1).sum(dim=1) - slack_B
        pixels = x_BCHW.shape[-2] * x_BCHW.shape[-1]
        return (primal_B - dual_B) / (primal_B + weight * FLAT * pixels)


def _square(y: Tensor) -> Tensor:
    """|y|^2 of each measurement, (B,)."""
    return y.abs().square().flatten(1).sum(dim=1)
