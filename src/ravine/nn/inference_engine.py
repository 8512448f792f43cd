"""Answers of one network, by a program of the C library where it can be traced.

In evaluation mode, on the CPU, a network of convolutions, norms, activations, sums and poolings is
one call of the library (`ops/inference_program.py`), with nothing of Python between its layers: in
float32, and under autocast in bfloat16 where the processor multiplies vectors of it. Every other
network, and every other way to run one, takes its own forward pass; a private one under autocast
that of a copy whose weights are narrow already (`narrow_copy.py`).
"""

import threading
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from ravine.kernels.library import Library, load_library, threads
from ravine.nn.narrow_copy import narrow_copy
from ravine.nn.network_state import NetworkState, has_global_hooks
from ravine.ops.fused_graph import Layer, fuse
from ravine.ops.inference_program import (
    MANY,
    InferenceProgram,
    LayerConstants,
    constants_of,
    make_program,
)
from ravine.ops.library_inputs import operations_are_observed
from ravine.ops.packed_weights import PackedWeights, keep_packed_weights
from ravine.ops.trace import trace
from ravine.ops.traced_graph import (
    TracedGraph,
    UntraceableError,
    is_narrow_under_autocast,
    linear_weights,
)

_GROUP_BYTES = 16 << 20  # of values of the images that a thread takes through at a time
_SIZES = 2  # of images, that programs are kept for
_LONG_READ = 8 << 20  # bytes of linear layers, from which on reading them is most of their time
_MANY_READERS = 32  # images that read them together then

Shape = tuple[int, int, int]
Kind = tuple[Shape, torch.dtype]
"""(C, H, W) of images, and the type in which they are computed with."""


