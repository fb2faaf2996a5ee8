"""Options of a fit."""

from __future__ import annotations

from dataclasses import dataclass

from franca.config.schema import option

REGRESSOR, COVARIANCE = "regressor", "covariance"
ADAMW, LBFGS = "adamw", "lbfgs"
LAST, BEST = "last", "best"


@dataclass(frozen=True, kw_only=True)
class RasaSettings:
    """How the directions to remove are found. The defaults are the paper's settings."""

    directions: str = option(REGRESSOR, choices=(REGRESSOR, COVARIANCE))
    """regressor: two a round, the weights of a position regressor; covariance: the two along which features and
    position vary together, at once."""
    iterations: int = option(8, low=1)
    """Rounds of fitting a regressor and removing its two directions; covariance needs one, whatever this says."""
    solver: str = option(ADAMW, choices=(ADAMW, LBFGS))
    """adamw takes the steps of ``epochs``; lbfgs goes on to the optimum."""
    epochs: int = option(5, low=1)
    """Passes over the training images per round of adamw."""
    learning_rate: float = option(2e-3, low=0)
    """Of adamw at its first step; falls to zero on a cosine within each round."""
    batch_images: int = option(128, low=1)
    """Images per step of adamw, with all their patches."""
    max_steps: int = option(200, low=1)
    """Steps of lbfgs per round, where it has not met the optimum before."""
    held_out: float = option(0.2, low=0.01, high=0.9)
    """Share of the images that position is read from afterwards, and that nothing is fitted on."""
    seed: int = option(0, low=0)
    """Of the split, the first weights and the order of the images."""
    stop: str = option(LAST, choices=(LAST, BEST))
    """last keeps all rounds; best those up to the best held-out dense score, which may be none."""
