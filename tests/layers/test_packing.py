from __future__ import annotations

import torch

from franca.layers.packing import Group, leading, pack, unpack


def test_rows_are_the_tokens_group_after_group() -> None:
    first, second = torch.randn(2, 3, 4), torch.randn(5, 1, 4)
    table, layout = pack([first, second])
    assert layout == (Group(2, 3), Group(5, 1))
    assert torch.equal(table, torch.tensor([*first.view(6, 4).tolist(), *second.view(5, 4).tolist()]))


def test_unpack_undoes_pack() -> None:
    groups = [torch.randn(2, 3, 4), torch.randn(5, 1, 4), torch.randn(1, 7, 4)]
    assert all(torch.equal(a, b) for a, b in zip(groups, unpack(*pack(groups)), strict=True))


def test_one_group_is_not_copied() -> None:
    group = torch.randn(2, 3, 4)
    assert pack([group])[0].data_ptr() == group.data_ptr()


def test_leading_tokens_of_every_sequence() -> None:
    groups = [torch.randn(2, 3, 4), torch.randn(5, 2, 4)]
    table, layout = leading(*pack(groups), count=2)
    assert layout == (Group(2, 2), Group(5, 2))
    assert torch.equal(table, torch.cat([groups[0][:, :2].flatten(0, 1), groups[1].flatten(0, 1)]))
