"""Whether the labels belong to the inputs: a probe that is asked for.

Neighbours in the inputs (k nearest, each example left out of its own vote) must agree on labels
more often than on the same labels permuted (a permutation test, which needs no theory of the
data). Where they do not, the user's own network gets a short try before the labels are suspected.
Noise shows as a floor: labels that were drawn at random put every class into every other one
equally often, while true likeness confuses some pairs and spares the rest.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.checks.context import Sample, Subject
from ravine.checks.inputs import labels_of
from ravine.checks.loss_function import logits_of
from ravine.core.nested import tensors_in
from ravine.core.preserve_training import restored
from ravine.findings.finding import Finding
from ravine.findings.thresholds import LABEL_NOISE, LABELS_RELATED

_NEIGHBOURS = 10
_MOST = 2000
_FEATURES = 4096
_PERMUTATIONS = 100
_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well neighbours agree on labels.

    Attributes:
        accuracy: share of examples whose neighbours' majority is right.
        permuted: mean of that over permutations of the labels.
        deviations: how many of their standard deviations lie between.
        noise: share of labels that look drawn at random.
    """

    accuracy: float
    permuted: float
    deviations: float
    noise: float


def agreement(inputs: Tensor, labels: Tensor, chance: torch.Generator) -> Agreement:
    """Returns how well neighbours agree on labels.

    Args:
        inputs: (N, D).
        labels: (N,) from 0 on.
        chance: for the permutations.
    """
    x = inputs.double()
    x = x - x.mean(0)
    distance = torch.cdist(x, x)
    distance.fill_diagonal_(math.inf)
    k = min(_NEIGHBOURS, len(x) - 1)
    near = distance.topk(k, largest=False).indices
    classes = int(labels.max()) + 1

    def vote(given: Tensor) -> Tensor:
        votes = torch.nn.functional.one_hot(given[near], classes).sum(1)
        return votes.argmax(1)

    said = vote(labels)
    accuracy = float((said == labels).double().mean())
    others = []
    for _ in range(_PERMUTATIONS):
        given = labels[torch.randperm(len(labels), generator=chance).to(labels.device)]
        others.append(float((vote(given) == given).double().mean()))
    null = torch.tensor(others, dtype=torch.float64)
    spread = max(float(null.std()), 1e-9)
    return Agreement(
        accuracy=accuracy,
        permuted=float(null.mean()),
        deviations=(accuracy - float(null.mean())) / spread,
        noise=noise_floor(said, labels, classes),
    )


def noise_floor(said: Tensor, labels: Tensor, classes: int) -> float:
    """Returns the share of labels that look drawn at random, 0 where that cannot be told.

    It is the 30 % quantile of all confusions between two classes, times K − 1.
    """
    if classes < 4 or len(labels) < 30 * classes:
        return 0.0
    table = torch.zeros(classes, classes, dtype=torch.float64, device=labels.device)
    table.index_put_((labels, said), torch.ones((), dtype=torch.float64), accumulate=True)
    shares = table / table.sum(1, keepdim=True).clamp_min(1)
    off = shares[~torch.eye(classes, dtype=torch.bool, device=labels.device)]
    noise = min(1.0, float(off.quantile(0.3)) * (classes - 1))
    right = float(shares.diagonal().mean())
    # Where neighbours know little even of clean labels, confusion is no sign of noise.
    return noise if noise < 1 and right / (1 - noise) > 0.6 else 0.0


def check_label_relation(subject: Subject, *, seed: int = 0) -> Iterator[Finding]:
    """Yields labels that have nothing to do with the inputs, or that are partly random."""
    chance = torch.Generator().manual_seed(seed)
    pairs = [(_flat(s), labels_of(s)) for s in subject.samples]
    known = [(x, y) for x, y in pairs if x is not None and y is not None and len(x) == len(y)]
    found: Agreement | None = None
    if known and sum(len(y) for _, y in known) >= 64:
        inputs = torch.cat([x for x, _ in known])[:_MOST]
        labels = torch.cat([y for _, y in known])[:_MOST]
        if int(labels.min()) < 0 or int(labels.max()) == 0:
            return
        found = agreement(inputs, labels, chance)
        if found.noise > LABEL_NOISE:
            yield _noise(found)
        if found.deviations > LABELS_RELATED:
            return
    own = _own_try(subject)
    if own is not None and own[2] < LABELS_RELATED:
        yield _unrelated(found, own)


def _flat(sample: Sample) -> Tensor | None:
    tensors = [t for t in tensors_in(sample.inputs) if t.is_floating_point() and t.dim() > 1]
    if not tensors:
        return None
    flat = tensors[0].flatten(1)
    return flat[:, :: max(1, flat.shape[1] // _FEATURES)]


def _own_try(subject: Subject) -> tuple[float, float, float] | None:
    """Returns accuracy of the network after a short training on other examples, the share of
    the commonest class, and the distance of the two in standard deviations."""
    half = max(1, len(subject.samples) // 2)
    learn, judge = subject.samples[:half], subject.samples[half:]
    if not judge:
        n = len(learn[0]) // 2
        learn, judge = (learn[0].first(n),), (learn[0].first(n, start=n),)
    with restored(subject.model):
        subject.model.train()
        _train(subject, learn)
        with torch.no_grad():
            rows = [(logits_of(subject.output(s), s), s.targets) for s in judge]
    right = [(logits.argmax(1) == y) for logits, y in rows if logits is not None]
    if not right:
        return None
    count = sum(len(r) for r in right)
    accuracy = sum(int(r.sum()) for r in right) / count
    common = float(torch.cat([y for _, y in rows]).bincount().max()) / count
    spread = math.sqrt(max(common * (1 - common), 1e-4) / count)
    return accuracy, common, (accuracy - common) / spread


def _train(subject: Subject, samples: Sequence[Sample]) -> None:
    learning = [p for p in subject.model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(learning, lr=1e-3)
    for step in range(_STEPS):
        loss = subject.value(samples[step % len(samples)])
        if not loss.requires_grad or not bool(loss.isfinite()):
            return
        adam.zero_grad()
        loss.backward()
        adam.step()


def _unrelated(found: Agreement | None, own: tuple[float, float, float]) -> Finding:
    near = (
        ""
        if found is None
        else (
            f"; nearest neighbours agree in {found.accuracy:.1%}, and in {found.permuted:.1%} on "
            "permuted labels"
        )
    )
    evidence = {"accuracy": own[0], "commonest": own[1], "deviations": own[2]}
    if found is not None:
        evidence |= {"neighbours": found.accuracy, "permuted": found.permuted}
    return Finding(
        severity="critical",
        code="labels-unrelated",
        seen=f"after a short training {own[0]:.1%} of other examples are right, where the "
        f"commonest class has {own[1]:.1%}{near}",
        cause="labels and inputs are not of the same example: one of the two lists was shuffled "
        "or sorted alone",
        cure="print a few examples with their labels; keep names and labels in one list",
        evidence=evidence,
    )


def _noise(found: Agreement) -> Finding:
    return Finding(
        severity="warning",
        code="label-noise",
        seen=f"about {found.noise:.0%} of the labels look drawn at random: every class is taken "
        "for every other one",
        cause="wrong labels in the data",
        cure="look at the examples that disagree with their neighbours; label smoothing 0.1 "
        "makes training less prone",
        evidence={"noise": found.noise, "neighbours": found.accuracy},
        changes={"label_smoothing": 0.1},
    )
