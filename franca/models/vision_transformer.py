"""The vision transformer.

Shapes: B images, N patches, R registers, L = 1 + R + N tokens of an image, D width, T tokens of several groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from franca.errors import DataError
from franca.layers.block import NORM_EPS, Block
from franca.layers.initialization import STD, initialize
from franca.layers.packing import Layout, pack, unpack
from franca.layers.patch_embed import PatchEmbed
from franca.layers.position import resize_positions
from franca.layers.stochastic_depth import Kept, draw_kept
from franca.models.check import check_architecture, image_size
from franca.models.features import Features
from franca.models.preprocessing import Preprocessing

__all__ = ["Features", "VisionTransformer"]

TOKEN_STD = 1e-6


class VisionTransformer(nn.Module):
    """A pre-norm ViT with a class token, optional registers and learned positions; parameters named as in DINOv2.

    Built under ``torch.device("meta")`` it takes no memory and `initialize` gives it weights. Otherwise it is
    initialised from seed 0 at once.

    Args:
        width: D.
        depth: number of blocks.
        num_heads: attention heads; they divide D.
        patch_size_px: height and width of a patch, in pixels.
        image_size_px: height and width, or one number for both, of the images that fix the grid of the stored
            position embeddings; multiples of the patch. Other sizes can be given to the model.
        in_chans: channels of an image.
        ffn: ``mlp`` or ``swiglu``.
        ffn_ratio: hidden width of the feed-forward over D; SwiGLU takes two thirds of it, twice.
        num_registers: R.
        layer_scale: first value of layer scale; None leaves it out.
        stochastic_depth: share of the sequences, in [0, 1), that skip a residual branch in `forward_crops`.
        position_interpolation: ``size`` or ``offset``, see `franca.layers.position.resize_positions`.

    Attributes:
        config: the arguments, as plain JSON values; ``VisionTransformer(**model.config)`` is the same architecture.
        preprocessing: how images should be prepared.
        export_info: what the file that the weights came from says about them.

    Raises:
        ConfigError: every argument that does not fit, at once.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words"; Oquab et al., "DINOv2"; Darcet et al., "Vision
    Transformers Need Registers".
    """

    def __init__(
        self,
        *,
        width: int,
        depth: int,
        num_heads: int,
        patch_size_px: int,
        image_size_px: int | Sequence[int],
        in_chans: int = 3,
        ffn: str = "mlp",
        ffn_ratio: float = 4.0,
        num_registers: int = 0,
        layer_scale: float | None = 1e-5,
        stochastic_depth: float = 0.0,
        position_interpolation: str = "size",
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "width": width,
            "depth": depth,
            "num_heads": num_heads,
            "patch_size_px": patch_size_px,
            "image_size_px": image_size_px if isinstance(image_size_px, int) else list(image_size_px),
            "in_chans": in_chans,
            "ffn": ffn,
            "ffn_ratio": ffn_ratio,
            "num_registers": num_registers,
            "layer_scale": layer_scale,
            "stochastic_depth": stochastic_depth,
            "position_interpolation": position_interpolation,
        }
        check_architecture(self.config)
        height, width_px = image_size(image_size_px)
        self.width = width
        self.patch_size_px = patch_size_px
        self.num_registers = num_registers
        self.stochastic_depth = stochastic_depth
        self.position_interpolation = position_interpolation
        self.position_grid = (height // patch_size_px, width_px // patch_size_px)
        self.preprocessing = Preprocessing(image_size_px=min(height, width_px))
        self.export_info: dict[str, Any] = {}

        wants_weights = torch.get_default_device().type != "meta"
        with torch.device("meta"):
            num_positions = 1 + self.position_grid[0] * self.position_grid[1]
            self.cls_token = nn.Parameter(torch.empty(1, 1, width))
            self.pos_embed = nn.Parameter(torch.empty(1, num_positions, width))
            if num_registers:
                self.register_tokens = nn.Parameter(torch.empty(1, num_registers, width))
            self.mask_token = nn.Parameter(torch.empty(1, width))
            self.patch_embed = PatchEmbed(patch_size_px, in_chans, width)
            self.blocks = nn.ModuleList(Block(width, num_heads, ffn, ffn_ratio, layer_scale) for _ in range(depth))
            self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        if wants_weights:
            self.initialize(seed=0)

    def initialize(self, seed: int) -> None:
        """Draw every parameter from ``seed``, on the CPU."""
        initialize(self, seed)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the parameters that no layer holds."""
        nn.init.normal_(self.cls_token, std=TOKEN_STD, generator=generator)
        nn.init.trunc_normal_(self.pos_embed, std=STD, generator=generator)
        if self.num_registers:
            nn.init.normal_(self.register_tokens, std=TOKEN_STD, generator=generator)
        nn.init.zeros_(self.mask_token)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] to class embeddings [B, D]."""
        return self.features(images).cls

    def features(self, images: Tensor, masks: Tensor | None = None) -> Features:
        """Everything the backbone says about images.

        Args:
            images: [B, C, H, W], normalised; H and W are multiples of the patch.
            masks: [B, N] bool, True = the patch is replaced by the mask token.

        Raises:
            DataError: if images or masks have another shape.
        """
        return self.forward_crops([images], [masks])[0]

    def forward_features(self, images: Tensor, masks: Tensor | None = None) -> dict[str, Tensor | None]:
        """The same as a dictionary with DINOv2's keys.

        Returns:
            ``x_norm_clstoken`` [B, D], ``x_norm_regtokens`` [B, R, D], ``x_norm_patchtokens`` [B, N, D], ``x_prenorm``
            [B, L, D] before the last norm, and ``masks`` as given.
        """
        tokens, layout = self._embed([images], [masks])
        tokens = self._run_blocks(tokens, layout, None)
        (prenorm,) = unpack(tokens, layout)
        features = self._split(self.norm(prenorm), self.patch_embed.grid(images))
        return {
            "x_norm_clstoken": features.cls,
            "x_norm_regtokens": features.registers,
            "x_norm_patchtokens": features.patches,
            "x_prenorm": prenorm,
            "masks": masks,
        }

    def forward_crops(
        self,
        crops: Sequence[Tensor],
        masks: Sequence[Tensor | None] | None = None,
        *,
        stochastic_depth_seed: int | None = None,
    ) -> list[Features]:
        """Features of several groups of crops in one pass: the forward of training.

        Equal to one pass per group, but every linear layer and norm is a single call over the tokens of all groups.

        Args:
            crops: one tensor [B, C, H, W] per group; sizes may differ between groups.
            masks: one [B, N] bool tensor, or None, per group; None masks nothing.
            stochastic_depth_seed: fixes which sequences skip which residual branches; None skips nothing.

        Returns:
            One `Features` per group.

        Raises:
            DataError: if crops or masks have another shape.
        """
        tokens, layout = self._embed(crops, [None] * len(crops) if masks is None else masks)
        tokens = self._run_blocks(tokens, layout, stochastic_depth_seed)
        groups = unpack(self.norm(tokens), layout)
        return [self._split(group, self.patch_embed.grid(images)) for group, images in zip(groups, crops, strict=True)]

    def get_intermediate_layers(
        self,
        images: Tensor,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        norm: bool = True,
    ) -> tuple[Any, ...]:
        """Patch embeddings after several blocks, as in DINOv2.

        Args:
            images: [B, C, H, W].
            n: the last n blocks, or the indices of blocks, first block 0.
            reshape: give patches as maps [B, D, h, w] instead of [B, N, D].
            return_class_token: give a pair (patches, class embedding [B, D]) per block.
            norm: apply the last norm.

        Raises:
            DataError: if there are no such blocks, or images have another shape.
        """
        wanted = self._block_indices(n)
        tokens, layout = self._embed([images], [None])
        outputs = {}
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, layout)
            if index in wanted:
                outputs[index] = self._split(
                    self.norm(tokens).view(images.shape[0], -1, self.width) if norm else unpack(tokens, layout)[0],
                    self.patch_embed.grid(images),
                )
        features = [outputs[index] for index in wanted]
        patches = [_as_map(one) if reshape else one.patches for one in features]
        return tuple(zip(patches, [one.cls for one in features], strict=True) if return_class_token else patches)

    def _block_indices(self, n: int | Sequence[int]) -> list[int]:
        depth = len(self.blocks)
        indices = list(range(depth - n, depth)) if isinstance(n, int) else list(n)
        if not indices or min(indices) < 0 or max(indices) >= depth:
            raise DataError(f"get_intermediate_layers got n={n!r}, but the model has {depth} blocks, 0 to {depth - 1}.")
        return indices

    def _embed(self, crops: Sequence[Tensor], masks: Sequence[Tensor | None]) -> tuple[Tensor, Layout]:
        """Tokens of all groups in one table [T, D]."""
        return pack([self._embed_group(images, mask) for images, mask in zip(crops, masks, strict=True)])

    def _embed_group(self, images: Tensor, masks: Tensor | None) -> Tensor:
        """Tokens [B, L, D] of one group: class token, registers, patches."""
        grid = self.patch_embed.grid(images)
        patches = self.patch_embed(images)  # [B, N, D]
        if masks is not None:
            _check_masks(masks, patches, grid)
            patches = torch.where(masks[..., None], self.mask_token.to(patches.dtype), patches)
        positions = self.pos_embed
        patches = patches + resize_positions(positions[:, 1:], self.position_grid, grid, self.position_interpolation)
        leading = [self.cls_token + positions[:, :1]]
        if self.num_registers:
            leading.append(self.register_tokens)
        return torch.cat([*(token.expand(len(patches), -1, -1) for token in leading), patches], dim=1)

    def _run_blocks(self, tokens: Tensor, layout: Layout, seed: int | None) -> Tensor:
        """All blocks; the residual stream keeps the dtype of the parameters, fp32 under autocast."""
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, layout, self._draw_kept(layout, seed, index, tokens.device))
        return tokens

    def _draw_kept(
        self, layout: Layout, seed: int | None, index: int, device: torch.device
    ) -> tuple[Kept, Kept] | None:
        """Which sequences take part in the two branches of block ``index``."""
        if seed is None or self.stochastic_depth == 0:
            return None
        attention, ffn = (draw_kept(layout, self.stochastic_depth, (seed, index, branch), device) for branch in (0, 1))
        return attention, ffn

    def _split(self, tokens: Tensor, grid: tuple[int, int]) -> Features:
        """Name the tokens [B, L, D] of one group."""
        cls, registers, patches = tokens.split([1, self.num_registers, grid[0] * grid[1]], dim=1)
        return Features(cls=cls.squeeze(1), registers=registers, patches=patches, grid=grid)


def _check_masks(masks: Tensor, patches: Tensor, grid: tuple[int, int]) -> None:
    if masks.dtype != torch.bool or masks.shape != patches.shape[:2]:
        raise DataError(
            f"Masks of {patches.shape[0]} images with {grid[0]} x {grid[1]} patches must be bool "
            f"{list(patches.shape[:2])}, but are {masks.dtype} {list(masks.shape)}."
        )


def _as_map(features: Features) -> Tensor:
    """Patches [B, N, D] as maps [B, D, h, w]."""
    return features.patches.reshape(-1, *features.grid, features.cls.shape[-1]).permute(0, 3, 1, 2).contiguous()
