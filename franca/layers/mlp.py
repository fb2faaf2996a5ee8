"""The feed-forward of a block: a plain two-layer perceptron, or SwiGLU."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from franca.layers.layer_scale import scaled_linear


class Mlp(nn.Module):
    """Linear, GELU, linear.

    Args:
        width: D.
        ratio: hidden width over D.
    """

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = int(width * ratio)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, gamma: Tensor | None = None) -> Tensor:
        """Map [..., D] to [..., D], scaled by ``gamma`` [D] where it is given."""
        return scaled_linear(self.fc2, F.gelu(self.fc1(tokens)), gamma)


def swiglu_hidden(width: int, ratio: float) -> int:
    """Hidden width of SwiGLU: two thirds of the perceptron's, for equal parameters, rounded up to a multiple of 8."""
    return (int(int(width * ratio) * 2 / 3) + 7) // 8 * 8


class SwiGLU(nn.Module):
    """Linear of a gated hidden layer: w3(silu(a) * b), where a and b are the two halves of w12(x).

    Args:
        width: D.
        ratio: hidden width over D of the perceptron that it stands for.

    Source: Shazeer, "GLU Variants Improve Transformer", section 2; sizes as in DINOv2.
    """

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = swiglu_hidden(width, ratio)
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, gamma: Tensor | None = None) -> Tensor:
        """Map [..., D] to [..., D], scaled by ``gamma`` [D] where it is given."""
        gate, content = self.w12(tokens).chunk(2, dim=-1)
        return scaled_linear(self.w3, F.silu(gate) * content, gamma)


FEED_FORWARDS: dict[str, type[Mlp] | type[SwiGLU]] = {"mlp": Mlp, "swiglu": SwiGLU}
