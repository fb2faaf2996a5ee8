"""How much the class token of the last block looks at each patch.

The softmax that fused kernels never show is computed once more for this one layer, from what its ``attn.qkv`` gives.
What it makes of the values must be what goes into ``attn.proj``: so a layer that computes something else (rotated
positions, talking heads) is refused instead of drawn wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from franca.errors import ConfigError
from franca.features.model import FeatureModel, ImageFeatures

TOLERANCE = 0.03  # of the length; bf16 is off by less than 0.01, another computation by far more


@dataclass
class Seen:
    """What passed through the last block."""

    qkv: list[Tensor] = field(default_factory=list)
    mixed: list[Tensor] = field(default_factory=list)


class ClassAttention:
    """Reads the attention of the class token.

    Args:
        model: A vision transformer with ``blocks[-1].attn`` and in it ``qkv``, ``proj`` and ``num_heads``, as ours,
            DINOv2's and timm's have. Its sequence is class token, registers, patches.

    Raises:
        ConfigError: It is none.
    """

    def __init__(self, model: FeatureModel) -> None:
        backbone: Any = model.backbone
        blocks = getattr(backbone, "blocks", None)
        attention = getattr(blocks[-1], "attn", None) if isinstance(blocks, (nn.ModuleList, nn.Sequential)) else None
        is_known = all(isinstance(getattr(attention, part, None), nn.Module) for part in ("qkv", "proj"))
        if not is_known or not getattr(backbone, "has_class_token", True):
            raise _unknown(model.name, "its last block has no attn.qkv and attn.proj, or it has no class token")
        self._name = model.name
        self._attention: Any = attention

    @contextmanager
    def watch(self) -> Iterator[Seen]:
        """Notes what passes through the last block while the model runs on one image."""
        seen = Seen()
        handles = [
            self._attention.qkv.register_forward_hook(lambda _, __, out: seen.qkv.append(out)),
            self._attention.proj.register_forward_pre_hook(lambda _, inputs: seen.mixed.append(inputs[0])),
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def maps(self, seen: Seen, features: ImageFeatures) -> Tensor:
        """Attention from the class token to the patches of one image.

        Args:
            seen: What was watched.
            features: What the model gave.

        Returns:
            [heads, h, w] float32 on the CPU. The softmax runs over all tokens, so a map sums to what the class token
            and the registers leave.

        Raises:
            ConfigError: The layer is no plain attention, or the model has no class token or no patches.
        """
        if len(seen.qkv) != 1 or features.patches is None:
            raise _unknown(self._name, "its last block does not call attn.qkv once an image")
        query, key, value = self._split(seen.qkv[0])  # each [heads, L, d]
        scale = getattr(self._attention, "scale", None)
        scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)  # [heads, L, L]
        weights = scores.softmax(dim=-1)
        if not _agrees(weights @ value, seen.mixed):
            raise _unknown(self._name, "its last block does not compute softmax(q k^T) v of its attn.qkv")
        rows, columns = features.patches.shape[1:3]
        if weights.shape[-1] <= rows * columns:
            raise _unknown(self._name, "it has no class token")
        maps: Tensor = weights[:, 0, -rows * columns :].unflatten(1, (rows, columns)).cpu()
        return maps

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, float32, of one sequence that is all of a batch."""
        tokens = qkv.float().reshape(-1, qkv.shape[-1])  # [L, 3 D]
        query, key, value = tokens.unflatten(1, (3, self._attention.num_heads, -1)).permute(1, 2, 0, 3).unbind(0)
        return self._normed(query, "q_norm"), self._normed(key, "k_norm"), value

    def _normed(self, tokens: Tensor, name: str) -> Tensor:
        """Some models of timm normalise queries and keys."""
        norm = getattr(self._attention, name, None)
        normed: Tensor = norm(tokens) if isinstance(norm, nn.Module) else tokens
        return normed


def _agrees(expected: Tensor, given: Sequence[Tensor]) -> bool:
    """Whether values [heads, L, d] are what went into the projection, once, as one sequence of tokens."""
    if len(given) != 1 or given[0].numel() != expected.numel():
        return False
    mixed = expected.transpose(0, 1).flatten(1)  # [L, D]
    seen = given[0].float().reshape(mixed.shape)
    return bool((seen - mixed).norm() <= TOLERANCE * seen.norm())


def _unknown(model: str, why: str) -> ConfigError:
    return ConfigError(
        f"{model}: the attention of its class token cannot be drawn: {why}. Expected a vision transformer "
        "like those of franca, DINOv2 and timm. franca viz pca and neighbours take any model with patch features"
    )
