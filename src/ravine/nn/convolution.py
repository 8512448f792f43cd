"""A convolution layer that goes through the C library's tiles, where the processor has them."""

import torch
from torch import Tensor, nn

from ravine.kernels import convolve
from ravine.kernels.weight_gradient import CHANNELS, MOST_STRIDE
from ravine.nn.hooks import is_hooked
from ravine.nn.norm_act import NormAct
from ravine.ops.compiled_convolution import convolution_op
from ravine.ops.library_inputs import match_layout, operations_are_observed, tiles_are_here
from ravine.ops.norm_passes import NormSpec
from ravine.ops.tiled_convolution import tiled_convolution


class Conv2d(nn.Conv2d):
    """The Conv2d of torch, (B, C, H, W) to (B, D, H', W'), in tiles where that is faster.

    Under bfloat16 autocast on processors with AMX, without groups and dilation and with equal
    sides: the weight gradient, for channels in multiples of 16; all of it, where kernels measure at
    most 5 and strides at most 3, without bias, for images that fit into the processor's cache.
    Elsewhere it is that of torch.
    """

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Returns the convolution of x, plus `residual`.

        Args:
            x: (B, C, H, W).
            residual: (B, D, H', W').

        Returns:
            (B, D, H', W').
        """
        if self._goes_through_tiles(x):
            return self._in_tiles(x, residual, whole=self._is_whole_in_tiles(x))[0]
        y = super().forward(x)
        # In place: no backward pass needs the convolution's own output.
        return y if residual is None else y.add_(residual)

    def forward_and_fork(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (convolution of x, x), (B, D, H', W') and (B, C, H, W).

        Who also needs x uses the one of the result: both input gradients are then added in one
        pass.
        """
        if not self._can_be_fused(x):
            return self(x), x
        return self._in_tiles(x, None, whole=True, fork=True)

    def norm_act_conv(
        self, norm_act: NormAct, x: Tensor, residual: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns (convolution of norm_act(x), plus `residual`, x), x as for `forward_and_fork`.

        Where it can be, norm_act(x) is not written to memory; the results are the same to the bit.

        Args:
            norm_act: of C channels.
            x: (B, C, H, W).
            residual: (B, D, H', W').
        """
        norm = None
        if self.kernel_size[0] > 1 and self._can_be_fused(x):
            norm = norm_act.for_convolution(x)
        if norm is None:
            active, x = norm_act.forward_and_fork(x)
            return self(active, residual), x
        return self._in_tiles(x, residual, whole=True, fork=True, norm=norm)

    def _in_tiles(
        self,
        x: Tensor,
        residual: Tensor | None,
        *,
        whole: bool,
        fork: bool = False,
        norm: NormSpec | None = None,
    ) -> tuple[Tensor, Tensor]:
        if residual is not None:
            residual = match_layout(x, residual)
        bias = None if self.bias is None else self.bias.to(torch.bfloat16)
        stride, padding = self.stride[0], int(self.padding[0])
        if torch.compiler.is_compiling():
            return convolution_op(x, self.weight, bias, residual, stride, padding, whole), x
        return tiled_convolution(
            x, self.weight, bias, residual, stride=stride, padding=padding, whole=whole,
            fork=fork, norm=norm,
        )  # fmt: skip

    def _can_be_fused(self, x: Tensor) -> bool:
        """Whether all of it goes through tiles, eagerly, and no hook waits for this layer."""
        return (
            not is_hooked(self)
            and not torch.compiler.is_compiling()
            and self._goes_through_tiles(x)
            and self._is_whole_in_tiles(x)
        )

    def _goes_through_tiles(self, x: Tensor) -> bool:
        return (
            x.dtype is torch.bfloat16
            and x.device.type == "cpu"
            and x.dim() == 4
            and x.numel() > 0
            and (self._is_whole_in_tiles(x) or self._has_gradient())
            and self.weight.dtype is torch.float32
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") is torch.bfloat16
            and self._has_suitable_shape()
            and x.is_contiguous(memory_format=torch.channels_last)
            and (torch.compiler.is_compiling() or not operations_are_observed())
            and tiles_are_here()
        )

    def _has_gradient(self) -> bool:
        return torch.is_grad_enabled() and self.weight.requires_grad

    def _is_whole_in_tiles(self, x: Tensor) -> bool:
        return self.bias is None and convolve.fits(
            self.in_channels,
            self.out_channels,
            x.shape[2],
            x.shape[3],
            kernel=self.kernel_size[0],
            stride=self.stride[0],
        )

    def _has_suitable_shape(self) -> bool:
        pairs = (self.kernel_size, self.stride, self.padding)
        return (
            self.in_channels % CHANNELS == 0
            and self.out_channels % CHANNELS == 0
            and self.stride[0] <= MOST_STRIDE
            and self.groups == 1
            and self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
            and all(len(pair) == 2 and pair[0] == pair[1] for pair in pairs)
        )
