"""Finds a model by what the user calls it."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Any

import torch
from torch import nn

from franca.errors import CheckpointError, ConfigError
from franca.features.foreign import explain_failure
from franca.features.timm_model import open_timm
from franca.models import hub

CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def open_backbone(model: str, *, pretrained: bool = True, weights: str | None = None) -> nn.Module:
    """The backbone that MODEL names.

    ===================== ============================================================================
    a path, a URL, a name a run folder, a file of weights, one of our names; see `franca.models.hub.load`
    ``timm:NAME``         ``timm.create_model(NAME)``, its weights from timm's hub or ``weights``
    ``hub:REPO:NAME``     ``torch.hub.load(REPO, NAME)``; REPO is a folder with ``hubconf.py`` or ``owner/name``
    ``module:callable``   what the callable returns; modules of the folder one works in are found
    ===================== ============================================================================

    Args:
        model: One of these.
        pretrained: False takes random weights, drawn from seed 0, for a model that is named.
        weights: For a model that is named: a name of released weights, a file or a URL; None takes its default.

    Raises:
        ConfigError: A callable that cannot be imported, fails or does not make a model.
        CheckpointError: The folder, file or name is not a model, or its weights cannot be had.
        OutOfMemory: The model does not fit the machine.
    """
    family, _, name = model.partition(":")
    if family == "timm":
        return open_timm(name, pretrained=pretrained, weights=weights)
    if family == "hub" and ":" in name:
        return _open_hub(name, pretrained=pretrained, weights=weights)
    if not CALLABLE.fullmatch(model) or os.path.exists(model):
        return hub.load(model, pretrained=pretrained, weights=weights)
    if weights is not None or not pretrained:
        raise ConfigError(f"model {model!r}: weights= and pretrained= are for named models; the callable decides here")
    make = _import_callable(model)
    with explain_failure(f"model {model!r} cannot be made", f"Expected {model}() to return the model"):
        made = make()
    return _checked(model, made)


def _open_hub(address: str, *, pretrained: bool, weights: str | None) -> nn.Module:
    """A model of somebody's ``hubconf.py``, whose code is run: whoever names a repository trusts it."""
    repository, _, name = address.rpartition(":")
    folder = os.path.expanduser(repository)
    told: dict[str, Any] = {"pretrained": False} if not pretrained else {}
    if weights is not None:
        told["weights"] = weights
    expected = "Expected hub:REPO:NAME: a folder with hubconf.py, or owner/name on GitHub, and a function there"
    failing = explain_failure(f"model 'hub:{address}' cannot be made", expected, CheckpointError)
    with failing, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if os.path.isdir(folder):
            made: Any = torch.hub.load(folder, name, source="local", **told)
        else:
            made = torch.hub.load(repository, name, trust_repo=True, **told)
    return _checked(f"hub:{address}", made)


def _checked(model: str, made: object) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise ConfigError(f"model {model!r} returned {type(made).__name__}; expected a torch.nn.Module")
    return made.eval()


def _import_callable(model: str) -> Any:
    module_name, _, name = model.partition(":")
    if os.getcwd() not in sys.path:  # as python -m does, so that a file in this folder is found
        sys.path.insert(0, os.getcwd())
    expected = "Expected a module of this folder or of an installed package"
    with explain_failure(f"model {model!r}: cannot import {module_name!r}", expected):
        made: Any = importlib.import_module(module_name)
    for part in name.split("."):
        if not hasattr(made, part):
            raise ConfigError(f"model {model!r}: {module_name!r} has no {name!r}")
        made = getattr(made, part)
    if not callable(made):
        raise ConfigError(f"model {model!r}: {name!r} is not callable; expected a function that returns the model")
    return made
