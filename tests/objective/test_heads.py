"""Matryoshka heads: what each level reads, and where its gradient goes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from franca.layers.initialization import initialize
from franca.objective.heads import MatryoshkaHead

WIDTHS, COUNTS = (16, 8, 4), (32, 16, 8)


def make(**options: object) -> MatryoshkaHead:
    settings: dict[str, object] = {"hidden": 12, "bottleneck": 6} | options
    head = MatryoshkaHead(16, WIDTHS, COUNTS, **settings)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return head


def test_a_level_is_the_dino_head_of_its_prefix() -> None:
    head, tokens = make(), torch.randn(5, 16)
    for width, projection, found in zip(WIDTHS, head.projections, head(tokens), strict=True):
        a, b, c = projection.layers
        x = F.gelu(F.linear(tokens[:, :width], a.weight, a.bias))
        x = F.linear(F.gelu(F.linear(x, b.weight, b.bias)), c.weight, c.bias)
        torch.testing.assert_close(found, x / x.norm(dim=1, keepdim=True))


def test_a_level_sends_gradient_to_its_prefix_alone() -> None:
    head = make()
    for level, width in enumerate(WIDTHS):
        tokens = torch.randn(5, 16, requires_grad=True)
        head(tokens)[level][:, 0].sum().backward()
        assert tokens.grad is not None
        assert tokens.grad[:, :width].all() and not tokens.grad[:, width:].any()


def test_prototypes_shrink_with_the_prefix() -> None:
    assert [tuple(p.weight.shape) for p in make().prototypes] == [(32, 6), (16, 6), (8, 6)]


def test_the_released_forms_read_and_end_as_released() -> None:
    tokens = torch.randn(5, 16)
    whole = make(reads="project", normalize=False)
    assert [tuple(reader.weight.shape) for reader in whole.readers] == [(16, 16), (8, 16), (4, 16)]
    bottleneck = whole(tokens)[2]
    a, b, c = whole.projections[2].layers
    expected = F.gelu(c(F.gelu(b(F.gelu(a(whole.readers[2](tokens)))))))
    torch.testing.assert_close(bottleneck, expected)
    prefix = make(reads="slice_project").readers[1]
    torch.testing.assert_close(prefix(tokens), prefix[1](tokens[:, :8]))


@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_any_number_of_layers(num_layers: int) -> None:
    head = make(num_layers=num_layers)
    assert len(head.projections[0].layers) == num_layers
    assert [tuple(z.shape) for z in head(torch.randn(5, 16))] == [(5, 6)] * 3


def test_initialize_reaches_every_parameter_and_repeats() -> None:
    heads = [make(reads="slice_project") for _ in range(2)]
    for head in heads:
        initialize(head, seed=3)
    for a, b in zip(heads[0].parameters(), heads[1].parameters(), strict=True):
        assert a.isfinite().all() and torch.equal(a, b)
