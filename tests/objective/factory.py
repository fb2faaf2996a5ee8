"""Small networks and batches with random contents, for tests of the objective and of training."""

from __future__ import annotations

import torch

from franca.batch import Batch
from franca.models.vision_transformer import VisionTransformer
from franca.objective.clustering import Clustering
from franca.objective.dino import ClassTokens
from franca.objective.heads import MatryoshkaHead
from franca.objective.ibot import MaskedPatches
from franca.objective.network import Network
from franca.objective.pretraining import KoLeo, PretrainingObjective

WIDTH, WIDTHS, COUNTS = 16, (16, 8, 4), (12, 6, 3)


def make_network(seed: int, *, stochastic_depth: float = 0.0) -> Network:
    """A two-block network whose parameters are all random, layer scale around 0.3."""
    backbone = VisionTransformer(
        width=WIDTH,
        depth=2,
        num_heads=2,
        patch_size_px=4,
        image_size_px=16,
        layer_scale=0.3,
        stochastic_depth=stochastic_depth,
    )
    heads = {name: MatryoshkaHead(WIDTH, WIDTHS, COUNTS, hidden=8, bottleneck=5) for name in ("dino", "ibot")}
    network = Network(backbone, heads)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if name.endswith(("norm.weight", "norm1.weight", "norm2.weight")):
                parameter.add_(1)
            elif name.endswith("gamma"):
                parameter.add_(0.3)
    return network


def make_objective(*, koleo_group: int = 2) -> PretrainingObjective:
    """DINO, iBOT and KoLeo with the paper's weights."""
    return PretrainingObjective(
        [Clustering("dino", ClassTokens(), 1.0, 0.1, 3), Clustering("ibot", MaskedPatches(), 1.0, 0.1, 3)],
        KoLeo(0.1, koleo_group),
        use_masks=True,
    )


def make_batch(seed: int, *, num_images: int = 4, num_local: int = 3) -> Batch:
    """Random crops and masks; some crops have no masked patch, and their counts differ."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(2 * num_images, 16, generator=generator) < torch.rand(2 * num_images, 1, generator=generator)
    masks[::3] = False
    return Batch(
        global_crops=torch.randn(2 * num_images, 3, 16, 16, generator=generator),
        local_crops=torch.randn(num_local * num_images, 3, 8, 8, generator=generator),
        masks=masks,
        masked_rows=masks.flatten().nonzero().flatten(),
        positions=torch.arange(num_images),
        samples=torch.arange(num_images),
        global_batch=num_images,
        seed=seed,
    )


def cut(batch: Batch, num_parts: int) -> list[Batch]:
    """The same global batch as micro-batches of consecutive images."""
    images = torch.arange(batch.num_images).chunk(num_parts)

    def rows(tensor: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        return tensor.unflatten(0, (-1, batch.num_images))[:, part].flatten(0, 1)

    return [
        Batch(
            global_crops=rows(batch.global_crops, part),
            local_crops=rows(batch.local_crops, part),
            masks=rows(batch.masks, part),
            masked_rows=rows(batch.masks, part).flatten().nonzero().flatten(),
            positions=batch.positions[part],
            samples=batch.samples[part],
            global_batch=batch.global_batch,
            seed=batch.seed,
        )
        for part in images
    ]
