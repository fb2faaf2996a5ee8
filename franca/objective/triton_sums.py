"""The fused kernel: logsumexp over a product that stays in registers. Needs Triton; import it only where it is used."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_WIDTH = 64, 64, 32
ENOUGH_PROGRAMS = 512  # to fill a large GPU some four times


@triton.jit  # type: ignore[untyped-decorator]
def _log_sums(  # type: ignore[no-untyped-def]
    x, y, x_scale, y_scale, bias, peaks, sums, num_rows, num_columns, columns_per_program,
    width: tl.constexpr, dtype: tl.constexpr, factor: tl.constexpr, precision: tl.constexpr,
    rows: tl.constexpr, columns: tl.constexpr, step: tl.constexpr,
):  # fmt: skip
    """One program: some rows, and the run of columns of its split; the sum of exponentials is kept beside its peak."""
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    first = tl.program_id(1) * columns_per_program
    last = tl.minimum(first + columns_per_program, num_columns)
    here = row < num_rows
    row_scale = tl.load(x_scale + row, mask=here, other=0.0)
    peak = tl.full([rows], float("-inf"), tl.float32)
    total = tl.zeros([rows], tl.float32)
    for start in range(first, last, columns):
        column = start + tl.arange(0, columns)
        there = column < last
        product = tl.zeros([rows, columns], tl.float32)
        for begin in range(0, width, step):
            k = begin + tl.arange(0, step)
            inside = k < width
            a = tl.load(
                x + row.to(tl.int64)[:, None] * width + k[None, :], mask=here[:, None] & inside[None, :], other=0.0
            )
            b = tl.load(
                y + column.to(tl.int64)[:, None] * width + k[None, :], mask=there[:, None] & inside[None, :], other=0.0
            )
            product = tl.dot(
                a.to(dtype).to(factor), tl.trans(b.to(dtype).to(factor)), product, input_precision=precision
            )
        column_scale = tl.load(y_scale + column, mask=there, other=0.0)
        added = tl.load(bias + column, mask=there, other=float("-inf"))
        logits = product * row_scale[:, None] * column_scale[None, :] + added[None, :]
        higher = tl.maximum(peak, tl.max(logits, axis=1))
        total = total * tl.exp(peak - higher) + tl.sum(tl.exp(logits - higher[:, None]), axis=1)
        peak = higher
    tl.store(peaks + tl.program_id(1) * num_rows + row, peak, mask=here)
    tl.store(sums + tl.program_id(1) * num_rows + row, total, mask=here)


def log_sums(x: Tensor, y: Tensor, x_scale: Tensor, y_scale: Tensor, bias: Tensor, *, dtype: torch.dtype) -> Tensor:
    """logsumexp_j(x_i . y_j * x_scale_i * y_scale_j + bias_j), [n] in fp32.

    Args:
        x: [n, b].
        y: [m, b].
        x_scale: [n], fp32.
        y_scale: [m], fp32.
        bias: [m], fp32 and finite.
        dtype: Of the factors, bf16 or fp32; fp32 products are exact to about 1e-6 (three TF32 products).
    """
    (num_rows, width), num_columns = x.shape, len(y)
    if num_rows == 0 or num_columns == 0:
        return bias.new_full((num_rows,), -torch.inf)
    row_blocks = triton.cdiv(num_rows, BLOCK_ROWS)
    splits = min(triton.cdiv(ENOUGH_PROGRAMS, row_blocks), triton.cdiv(num_columns, BLOCK_COLUMNS))
    share = triton.cdiv(triton.cdiv(num_columns, splits), BLOCK_COLUMNS) * BLOCK_COLUMNS
    splits = triton.cdiv(num_columns, share)
    peaks, sums = bias.new_empty(2, splits, num_rows)
    rounded = tl.bfloat16 if dtype == torch.bfloat16 else tl.float32
    factor = rounded if x.is_cuda else tl.float32  # Triton's interpreter multiplies the bits of bf16 as integers
    _log_sums[(row_blocks, splits)](
        x.contiguous(), y.contiguous(), x_scale, y_scale, bias, peaks, sums, num_rows, num_columns, share,
        width=width, dtype=rounded, factor=factor, precision="tf32x3",
        rows=BLOCK_ROWS, columns=BLOCK_COLUMNS, step=BLOCK_WIDTH,
    )  # fmt: skip
    return torch.logsumexp(peaks + sums.log(), dim=0)
