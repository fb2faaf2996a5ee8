"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


def pytest_configure() -> None:
    # More threads would only fight over the cores, and exact results depend on their number.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images that FRANCA_TEST_DATA names; the test skips without it."""
    folder = os.environ.get("FRANCA_TEST_DATA")
    if not folder:
        pytest.skip("set FRANCA_TEST_DATA to a folder of test images")
    path = Path(folder)
    assert path.is_dir(), f"FRANCA_TEST_DATA={folder} is not a folder"
    return path
