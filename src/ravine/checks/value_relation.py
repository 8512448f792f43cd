"""Whether values (a regression's targets) belong to the inputs: neighbours, and a short training.

As `label_relation.py` for labels: nearest neighbours in the inputs must have nearer values than
permuted ones, else the user's own network is trained for some steps and asked for other examples.
A network that does not learn a plain function of its inputs either decides nothing.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.inputs import standardised
from ravine.checks.label_slip import Slip, find_slip
from ravine.checks.made_up_outputs import value_of
from ravine.checks.mirrored_targets import find_mirrored
from ravine.core.nested import batch_size, map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import FEW_VALUES, LABELS_RELATED, SCORE_RELATED
from ravine.nn.freezing import training_mode_

_NEIGHBOURS, _PERMUTATIONS = 10, 100
_MOST_VALUES = 16  # of an example, that neighbours are asked for
_MOST_TRAINED = 1024  # of an example, that outputs are compared with
_MOST_EXAMPLES = 2000
_FEWEST = 64

Train = Callable[[CheckContext, Sequence[CheckBatch]], None]


def check_values(
    context: CheckContext, features: Callable[[CheckBatch], Tensor | None], train: Train
) -> Iterator[Finding]:
    """Yields values (N,) or (N, …) that have nothing to do with the inputs.

    Args:
        context: of the checks.
        features: of a batch, (N, D), or None.
        train: trains the network on batches for some steps.
    """
    values = [some_values_of(one) for one in context.samples]
    known = [y for y in values if y is not None]
    count = sum(map(len, known))
    if len(known) < len(values) or count < _FEWEST or not bool((known[0] != known[0][:1]).any()):
        return
    is_small = values_of(context.samples[0]) is not None
    mirrored = list(find_mirrored(context.samples, known)) if is_small else []
    if mirrored:
        yield from mirrored
        return
    inputs = [features(one) for one in context.samples]
    if all(x is not None for x in inputs):
        x = torch.cat([x for x in inputs if x is not None])[:_MOST_EXAMPLES]
        related = _neighbour_relation(x)
        if related(known) > LABELS_RELATED:
            return
        slip = find_slip(related, known)
        if slip is not None:
            yield slipped(slip)
            return
    if _is_of_sets(context):
        return
    found = _trained(context, train)
    if found is None or found > SCORE_RELATED:
        return
    control = _trained(context, train, values_of=_mean_input)
    if control is not None and control > LABELS_RELATED and count >= FEW_VALUES:
        yield _unrelated(found, control, count)


def _is_of_sets(context: CheckContext) -> bool:
    """Returns whether a loss compares all outputs with all targets, in whatever order these are."""
    sample, generator = context.samples[0], torch.Generator().manual_seed(0)
    size = batch_size(context.measured.outputs)
    if not size:
        return False

    def other(t: Tensor) -> Tensor:  # outputs that differ, where all are 0 at first
        drawn = torch.randn(t.shape, generator=generator).to(t)
        return t + drawn if t.is_floating_point() else t

    outputs = map_tensors(context.measured.outputs, other)
    targets = sample.first(size).targets
    flipped = map_tensors(targets, lambda t: t.flip(0) if t.dim() else t)
    one, turned = (value_of(context.loss, outputs, t) for t in (targets, flipped))
    return math.isclose(one, turned, rel_tol=1e-5)


def values_of(sample: CheckBatch) -> Tensor | None:
    """Returns the floating targets of a batch as (N, k), None where they are something else."""
    targets = sample.targets
    is_small = isinstance(targets, Tensor) and targets.numel() <= _MOST_VALUES * len(sample)
    return some_values_of(sample) if is_small else None


def some_values_of(sample: CheckBatch) -> Tensor | None:
    """Returns (N, k) as `values_of`; of wide targets, such as pictures, every n-th number."""
    targets = sample.targets
    if not isinstance(targets, Tensor) or not targets.is_floating_point() or not targets.dim():
        return None
    if len(targets) != len(sample) or not targets.numel():
        return None
    flat = _some_columns(targets, _MOST_VALUES)
    return flat if bool(flat.isfinite().all()) else None


def _some_columns(t: Tensor, most: int) -> Tensor:
    """Returns (N, …) as (N, k) in float64, evenly spread ones where k would be above `most`."""
    flat = t.reshape(len(t), -1)
    return flat[:, :: max(1, -(-flat.shape[1] // most))].double()


def _neighbour_relation(inputs: Tensor) -> Callable[[Sequence[Tensor]], float]:
    """Returns how near neighbours' values are, above permuted ones, in standard deviations."""
    x = inputs.double() - inputs.double().mean(0)
    distance = torch.cdist(x, x).fill_diagonal_(torch.inf)
    near = distance.topk(min(_NEIGHBOURS, len(x) - 1), largest=False).indices

    def agreement(y: Tensor) -> float:
        return float((y[near].mean(1) * y).mean())

    def related(values: Sequence[Tensor]) -> float:
        y = torch.cat(list(values))[: len(x)]
        y = (y - y.mean(0)) / y.std(0).clamp_min(1e-12)
        return _beyond_chance(agreement, y)

    return related


