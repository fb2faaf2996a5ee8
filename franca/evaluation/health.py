"""How healthy embeddings are, without labels: how many directions they use, how evenly, and signs of collapse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from franca.config.schema import option
from franca.evaluation.labels import check_finite
from franca.evaluation.metrics import prefix_widths
from franca.evaluation.report import Result
from franca.evaluation.subject import Subject
from franca.features.patches import PatchTable
from franca.features.table import FeatureTable, Wanted
from franca.objective.feature_statistics import effective_rank

ROWS = 4096  # taken at a time
DEAD = 1e-3  # deviation of a dead dimension, relative to the root mean square of all: bf16 rounds at 4e-3
OUTLIER = 2.0  # norm of an outlier among patches, relative to the median

# Below or above these an embedding can hardly be used. Features of images have a cosine of 0 to 0.6 with each other and
# a spread of 0.6 to 1; a network at its start is at 0.99 and 0.1.
MIN_SPREAD = 0.3
MAX_COSINE = 0.9
MIN_RANK_SHARE = 0.05
MAX_DEAD_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class HealthSettings:
    """What is looked at."""

    max_pairs_images: int = option(8192, low=2)
    """Images whose pairs give the uniformity, taken evenly from all; everything else looks at all images."""
    patches: bool = False
    """Also look for patches whose norm stands out, which takes the patch embeddings of every image."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/64 dimensions), as ``rankme_d24`` and so on."""


def wanted(settings: HealthSettings) -> Wanted:
    """The features this protocol reads: class embeddings of the last block, and patches where asked for."""
    return Wanted(patches=settings.patches)


def judge(subject: Subject, settings: HealthSettings) -> Result:
    """The numbers of the images that were given, those of val= where there are two sets."""
    role = "val" if "val" in subject.sources else "train"
    result = run(subject.table(role), settings, subject.device)
    return replace(result, settings={**result.settings, "role": role})


def run(table: FeatureTable, settings: HealthSettings, device: torch.device | str = "cpu") -> Result:
    """Numbers on the class embeddings of some images, and what in them is a sign of collapse.

    Raises:
        DataError: Features are not finite.
    """
    check_finite("the source", table)
    embeddings = table.embedding
    whole = measure(embeddings, settings, device)
    numbers = dict(whole)
    for width in prefix_widths(table.width) if settings.prefixes else []:
        narrow = whole if width == table.width else measure(embeddings[:, :width], settings, device)
        numbers |= {f"{name}_d{width}": value for name, value in narrow.items()}
    notes = signs_of_collapse(whole, len(table), table.width)
    if settings.patches and table.patches is not None:
        numbers |= outliers(table.patches)
    if settings.patches and table.patches is None:
        notes.append("the model offers no patch embeddings: their norms were left out")
    return Result("health", {}, asdict(settings), tuple(notes), numbers)


def measure(embeddings: Tensor, settings: HealthSettings, device: torch.device | str = "cpu") -> dict[str, float]:
    """RankMe, spread, cosine, uniformity and dead dimensions of embeddings [n, D].

    Source: RankMe: Garrido et al. (2023), equation 1. Uniformity: Wang and Isola (2020), section 4.1.2, with t = 2.
    """
    n, width = embeddings.shape
    gram = torch.zeros(width, width, dtype=torch.float64)
    total, unit_total, unit_squares = (torch.zeros(width, dtype=torch.float64) for _ in range(3))
    # In fp32 rounding would add to every singular value what an embedding of few directions has in none.
    place = "cpu" if torch.device(device).type == "mps" else device
    for block in embeddings.split(ROWS):
        rows = block.to(place).double()
        unit = normalize(rows)
        gram += (rows.T @ rows).cpu()
        total += rows.sum(0).cpu()
        unit_total += unit.sum(0).cpu()
        unit_squares += unit.square().sum(0).cpu()
    variance = (gram.diagonal() / n - (total / n).square()).clamp(min=0)
    unit_deviation = (unit_squares / n - (unit_total / n).square()).clamp(min=0).sqrt()
    every = max(1, -(-n // settings.max_pairs_images))
    return {
        "rankme": float(effective_rank(gram)),
        "feature_spread": float(unit_deviation.mean()) * math.sqrt(width),
        "mean_cosine": float((unit_total.square().sum() - unit_squares.sum()) / max(1, n * (n - 1))),
        "uniformity": uniformity(normalize(embeddings[::every].to(device).float())),
        "dead_dimensions": float((variance.sqrt() <= DEAD * variance.mean().sqrt()).double().mean()),
    }


def uniformity(unit: Tensor) -> float:
    """log of the mean of exp(-2 |a - b|^2) over all pairs of different rows [n, D]; 0 is a point, -4 at best."""
    n = len(unit)
    total = 0.0
    for rows in unit.split(ROWS):
        total += float((4 * (rows @ unit.T) - 4).exp().sum())
    return math.log(max((total - n) / max(1, n * (n - 1)), torch.finfo(torch.float64).tiny))


def outliers(patches: PatchTable) -> dict[str, float]:
    """How long patch embeddings are: the longest over the median, and the share of those twice as long as it.

    Source: Darcet et al., Vision Transformers Need Registers (2023), on tokens of large norm that hold no local
        information.
    """
    norms = torch.cat([batch.patches.float().norm(dim=-1).flatten() for batch in patches.batches(256)])
    relative = norms / norms.median()
    return {
        "patch_norm_max_over_median": float(relative.max()),
        "patch_norm_outliers": float((relative > OUTLIER).double().mean()),
    }


def signs_of_collapse(numbers: Mapping[str, float], num_images: int, width: int) -> list[str]:
    """What in the numbers of whole embeddings should worry, and why."""
    most = min(num_images, width)
    signs = []
    if numbers["mean_cosine"] > MAX_COSINE:
        signs.append(
            f"mean cosine {numbers['mean_cosine']:.3f} is above {MAX_COSINE}: all images have nearly one embedding"
        )
    if numbers["feature_spread"] < MIN_SPREAD:
        signs.append(
            f"feature spread {numbers['feature_spread']:.3f} is below {MIN_SPREAD} (1 = evenly over the sphere): "
            "images hardly differ"
        )
    if numbers["rankme"] < MIN_RANK_SHARE * most:
        signs.append(
            f"RankMe {numbers['rankme']:.1f} is below {MIN_RANK_SHARE:.0%} of the {most} directions there could be: "
            "embeddings lie in a few of them"
        )
    if numbers["dead_dimensions"] > MAX_DEAD_SHARE:
        signs.append(f"{numbers['dead_dimensions']:.1%} of the dimensions never change: they carry nothing")
    return [f"sign of collapse: {sign}" for sign in signs]
