"""The kernel plan: which algorithm runs each convolution of a network, and what decided it.

A plan is made once, before the first step (`workflows/kernel_choice.py`), and active until its
session closes. Without one, or for a shape that it does not hold, the best guess runs
(`algorithm.candidates`).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self, final

import torch

from ravine.core.processor import l2_bytes, processor_name
from ravine.kernels.library import load_library
from ravine.ops.algorithm import (
    ConvolutionShape,
    DTypeName,
    can_run,
    candidates,
)
from ravine.ops.algorithm_names import Algorithm


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MachineKind:
    """What a plan was measured on; on another kind of machine it is measured again.

    Attributes:
        processor: its name, as the maker writes it.
        level: of the C library; "none" without it.
        library: checksum of its file; 0 without it.
        torch: version.
        threads: of a process.
        l2_bytes: of a core's second cache; 0 for unknown.
    """

    processor: str
    level: str
    library: int
    torch: str
    threads: int
    l2_bytes: int

    @classmethod
    def here(cls) -> Self:
        """Returns the kind of this machine, with the threads that this process has."""
        library = load_library()
        return cls(
            processor=processor_name(),
            level="none" if library is None else library.level_name,
            library=0 if library is None else library.checksum,
            torch=torch.__version__,
            threads=torch.get_num_threads(),
            l2_bytes=l2_bytes(),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEntry:
    """The algorithm of one shape.

    Attributes:
        shape: of the convolution.
        algorithm: that runs.
        images: of the batches that were measured; 0 where there was one candidate only.
        batch: images of the training step that they stood for; likewise.
        seconds: of forward pass and gradients by each candidate, medians; empty for one.
    """

    shape: ConvolutionShape
    algorithm: Algorithm
    images: int = 0
    batch: int = 0
    seconds: Mapping[Algorithm, float] = field(default_factory=dict)


@final
@dataclass(frozen=True, kw_only=True)
class KernelPlan:
    """The algorithms of a network's convolutions on one kind of machine.

    Attributes:
        machine: that it was measured on.
        precision: of images and products.
        entries: one for each shape.
    """

    machine: MachineKind
    precision: DTypeName
    entries: tuple[PlanEntry, ...]

    @cached_property
    def algorithms(self) -> dict[ConvolutionShape, Algorithm]:
        """The algorithm of each shape."""
        return {entry.shape: entry.algorithm for entry in self.entries}

    def unable(self) -> list[PlanEntry]:
        """Returns the entries whose algorithm this machine's library does not have."""
        return [e for e in self.entries if not can_run(e.algorithm, e.shape)]


def guessed_plan(shapes: Iterable[ConvolutionShape], precision: DTypeName) -> KernelPlan:
    """Returns the plan of the best guesses, without measuring."""
    entries = tuple(PlanEntry(shape=s, algorithm=candidates(s)[0]) for s in shapes)
    return KernelPlan(machine=MachineKind.here(), precision=precision, entries=entries)


def runnable_plan(plan: KernelPlan | None) -> KernelPlan | None:
    """Returns the plan without what this machine's library does not have, None for None.

    A job of a race may run on another machine than the one that its plan was made on.
    """
    if plan is None or not (unable := plan.unable()):
        return plan
    return replace(plan, entries=tuple(e for e in plan.entries if e not in unable))


@dataclass(slots=True)
class _Active:
    """The process's plan, and the shapes that were asked for while it is recorded."""

    algorithms: Mapping[ConvolutionShape, Algorithm] = field(default_factory=dict)
    asked: dict[ConvolutionShape, None] | None = None


_active = _Active()


def algorithm_for(
    channels: int,
    out_channels: int,
    height: int,
    width: int,
    kernel: int,
    stride: int,
    padding: int,
    dtype: DTypeName,
    bias: bool,
    few: bool = False,
) -> Algorithm:
    """Returns the active plan's algorithm for a `ConvolutionShape`, or else the best guess.

    Numbers, not an object, so that a compiled graph asks once, when it is made. For `few` images
    the guess is torch's: what the others do once for a batch does not pay.
    """
    shape = ConvolutionShape(
        channels, out_channels, height, width, kernel, stride, padding, dtype, bias
    )
    if _active.asked is not None:
        _active.asked[shape] = None
    return _active.algorithms.get(shape) or ("torch" if few else candidates(shape)[0])


# As in library_inputs.py.
algorithm_for._dynamo_marked_constant = True  # type: ignore[attr-defined]


@contextmanager
def use_algorithms(algorithms: Mapping[ConvolutionShape, Algorithm]) -> Iterator[None]:
    """Runs convolutions of these shapes by these algorithms, all others by the best guess.

    Raises:
        ValueError: one of them cannot run here.
    """
    for shape, algorithm in algorithms.items():
        if not can_run(algorithm, shape):
            raise ValueError(f"{algorithm} cannot run here: {shape}")
    before = _active.algorithms
    _active.algorithms = dict(algorithms)
    try:
        yield
    finally:
        _active.algorithms = before


@contextmanager
def record_shapes() -> Iterator[dict[ConvolutionShape, None]]:
    """Yields the shapes that convolutions ask an algorithm for, in their order."""
    before = _active.asked
    _active.asked = {}
    try:
        yield _active.asked
    finally:
        _active.asked = before
