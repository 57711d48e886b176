"""L-BFGS over a batch of separate problems: every problem has a history, a step and an end of its own.

`torch.optim.LBFGS` and SciPy's L-BFGS-B see a batch as one problem: its images would share their steps, and an image's
reconstruction would depend on its neighbours. One problem at a time leaves the processor idle between small passes.

Shapes: x_BD is a batch of B problems with D unknowns each, history tensors are M deep.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Values (N,) and gradients (N, D) at the points (N, D) of the problems whose numbers (N,) are the second argument."""

_ARMIJO = 1e-4
_HALVINGS = 12


def minimize(
    objective: Objective, start_BD: Tensor, iterations: int, history: int = 10, tolerance: float = 1e-7
) -> tuple[Tensor, Tensor]:
    """Minimizers (B, D) and their values (B,), by L-BFGS with a backtracking search (Nocedal and Wright, ch. 3, 7).

    A problem ends after `iterations`, or when two iterations on end lower its value by less than `tolerance` of it
    (one alone may be a poor step), or when no step along the steepest descent lowers it. Values never rise.
    """
    x_BD = start_BD.clone()
    rows = torch.arange(len(x_BD), device=x_BD.device)
    value_B, grad_BD = objective(x_BD, rows)
    steps_MBD, changes_MBD = x_BD.new_zeros(2, history, *x_BD.shape)
    inverse_MB = x_BD.new_zeros(history, len(x_BD))  # 1 / <step, change>; 0 where there is no pair
    idle_B = torch.zeros_like(value_B, dtype=torch.bool)  # whose last iteration lowered the value by too little
    for iteration in range(iterations):
        if not len(rows):
            break
        x, value, grad = x_BD[rows], value_B[rows], grad_BD[rows]
        pairs = steps_MBD[:, rows], changes_MBD[:, rows], inverse_MB[:, rows]
        order = [(iteration - age) % history for age in range(1, history + 1)]  # newest first
        direction = -_curved(grad, *pairs, order)
        fresh = (pairs[2] == 0).all(dim=0)
        new_x, new_value, new_grad = _search(objective, rows, x, value, grad, direction, fresh)
        moved = new_value < value
        step, change = new_x - x, new_grad - grad
        product = (step * change).sum(dim=1)
        curved = product > 1e-8 * step.norm(dim=1) * change.norm(dim=1)
        slot = iteration % history
        steps_MBD[slot, rows], changes_MBD[slot, rows] = step, change
        inverse_MB[slot, rows] = torch.where(curved, 1 / product, torch.zeros_like(product))
        inverse_MB[:, rows[~moved]] = 0  # its history misled it: begin again with the steepest descent
        x_BD[rows], value_B[rows], grad_BD[rows] = new_x, new_value, new_grad
        idle = moved & (value - new_value <= tolerance * value.abs())
        ended = (idle & idle_B[rows]) | (~moved & fresh)
        idle_B[rows] = idle
        rows = rows[~ended]
    return x_BD, value_B


def _curved(grad: Tensor, steps: Tensor, changes: Tensor, inverse: Tensor, order: list[int]) -> Tensor:
    """The inverse Hessian's estimate times the gradient: the two loops over the pairs, newest first and back."""
    result, weights = grad.clone(), {}
    for slot in order:
        weights[slot] = inverse[slot] * (steps[slot] * result).sum(dim=1)
        result -= weights[slot][:, None] * changes[slot]
    scale, known = torch.ones_like(inverse[0]), torch.zeros_like(inverse[0], dtype=torch.bool)
    for slot in order:  # the newest pair's <step, change> / <change, change>
        newest = (inverse[slot] > 0) & ~known
        length = inverse[slot] * changes[slot].square().sum(dim=1)
        scale = torch.where(newest, 1 / length.clamp_min(1e-30), scale)
        known |= newest
    result *= scale[:, None]
    for slot in reversed(order):
        back = inverse[slot] * (changes[slot] * result).sum(dim=1)
        result += (weights[slot] - back)[:, None] * steps[slot]
    return result


def _search(
    objective: Objective, rows: Tensor, x: Tensor, value: Tensor, grad: Tensor, direction: Tensor, fresh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The first point along each direction that lowers the value enough; the old point where there is none."""
    slope = (direction * grad).sum(dim=1)
    length = torch.where(fresh, (1 / grad.norm(dim=1).clamp_min(1e-30)).clamp_max(1.0), torch.ones_like(value))
    found_x, found_value, found_grad = x.clone(), value.clone(), grad.clone()
    open_ = (slope < 0).nonzero()[:, 0]
    for _ in range(_HALVINGS):
        if not len(open_):
            break
        tried = x[open_] + length[open_, None] * direction[open_]
        tried_value, tried_grad = objective(tried, rows[open_])
        # Written so that NaN is refused.
        good = tried_value <= value[open_] + _ARMIJO * length[open_] * slope[open_]
        taken = open_[good]
        found_x[taken], found_value[taken], found_grad[taken] = tried[good], tried_value[good], tried_grad[good]
        length[open_] *= 0.4
        open_ = open_[~good]
    return found_x, found_value, found_grad
