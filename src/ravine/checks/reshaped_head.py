"""A network's end that reads its outputs in another shape without turning their axes.

A convolution has its channels first, a linear layer its outputs last. Where labels want them in the
other place, and the end is a view of the same memory with exchanged lengths, each row holds numbers
of several places.

Shape letters: N examples, K classes, P places.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.findings.finding import Finding

_LEAST = 2  # of classes, and of places


def find_reshaped(context: CheckContext) -> Iterator[Finding]:
    """Yields outputs in which classes and places are mixed by a reshape at the network's end."""
    shapes, targets = context.measured.reshaped, context.samples[0].targets
    if shapes is None or not isinstance(targets, Tensor) or targets.is_floating_point():
        return
    made, read = (f"({', '.join(['N', *map(str, one[1:])])})" for one in shapes)
    yield Finding(
        severity="critical",
        code="outputs-scrambled",
        seen=f"the network's last layer gives {made}, and its end reads this as {read} by reshape "
        "or view: each row holds numbers of several places",
        cause="the axis of the classes is to be moved, and memory is only read in another shape",
        cure="write out.flatten(2).transpose(1, 2) after a convolution, out.transpose(1, 2) after "
        "a linear layer",
    )


def reshaped_end(out: object) -> tuple[torch.Size, torch.Size] | None:
    """Returns the shapes of what an output views and of itself, if lengths are exchanged.

    (N, K, …P) as (N, P, K), or (N, P, K) as (N, K, …P), in the same order in memory.
    """
    base = out._base if isinstance(out, Tensor) and out._is_view() else None
    if base is None or not isinstance(out, Tensor) or min(base.dim() + 1, out.dim()) < 3:
        return None
    if not out.is_contiguous() or not base.is_contiguous() or len(base) % len(out):
        return None
    made = base.shape if base.dim() > 2 else base.view(len(out), -1, base.shape[1]).shape
    for one, other in ((made, out.shape), (out.shape, made)):
        if len(other) != 3:
            continue
        for rest, last in ((one[1:2], one[2:]), (one[1:-1], one[-1:])):
            a, b = rest.numel(), last.numel()
            if made[0] == len(out) and a != b and min(a, b) >= _LEAST and other[1:] == (b, a):
                return made, out.shape
    return None
