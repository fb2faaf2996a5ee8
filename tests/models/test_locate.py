from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from franca.errors import CheckpointError
from franca.models.locate import NEWEST_EXPORT, locate
from tests.models.released import cut
from tests.models.server import Site, serve


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    with serve() as site:
        yield site


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a b.pth"
    file.write_bytes(b"a")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert locate(str(file)) == locate("~/a b.pth") == locate(file.as_uri()) == file
    assert locate(file.as_uri().replace("file", "FILE")) == file
    assert locate(str(tmp_path / "none")) is None
    assert locate((tmp_path / "none").as_uri()) is None
    assert locate("IN21K") is None


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{tmp_path} has no exports/teacher.safetensors"):
        locate(str(tmp_path))
    pieces = cut(b"abc", tmp_path)
    assert locate(str(tmp_path)) == pieces[0]
    (tmp_path / NEWEST_EXPORT).parent.mkdir()
    (tmp_path / NEWEST_EXPORT).write_bytes(b"")
    assert locate(str(tmp_path)) == tmp_path / NEWEST_EXPORT


def test_addresses_are_downloaded_once(site: Site) -> None:
    site.files["/a.pth"] = b"\x80a"
    paths = [locate(f"{site.address}/a.pth", verbose=False) for _ in range(2)]
    assert paths[0] == paths[1] is not None
    assert paths[0].read_bytes() == b"\x80a"
    assert site.requests == ["/a.pth"]