def _beyond_chance(agreement: Callable[[Tensor], float], y: Tensor) -> float:
    """Returns how far the agreement with (N, k) lies above that with other orders of it."""
    generator = torch.Generator().manual_seed(0)
    others = torch.tensor(
        [
            agreement(y[torch.randperm(len(y), generator=generator).to(y.device)])
            for _ in range(_PERMUTATIONS)
        ],
        dtype=torch.float64,
    )
    return (agreement(y) - float(others.mean())) / max(float(others.std()), 1e-12)


def _mean_input(sample: CheckBatch) -> Tensor:
    """Returns the mean of each example's first input, of mean 0 and deviation 1, (N, 1)."""
    means = tensors_in(sample.inputs)[0].double().reshape(len(sample), -1).mean(1)
    return ((means - means.mean()) / means.std().clamp_min(1e-12))[:, None]


def _trained(
    context: CheckContext, train: Train, values_of: Callable[[CheckBatch], Tensor] | None = None
) -> float | None:
    """Returns how well outputs follow the values of other examples than they were trained on.

    In standard deviations above other orders of them; None where outputs have another form.
    """
    samples = context.samples
    if context.measured.scale_matters:
        samples = tuple(replace(one, inputs=standardised(one.inputs)) for one in samples)
    if values_of is not None:
        samples = tuple(_with_values(one, values_of(one)) for one in samples)
    half = len(samples) // 2
    training, held_out = samples[:half], samples[half:]
    if not training:
        n = len(samples[0]) // 2
        training, held_out = (samples[0].first(n),), (samples[0].first(n, start=n),)
    with preserve_training(context.model):
        training_mode_(context.model)
        train(context, training)
        context.model.eval()
        with torch.no_grad():
            outputs = [context.output(one) for one in held_out]
    targets = [one.targets for one in held_out]
    pairs = list(zip(outputs, targets, strict=True))
    if any(not isinstance(o, Tensor) or o.numel() != y.numel() for o, y in pairs):
        return None
    out = torch.cat([_some_columns(o.reshape(len(y), -1), _MOST_TRAINED) for o, y in pairs])
    y = torch.cat([_some_columns(y, _MOST_TRAINED) for y in targets])
    if not bool((out.isfinite() & y.isfinite()).all()):
        return None
    out, y = (one - one.mean(0) for one in (out, y))
    return _beyond_chance(lambda given: float((out * given).mean()), y)


def _with_values(sample: CheckBatch, values: Tensor) -> CheckBatch:
    """Returns a batch with other values, on the scale of its own."""
    targets = sample.targets
    scaled = values * targets.double().std() + targets.double().mean()
    return replace(sample, targets=scaled.expand(len(targets), targets[0].numel())
                   .reshape(targets.shape).to(targets))  # fmt: skip


def slipped(slip: Slip) -> Finding:
    """Returns the finding of targets that belong to other examples, and to which."""
    return Finding(
        severity="critical",
        code="labels-unrelated",
        seen=f"targets do not go with their own inputs ({slip.own:.1f} standard deviations above "
        f"chance), and they do with {slip.words} ({slip.other:.1f})",
        cause="inputs and targets are paired with an offset: a header or a dropped row in one of "
        "the two lists, an index that begins at 1, or one of them turned round",
        cure="print a few inputs with their targets; keep both in one list, and drop rows of both",
        evidence={"own": slip.own, "other": slip.other},
    )


def _unrelated(found: float, control: float, count: int) -> Finding:
    return Finding(
        severity="warning",
        code="labels-unrelated",
        seen=f"after a short training on half of {count} examples the outputs for the others go "
        f"with their targets no better than with those of others ({found:.1f} standard deviations "
        f"above chance; {control:.1f} for targets that are the mean of the inputs)",
        cause="targets and inputs are not of the same example: one of the two lists was shuffled "
        "or sorted alone, the targets (such as the noise that was added) are drawn a second time, "
        "or the inputs tell next to nothing of them",
        cure="look at a few examples with their targets; keep both in one list, and keep what was "
        "drawn in a variable",
        evidence={"trained": found, "control": control},
    )
