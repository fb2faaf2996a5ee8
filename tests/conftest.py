"""What all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings


def pytest_configure() -> None:
    settings.register_profile("patient", deadline=None)  # a busy machine is no failure
    settings.load_profile("patient")
    # More threads would only fight over the cores, and exact results depend on their number.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what can be made again out of the user's own cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRANCA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def test_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to the real images in the folder that FRANCA_TEST_DATA names; the test skips without it.

    Indexes of tars are written beside the links, not into that folder.
    """
    folder = os.environ.get("FRANCA_TEST_DATA")
    if not folder:
        pytest.skip("set FRANCA_TEST_DATA to a folder of test images")
    path = Path(folder)
    assert path.is_dir(), f"FRANCA_TEST_DATA={folder} is not a folder"
    links = tmp_path_factory.mktemp("data") / "links"
    shutil.copytree(path, links, copy_function=os.symlink)
    return links
