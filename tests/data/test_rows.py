from __future__ import annotations

import numpy as np
import torch

from franca.data.rows import put_rows, take_rows


def test_rows_come_out_and_go_back() -> None:
    batch = torch.arange(24).view(6, 2, 2)
    rows = np.array([4, 1])
    taken = take_rows(batch, rows)
    assert torch.equal(taken, torch.stack([batch[4], batch[1]]))
    taken += 100
    assert int(batch.max()) == 23  # a copy was taken
    put_rows(batch, rows, taken)
    assert torch.equal(batch[[4, 1]], taken)
    assert torch.equal(batch[[0, 2, 3, 5]], torch.arange(24).view(6, 2, 2)[[0, 2, 3, 5]])
