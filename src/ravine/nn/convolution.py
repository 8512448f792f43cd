"""A convolution layer that goes through the C library, where it has an algorithm for its shape."""

import operator

import torch
from torch import Tensor, nn

from ravine.nn.hooks import is_hooked
from ravine.nn.norm_act import NormAct
from ravine.ops.algorithm import has_choice, is_whole
from ravine.ops.algorithm_names import Algorithm
from ravine.ops.compiled_convolution import convolution_op
from ravine.ops.depthwise_convolution import depthwise_convolution, has_depthwise_gradient
from ravine.ops.kernel_plan import algorithm_for
from ravine.ops.library_convolution import library_convolution
from ravine.ops.library_inputs import match_layout, operations_are_observed
from ravine.ops.norm_passes import NormSpec
from ravine.ops.packed_weights import packed_weights

# Images of an inference, from which on the library's algorithms are faster: WRN-16-4, ResNet-18 and
# swift-1 take half the time by torch's for one image, and three quarters for 16 by the library's.
_FEW = 4


class Conv2d(nn.Conv2d):
    """The Conv2d of torch, (B, C, H, W) to (B, D, H', W'), by the algorithm that suits its shape.

    Which one, the session's kernel plan says, or the best guess of `ravine.ops.algorithm`: in
    channels_last on the CPU, without groups and dilation and with equal sides, algorithms of the C
    library where they are faster. Elsewhere it is that of torch.
    """

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Returns the convolution of x, plus `residual`.

        Args:
            x: (B, C, H, W).
            residual: (B, D, H', W').

        Returns:
            (B, D, H', W').
        """
        algorithm = self._algorithm(x)
        if algorithm != "torch":
            return self._in_library(x, residual, algorithm)[0]
        if residual is None and self._is_learnt_depthwise():
            # A layer scale in float32 widens the images, and autocast narrows them again.
            narrow = x.to(_dtype_of_products(x) or x.dtype)
            if self._suits_library(narrow):
                stride, padding = self.stride[0], int(self.padding[0])
                return depthwise_convolution(
                    narrow, self.weight, self.bias, stride=stride, padding=padding
                )
        y = super().forward(x)
        # In place: no backward pass needs the convolution's own output.
        return y if residual is None else y.add_(residual)

    def forward_and_fork(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (convolution of x, x), (B, D, H', W') and (B, C, H, W).

        Who also needs x uses the one of the result: both input gradients are then added in one
        pass.
        """
        if (algorithm := self._fusible_algorithm(x)) is None:
            return self(x), x
        return self._in_library(x, None, algorithm, fork=True)

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
        algorithm = self._fusible_algorithm(x) if self.kernel_size[0] > 1 else None
        norm = None if algorithm is None else norm_act.for_convolution(x)
        if algorithm is None or norm is None:
            active, x = norm_act.forward_and_fork(x)
            return self(active, residual), x
        return self._in_library(x, residual, algorithm, fork=True, norm=norm)

    def _in_library(
        self,
        x: Tensor,
        residual: Tensor | None,
        algorithm: Algorithm,
        *,
        fork: bool = False,
        norm: NormSpec | None = None,
    ) -> tuple[Tensor, Tensor]:
        if residual is not None:
            residual = match_layout(x, residual)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        stride, padding = self.stride[0], int(self.padding[0])
        if torch.compiler.is_compiling():
            return convolution_op(x, self.weight, bias, residual, stride, padding, algorithm), x
        return library_convolution(
            x, self.weight, bias, residual, stride=stride, padding=padding,
            algorithm=algorithm, fork=fork, norm=norm,
        )  # fmt: skip

    def _fusible_algorithm(self, x: Tensor) -> Algorithm | None:
        """Returns the algorithm of all passes; None under a compiler, for hooks, or for several."""
        if is_hooked(self) or torch.compiler.is_compiling():
            return None
        algorithm = self._algorithm(x)
        return algorithm if is_whole(algorithm) else None

    def _algorithm(self, x: Tensor) -> Algorithm:
        """Returns the algorithm for x; torch's where the library cannot work on it."""
        if not (self._suits_library(x) and self._has_suitable_shape()):
            return "torch"
        found = algorithm_for(
            self.in_channels,
            self.out_channels,
            # A compiled graph is made for one size of images.
            operator.index(x.shape[2]),
            operator.index(x.shape[3]),
            self.kernel_size[0],
            self.stride[0],
            int(self.padding[0]),
            "bfloat16" if x.dtype is torch.bfloat16 else "float32",
            self.bias is not None,
            few=not torch.compiler.is_compiling() and len(x) < _FEW and self._packs_alone(),
        )
        return found if is_whole(found) or self._has_gradient() else "torch"

    def _packs_alone(self) -> bool:
        """Whether the weights would be packed for this call alone, which learns nothing."""
        return not self._has_gradient() and packed_weights() is None

    def _has_gradient(self) -> bool:
        return torch.is_grad_enabled() and self.weight.requires_grad

    def _suits_library(self, x: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and x.dim() == 4
            and x.numel() > 0
            and self.weight.dtype is torch.float32
            and _dtype_of_products(x) is x.dtype
            and x.is_contiguous(memory_format=torch.channels_last)
            and (torch.compiler.is_compiling() or not operations_are_observed())
            and has_choice()
        )

    def _is_learnt_depthwise(self) -> bool:
        """Whether each channel has one filter of its own, whose gradient the library has."""
        return (
            self.groups == self.in_channels == self.out_channels > 1
            and self._has_plain_sides()
            and has_depthwise_gradient(self.kernel_size[0], self.stride[0])
            and self._has_gradient()
            and not torch.compiler.is_compiling()
        )

    def _has_suitable_shape(self) -> bool:
        return self.groups == 1 and self._has_plain_sides()

    def _has_plain_sides(self) -> bool:
        """Whether kernel, stride and zeros around the images are equal along both sides."""
        pairs = (self.kernel_size, self.stride, self.padding)
        return (
            self.dilation == (1, 1)
            and self.padding_mode == "zeros"
            and not isinstance(self.padding, str)
            and all(len(pair) == 2 and pair[0] == pair[1] for pair in pairs)
        )


def _dtype_of_products(x: Tensor) -> torch.dtype | None:
    """Returns the type in which a convolution of x (B, C, H, W) multiplies; None for others'."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        return dtype if dtype is torch.bfloat16 else None
    return torch.float32 if x.dtype is torch.float32 else None
