from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from franca.layers.position import _resize_by_matrices, resize_positions


def cubic(distance: float, a: float = -0.75) -> float:
    """The cubic convolution kernel."""
    x = abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def resize_line(values: Tensor, size: int, step: float) -> Tensor:
    """Cubic interpolation along the first axis, at (i + 1/2) * step - 1/2, the border repeated."""
    rows = []
    for index in range(size):
        place = (index + 0.5) * step - 0.5
        near = math.floor(place)
        taps = range(near - 1, near + 3)
        rows.append(sum(cubic(place - tap) * values[min(max(tap, 0), len(values) - 1)] for tap in taps))
    return torch.stack(rows)


def by_hand(positions: Tensor, stored: tuple[int, int], grid: tuple[int, int], offset: float) -> Tensor:
    plane = positions[0].view(*stored, -1)
    plane = resize_line(plane, grid[0], stored[0] / (grid[0] + offset))
    plane = resize_line(plane.transpose(0, 1), grid[1], stored[1] / (grid[1] + offset)).transpose(0, 1)
    return plane.reshape(1, grid[0] * grid[1], -1)


@pytest.mark.parametrize("grid", [(5, 7), (8, 6), (3, 4)])
def test_offset_samples_at_the_shifted_scale(grid: tuple[int, int]) -> None:
    positions = torch.randn(1, 4 * 3, 5)
    expected = by_hand(positions, (4, 3), grid, 0.1)
    torch.testing.assert_close(resize_positions(positions, (4, 3), grid, "offset"), expected, rtol=1e-4, atol=1e-5)


def resize_line_antialiased(values: Tensor, size: int) -> Tensor:
    """Every output is the mean of its inputs under a cubic kernel, a = -0.5, as wide as the line shrinks."""
    step = len(values) / size
    reach = max(step, 1.0)
    rows = []
    for index in range(size):
        place = (index + 0.5) * step
        taps = [tap for tap in range(len(values)) if abs(tap + 0.5 - place) < 2 * reach]
        weights = torch.tensor([cubic((tap + 0.5 - place) / reach, a=-0.5) for tap in taps])
        rows.append(sum(weight * values[tap] for weight, tap in zip(weights / weights.sum(), taps, strict=True)))
    return torch.stack(rows)


@pytest.mark.parametrize("grid", [(5, 7), (8, 2), (3, 9), (2, 1)])
def test_size_is_antialiased(grid: tuple[int, int]) -> None:
    positions = torch.randn(1, 4 * 6, 5)
    plane = resize_line_antialiased(positions[0].view(4, 6, 5), grid[0])
    plane = resize_line_antialiased(plane.transpose(0, 1), grid[1]).transpose(0, 1)
    expected = plane.reshape(1, grid[0] * grid[1], 5)
    torch.testing.assert_close(resize_positions(positions, (4, 6), grid, "size"), expected, rtol=1e-4, atol=1e-5)


def test_size_equals_a_plane_that_is_linear_in_rows() -> None:
    """Rows and columns are not swapped, and the interior of a ramp stays a ramp."""
    ramp = torch.arange(12.0)[:, None].expand(12, 9).reshape(1, 108, 1)
    resized = resize_positions(ramp, (12, 9), (24, 18), "size").view(24, 18)
    assert torch.allclose(resized, resized[:, :1].expand(24, 18), atol=1e-4)
    torch.testing.assert_close(resized[6:18, 0], (torch.arange(6.0, 18) + 0.5) / 2 - 0.5, atol=0.05, rtol=0)


def test_size_averages_when_it_shrinks() -> None:
    checker = torch.arange(16).view(16, 1).add(torch.arange(16)).remainder(2).float().view(1, 256, 1)
    assert (resize_positions(checker, (16, 16), (4, 4), "size") - 0.5).abs().max() < 0.1


def test_the_stored_grid_is_left_alone() -> None:
    positions = torch.randn(1, 12, 5)
    assert resize_positions(positions, (4, 3), (4, 3), "size") is positions
    assert resize_positions(positions, (4, 3), (3, 4), "size").shape == positions.shape


@pytest.mark.parametrize("interpolation", ["size", "offset"])
@pytest.mark.parametrize("stored", [16, 37])
def test_every_grid_comes_out_right(interpolation: str, stored: int) -> None:
    """All that images of 14 to 600 pixels can have, in patches of 14."""
    positions = torch.randn(1, stored * stored, 1)
    for rows in range(1, 44):
        for columns in (1, 16, 37, 44 - rows):
            resized = resize_positions(positions, (stored, stored), (rows, columns), interpolation)
            assert resized.shape == (1, rows * columns, 1)


def test_interpolates_in_fp32_and_returns_the_dtype_given() -> None:
    positions = torch.randn(1, 12, 5, dtype=torch.bfloat16)
    resized = resize_positions(positions, (4, 3), (5, 7), "size")
    assert torch.equal(resized, resize_positions(positions.float(), (4, 3), (5, 7), "size").bfloat16())


@pytest.mark.parametrize("grid", [(5, 7), (2, 2), (4, 9)])
def test_matrices_that_resize_are_the_same_map(grid: tuple[int, int]) -> None:
    planes = torch.randn(1, 5, 4, 3)
    expected = F.interpolate(planes, size=grid, mode="bicubic", antialias=True)
    torch.testing.assert_close(_resize_by_matrices(planes, grid), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_one_compiled_graph_has_gradients_for_many_grids() -> None:
    compiled = torch.compile(resize_positions, dynamic=True, fullgraph=True, backend="aot_eager")
    for grid in [(5, 7), (6, 8), (2, 9)]:
        gradients = []
        for resize in (compiled, resize_positions):
            positions = torch.ones(1, 12, 5).requires_grad_()
            (resize(positions, (4, 3), grid, "size") * torch.arange(5)).sum().backward()
            gradients.append(positions.grad)
        torch.testing.assert_close(*gradients)
