"""Models of the timm library as backbones."""

from __future__ import annotations

import difflib
import sys
from typing import Any

import torch
from torch import nn

from franca.errors import CheckpointError, ConfigError
from franca.models.preprocessing import Preprocessing
from franca.models.tensor_file import read_tensors


def open_timm(name: str, *, pretrained: bool = True, weights: str | None = None) -> nn.Module:
    """The model that timm calls ``name``, without its classifier, in eval mode.

    Its ``preprocessing`` has the image size, mean and std that timm states. Vision transformers take images of any
    size that their patches tile.

    Args:
        pretrained: False draws weights from seed 0.
        weights: A file to read instead of the one on timm's hub.

    Raises:
        ConfigError: timm is not installed, or has no such model; or weights without pretrained.
        CheckpointError: The weights cannot be had.
    """
    timm = _import_timm()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models() + timm.list_pretrained(), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ConfigError(f"model timm:{name}: timm {timm.__version__} has no such model{hint}")
    if weights is not None and not pretrained:
        raise ConfigError(f"model timm:{name}: pretrained=false and weights={weights} contradict each other")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = _create(timm, name, pretrained=pretrained and weights is None, num_classes=0)
    except Exception as error:  # its hub, the network
        raise CheckpointError(
            f"model timm:{name}: its weights cannot be had ({type(error).__name__}: {error}). Give a file by "
            "weights=FILE, or pretrained=false for random ones"
        ) from error
    if weights is not None:
        _read_weights(model, f"timm:{name}", weights)
    stated = timm.data.resolve_model_data_config(model)
    model.preprocessing = Preprocessing(stated["input_size"][-1], stated["mean"], stated["std"])  # type: ignore[assignment]
    return model.eval()


def _create(timm: Any, name: str, **told: Any) -> nn.Module:
    """Asks for images of any size; only transformers know the word."""
    try:
        model: nn.Module = timm.create_model(name, dynamic_img_size=True, **told)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        model = timm.create_model(name, **told)
    return model


def _read_weights(model: nn.Module, name: str, path: str) -> None:
    """Fills a model from a file, all of it; timm itself passes over what does not match."""
    state: Any = read_tensors(path)[0]
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        state = convert(state, model)
    classifier = model.pretrained_cfg["classifier"]  # type: ignore[index]
    classifiers = tuple(f"{one}." for one in ([classifier] if isinstance(classifier, str) else classifier or ()))
    state = {key: tensor for key, tensor in state.items() if not key.startswith(classifiers)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"model {name}: {path} holds weights of another model. {error}") from error


def _import_timm() -> Any:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise ConfigError("models named timm:NAME need timm: pip install timm") from error
    return timm
