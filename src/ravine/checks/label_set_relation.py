"""Whether rows of several labels belong to the inputs: as `label_relation` asks it of one class.

What is compared is the correlation of an answer with the labels, the mean over labels: of the share
of the neighbours that have a label, and after a short training of the logits. By chance it is what
the same rows give in another order (a permutation test, which keeps what labels have to do with
each other).

Shape letters: N examples, D numbers of an input, K labels.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import LABELS_RELATED

_PERMUTATIONS = 100
_NEIGHBOURS = 10
_FEWEST = 64  # examples

Train = Callable[[CheckContext, Sequence[CheckBatch]], None]


def correlation(answers: Tensor, labels: Tensor) -> float:
    """Returns the mean over labels of the correlation of answers with labels.

    A label that all examples have, or none, is left out; 0 where none is left.

    Args:
        answers: (N, K).
        labels: (N, K) of 0 and 1.
    """
    x = answers.double() - answers.double().mean(0)
    y = labels.double() - labels.double().mean(0)
    size = (x.square().sum(0) * y.square().sum(0)).sqrt()
    known = size > 0
    return float(((x * y).sum(0)[known] / size[known]).mean()) if bool(known.any()) else 0.0


def deviations(answers: Tensor, labels: Tensor, generator: torch.Generator) -> float:
    """Returns how far the correlation lies above that of permuted rows, in their deviations.

    Args:
        answers: (N, K).
        labels: (N, K) of 0 and 1.
        generator: of the permutations, on the CPU.
    """
    others = torch.tensor(
        [
            correlation(
                answers, labels[torch.randperm(len(labels), generator=generator).to(labels.device)]
            )
            for _ in range(_PERMUTATIONS)
        ],
        dtype=torch.float64,
    )
    found = correlation(answers, labels)
    return (found - float(others.mean())) / max(float(others.std()), 1e-9)


def neighbour_shares(inputs: Tensor, labels: Tensor) -> Tensor:
    """Returns the share of each example's nearest others that have each label, (N, K).

    Args:
        inputs: (N, D).
        labels: (N, K) of 0 and 1.
    """
    x = inputs.double() - inputs.double().mean(0)
    distance = torch.cdist(x, x)
    distance.fill_diagonal_(math.inf)
    near = distance.topk(min(_NEIGHBOURS, len(x) - 1), largest=False).indices
    return labels.double()[near].mean(1)


def check_label_sets(
    context: CheckContext, inputs: Tensor, labels: Tensor, train: Train
) -> Iterator[Finding]:
    """Yields labels that have nothing to do with the inputs.

    Args:
        context: of the check.
        inputs: (N, D) of all samples.
        labels: (N, K) of 0 and 1.
        train: trains the network for some steps on some samples.
    """
    generator = torch.Generator().manual_seed(0)
    neighbours = 0.0
    if len(labels) >= _FEWEST:
        neighbours = deviations(neighbour_shares(inputs, labels), labels, generator)
        if neighbours > LABELS_RELATED:
            return
    found = _after_training(context, train, generator)
    if found is not None and found < LABELS_RELATED:
        yield _unrelated(found, neighbours)


def _after_training(
    context: CheckContext, train: Train, generator: torch.Generator
) -> float | None:
    """Returns the deviations of the network's answers on samples that it was not trained on."""
    half = max(1, len(context.samples) // 2)
    training, held_out = context.samples[:half], context.samples[half:]
    if not held_out:
        n = len(training[0]) // 2
        training, held_out = (training[0].first(n),), (training[0].first(n, start=n),)
    with preserve_training(context.model):
        context.model.train()
        train(context, training)
        with torch.no_grad():
            outputs = [context.output(sample) for sample in held_out]
    rows = [sample.label_rows for sample in held_out]
    logits = [o for o in outputs if isinstance(o, Tensor)]
    truth = [y for y in rows if y is not None]
    if len(logits) < len(outputs) or len(truth) < len(rows):
        return None
    answers, labels = torch.cat(logits), torch.cat(truth)
    return deviations(answers, labels, generator) if answers.shape == labels.shape else None


def _unrelated(trained: float, neighbours: float) -> Finding:
    return Finding(
        severity="critical",
        code="labels-unrelated",
        seen="after a short training the answers for other examples go with their labels no better "
        f"than with those of others ({trained:.1f} standard deviations above chance; nearest "
        f"neighbours {neighbours:.1f})",
        cause="labels and inputs are not of the same example: one of the two lists was shuffled "
        "or sorted alone",
        cure="look at a few examples with their labels (ravine data draws them); keep names and "
        "labels in one list",
        evidence={"trained": trained, "neighbours": neighbours},
    )
