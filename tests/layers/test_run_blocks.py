from __future__ import annotations

import pytest
import torch
from torch import nn

from franca.layers.block import Block
from franca.layers.packing import pack
from franca.layers.run_blocks import run_blocks


def random_blocks() -> nn.ModuleList:
    blocks = nn.ModuleList(Block(8, 2, "mlp", 2.0, 0.3) for _ in range(4))
    for parameter in blocks.parameters():
        nn.init.normal_(parameter, std=0.4)
    return blocks


def test_runs_the_blocks_asked_for_in_order() -> None:
    blocks = random_blocks()
    tokens, layout = pack([torch.randn(3, 5, 8)])
    middle = run_blocks(blocks, tokens, layout, indices=range(1, 3))
    assert torch.equal(middle, blocks[2](blocks[1](tokens, layout), layout))
    whole = run_blocks(blocks, tokens, layout)
    assert torch.equal(
        whole, blocks[3](run_blocks(blocks, blocks[0](tokens, layout), layout, indices=range(1, 3)), layout)
    )
    assert run_blocks(blocks, tokens, layout, indices=range(0)) is tokens


def test_each_block_draws_its_own_sequences() -> None:
    """A run in two parts draws as the whole does."""
    blocks = random_blocks()
    tokens, layout = pack([torch.randn(8, 5, 8)])
    options = {"stochastic_depth": 0.5, "seed": 3}
    whole = run_blocks(blocks, tokens, layout, **options)
    half = run_blocks(blocks, tokens, layout, indices=range(2), **options)
    assert torch.equal(run_blocks(blocks, half, layout, indices=range(2, 4), **options), whole)
    assert not torch.equal(run_blocks(blocks, tokens, layout), whole)
    assert torch.equal(run_blocks(blocks, tokens, layout, stochastic_depth=0.5), run_blocks(blocks, tokens, layout))


@pytest.mark.parametrize("checkpoint_every", [1, 3, 4, 9])
def test_checkpointing_changes_memory_alone(checkpoint_every: int) -> None:
    blocks = random_blocks()
    tokens, layout = pack([torch.randn(8, 5, 8)])
    saved = []
    gradients = []
    for every in (0, checkpoint_every):
        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=kept: kept.append(x.numel()) or x, lambda x: x):
            output = run_blocks(blocks, tokens, layout, stochastic_depth=0.5, seed=1, checkpoint_every=every)
        gradients.append(torch.autograd.grad(output.sin().sum(), list(blocks.parameters())))
        saved.append(sum(kept))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert saved[1] < saved[0] / 2
