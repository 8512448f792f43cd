"""Checks of the inputs' values: finite, different, not scrambled, and on a scale that fits.

The scale is judged where it matters: at the first layer with weights, behind whatever the network
does to its inputs itself, and only where the outputs change when it is mended.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.few_different import find_few_different
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import (
    FLAT_INPUTS,
    LARGE_INPUTS,
    SAME_OUTPUTS,
    SCRAMBLED,
    SMALL_INPUTS,
)

_LARGE_BATCH = 256  # that a training may well repeat on purpose
_FEW_BATCHES = 4
_EXAMPLES = 64


class _Enough(Exception):
    """Ends a forward pass of which enough was seen."""


def check_inputs(context: CheckContext) -> Iterator[Finding]:
    """Yields what is wrong with the values of each input."""
    batches = [sample.float_inputs for sample in context.samples]
    for index, tensors in enumerate(zip(*batches, strict=False)):
        name = f"input {index + 1}" if len(batches[0]) > 1 else "the inputs"
        yield from _check_values(name, tensors)
    found = list(_repeating(context))
    yield from found or find_few_different(context.samples)


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
    yield from _scrambled(name, first)


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


def _scrambled(name: str, x: Tensor) -> Iterator[Finding]:
    """Yields images (N, C, H, W) that are smoother when their memory is read as (N, H, W, C)."""
    if x.dim() != 4 or not 2 <= x.shape[1] <= 4 or min(x.shape[2:]) < 8 or len(x) < 8:
        return
    n, c, h, w = x.shape
    other = x.reshape(n, h, w, c).permute(0, 3, 1, 2)
    ratio = _roughness(other) / _roughness(x).clamp_min(1e-12)
    smoother = float((ratio < 1).double().mean())
    if smoother > 0.9 and float(ratio.median()) < SCRAMBLED:
        yield Finding(
            severity="critical",
            code="inputs-scrambled",
            seen=f"{smoother:.0%} of {name} are smoother when their numbers are read as height, "
            f"width, channels: neighbours differ {float(ratio.median()):.2g} times as much",
            cause="reshape or view stands where permute belongs, so that channels and places are "
            "mixed",
            cure="write x.permute(0, 3, 1, 2) for images of the form (N, H, W, C)",
            evidence={"share": smoother, "ratio": float(ratio.median())},
        )


def _roughness(x: Tensor) -> Tensor:
    """Returns (N,), the mean square difference of neighbours over the variance, of (N, C, H, W)."""
    x = x.double()
    down = (x[:, :, 1:] - x[:, :, :-1]).square().flatten(1).mean(1)
    across = (x[..., 1:] - x[..., :-1]).square().flatten(1).mean(1)
    return (down + across) / x.flatten(1).var(1).clamp_min(1e-12)


def _repeating(context: CheckContext) -> Iterator[Finding]:
    """Yields batches that are all the same."""
    samples = context.samples
    if len(samples) < _FEW_BATCHES:
        return
    first = tensors_in((samples[0].inputs, samples[0].targets))
    for one in samples[1:]:
        others = tensors_in((one.inputs, one.targets))
        if len(others) != len(first) or not all(map(_equal, first, others)):
            return
    meant = len(samples[0]) > _LARGE_BATCH or samples[0].is_whole
    yield Finding(
        severity="note" if meant else "warning",
        code="batches-repeat",
        seen=f"all {len(samples)} batches are the same {len(samples[0])} examples",
        cause="the batch is the whole training set"
        if meant
        else "next(iter(loader)) stands inside the loop, which begins anew each time",
        cure="nothing, where that is meant; else iterate over the loader: for batch in loader",
        evidence={"batches": float(len(samples)), "examples": float(len(samples[0]))},
    )


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and (one is other or bool(torch.equal(one, other)))


def check_scale(context: CheckContext) -> Iterator[Finding]:
    """Yields inputs whose scale does not fit the first layer with weights."""
    sample = context.samples[0].first(_EXAMPLES)
    if not sample.float_inputs:
        return
    with preserve_training(context.model), torch.no_grad():
        context.model.train()
        seen = _first_weighted_input(context, sample)
        if seen is None:
            seen = sample.float_inputs[0]
        mean, std = float(seen.double().mean()), float(seen.double().std())
        rms = float(seen.double().square().mean().sqrt())
        is_flat = std < FLAT_INPUTS * abs(mean)
        if std > SMALL_INPUTS and rms < LARGE_INPUTS and not is_flat:
            return
        same = _correlation(context, sample)
    if same < SAME_OUTPUTS:
        context.measured.scale_matters = True
        yield _not_scaled(mean, std, rms)


def _first_weighted_input(context: CheckContext, sample: CheckBatch) -> Tensor | None:
    """Returns what the first layer with a weight matrix is given; the pass ends there."""
    found: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[object, ...]) -> None:
        tensors = [t for t in tensors_in(inputs) if t.is_floating_point() and t.dim() > 1]
        if tensors:
            found.append(tensors[0].detach())
            raise _Enough

    hooks = [
        m.register_forward_pre_hook(keep)
        for m in context.model.modules()
        if any(p.dim() > 1 for p in m.parameters(recurse=False))
    ]
    try:
        context.output(sample)
    except _Enough:
        return found[0]
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None  # a network may catch what is raised inside it


def _correlation(context: CheckContext, sample: CheckBatch) -> float:
    """Returns the correlation of the outputs over the batch with those of standardised inputs.

    1 where the outputs are no tensor: nothing is known against the scale.
    """

    mended = replace(sample, inputs=standardised(sample.inputs))
    state = torch.get_rng_state()
    outputs = []
    for one in (sample, mended):
        torch.set_rng_state(state)  # the same dropout in both
        outputs.append([t for t in tensors_in(context.output(one)) if t.is_floating_point()])
    if not outputs[0] or not outputs[1] or outputs[0][0].dim() < 1:
        return 1.0
    a, b = (found[0].double() - found[0].double().mean(0) for found in outputs)
    size = float(a.norm() * b.norm())
    same_size = min(float(a.norm()), float(b.norm())) / max(float(a.norm()), float(b.norm()), 1e-30)
    return float((a * b).sum()) / size * (1.0 if same_size > 0.5 else 0.0) if size > 0 else 0.0


def standardised(inputs: Any) -> Any:
    """Returns inputs whose floating tensors have mean 0 and deviation 1 over the batch.

    Columns (N, D) each by itself, anything else (N, …) as a whole.
    """

    def standardise(x: Tensor) -> Tensor:
        if not x.is_floating_point() or x.dim() < 2:
            return x
        if x.dim() == 2 and len(x) > 1:
            return (x - x.mean(0)) / x.std(0).clamp_min(1e-12)
        return (x - x.mean()) / x.std().clamp_min(1e-12)

    return map_tensors(inputs, standardise)


def _not_scaled(mean: float, std: float, rms: float) -> Finding:
    if rms >= LARGE_INPUTS and std >= FLAT_INPUTS * abs(mean):
        cause = "the values are those of the files"
    elif std <= SMALL_INPUTS or std < FLAT_INPUTS * abs(mean):
        cause = (
            "the values are divided twice, or a mean and deviation of 0..255 were taken from "
            "values of 0..1: hardly any difference between pixels is left"
        )
    else:
        cause = "the values are not centred"
    return Finding(
        severity="warning",
        code="inputs-not-scaled",
        seen=f"the first layer with weights gets values with mean {mean:.3g} and standard "
        f"deviation {std:.3g}; near 0 and 1 is expected",
        cause=cause,
        cure="subtract the mean of each channel and divide by its standard deviation",
        evidence={"mean": mean, "std": std, "rms": rms},
    )
