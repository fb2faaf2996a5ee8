"""Minimises many smooth convex functions at once by L-BFGS, so that one product serves all of them.

Shapes: P functions, N numbers that each of them is of, H pairs that are remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MEMORY = 10
SUFFICIENT = 1e-4  # share of the decrease that the slope promises, which a step must bring
MAX_HALVINGS = 20
ROUNDING = 1e-7  # relative: what two fp32 evaluations of one function may differ by
PATIENCE = 10  # steps that together must bring more than they may be wrong by

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(points [Q, N], which functions [Q]) -> values [Q], gradients [Q, N], and a guess of the second derivatives [Q, N],
above 0 and right up to a factor"""


@dataclass(frozen=True)
class Minimum:
    """Where the search ended."""

    points: Tensor  # [P, N]
    values: Tensor  # [P]
    converged: Tensor  # [P] bool: the gradient is small, or what is left to gain drowns in rounding


def minimise(objective: Objective, start: Tensor, *, max_iterations: int, tolerance: float) -> Minimum:
    """The minima of P functions.

    Args:
        objective: What some of the functions are at some points.
        start: [P, N].
        max_iterations: Steps of each function at most.
        tolerance: A function is done where no number of its gradient is larger than this share of its value.

    Source: Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 3.1. Halving until the value falls is enough:
        curvature along a step is never negative for a convex function.
    """
    which = torch.arange(len(start), device=start.device)  # the functions still at work
    points, values = start.clone(), start.new_empty(len(start))
    converged = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    state = _State(start, *objective(start, which))
    before = state.value
    for iteration in range(1, max_iterations + 1):
        moved = state.step(objective, which)
        done = ~moved | (state.gradient.abs().amax(1) <= tolerance * state.value)
        if iteration % PATIENCE == 0:
            done |= before - state.value <= PATIENCE * ROUNDING * state.value.abs()
            before = state.value
        if done.any():
            points[which[done]], values[which[done]] = state.point[done], state.value[done]
            converged[which[done]] = True
            which, before = which[~done], before[~done]
            state.keep(~done)
        if not len(which):
            break
    points[which], values[which] = state.point, state.value
    return Minimum(points, values, converged)


class _State:
    """Where the functions at work are, and what is remembered of their steps."""

    def __init__(self, point: Tensor, value: Tensor, gradient: Tensor, curvature: Tensor) -> None:
        self.point, self.value, self.gradient, self._curvature = point, value, gradient, curvature
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # step, change of gradient [P, N]; 1 / their product [P]
        self._factor = torch.ones_like(value)  # of the inverse of the guessed curvature [P]

    def keep(self, some: Tensor) -> None:
        """Forgets the functions that are done."""
        self.point, self.value, self.gradient = self.point[some], self.value[some], self.gradient[some]
        self._curvature, self._factor = self._curvature[some], self._factor[some]
        self._pairs = [(step[some], change[some], inverse[some]) for step, change, inverse in self._pairs]

    def step(self, objective: Objective, which: Tensor) -> Tensor:
        """One step of every function; [P] bool says which of them could be taken."""
        direction = self._direction()
        slope = _dot(self.gradient, direction)
        length = torch.ones_like(self.value)
        end = [self.point.clone(), self.value.clone(), self.gradient.clone(), self._curvature.clone()]
        pending = torch.arange(len(which), device=which.device)
        for _ in range(MAX_HALVINGS):
            tried = self.point[pending] + length[pending, None] * direction[pending]
            found = objective(tried, which[pending])
            enough = self.value[pending] + SUFFICIENT * length[pending] * slope[pending]
            good = found[0] <= enough + ROUNDING * self.value[pending].abs()
            for kept, new in zip(end, (tried, *found), strict=True):
                kept[pending[good]] = new[good]
            pending = pending[~good]
            if not len(pending):
                break
            length[pending] /= 2
        moved = torch.ones_like(which, dtype=torch.bool)
        moved[pending] = False
        step, change = end[0] - self.point, end[2] - self.gradient
        self.point, self.value, self.gradient, self._curvature = end
        self._remember(step, change)
        return moved

    def _direction(self) -> Tensor:
        """Minus the gradient, multiplied by the inverse of the curvature as far as it is known."""
        left = -self.gradient
        shares = []
        for step, change, inverse in reversed(self._pairs):
            share = inverse * _dot(step, left)
            left = left - share[:, None] * change
            shares.append(share)
        left = self._factor[:, None] * left / self._curvature
        for (step, change, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            left = left + (share - inverse * _dot(change, left))[:, None] * step
        return left

    def _remember(self, step: Tensor, change: Tensor) -> None:
        """Keeps a pair; one that rounding has spoilt counts for nothing."""
        product, square = _dot(step, change), _dot(change, change / self._curvature)
        sound = product > 1e-10 * square
        inverse = torch.where(sound, 1 / product, 0.0)
        self._factor = torch.where(sound, product / square, self._factor)
        self._pairs = [*self._pairs[-MEMORY + 1 :], (step, change, inverse)]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """[P] of [P, N] twice."""
    return (a * b).sum(1)
