"""A network's forward pass for a number of images, as steps that the C library runs in one call.

Images, weights and the values between layers are all in float32 or all in bfloat16; sums, norms and
activations are in float32. The program owns the weights as the products read them, and says where
in a workspace each value lies: memory is used again as soon as nobody reads what lies there. Which
algorithm runs a convolution depends on its shape and on how many images are asked for at once, up
to `MANY`, so that an image's answer has the same bits in all larger batches, and on every number of
threads.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from ravine.kernels.batch_norm import ACTIVATIONS
from ravine.kernels.convolve import ConvolveJob, convolve, kernel_bytes
from ravine.kernels.inference_steps import (
    CONVOLUTION,
    IMAGES,
    NOWHERE,
    RESPONSE,
    RESULT,
    WINDOW,
    AfterJob,
    InferenceJob,
    Step,
    WindowJob,
    run_inference,
)
from ravine.kernels.large_pages import in_large_pages
from ravine.kernels.library import Library
from ravine.kernels.response import ResponseJob
from ravine.ops.fused_graph import Layer, folded_weight
from ravine.ops.inference_algorithm import inference_algorithm
from ravine.ops.traced_graph import Convolution, Response, TracedGraph, Value, Window

MANY = 8  # images, from which on more do not change the algorithm
_LINE = 64  # bytes
_KEPT, _KEPT_BYTES = 4, 64 << 20  # workspaces that wait for the next call, and the size of one


@final
@dataclass(slots=True)
class LayerConstants:
    """The constants of a layer as the library reads them; None where there are none.

    Attributes:
        weight: of a convolution, folded, (D, C/G, k, k) float32 in channels_last.
        groups: G, of its channels.
        kernels: the same as the products of each algorithm and type read it, (G, n) uint8.
        scale: of a window, (C,) float32.
        shift: (C,) float32.
        second_scale: (C,) float32.
        second_shift: (C,) float32.
    """

    weight: Tensor | None = None
    groups: int = 1
    kernels: dict[tuple[int, torch.dtype], Tensor] = field(default_factory=dict)
    scale: Tensor | None = None
    shift: Tensor | None = None
    second_scale: Tensor | None = None
    second_shift: Tensor | None = None

    def kernels_for(self, library: Library, algorithm: int, dtype: torch.dtype) -> Tensor:
        """Returns a convolution's kernels as an algorithm's products read them, (G, n) uint8."""
        if (algorithm, dtype) not in self.kernels:
            assert self.weight is not None
            groups = self.weight.chunk(self.groups)
            self.kernels[algorithm, dtype] = _packed(library, groups, algorithm, dtype)
        return self.kernels[algorithm, dtype]


def constants_of(layer: Layer) -> LayerConstants:
    """Returns a layer's constants, its scale folded into its weights."""
    found = LayerConstants(shift=_float32(layer.shift), scale=_float32(layer.scale))
    if isinstance(layer.node, Convolution):
        found.weight, found.scale = folded_weight(layer), None
        found.groups = layer.node.groups
        if found.shift is None:
            found.shift = torch.zeros(len(found.weight))
    elif found.scale is not None and found.shift is None:
        found.shift = torch.zeros_like(found.scale)
    elif found.shift is not None and found.scale is None:
        found.scale = torch.ones_like(found.shift)
    if layer.second is not None:
        found.second_scale = _float32(layer.second.scale)
        found.second_shift = _float32(layer.second.shift)
    return found


@final
@dataclass(slots=True)
class InferenceProgram:
    """The steps for groups of so many images.

    Attributes:
        library: that runs them.
        steps: an array of `Step`, which hold addresses of `constants`.
        constants: of the layers.
        images: of a group.
        workspace_bytes: of one group.
    """

    library: Library
    steps: "ctypes.Array[Step]"
    constants: Sequence[LayerConstants]
    images: int
    workspace_bytes: int
    _workspaces: list[Tensor] = field(default_factory=list)

    def run(self, images: Tensor, result: Tensor, *, threads: int) -> None:
        """Fills the result (B, K) of images (B, C, H, W) in channels_last, both in one type."""
        groups = images.shape[0] // self.images
        workspace = self._workspace(min(groups, threads))
        job = InferenceJob(
            steps=ctypes.addressof(self.steps),
            count=len(self.steps),
            images=images.data_ptr(),
            result=result.data_ptr(),
            workspace=workspace.data_ptr(),
            workspace_bytes=self.workspace_bytes,
            groups=groups,
            image_bytes=images.nbytes // groups,
            result_bytes=result.nbytes // groups,
        )
        run_inference(self.library, job)
        if len(self._workspaces) < _KEPT and workspace.shape[0] <= _KEPT_BYTES:
            self._workspaces.append(workspace)

    def _workspace(self, count: int) -> Tensor:
        """Returns memory that no other thread of Python has."""
        wanted = max(1, count * self.workspace_bytes)
        try:
            found = self._workspaces.pop()
        except IndexError:
            return torch.empty(wanted, dtype=torch.uint8)
        return found if found.shape[0] >= wanted else torch.empty(wanted, dtype=torch.uint8)


