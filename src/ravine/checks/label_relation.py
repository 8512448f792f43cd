"""Whether the labels belong to the inputs: a probe that runs on request.

Neighbours in the inputs (k nearest, each example left out of its own vote) must agree on labels
more often than on the same labels permuted (a permutation test, which needs no theory of the
data). Where they do not, the user's own network is trained for some steps before the labels are
suspected. Random labels confuse all pairs of classes equally often, while similar classes are
confused with each other alone: the floor of the confusions is the noise.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.inputs import standardised
from ravine.checks.label_set_relation import check_label_sets
from ravine.checks.label_slip import Slip, find_slip, rows_in_order
from ravine.checks.parameters import make_dense_
from ravine.checks.plain_relation import find_without_training
from ravine.checks.two_numberings import find_two_numberings
from ravine.checks.value_relation import check_values, slipped, some_values_of
from ravine.core.nested import tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import (
    FEW_LABELS,
    FEW_PER_CLASS,
    LABEL_NOISE,
    LABELS_RELATED,
    NOISE_WORTH,
    SCORE_RELATED,
)
from ravine.nn.freezing import training_mode_

_NEIGHBOURS = 10
_MOST_EXAMPLES = 2000
_MOST_FEATURES = 4096
_PERMUTATIONS = 100
_FEWEST = 64  # labels
_FEWEST_OF_ONE = 2  # labels of a class, on average
_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well neighbours agree on labels.

    Attributes:
        accuracy: share of examples whose label the majority of their neighbours has.
        permuted: mean accuracy over permutations of the labels.
        deviations: accuracy above that mean, in standard deviations over the permutations.
        noise: share of labels that look drawn at random, in [0, 1].
    """

    accuracy: float
    permuted: float
    deviations: float
    noise: float


def agreement(inputs: Tensor, labels: Tensor, generator: torch.Generator) -> Agreement:
    """Returns how well neighbours agree on labels.

    Args:
        inputs: (N, D).
        labels: (N,) from 0 on.
        generator: of the permutations.
    """
    votes_of, classes = _neighbour_vote(inputs), int(labels.max()) + 1
    predicted = votes_of(labels, classes)
    accuracy = float((predicted == labels).double().mean())
    others = []
    for _ in range(_PERMUTATIONS):
        permuted = labels[torch.randperm(len(labels), generator=generator).to(labels.device)]
        others.append(float((votes_of(permuted, classes) == permuted).double().mean()))
    null = torch.tensor(others, dtype=torch.float64)
    spread = max(float(null.std()), 1e-9)
    return Agreement(
        accuracy=accuracy,
        permuted=float(null.mean()),
        deviations=(accuracy - float(null.mean())) / spread,
        noise=noise_floor(predicted, labels, classes),
    )


def _neighbour_vote(inputs: Tensor) -> Callable[[Tensor, int], Tensor]:
    """Returns the majority (N,) of labels (N,) of K classes among the neighbours in (N, D)."""
    x = inputs.double()
    x = x - x.mean(0)
    distance = torch.cdist(x, x)
    distance.fill_diagonal_(math.inf)
    near = distance.topk(min(_NEIGHBOURS, len(x) - 1), largest=False).indices

    def vote(labels: Tensor, classes: int) -> Tensor:
        return torch.nn.functional.one_hot(labels[near], classes).sum(1).argmax(1)

    return vote


def noise_floor(predicted: Tensor, labels: Tensor, classes: int) -> float:
    """Returns the share of labels that look drawn at random, 0 where examples are too few.

    It is the 30 % quantile of all confusions between two classes, times K − 1.

    Args:
        predicted: (N,) majority of the neighbours' labels.
        labels: (N,).
        classes: K.
    """
    if classes < 4 or len(labels) < 30 * classes:
        return 0.0
    table = torch.zeros(classes, classes, dtype=torch.float64, device=labels.device)
    table.index_put_((labels, predicted), torch.ones((), dtype=torch.float64), accumulate=True)
    shares = table / table.sum(1, keepdim=True).clamp_min(1)
    off = shares[~torch.eye(classes, dtype=torch.bool, device=labels.device)]
    noise = min(1.0, float(off.quantile(0.3)) * (classes - 1))
    accuracy = float(shares.diagonal().mean())
    # Where neighbours know little even of clean labels, confusion is no sign of noise.
    return noise if noise < 1 and accuracy / (1 - noise) > 0.6 else 0.0


def _is_episode(sample: CheckBatch) -> bool:
    """Returns whether there are more or fewer targets than inputs, so that none has its own."""
    return sample.targets.dim() > 0 and len(sample.targets) != len(sample)


