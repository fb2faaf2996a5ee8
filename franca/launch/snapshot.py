"""A copy of the code that a job runs, so that an edit changes no job that was submitted before it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import franca
from franca import assets


class Snapshot:
    """The package, what it ships, and further texts, as they are now.

    ``python COPY COMMAND …`` runs a copy, whatever else is installed, and from wherever it is called.

    Args:
        texts: Further files by name, such as the resolved ``config.yaml``.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._contents = {name: path.read_bytes() for name, path in _files()}
        self._contents |= {name: text.encode() for name, text in texts.items()}

    @property
    def name(self) -> str:
        """Twelve digits that stand for names and contents."""
        digest = hashlib.sha256()
        for name, content in sorted(self._contents.items()):
            for part in (name.encode(), content):
                digest.update(len(part).to_bytes(8, "little") + part)
        return digest.hexdigest()[:12]

    def write(self, folder: Path) -> Path:
        """Copy into ``folder/name``; an equal copy that is there already is used again."""
        copy = folder / self.name
        if copy.is_dir():
            return copy
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        for name, content in self._contents.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(copy)
        except OSError:  # another submission made the same copy meanwhile
            shutil.rmtree(unfinished)
        return copy


def _files() -> Iterator[tuple[str, Path]]:
    """What a copy holds: names inside it, and where they are now."""
    package = Path(franca.__file__).parent
    yield "__main__.py", package / "__main__.py"
    for path in _below(package):
        yield f"franca/{path.relative_to(package)}", path
    root = assets.path()
    if not root.is_relative_to(package):  # a checkout: recipes, protocols and templates lie beside the package
        for shipped in ("configs", "eval", "slurm"):
            for path in _below(root / shipped):
                yield f"{shipped}/{path.relative_to(root / shipped)}", path


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