def make_program(
    library: Library,
    graph: TracedGraph,
    layers: Sequence[Layer],
    constants: Sequence[LayerConstants],
    dtype: torch.dtype,
    images: int,
    asked: int,
) -> InferenceProgram:
    """Returns the program of a graph for groups of so many images.

    Args:
        library: that runs it.
        graph: of which the layers are.
        layers: in order.
        constants: of each layer.
        dtype: of images and all values, float32 or bfloat16.
        images: of a group, at least one.
        asked: images of the whole call, which decide the algorithms.
    """
    offsets, total = _offsets(graph, layers, images * dtype.itemsize)
    steps = (Step * len(layers))()
    for step, layer, of_layer in zip(steps, layers, constants, strict=True):
        _fill(step, graph, layer, of_layer, images)
        is_float32 = dtype is torch.float32
        step.window.is_float32 = step.convolution.is_float32 = is_float32
        step.response.is_float32 = is_float32
        if isinstance(layer.node, Convolution):
            shape = graph.shapes[layer.node.y]
            algorithm = inference_algorithm(library, layer.node, shape, min(asked, MANY), dtype)
            step.convolution.algorithm = algorithm
            kernels = of_layer.kernels_for(library, algorithm, dtype)
            step.convolution.kernels, step.kernel_bytes = kernels.data_ptr(), kernels.shape[1]
        step.x = offsets[layer.node.x]
        step.residual = NOWHERE if layer.residual is None else offsets[layer.residual]
        step.y = offsets[layer.y] if layer.y_is_read else NOWHERE
        step.second = NOWHERE if layer.second is None else offsets[layer.second.value]
    return InferenceProgram(library, steps, constants, images, total)


def _fill(
    step: Step, graph: TracedGraph, layer: Layer, constants: LayerConstants, images: int
) -> None:
    activation = ACTIVATIONS[layer.activation or "identity"]
    node = layer.node
    channels, height, width = graph.shapes[node.x]
    out_channels, out_height, out_width = graph.shapes[layer.y]
    if isinstance(node, Window):
        step.kind = WINDOW
        step.window = WindowJob(
            scale=_address(constants.scale), shift=_address(constants.shift), images=images,
            height=height, width=width, channels=channels, out_height=out_height,
            out_width=out_width, kernel_height=node.kernel[0], kernel_width=node.kernel[1],
            stride=node.stride, padding=node.padding, is_mean=node.is_mean, activation=activation,
        )  # fmt: skip
        return
    if isinstance(node, Response):
        step.kind = RESPONSE
        step.response = ResponseJob(
            pixels=images * height * width, channels=channels, size=node.size, alpha=node.alpha,
            beta=node.beta, k=node.k,
        )  # fmt: skip
        return
    step.kind = CONVOLUTION
    step.convolution = ConvolveJob(
        images=images, height=height, width=width, channels=channels // node.groups,
        out_height=out_height, out_width=out_width, out_channels=out_channels // node.groups,
        kernel=node.weight.shape[2], stride=node.stride, padding=node.padding, packed=True,
        groups=node.groups,
    )  # fmt: skip
    step.after = AfterJob(
        shift=_address(constants.shift), activation=activation,
        second_scale=_address(constants.second_scale),
        second_shift=_address(constants.second_shift),
        second_activation=ACTIVATIONS[layer.second.activation] if layer.second else 0,
    )  # fmt: skip


def _offsets(
    graph: TracedGraph, layers: Sequence[Layer], each: int
) -> tuple[dict[Value, int], int]:
    """Returns where each value lies, `each` bytes a pixel and channel, and the bytes of all."""
    last = {value: at for at, layer in enumerate(layers) for value in layer.reads}
    offsets: dict[Value, int] = {0: IMAGES, graph.output: RESULT}
    held: dict[Value, tuple[int, int]] = {}
    total = 0
    for at, layer in enumerate(layers):
        for value in layer.writes:
            if value in offsets:
                continue
            if value == layer.y and (given := _given_up(layer, last, at)) in held:
                span = held.pop(given)
            else:
                start = _free_span(list(held.values()), size := _bytes(graph, value, each))
                span = start, start + size
            offsets[value], held[value] = span[0], span
            total = max(total, span[1])
        held = {value: span for value, span in held.items() if last.get(value, -1) > at}
    return offsets, total


def _given_up(layer: Layer, last: dict[Value, int], at: int) -> Value | None:
    """Returns the residual that y may lie on: each element is read before it is written."""
    residual = layer.residual
    is_last = residual is not None and last[residual] == at
    return residual if is_last and residual != layer.node.x else None


def _free_span(held: list[tuple[int, int]], size: int) -> int:
    """Returns the first offset at which so many bytes meet none of the pieces held."""
    start = 0
    for begin, end in sorted(held):
        if begin - start >= size:
            break
        start = max(start, end)
    return start


def _bytes(graph: TracedGraph, value: Value, each: int) -> int:
    channels, height, width = graph.shapes[value]
    return -(-each * channels * height * width // _LINE) * _LINE


def _packed(
    library: Library, groups: Sequence[Tensor], algorithm: int, dtype: torch.dtype
) -> Tensor:
    """Returns the kernels of weights (D, C, k, k) in channels_last as the products read them."""
    out_channels, channels, kernel, _ = groups[0].shape
    x, y = torch.zeros(channels, dtype=dtype), torch.empty(out_channels, dtype=dtype)
    job = ConvolveJob(
        x=x.data_ptr(), y=y.data_ptr(), images=1, height=1, width=1,
        channels=channels, out_height=1, out_width=1, out_channels=out_channels, kernel=kernel,
        stride=1, padding=kernel // 2, algorithm=algorithm, is_float32=dtype is torch.float32,
    )  # fmt: skip
    each = kernel_bytes(library, job)
    kernels = in_large_pages(len(groups) * each).view(len(groups), each)
    for weight, packed in zip(groups, kernels, strict=True):
        job.w, job.kernels = weight.data_ptr(), packed.data_ptr()
        convolve(library, job)  # of one pixel: it packs, which is what is wanted
    return kernels


def _float32(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float().contiguous()


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
