"""What torch's losses of log-probabilities are given, by the declared loss and by the step.

`kl_div` and `nll_loss` take logarithms. Rows without a number below 0 that sum to 1 are
probabilities, whatever stands around the call: a temperature, a weight, another term. A divergence
that a step adds by itself, such as a distillation's, is seen there alone.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.witnessed_step import GivenToLosses
from ravine.core.nested import map_tensors
from ravine.findings.finding import Finding


def find_given_to_loss(context: CheckContext) -> Iterator[Finding]:
    """Yields a declared loss that gives probabilities to one of log-probabilities."""
    outputs, out = context.measured.outputs, context.measured.output
    if outputs is None or out is None:
        return
    sample = context.samples[0].first(len(out))
    with torch.enable_grad(), GivenToLosses() as seen:
        try:
            context.loss(map_tensors(outputs, _asked), sample.targets)
        except REFUSALS:
            return
    yield from _findings(seen.names, "the loss")


def _asked(t: Tensor) -> Tensor:
    return t.detach().clone().requires_grad_() if t.is_floating_point() else t


def find_given_in_step(context: CheckContext) -> Iterator[Finding]:
    """Yields a step that gives probabilities to a loss of log-probabilities."""
    yield from _findings(context.measured.witness.given_probabilities, "the step")


def _findings(names: Sequence[str], where: str) -> Iterator[Finding]:
    """Yields the finding of the first loss that is given probabilities."""
    if names:
        yield Finding(
            severity="critical",
            code="loss-expects-log-probabilities",
            seen=f"{where} calls {names[0]} with rows that have no number below 0 and sum to 1: "
            "probabilities, where it takes their logarithms",
            cause=f"{names[0]} is given softmax(outputs), where log_softmax belongs: the loss is "
            "straight in the probabilities, and an example that is surely wrong has hardly a "
            "gradient",
            cure="write log_softmax in place of softmax before it; the targets of kl_div stay "
            "probabilities",
            evidence={"calls": float(len(names))},
        )
