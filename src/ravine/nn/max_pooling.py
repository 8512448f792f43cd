"""Max pooling, 2×2 in the C library."""

from torch import Tensor, nn

from ravine.ops.library_inputs import library_for, operations_are_observed
from ravine.ops.max_pool import max_pool_2x2


class MaxPool2d(nn.MaxPool2d):
    """torch's MaxPool2d; 2×2 on the CPU in channels_last goes through the C library."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, C, H', W') for x (B, C, H, W)."""
        if not self._is_2x2() or min(x.shape[-2:]) < 2 or operations_are_observed():
            return super().forward(x)
        if library_for(x) is None:
            return super().forward(x)
        return max_pool_2x2(x)

    def _is_2x2(self) -> bool:
        sides = [value if isinstance(value, tuple) else (value, value) for value in
                 (self.kernel_size, self.stride, self.padding, self.dilation)]  # fmt: skip
        plain = not self.ceil_mode and not self.return_indices
        return plain and sides == [(2, 2), (2, 2), (0, 0), (1, 1)]