def check_label_relation(context: CheckContext) -> Iterator[Finding]:
    """Yields labels that have nothing to do with the inputs, or that are partly random."""
    if any(isinstance(one.targets, Tensor) and _is_episode(one) for one in context.samples):
        return
    yield from find_without_training(context)
    rows = [(_features(one), one.label_rows) for one in context.samples]
    sets = [(x, y) for x, y in rows if x is not None and y is not None and len(x) == len(y)]
    if sets and len(sets) == len(rows):
        inputs = torch.cat([x for x, _ in sets])[:_MOST_EXAMPLES]
        yield from check_label_sets(
            context, inputs, torch.cat([y for _, y in sets])[:_MOST_EXAMPLES], _train
        )
        return
    if some_values_of(context.samples[0]) is not None:
        yield from check_values(context, _features, _train)
        return
    pairs = [(_features(one), one.labels) for one in context.samples]
    known = [(x, y) for x, y in pairs if x is not None and y is not None and len(x) == len(y)]
    found: Agreement | None = None
    if known and sum(len(y) for _, y in known) >= _FEWEST:
        inputs = torch.cat([x for x, _ in known])[:_MOST_EXAMPLES]
        labels = torch.cat([y for _, y in known])[:_MOST_EXAMPLES]
        if int(labels.min()) < 0 or int(labels.max()) == 0:
            return
        if len(labels.unique()) > len(labels) / _FEWEST_OF_ONE:
            return  # they number examples, and not classes: no two are the same
        found = agreement(inputs, labels, torch.Generator().manual_seed(0))
        if found.noise > LABEL_NOISE:
            yield _noise(found)
        yield from find_two_numberings(inputs, labels)
        if found.deviations > LABELS_RELATED:
            return
        slip = _slip(context, inputs, [y for _, y in known])
        if slip is not None:
            yield slipped(slip)
            return
    trained = _short_training(context)
    if trained is None or trained.is_related:
        return
    doubt = _why_undecided(context, trained)
    yield _unrelated(found, trained) if doubt is None else _undecided(trained, doubt)


