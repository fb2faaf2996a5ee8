"""The position regressor of one round, sigmoid(W z): by AdamW as in the paper, or to the optimum.

The features of round t are ``P z`` with the projector P of the rounds before. The projector is symmetric, so
``W (P z) = (W P) z``: it is applied to the rows of W, and the features stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from franca.distributed.reduce import sum_over_ranks
from franca.models.projector import Projector
from franca.rasa.moments import Moments
from franca.rasa.patches import ImagePatches
from franca.rasa.settings import LBFGS, RasaSettings

EIGENVALUE_FLOOR = 1e-7  # of the largest: directions below hold nothing but the rounding of half precision
GRADIENT_TOLERANCE = 1e-7
Step = Callable[[], None]


def fit_regressor(
    patches: ImagePatches,
    positions: Tensor,
    projector: Projector,
    moments: Moments,
    settings: RasaSettings,
    *,
    seed: int,
    step: Step,
) -> Tensor:
    """The weights that predict position best, by the chosen solver.

    Args:
        patches: of the training images.
        positions: [N, A] in [0, 1], of the patches of one image.
        projector: what earlier rounds remove.
        moments: of the training images.
        settings: solver and its options.
        seed: of the first weights and of the order of images.
        step: called after every pass over the images.

    Returns:
        W P [A, D] float64, no bias: its rows lie in what the projector leaves.

    Source: paper, section 2.3, Eq. 1. The cosine decay of the learning rate is that of the authors' code.
    """
    if settings.solver == LBFGS:
        return _by_lbfgs(patches, positions, projector, moments, settings.max_steps, step)
    return _by_adamw(patches, positions, projector, settings, seed, step)


def loss_and_gradient(batches: Iterable[Tensor], positions: Tensor, weight: Tensor) -> tuple[float, Tensor]:
    """Mean squared distance of prediction and position over the patches of all ranks, and its gradient.

    Args:
        batches: patches [B, N, D] of this rank; B may be 0.
        positions: [N, A] in [0, 1].
        weight: [A, D] float64.

    Returns:
        The loss, and the gradient [A, D] float64 on the CPU.
    """
    sums = torch.zeros(weight.numel() + 2, dtype=torch.float64)
    for patches in batches:
        prediction = (patches @ weight.to(patches).T).sigmoid()  # [B, N, A]
        error = prediction - positions.to(patches)
        slope = 2 * error * prediction * (1 - prediction)
        gradient = slope.flatten(0, 1).T @ patches.flatten(0, 1)  # [A, D]
        squares = error.square().sum()[None]
        count = squares.new_tensor([error[..., 0].numel()])
        sums += torch.cat([gradient.flatten(), squares, count]).to("cpu", torch.float64)
    sums = sum_over_ranks(sums)
    means = sums / sums[-1]
    return float(means[-2]), means[:-2].view_as(weight)


def _by_adamw(
    patches: ImagePatches, positions: Tensor, projector: Projector, settings: RasaSettings, seed: int, step: Step
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    width = projector.width
    bound = 1 / math.sqrt(width)  # as torch draws linear layers
    weight = torch.empty(positions.shape[1], width, dtype=torch.float64).uniform_(-bound, bound, generator=generator)
    weight.requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=settings.learning_rate, weight_decay=0.0)
    num_steps = settings.epochs * math.ceil(len(patches) / settings.batch_images)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for _ in range(settings.epochs):
        for batch in patches.shuffled(settings.batch_images, generator):
            _, gradient = loss_and_gradient([batch], positions, projector(weight.detach()))
            weight.grad = projector(gradient)
            optimizer.step()
            schedule.step()
        step()
    return projector(weight.detach())


def _by_lbfgs(
    patches: ImagePatches, positions: Tensor, projector: Projector, moments: Moments, max_steps: int, step: Step
) -> Tensor:
    """Full-batch L-BFGS from zero, in coordinates in which the features have the same energy in every direction.

    The optimum is the same in any coordinates; in these a few dozen passes reach it.
    """
    whitener = _whitener(projector.matrix @ moments.energy @ projector.matrix)  # [D, D]
    weight = torch.zeros(positions.shape[1], projector.width, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight], max_iter=max_steps, tolerance_grad=GRADIENT_TOLERANCE, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        loss, gradient = loss_and_gradient(patches.all(), positions, weight.detach() @ whitener)
        weight.grad = gradient @ whitener
        step()
        return loss

    optimizer.step(closure)
    return projector(weight.detach() @ whitener)


def _whitener(energy: Tensor) -> Tensor:
    """The inverse square root [D, D] of a second moment; zero along directions that hold nothing."""
    values, vectors = torch.linalg.eigh(energy)
    held = values > EIGENVALUE_FLOOR * values.max()
    directions = vectors[:, held]
    whitener: Tensor = directions / values[held].sqrt() @ directions.T
    return whitener
