"""What a run starts from: weights drawn from the seed, a backbone that has learned before, or all of another run."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from franca.config.schema import Config
from franca.errors import CheckpointError, ConfigError
from franca.models import hub
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import check_state
from franca.train import checkpoint
from franca.train.student_teacher import StudentTeacher

# What a backbone is, by the option that says so. Its grid may differ: positions are resized.
ARCHITECTURE_KEYS = {
    "width": "model.width",
    "depth": "model.depth",
    "num_heads": "model.num_heads",
    "patch_size_px": "model.patch_size_px",
    "ffn": "model.ffn",
    "num_registers": "model.num_registers",
}


def initialize(networks: StudentTeacher, config: Config, device: torch.device) -> str:
    """Give networks on the meta device their weights, as ``init`` says; returns one line about it.

    Raises:
        ConfigError: the backbone that ``init.backbone`` names is not what ``model`` describes.
        CheckpointError: ``init.backbone`` or ``init.full`` cannot be read or does not match.
    """
    networks.initialize(config.train.seed, device, std=config.model.init_std)
    if config.init.backbone:
        grid = _load_backbone(networks, config.init.backbone)
        return f"backbone from {config.init.backbone}{grid}, heads drawn from seed {config.train.seed}"
    if config.init.full:
        path = _newest_checkpoint(Path(os.path.expanduser(config.init.full)))
        checkpoint.load_networks(path, networks)
        return f"student, teacher and heads from {path}"
    return f"drawn from seed {config.train.seed}"


def _load_backbone(networks: StudentTeacher, location: str) -> str:
    """Start student and teacher from one backbone, strictly; returns a remark where positions were resized."""
    loaded, wanted = hub.load(location), networks.student.backbone
    _check_architecture(loaded, wanted, location)
    state = loaded.state_dict()
    state["pos_embed"] = loaded.positions_for(wanted.position_grid)
    check_state(wanted, state, source=f"init.backbone={location}")
    for network in (networks.student, networks.teacher):
        network.backbone.load_state_dict(state)
    if loaded.position_grid == wanted.position_grid:
        return ""
    grids = [" x ".join(map(str, one.position_grid)) for one in (loaded, wanted)]
    return f" (positions resized from {grids[0]} to {grids[1]})"


def _check_architecture(loaded: VisionTransformer, wanted: VisionTransformer, location: str) -> None:
    """Raises a ConfigError that says which options would make the model the one that was loaded."""
    different = {
        option: loaded.config[name]
        for name, option in ARCHITECTURE_KEYS.items()
        if loaded.config[name] != wanted.config[name]
    }
    if (loaded.config["layer_scale"] is None) != (wanted.config["layer_scale"] is None):
        different["model.layer_scale"] = loaded.config["layer_scale"]
    if different:
        settings = " ".join(f"{option}={'null' if value is None else value}" for option, value in different.items())
        raise ConfigError(f"init.backbone={location} is another architecture than the recipe's. Set {settings}.")


def _newest_checkpoint(run: Path) -> Path:
    found = checkpoint.complete_checkpoints(run / "checkpoints")
    if not found:
        raise CheckpointError(f"init.full={run} holds no complete checkpoint; give the folder of a run that has one")
    return found[-1][1]
