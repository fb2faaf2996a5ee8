"""Finds the folders that are run or edited (configs, eval, slurm), in a wheel or beside the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_WHEEL_ASSETS = _PACKAGE / "_assets"


def path(*parts: str) -> Path:
    """Where a shipped file or folder lies, whichever way the package was installed.

    Args:
        parts: folder and file names, starting with ``configs``, ``eval`` or ``slurm``.
    """
    root = _WHEEL_ASSETS if _WHEEL_ASSETS.is_dir() else _PACKAGE.parent
    return root.joinpath(*parts)


def names(folder: str, suffix: str = ".yaml") -> list[str]:
    """Sorted names, without the suffix, of the files that ``folder`` ships."""
    return sorted(file.name.removesuffix(suffix) for file in path(folder).glob(f"*{suffix}"))
