"""Cross-entropy of pixels from the logits of patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from franca.data.segmentation.masks import IGNORE

# Logits of pixels that are held at once. On a CPU they should stay in its cache, which halves the time.
MAX_LOGITS = {"cpu": 1 << 18, "else": 1 << 26}


@dataclass(frozen=True)
class Lattice:
    """Some pixels of every image: each so many rows and columns, from a corner on."""

    stride: int = 1
    top: int = 0
    left: int = 0

    @classmethod
    def drawn(cls, stride: int, generator: torch.Generator) -> Lattice:
        """One with a corner that the generator draws, so that in the long run every pixel is taken as often."""
        top, left = torch.randint(stride, (2,), generator=generator).tolist()
        return cls(stride, top, left)

    def of(self, masks: Tensor) -> Tensor:
        """The pixels [B, h', w'] of masks [B, H, W]."""
        return masks[:, self.top :: self.stride, self.left :: self.stride]

    def enlarged(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """What bilinear enlargement to ``size`` gives at these pixels.

        Args:
            logits: [B, C, h, w].
            size: Height and width of the masks.

        Returns:
            [B, C, h', w'].
        """
        down = _interpolation(logits.shape[2], size[0]).to(logits)[self.top :: self.stride]  # [h', h]
        across = _interpolation(logits.shape[3], size[1]).to(logits)[self.left :: self.stride]  # [w', w]
        return down @ logits @ across.T


def pixel_loss(logits: Tensor, masks: Tensor, lattice: Lattice) -> Tensor:
    """Mean cross-entropy over labelled pixels, with logits enlarged bilinearly to the mask.

    A few images at a time, whose gradients are found at once: memory does not grow with the batch.

    Args:
        logits: [B, C, h, w]; ``backward`` of the result gives them their gradient.
        masks: [B, H, W] uint8, 255 = ignore.
        lattice: Which pixels count.
    """
    size = (masks.shape[1], masks.shape[2])
    masks = lattice.of(masks)
    labelled = (masks != IGNORE).sum().clamp(min=1)
    most = MAX_LOGITS.get(logits.device.type, MAX_LOGITS["else"])
    num_images = max(1, most // (logits.shape[1] * max(1, masks[0].numel())))
    total = logits.new_zeros(())
    gradients: list[Tensor] = []
    for part, mask in zip(logits.detach().split(num_images), masks.split(num_images), strict=True):
        part = part.requires_grad_()
        scores = lattice.enlarged(part, size)
        loss = cross_entropy(scores, mask.long(), ignore_index=IGNORE, reduction="sum") / labelled
        gradients += torch.autograd.grad(loss, part)
        total += loss.detach()
    # The value is the loss, the gradient is the one found above.
    return total + (torch.cat(gradients) * (logits - logits.detach())).sum()


def _interpolation(length: int, size: int) -> Tensor:
    """[size, length]: the matrix that enlarges a row of ``length`` values linearly."""
    return interpolate(torch.eye(length)[None], size=size, mode="linear", align_corners=False)[0].T
