"""Checks of the inputs' values: finite, scaled, and not all the same."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.findings.finding import Finding
from ravine.findings.thresholds import LARGE_INPUTS, SMALL_INPUTS


def check_inputs(context: CheckContext) -> Iterator[Finding]:
    """Yields what is wrong with the values of each input."""
    batches = [sample.float_inputs for sample in context.samples]
    for index, tensors in enumerate(zip(*batches, strict=False)):
        name = f"input {index + 1}" if len(batches[0]) > 1 else "the inputs"
        yield from _check_values(name, tensors)


def _check_values(name: str, tensors: Sequence[Tensor]) -> Iterator[Finding]:
    """Yields the first fault of an input, from its tensors (N, …) of all batches."""
    not_finite = _not_finite(name, tensors)
    if not_finite is not None:
        yield not_finite
        return
    first = tensors[0]
    if len(first) > 1 and bool((first == first[:1]).all()):
        yield Finding(
            severity="critical",
            code="inputs-alike",
            seen=f"all {len(first)} examples of the first batch are the same in {name}",
            cause="the loader returns one example again and again, or an empty picture",
            cure="print the first two examples of a batch, and mend the data set",
            evidence={"examples": len(first)},
        )
        return
    x = torch.cat([t.flatten(1).float() for t in tensors if t[0].shape == first[0].shape])
    yield from _check_scale(name, float(x.square().mean().sqrt()), float(x.mean()))


def _not_finite(name: str, tensors: Sequence[Tensor]) -> Finding | None:
    for number, x in enumerate(tensors, 1):
        count = int((~x.isfinite()).sum())
        if count:
            return Finding(
                severity="critical",
                code="inputs-not-finite",
                seen=f"{count} values of {name} are NaN or infinite, first in batch {number}",
                cause="the data, or its normalisation (a division by a standard deviation of 0)",
                cure="find the examples with torch.isfinite and leave them out or mend them",
                evidence={"values": count, "batch": number},
            )
    return None


def _check_scale(name: str, rms: float, mean: float) -> Iterator[Finding]:
    if SMALL_INPUTS < rms < LARGE_INPUTS:
        return
    yield Finding(
        severity="warning",
        code="inputs-not-scaled",
        seen=f"{name} have mean {mean:.3g} and root mean square {rms:.3g}; near 1 is expected",
        cause="the values are divided more than once"
        if rms <= SMALL_INPUTS
        else "the values are those of the files",
        cure="subtract the mean of each channel and divide by its standard deviation",
        evidence={"mean": mean, "rms": rms},
    )