def _slip(context: CheckContext, inputs: Tensor, labels: Sequence[Tensor]) -> Slip | None:
    """Returns another order of labels that fits: of those in the batches, or in the data set."""

    def related(x: Tensor) -> Callable[[Sequence[Tensor]], float]:
        return lambda given: (
            agreement(
                x, torch.cat(list(given))[: len(x)], torch.Generator().manual_seed(0)
            ).deviations
        )

    found = find_slip(related(inputs), labels)
    rows = None if found is not None else rows_in_order(context.source)
    if rows is None or len(rows[1]) < _FEWEST or int(rows[1].min()) < 0:
        return found
    x = rows[0].float().flatten(1)
    return find_slip(related(x[:, :: max(1, x.shape[1] // _MOST_FEATURES)]), [rows[1]])


def _why_undecided(context: CheckContext, trained: "_ShortTraining") -> str | None:
    """Returns why a chance accuracy says nothing against the labels; None where it does.

    Too few examples of each class: hard ones are not learnt from them. A network that in the same
    training does not learn labels which are a plain function of its inputs: brightness.
    """
    needed = max(FEW_LABELS, FEW_PER_CLASS * trained.classes)
    if trained.count < needed:
        return (
            f"{trained.count} examples of {trained.classes} classes are too few to learn a hard "
            f"relation from; give batches with {2 * needed} examples or more together"
        )
    if trained.fitted > LABELS_RELATED:
        return None
    control = _short_training(context, labels_of=_brightness)
    if control is not None and not control.is_related:
        return (
            "the network does not learn labels made from the brightness of its inputs either; "
            "mend what else is found first"
        )
    return None


def _brightness(sample: CheckBatch) -> Tensor:
    """Returns 1 for the half of a batch whose first input has the larger mean, else 0, (N,)."""
    means = tensors_in(sample.inputs)[0].double().reshape(len(sample), -1).mean(1)
    return (means > means.median()).long()


def _undecided(trained: "_ShortTraining", doubt: str) -> Finding:
    return Finding(
        severity="note",
        code="labels-undecided",
        seen=f"cannot tell whether the labels belong to the inputs: a short training reaches "
        f"{trained.accuracy:.1%}, and the commonest class has {trained.commonest:.1%}",
        cause=doubt,
        cure="look at a few examples with their labels (ravine data draws them)",
        evidence=asdict(trained),
    )


def _features(sample: CheckBatch) -> Tensor | None:
    """Returns the first floating input as (N, D), of a wide one every k-th number."""
    tensors = sample.float_inputs
    if not tensors:
        return None
    flat = standardised(tensors[0]) if tensors[0].dim() == 2 else tensors[0].flatten(1)
    return flat[:, :: max(1, flat.shape[1] // _MOST_FEATURES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShortTraining:
    """The network after a short training, on examples that it was not trained on.

    Attributes:
        accuracy: in [0, 1].
        commonest: share of the commonest class.
        deviations: accuracy above that share, in standard deviations of a binomial.
        score: mean logarithm of the probability of the labels above that of permuted labels, in
            standard deviations over the permutations: it sees more than the accuracy.
        count: examples that it was tried on, and about as many that it was trained on.
        classes: that they have.
        fitted: accuracy above the commonest class's share on the examples that it was trained on,
            in standard deviations: a network that fits them can learn.
    """

    accuracy: float
    commonest: float
    deviations: float
    score: float
    count: int
    classes: int
    fitted: float

    @property
    def is_related(self) -> bool:
        """Whether the labels show a relation to the inputs, by one measure or the other."""
        return self.deviations > LABELS_RELATED or self.score > SCORE_RELATED


def _short_training(
    context: CheckContext, labels_of: Callable[[CheckBatch], Tensor] | None = None
) -> _ShortTraining | None:
    """Trains on the first half of the batches; None where the output is no logits.

    Args:
        context: of the checks.
        labels_of: gives a batch other labels (N,) than its own.
    """
    samples = context.samples
    if context.measured.scale_matters:  # which would hide any relation
        samples = tuple(replace(one, inputs=standardised(one.inputs)) for one in samples)
    if labels_of is not None:
        samples = tuple(replace(one, targets=labels_of(one)) for one in samples)
    half = max(1, len(samples) // 2)
    training, held_out = samples[:half], samples[half:]
    if not held_out:
        n = len(training[0]) // 2
        training, held_out = (training[0].first(n),), (training[0].first(n, start=n),)
    with preserve_training(context.model):
        training_mode_(context.model)
        _train(context, training)
        with torch.no_grad():
            found, fitted = _answers(context, held_out), _answers(context, training)
    if found is None or fitted is None:
        return None
    logits, labels = found
    count = len(labels)
    accuracy, commonest, deviations = _deviations(logits, labels)
    return _ShortTraining(
        accuracy=accuracy,
        commonest=commonest,
        deviations=deviations,
        score=_score(logits, labels),
        count=count,
        classes=len(labels.unique()),
        fitted=_deviations(*fitted)[2],
    )


def _answers(context: CheckContext, samples: Sequence[CheckBatch]) -> tuple[Tensor, Tensor] | None:
    """Returns logits (N, K) and labels (N,) of batches together; None where there are no logits."""
    rows = [(context.answers_of(context.output(s), s), s.targets) for s in samples]
    known = [(logits, y) for logits, y in rows if logits is not None]
    if not known:
        return None
    return torch.cat([one for one, _ in known]), torch.cat([y for _, y in known])


def _deviations(logits: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Returns accuracy, share of the commonest class, and their difference in deviations."""
    accuracy = float((logits.argmax(1) == labels).double().mean())
    commonest = float(labels.bincount().max()) / len(labels)
    spread = math.sqrt(max(commonest * (1 - commonest), 1e-4) / len(labels))
    return accuracy, commonest, (accuracy - commonest) / spread


def _score(logits: Tensor, labels: Tensor) -> float:
    """Returns `_ShortTraining.score` of logits (N, K) and labels (N,)."""
    logarithms = logits.double().log_softmax(1)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(labels), generator=generator) for _ in range(_PERMUTATIONS)]
    ours = float(logarithms.gather(1, labels[:, None]).mean())
    others = torch.stack(
        [logarithms.gather(1, labels[order.to(labels.device)][:, None]).mean() for order in orders]
    )
    # Of outputs that are all the same, what is left is rounding.
    return (ours - float(others.mean())) / max(float(others.std()), 1e-6)


def _train(context: CheckContext, samples: Sequence[CheckBatch]) -> None:
    learning = [p for p in context.model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(learning, lr=1e-3)
    for step in range(_STEPS):
        loss = context.value(samples[step % len(samples)])
        if not loss.requires_grad or not bool(loss.isfinite()):
            return
        adam.zero_grad()
        loss.backward()
        make_dense_(learning)
        adam.step()


def _unrelated(found: Agreement | None, trained: _ShortTraining) -> Finding:
    neighbours = ""
    evidence = asdict(trained)
    if found is not None:
        neighbours = (
            f"; nearest neighbours agree in {found.accuracy:.1%}, and in {found.permuted:.1%} on "
            "permuted labels"
        )
        evidence |= {"neighbours": found.accuracy, "permuted": found.permuted}
    return Finding(
        severity="critical",
        code="labels-unrelated",
        seen=f"a short training reaches {trained.accuracy:.1%} accuracy on other examples, and "
        f"the commonest class has {trained.commonest:.1%}{neighbours}",
        cause="labels and inputs are not of the same example: one of the two lists was shuffled "
        "or sorted alone",
        cure="look at a few examples with their labels (ravine data draws them); keep names and "
        "labels in one list",
        evidence=evidence,
    )


def _noise(found: Agreement) -> Finding:
    is_costly = (1 - found.noise) ** 2 < NOISE_WORTH
    return Finding(
        severity="warning" if is_costly else "note",
        code="label-noise",
        seen=f"about {found.noise:.0%} of the labels look drawn at random: all pairs of classes "
        f"are confused; together they are worth {(1 - found.noise) ** 2:.0%} of as many right ones",
        cause="wrong labels in the data",
        cure="inspect the examples that disagree with their neighbours; label smoothing 0.1 "
        "makes training less prone",
        evidence={"noise": found.noise, "neighbours": found.accuracy},
        changes={"label_smoothing": 0.1},
    )
