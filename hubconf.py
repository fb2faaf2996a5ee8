"""Entry points for torch.hub: ``torch.hub.load(DIR, "franca_vitb14", source="local", pretrained=False)``."""

from __future__ import annotations

import os as _os
from collections.abc import Callable as _Callable
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import Any as _Any

from torch.nn import Module as _Module

try:
    from franca.models import hub as _hub
    from franca.models.registry import RELEASES as _RELEASES
    from franca.models.releases import choices as _choices
except ImportError as error:
    _spec = _find_spec("franca")  # without running it, because it may be what fails
    _found = [] if _spec is None else [*(_spec.submodule_search_locations or [_spec.origin or ""])]
    if _Path(__file__).resolve().parent / "franca" in [_Path(folder).resolve() for folder in _found]:
        raise  # ours is found, and something that it needs is missing
    raise ImportError(
        f"The package 'franca' that Python found at {(_spec and _spec.origin) or ', '.join(_found)} is another "
        "project of the same name, so this hub cannot load its own. Uninstall that package, or start a Python process "
        "that has not imported it."
    ) from error

dependencies = ["torch"]


def _entry_point(name: str) -> _Callable[..., _Module]:
    def entry_point(
        *,
        pretrained: bool = True,
        weights: str | _os.PathLike[str] | None = None,
        rasa: str | _os.PathLike[str] | None = None,
        **kwargs: _Any,
    ) -> _Module:
        return _hub.load(name, pretrained=pretrained, weights=weights, rasa=rasa, **kwargs)

    entry_point.__name__ = entry_point.__qualname__ = name
    entry_point.__doc__ = f"""Load {name} in evaluation mode.

    {_choices(name)}

    Args:
        pretrained: False draws random weights.
        weights: one of the names above, a path or a URL; None takes the default.
        rasa: file of a projector fitted on these weights: forward_features then also gives patch_token_rasa.
        kwargs: ``mean`` and ``std`` of the preprocessing; ``img_size``; arguments of the architecture to replace, such
            as ``num_registers=4``. torch.hub.load keeps ``verbose`` for itself: ``franca.load(…, verbose=False)`` is
            the call that is silent.
    """
    return entry_point


globals().update({name: _entry_point(name) for name in _RELEASES})
