"""Exports: the teacher's backbone as a file that anyone can load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from franca.distributed.together import on_rank_zero
from franca.models.preprocessing import Preprocessing
from franca.models.rebuild import rebuild
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import save_backbone
from franca.train.student_teacher import StudentTeacher


class ExportTeacher:
    """Writes the teacher's backbone as safetensors, with what is needed to use it.

    Args:
        networks: Holds the teacher.
        mean: Per channel, of pixels in [0, 1].
        std: Likewise.
        image_size_px: Size of a global crop in training, the natural size at evaluation.
        info: What else a reader may want to know; JSON values.
    """

    def __init__(
        self,
        networks: StudentTeacher,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        image_size_px: int,
        info: Mapping[str, Any],
    ) -> None:
        self.networks = networks
        self.mean = mean
        self.std = std
        self.image_size_px = image_size_px
        self.info = dict(info)

    def backbone(self) -> VisionTransformer:
        """The teacher's backbone as who loads its export gets it, whole; every rank must ask, and gets one."""
        state = get_model_state_dict(self.networks.teacher.backbone, options=StateDictOptions(full_state_dict=True))
        backbone = rebuild(self.networks.teacher.backbone, cast(Mapping[str, Tensor], state))
        backbone.preprocessing = Preprocessing(self.image_size_px, self.mean, self.std)
        return backbone

    def __call__(self, path: Path, step: int) -> None:
        """Replace ``path`` in one move; rank 0 puts the shards together and writes, and every rank must ask."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_model_state_dict(self.networks.teacher.backbone, options=options)
        on_rank_zero(lambda: self._write(path, state, step))

    def _write(self, path: Path, state: Mapping[str, Any], step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_backbone(
            path,
            rebuild(self.networks.teacher.backbone, state),
            mean=self.mean,
            std=self.std,
            image_size_px=self.image_size_px,
            step=step,
            **self.info,
        )