@final
@dataclass(slots=True)
class InferenceEngine:
    """A network, called with images (B, C, H, W) in evaluation mode.

    A program holds for the weights that it was made of. A network that others have too is compared
    with what it was: before each call as far as torch counts changes, by `check_weights` to the
    bit. A private one does not change.

    Attributes:
        network: in evaluation mode it is compiled.
        is_shared: others have it, and may change it.
    """

    network: nn.Module
    is_shared: bool = True
    _packed: PackedWeights = field(default_factory=PackedWeights)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _state: NetworkState | None = None
    _compiled: "dict[Kind, _Compiled | None]" = field(default_factory=dict)
    _narrow: nn.Module | None = None
    _narrow_calls: int = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Returns logits (B, K) of images (B, C, H, W), as the network would."""
        library = load_library()
        dtype = None if library is None else _type_of_values(library)
        if library is not None and dtype is not None and _is_plain(images):
            compiled = self._compiled_for(library, images, dtype)
            if compiled is not None:
                return compiled.run(images)
        network = self.network
        if library is not None and _is_narrowing() and _is_plain(images):
            network = self._narrowed(library, images)
        with keep_packed_weights(self._packed):
            logits: Tensor = network(images)
        return logits

    def check_weights(self) -> None:
        """Notices every change of a weight, also those that torch does not count."""
        library = load_library()
        with self._lock:
            state = self._state
            if library is None or state is None or not self.is_shared:
                return
            if not state.holds_to_the_bit(library):
                self._forget()

    def _compiled_for(
        self, library: Library, images: Tensor, dtype: torch.dtype
    ) -> "_Compiled | None":
        """Returns the network compiled for these images; None where it has to run itself."""
        channels, height, width = images.shape[1:]
        kind = (channels, height, width), dtype
        with self._lock:
            state = self._state
            if state is None or (self.is_shared and not state.holds()):
                self._forget()
                self._state = state = NetworkState.of(library, self.network)
            if state is None or (self.is_shared and not state.is_plain()):
                return None
            if kind not in self._compiled:
                if not state.is_plain():
                    return None
                while len(self._compiled) >= _SIZES:
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[kind] = _compile(library, self.network, *kind)
            return self._compiled[kind]

    def _narrowed(self, library: Library, images: Tensor) -> nn.Module:
        """Returns what answers as the network does: from the second call on a narrow copy."""
        with self._lock:
            if self.is_shared:
                self._narrow = None
                return self.network
            self._narrow_calls += 1
            if self._narrow_calls == 2:
                state = self._state or NetworkState.of(library, self.network)
                if state is not None and state.is_plain():
                    self._narrow = narrow_copy(self.network, images)
            return self._narrow or self.network

    def _forget(self) -> None:
        self._state, self._compiled, self._packed = None, {}, PackedWeights()


@final
@dataclass(slots=True)
class _Compiled:
    """A network for one size of images, and its programs by images of a group and of a call."""

    library: Library
    graph: TracedGraph
    layers: list[Layer]
    constants: list[LayerConstants]
    dtype: torch.dtype
    programs: dict[tuple[int, int], InferenceProgram] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, images: Tensor) -> Tensor:
        """Returns logits (B, K): groups of images side by side, then those left over."""
        images = images.to(self.dtype).contiguous(memory_format=torch.channels_last)
        count, workers = images.shape[0], threads()
        logits = torch.empty(count, self.graph.shapes[self.graph.output][0], dtype=self.dtype)
        group = self._images_of_a_group(count, workers)
        whole = count // group * group
        if whole == count:
            self._program(group, count).run(images, logits, threads=workers)
            return logits
        for rows, size in ((slice(whole), group), (slice(whole, count), count - whole)):
            self._program(size, count).run(images[rows], logits[rows], threads=workers)
        return logits

    def _images_of_a_group(self, count: int, workers: int) -> int:
        if count == 1:
            return 1
        fit = _GROUP_BYTES // max(1, self._program(1, count).workspace_bytes)
        linear = linear_weights(self.graph) * self.dtype.itemsize
        most = MANY if linear < _LONG_READ else _MANY_READERS
        each = max(1, min(most, fit, -(-count // workers)))
        turns = -(-count // (each * workers))  # about as many images in each
        return -(-count // (turns * workers))

    def _program(self, group: int, asked: int) -> InferenceProgram:
        key = group, min(asked, MANY)
        with self.lock:  # steps hold the addresses of kernels that are packed once
            found = self.programs.get(key)
            if found is None:
                parts = self.library, self.graph, self.layers, self.constants
                self.programs[key] = found = make_program(*parts, self.dtype, group, asked)
        return found


def _compile(
    library: Library, network: nn.Module, shape: Shape, dtype: torch.dtype
) -> _Compiled | None:
    """Returns a network compiled for images of one size; None where it cannot be traced.

    In inference mode torch keeps convolutions whole, which `trace` does not know.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        try:
            graph = trace(network, shape)
        except UntraceableError:
            return None
        if dtype is not torch.float32 and not is_narrow_under_autocast(graph):
            return None
        layers = fuse(graph)
        return _Compiled(library, graph, layers, [constants_of(layer) for layer in layers], dtype)


def _type_of_values(library: Library) -> torch.dtype | None:
    """Returns the type that layers compute in now; None where it is not compiled."""
    if not torch.is_autocast_enabled("cpu"):
        return torch.float32
    return torch.bfloat16 if _is_narrowing() and library.level_name == "avx512-bf16" else None


def _is_narrowing() -> bool:
    """Whether autocast makes the weights of convolutions and linear layers bfloat16."""
    enabled = torch.is_autocast_enabled("cpu")
    return enabled and torch.get_autocast_dtype("cpu") is torch.bfloat16


def _is_plain(images: Tensor) -> bool:
    """Whether nobody but the caller sees what is computed, of images in float32 on the CPU."""
    return (
        images.device.type == "cpu"
        and images.dtype is torch.float32
        and images.dim() == 4
        and images.numel() > 0
        and not torch.is_grad_enabled()
        and not operations_are_observed()
        and not is_in_torch_dispatch_mode()
        and not has_global_hooks()
    )
