"""Measures which algorithm runs each convolution of a network fastest on this machine.

Of a shape with two candidates, a layer is trained a few steps by each in turn, on a sub-batch:
forward, input gradient and weight gradient, after a norm with its ReLU, as networks have it, so
that an algorithm into which the norm is fused is measured with what that saves. The best guess
stays unless the other is clearly faster, so that noise does not change a plan.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from ravine.core.preserve_state import preserve_state
from ravine.core.progress import Progress, no_progress
from ravine.nn.convolution import Conv2d
from ravine.nn.norm_act import BatchNorm2d, NormAct
from ravine.ops.algorithm import ConvolutionShape, DTypeName, candidates, is_whole
from ravine.ops.algorithm_names import Algorithm
from ravine.ops.epilogue_statistics import attach_output_sums
from ravine.ops.kernel_plan import (
    KernelPlan,
    MachineKind,
    PlanEntry,
    guessed_plan,
    record_shapes,
    use_algorithms,
)

CLEARLY_FASTER = 0.95  # of the seconds of the best guess, at most
_OPERATIONS = 8e9  # of a measured step: some twenty milliseconds
_ELEMENTS = 2e6  # of the images: more take longer, and say no more
_POSITIONS = 6144  # of a sub-batch at least: weights are transformed once a step, however few
_DRAWN = 8  # images; they are repeated, as drawing takes longer than measuring
_ROUNDS, _FEWEST_ROUNDS = 5, 3
_FEWEST_IMAGES = 2  # a norm of a single position has no variance
_SECONDS_OF_SHAPE = 0.4  # more than the fewest rounds only within these


def shapes_of(
    model: nn.Module, *, channels: int, image_size: int, precision: torch.dtype
) -> tuple[ConvolutionShape, ...]:
    """Returns the shapes of the convolutions that a network on the CPU asks an algorithm for.

    Two black images, (2, channels, image_size, image_size), pass through it in evaluation mode,
    which changes nothing in it.
    """
    images = torch.zeros(2, channels, image_size, image_size)
    narrow = precision is torch.bfloat16
    with (
        preserve_state(model),
        record_shapes() as shapes,
        torch.no_grad(),
        torch.autocast("cpu", torch.bfloat16, enabled=narrow),
    ):
        model.eval()(images.contiguous(memory_format=torch.channels_last))
    return tuple(shapes)


def measure_plan(
    shapes: Iterable[ConvolutionShape],
    *,
    precision: DTypeName,
    batch: int,
    limit: float = 10.0,
    progress: Progress = no_progress,
) -> KernelPlan:
    """Returns the plan of these shapes; those with one candidate are not measured.

    Args:
        shapes: of a network's convolutions.
        precision: of the network.
        batch: images of a training step; fewer are measured.
        limit: seconds; when they are over, shapes that are left take the best guess. The heaviest
            shape is always measured.
        progress: receives how many shapes are measured.
    """
    wanted = list(shapes)
    open_ = [shape for shape in wanted if len(candidates(shape)) > 1]
    open_.sort(key=lambda shape: shape.multiply_adds, reverse=True)
    entries = {e.shape: e for e in guessed_plan(wanted, precision).entries}
    share = limit / max(1, len(open_))
    start = time.perf_counter()
    for number, shape in enumerate(open_):
        if number and time.perf_counter() - start > limit:
            break
        progress("measuring convolutions", number, len(open_))
        entries[shape] = measure_shape(shape, batch=batch, seconds=share)
    return KernelPlan(
        machine=MachineKind.here(), precision=precision, entries=tuple(entries.values())
    )


def measure_shape(shape: ConvolutionShape, *, batch: int, seconds: float) -> PlanEntry:
    """Returns the entry of a shape: the medians of its candidates, and the winner.

    Args:
        shape: with two candidates.
        batch: images at most.
        seconds: to aim at; slow machines measure fewer images, and at least three rounds.
    """
    with torch.random.fork_rng(devices=[]):
        images = _affordable(shape, sub_batch(shape, batch), seconds)
        found = _interleaved(_warm_steps(shape, images), min(seconds, _SECONDS_OF_SHAPE))
    return PlanEntry(
        shape=shape, algorithm=winner(found), images=images, batch=batch, seconds=found
    )


def winner(seconds: Mapping[Algorithm, float]) -> Algorithm:
    """Returns the first algorithm, or the fastest where that is clearly faster.

    >>> winner({"tiles": 1.0, "torch": 0.97}), winner({"tiles": 1.0, "torch": 0.9})
    ('tiles', 'torch')
    """
    guess = next(iter(seconds))
    fastest = min(seconds, key=lambda name: seconds[name])
    return fastest if seconds[fastest] < CLEARLY_FASTER * seconds[guess] else guess


def sub_batch(shape: ConvolutionShape, batch: int) -> int:
    """Returns of how many images a training step of `batch` is measured, at most."""
    size = shape.channels * shape.height * shape.width
    by_work = min(_OPERATIONS / (6 * shape.multiply_adds), _ELEMENTS / size)
    by_positions = _POSITIONS / (shape.height * shape.width)
    return max(_FEWEST_IMAGES, min(batch, round(max(by_work, by_positions))))


def _affordable(shape: ConvolutionShape, images: int, seconds: float) -> int:
    """Returns the images of which a warm-up and the fewest rounds take at most `seconds`."""
    few = max(_FEWEST_IMAGES, images // 8)
    taken = sum(_timed(step) for step in _warm_steps(shape, few).values())
    return max(_FEWEST_IMAGES, min(images, int(few * seconds / taken / (1 + _FEWEST_ROUNDS))))


def _warm_steps(shape: ConvolutionShape, images: int) -> dict[Algorithm, Callable[[], None]]:
    """Returns a step by each candidate, taken once: the first one makes kernels and buffers."""
    steps = {name: _step_of(shape, name, images) for name in candidates(shape)}
    for step in steps.values():
        step()
    return steps


def _interleaved(
    steps: Mapping[Algorithm, Callable[[], None]], seconds: float
) -> dict[Algorithm, float]:
    """Returns the median seconds of each step, over three to five rounds in turn."""
    found: dict[Algorithm, list[float]] = {name: [] for name in steps}
    start = time.perf_counter()
    for number in range(_ROUNDS):
        spent = time.perf_counter() - start
        if number >= _FEWEST_ROUNDS and spent * (number + 1) / number > seconds:
            break
        for name, step in steps.items():
            found[name].append(_timed(step))
    return {name: statistics.median(taken) for name, taken in found.items()}


def _timed(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _step_of(shape: ConvolutionShape, algorithm: Algorithm, images: int) -> Callable[[], None]:
    """Returns a training step of a norm and a convolution of this shape by an algorithm."""
    layer = Conv2d(
        shape.channels,
        shape.out_channels,
        shape.kernel,
        shape.stride,
        shape.padding,
        bias=shape.bias,
    )
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    norm = NormAct(BatchNorm2d(shape.channels), nn.ReLU())
    x = _images(shape, images).requires_grad_()
    if is_whole(algorithm) and shape.kernel > 1:
        # The convolution before, of the same kind, has added them up.
        values = x.detach().float()
        attach_output_sums(x, torch.stack([values.sum((2, 3)), values.square().sum((2, 3))], 1))
    dy: Tensor | None = None

    def step() -> None:
        nonlocal dy
        x.grad = None
        layer.zero_grad()
        narrow = shape.dtype == "bfloat16"
        with (
            use_algorithms({shape: algorithm}),
            torch.autocast("cpu", torch.bfloat16, enabled=narrow),
        ):
            # Networks without norms have biases.
            y = layer(x) if shape.bias else layer.norm_act_conv(norm, x)[0]
        dy = torch.ones_like(y) if dy is None else dy
        y.backward(dy)

    return step


def _images(shape: ConvolutionShape, images: int) -> Tensor:
    dtype = torch.bfloat16 if shape.dtype == "bfloat16" else torch.float32
    few = min(images, _DRAWN)
    drawn = torch.randn(few, shape.channels, shape.height, shape.width)
    drawn = drawn.repeat(math.ceil(images / few), 1, 1, 1)[:images]
    return drawn.to(dtype).contiguous(memory_format=torch.channels_last)
