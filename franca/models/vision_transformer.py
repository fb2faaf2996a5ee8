"""The vision transformer.

Shapes: B images, N patches, R registers, L = 1 + R + N tokens of an image, D width, T tokens of several groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from franca.errors import ConfigError
from franca.layers.attention import Attention
from franca.layers.block import NORM_EPS, Block
from franca.layers.initialization import STD, initialize
from franca.layers.packing import Layout, leading, pack, unpack
from franca.layers.patch_embed import PatchEmbed
from franca.layers.position import resize_positions
from franca.layers.position_cache import PositionCache, may_cache
from franca.layers.run_blocks import run_blocks
from franca.layers.watched import is_traced, is_watched
from franca.models.check import block_indices, check_architecture, check_masks, image_size
from franca.models.features import Features
from franca.models.preprocessing import default_preprocessing
from franca.models.projector import Projector, remove

__all__ = ["Features", "VisionTransformer"]

TOKEN_STD = 1e-6

Positions = Callable[[tuple[int, int]], Tensor]  # from a grid to embeddings [1, N, D]


class VisionTransformer(nn.Module):
    """A pre-norm ViT with a class token, optional registers and learned positions; parameters named as in DINOv2.

    Built under ``torch.device("meta")`` it takes no memory and `initialize` gives it weights. Otherwise it is
    initialised from seed 0 at once.

    Images may have any height and width. What happens where these are no multiples of the patch is the ``size_policy``
    of `forward`, `features`, `forward_features` and `get_intermediate_layers`: ``pad``, ``resize``, ``crop`` or
    ``error``, see `franca.layers.image_fit.fit_images`. None, the default, pads in evaluation mode and is an error in
    training mode. Masks and outputs have the grid of the images that this leaves.

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
        rasa_basis: what `forward_features` takes out of its further patch tokens [k, D], see `attach_projector`; None =
            there are none. It moves with the model and is no part of its state.
        export_info: what the file that the weights came from says about them.
        embed_dim, num_features, patch_size, num_register_tokens, n_blocks: D, D, the patch in pixels, R and the number
            of blocks, by the names that users of DINOv2 know.

    Raises:
        ConfigError: every argument that does not fit, at once.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words"; Oquab et al., "DINOv2"; Darcet et al., "Vision
    Transformers Need Registers".
    """

    rasa_basis: Tensor | None

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
        height, width_px = image_size(image_size_px)
        self.config: dict[str, Any] = {
            "width": width,
            "depth": depth,
            "num_heads": num_heads,
            "patch_size_px": patch_size_px,
            "image_size_px": [height, width_px]
            if isinstance(image_size_px, Sequence) or height != width_px
            else height,
            "in_chans": in_chans,
            "ffn": ffn,
            "ffn_ratio": ffn_ratio,
            "num_registers": num_registers,
            "layer_scale": layer_scale,
            "stochastic_depth": stochastic_depth,
            "position_interpolation": position_interpolation,
        }
        check_architecture(self.config)
        self.width = width
        self.patch_size_px = patch_size_px
        self.num_registers = num_registers
        self.embed_dim = self.num_features = width
        self.patch_size, self.num_register_tokens, self.n_blocks = patch_size_px, num_registers, depth
        self.stochastic_depth = stochastic_depth
        self.position_interpolation = position_interpolation
        self.position_grid = (height // patch_size_px, width_px // patch_size_px)
        self.preprocessing = default_preprocessing(min(height, width_px), in_chans)
        self.export_info: dict[str, Any] = {}
        self._checkpoint_every_blocks = 0
        self._position_cache = PositionCache()
        self.register_buffer("rasa_basis", None, persistent=False)

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

    def train(self, mode: bool = True) -> VisionTransformer:
        """Set training or evaluation mode, and forget cached position embeddings."""
        self._position_cache.clear()
        return super().train(mode)

    def checkpoint_activations(self, every_blocks: int = 1) -> None:
        """Keep only what goes into each run of ``every_blocks`` blocks, and compute the rest again for the gradient.

        Takes less memory and one forward pass more; gradients stay the same. 0, as at first, keeps everything.

        Raises:
            ConfigError: for a negative number, or no whole one.
        """
        if not isinstance(every_blocks, int) or every_blocks < 0:
            raise ConfigError(f"checkpoint_activations got {every_blocks!r}; give a number of blocks, or 0 for none.")
        self._checkpoint_every_blocks = every_blocks

    def attach_projector(self, projector: Projector | None) -> None:
        """Let `forward_features` give patch tokens without position beside the others; None takes them away again.

        Raises:
            ConfigError: for a projector of another width.
        """
        if projector is not None and projector.width != self.width:
            raise ConfigError(f"The projector is for tokens of width {projector.width}, the backbone has {self.width}.")
        dtype = torch.promote_types(self.cls_token.dtype, torch.float32)  # a rounded basis would leave position behind
        self.rasa_basis = None if projector is None else projector.basis.to(self.cls_token.device, dtype)

    def positions_for(self, grid: tuple[int, int]) -> Tensor:
        """Positions [1, 1 + N, D] that, stored for a grid, see its images just as these positions do; no gradient."""
        return torch.cat([self.pos_embed[:, :1], self._positions(grid)], dim=1).detach()

    def forward(
        self,
        images: Tensor,
        masks: Tensor | None = None,
        *,
        is_training: bool = False,
        size_policy: str | None = None,
    ) -> Tensor | dict[str, Any]:
        """Map images [B, C, H, W] to class embeddings [B, D].

        With DINOv2's word ``is_training`` it gives all that `forward_features` gives.
        """
        if is_training:
            return self.forward_features(images, masks, size_policy=size_policy)
        tokens, layout, _ = self._embed_images(images, masks, size_policy)
        last = self.blocks[-1] if len(self.blocks) else None  # users cut blocks off
        if isinstance(last, Block) and may_leave_out_patches(last):
            tokens = self._run_blocks(tokens, layout, range(len(self.blocks) - 1))
            prenorm = last.forward_leading(tokens, layout, count=1)
        else:
            prenorm, _ = leading(self._run_blocks(tokens, layout), layout, count=1)
        cls: Tensor = self.norm(prenorm)  # a tensor of its own, which does not hold the patches in memory
        return cls

    def features(self, images: Tensor, masks: Tensor | None = None, *, size_policy: str | None = None) -> Features:
        """Everything the backbone says about images.

        Args:
            images: [B, C, H, W], normalised.
            masks: [B, N] bool, True = the patch is replaced by the mask token; N patches of the grid that is returned.
            size_policy: for H and W that are no multiples of the patch, see the class.

        Raises:
            DataError: if images or masks have another shape.
            ConfigError: for an unknown policy.
        """
        tokens, layout, grid = self._embed_images(images, masks, size_policy)
        (normed,) = unpack(self.norm(self._run_blocks(tokens, layout)), layout)
        return self._split(normed, grid)

    def forward_features(
        self, images: Tensor, masks: Tensor | None = None, *, size_policy: str | None = None
    ) -> dict[str, Any]:
        """The same as a dictionary with DINOv2's keys.

        Returns:
            ``x_norm_clstoken`` [B, D], ``x_norm_regtokens`` [B, R, D], ``x_norm_patchtokens`` [B, N, D], ``x_prenorm``
            [B, L, D] before the last norm, ``masks`` as given; and ``grid``, rows and columns of patches. With a
            projector also ``patch_token_rasa`` [B, N, D], the patch tokens without position.
        """
        tokens, layout, grid = self._embed_images(images, masks, size_policy)
        (prenorm,) = unpack(self._run_blocks(tokens, layout), layout)
        features = self._split(self.norm(prenorm), grid)
        named = {
            "x_norm_clstoken": features.cls,
            "x_norm_regtokens": features.registers,
            "x_norm_patchtokens": features.patches,
            "x_prenorm": prenorm,
            "masks": masks,
            "grid": grid,
        }
        if self.rasa_basis is not None:
            named["patch_token_rasa"] = remove(features.patches, self.rasa_basis)
        return named

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
            crops: one tensor [B, C, H, W] per group; sizes may differ between groups, and are multiples of the patch.
            masks: one [B, N] bool tensor, or None, per group; None masks nothing.
            stochastic_depth_seed: fixes which sequences skip which residual branches; None skips nothing.

        Returns:
            One `Features` per group.

        Raises:
            DataError: if crops or masks have another shape.
        """
        tokens, layout = self._embed(crops, [None] * len(crops) if masks is None else masks)
        tokens = self._run_blocks(tokens, layout, seed=stochastic_depth_seed)
        groups = unpack(self.norm(tokens), layout)
        return [self._split(group, self.patch_embed.grid(images)) for group, images in zip(groups, crops, strict=True)]

    def get_intermediate_layers(
        self,
        images: Tensor,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        norm: bool = True,
        *,
        size_policy: str | None = None,
    ) -> tuple[Any, ...]:
        """Patch embeddings after several blocks, as in DINOv2; blocks after the last of them are not run.

        Args:
            images: [B, C, H, W].
            n: the last n blocks, or the indices of blocks, first block 0.
            reshape: give patches as maps [B, D, h, w] instead of [B, N, D].
            return_class_token: give a pair (patches, class embedding [B, D]) per block.
            norm: apply the last norm.
            size_policy: for H and W that are no multiples of the patch, see the class.

        Returns:
            One entry per block, in the order of the blocks whatever the order of ``n``.

        Raises:
            DataError: if there are no such blocks, or images have another shape.
            ConfigError: for an unknown policy.
        """
        wanted = block_indices(n, len(self.blocks))
        tokens, layout, grid = self._embed_images(images, None, size_policy)
        features, first = [], 0
        for index in wanted:
            tokens = self._run_blocks(tokens, layout, range(first, index + 1))
            (output,) = unpack(self.norm(tokens) if norm else tokens, layout)
            features.append(self._split(output, grid))
            first = index + 1
        patches = [one.maps() if reshape else one.patches for one in features]
        return tuple(zip(patches, [one.cls for one in features], strict=True) if return_class_token else patches)

    def _embed_images(
        self, images: Tensor, masks: Tensor | None, size_policy: str | None
    ) -> tuple[Tensor, Layout, tuple[int, int]]:
        """Tokens of one group of images of any size, and its grid of patches."""
        if size_policy is None:
            size_policy = "error" if self.training else "pad"
        fitted = self.patch_embed.fit(images, size_policy)
        tokens, layout = pack([self._embed_group(fitted, masks, self._cached_positions)])
        return tokens, layout, self.patch_embed.grid(fitted)

    def _embed(self, crops: Sequence[Tensor], masks: Sequence[Tensor | None]) -> tuple[Tensor, Layout]:
        """Tokens of all groups in one table [T, D]."""
        groups = zip(crops, masks, strict=True)
        return pack([self._embed_group(images, mask, self._positions) for images, mask in groups])

    def _embed_group(self, images: Tensor, masks: Tensor | None, positions: Positions) -> Tensor:
        """Tokens [B, L, D] of one group: class token, registers, patches."""
        grid = self.patch_embed.grid(images)
        patches = self.patch_embed(images)  # [B, N, D]
        if masks is not None:
            check_masks(masks, images.shape[0], grid)
            patches = torch.where(masks[..., None], self.mask_token.to(patches.dtype), patches)
        patches = patches + positions(grid)
        leading = [self.cls_token + self.pos_embed[:, :1]]
        if self.num_registers:
            leading.append(self.register_tokens)
        return torch.cat([*(token.expand(patches.shape[0], -1, -1) for token in leading), patches], dim=1)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Position embeddings [1, N, D] of the patches of a grid."""
        return resize_positions(self.pos_embed[:, 1:], self.position_grid, grid, self.position_interpolation)

    def _cached_positions(self, grid: tuple[int, int]) -> Tensor:
        """The same, without resizing them for every batch of inference."""
        if grid == self.position_grid or not may_cache(self.pos_embed):
            return self._positions(grid)
        return self._position_cache.get(self.pos_embed, grid, lambda: self._positions(grid))

    def _run_blocks(
        self, tokens: Tensor, layout: Layout, indices: range | None = None, *, seed: int | None = None
    ) -> Tensor:
        return run_blocks(
            self.blocks,
            tokens,
            layout,
            indices=indices,
            stochastic_depth=self.stochastic_depth,
            seed=seed,
            checkpoint_every=self._checkpoint_every_blocks,
        )

    def _split(self, tokens: Tensor, grid: tuple[int, int]) -> Features:
        """Name the tokens [B, L, D] of one group."""
        cls, registers, patches = tokens.split([1, self.num_registers, grid[0] * grid[1]], dim=1)
        return Features(cls=cls.squeeze(1), registers=registers, patches=patches, grid=grid)


def may_leave_out_patches(last: Block) -> bool:
    """Whether the last block may compute the class token alone: in inference, where nobody looks into it."""
    is_ours = type(last) is Block and type(last.attn) is Attention
    return is_ours and not (torch.is_grad_enabled() or is_traced() or is_watched(last))
