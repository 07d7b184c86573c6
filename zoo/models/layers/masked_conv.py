"""A convolution evaluated at some positions only (Wang et al., Guided Anchoring, 2019, section 3.4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.tracing import recording

# Above this share of positions, gathering their windows costs more time and memory than convolving everywhere.
DENSE = 0.2


class MaskedConv2d(nn.Conv2d):
    """A convolution of stride and dilation 1 whose output is zero, without bias, where a mask says no.

    Without a mask it is a plain convolution.
    """

    def forward(  # type: ignore[override]
        self, x: Tensor, mask: Tensor | None = None, positions: tuple[Tensor, ...] | None = None
    ) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W'). mask: (N, H', W') bool.

        positions: what `mask.nonzero(as_tuple=True)` returns, where it is known: it makes the host wait for a GPU.
        """
        if mask is None:
            return super().forward(x)
        image, row, column = positions or mask.nonzero(as_tuple=True)
        if recording() or len(image) > DENSE * mask.numel():
            return super().forward(x) * mask[:, None]
        height, width = self.kernel_size
        pad_y, pad_x = (int(p) for p in self.padding)
        windows = F.pad(x, (pad_x, pad_x, pad_y, pad_y)).unfold(2, height, 1).unfold(3, width, 1)
        chosen = windows.permute(0, 2, 3, 1, 4, 5)[image, row, column].flatten(1)
        out = x.new_zeros(*mask.shape, self.out_channels)
        out[image, row, column] = F.linear(chosen, self.weight.flatten(1), self.bias)
        return out.permute(0, 3, 1, 2)
