"""A convolution layer that goes through the C library's tiles, where the processor has them."""

import torch
from torch import Tensor, nn

from ravine.kernels import convolve
from ravine.kernels.weight_gradient import CHANNELS, MOST_STRIDE
from ravine.nn.norm_act import NormAct
from ravine.ops.compiled_convolution import convolution_op, tiles_are_here
from ravine.ops.fused_norm import is_hooked, laid_out_like, must_be_seen
from ravine.ops.norm_act_conv import convolve_normed
from ravine.ops.tiled_convolution import (
    convolve_beside,
    convolve_in_tiles,
    convolve_with_tiled_gradient,
)


class Conv2d(nn.Conv2d):
    """The Conv2d of torch, (B, C, H, W) to (B, D, H', W'), in tiles where that is faster.

    Under bfloat16 autocast on processors with AMX, undivided and undilated with equal sides: the
    gradient of the weights for channels in multiples of 16; all of it, where kernels measure at
    most 5 and strides at most 3, without bias, for images that fit into the processor's cache.
    Elsewhere it is that of torch.
    """

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Returns (B, D, H', W'); with `added`, of the same shape, the sum of both."""
        if not self._goes_through_tiles(x):
            y = super().forward(x)
            # In place: no backward pass needs the convolution's own output.
            return y if added is None else y.add_(added)
        if added is not None:
            added = laid_out_like(x, added)
        bias = None if self.bias is None else self.bias.to(torch.bfloat16)
        whole, stride, padding = self._is_whole_in_tiles(x), self.stride[0], int(self.padding[0])
        if torch.compiler.is_compiling():
            return convolution_op(x, self.weight, bias, added, stride, padding, whole)
        if whole:
            return convolve_in_tiles(x, self.weight, added, stride=stride, padding=padding)
        return convolve_with_tiled_gradient(
            x, self.weight, bias, added, stride=stride, padding=padding
        )

    def beside(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (convolution of x, x).

        The x of the result is to be used in place of the one that was given: the gradients of
        both are then added in one pass.
        """
        if not self._runs_by_itself(x):
            return self(x), x
        return convolve_beside(x, self.weight, stride=self.stride[0], padding=int(self.padding[0]))

    def of_normed(
        self, norm_act: NormAct, x: Tensor, added: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns (convolution of norm_act(x), plus `added`, x), the x as for `beside`.

        Where it can be, what stands between norm and convolution is not written to memory.
        """
        found = None
        if self.kernel_size[0] > 1 and self._runs_by_itself(x):
            found = norm_act.for_convolution(x)
        if found is None:
            active, x = norm_act.beside(x)
            return self(active, added), x
        if added is not None:
            added = laid_out_like(x, added)
        return convolve_normed(
            x, *found, self.weight, added, stride=self.stride[0], padding=int(self.padding[0])
        )

    def _runs_by_itself(self, x: Tensor) -> bool:
        """Whether all of it goes through tiles, in one function, and nobody waits for it."""
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
            and (torch.compiler.is_compiling() or not must_be_seen())
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
