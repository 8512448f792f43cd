"""Whether a network reads its inputs: other tokens, or another one of several, and outputs stay.

An attention mask that is turned round looks at padding alone; a network may be fed another tensor.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS
from ravine.checks.read_positions import find_padding_read
from ravine.checks.unread_inputs import find_unread
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import ALIKE, IGNORED

_EXAMPLES, _POSITIONS, _LENGTH = 32, 8, 4
_STAYS = 1e-5  # of the outputs' size


def check_ignored(context: CheckContext) -> Iterator[Finding]:
    """Yields inputs that are not read: one of several, or tokens, while the outputs stay."""
    found = list(find_padding_read(context)) or list(find_unread(context))
    yield from found or _find_exchanged(context)


def _find_exchanged(context: CheckContext) -> Iterator[Finding]:
    """Yields tokens (N, T) that are exchanged for others while the outputs stay."""
    sample = context.samples[0].first(_EXAMPLES)
    tokens = [t for t in tensors_in(sample.inputs) if t.dim() == 2 and not t.is_floating_point()]
    if len(tokens) != 1 or len(sample) < 8 or not _are_tokens(tokens[0]):
        return
    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        try:
            tried, stayed = _exchanged(context, sample, tokens[0])
        except REFUSALS:
            return
    if tried >= _EXAMPLES and stayed > IGNORED * tried:
        yield Finding(
            severity="warning",
            code="inputs-ignored",
            seen=f"in evaluation mode the output stays the same in {stayed} of {tried} examples in "
            "which one token was exchanged for another",
            cause="an attention mask is turned round (key_padding_mask is True where there is "
            "padding), the state of a step is read that comes before the tokens, or another tensor "
            "is passed on",
            cure="print the mask with its tokens; torch's key_padding_mask and attn_mask are True "
            "where nothing is to be read",
            evidence={"stayed": float(stayed), "tried": float(tried)},
        )


def _exchanged(context: CheckContext, sample: CheckBatch, x: Tensor) -> tuple[int, int]:
    """Returns how many tokens (N, T) were exchanged, and how often the outputs stayed."""
    before = context.output(sample)
    if not isinstance(before, Tensor) or len(before) != len(sample):
        return 0, 0
    if float(before.var(0).mean()) <= ALIKE * float(before.var()):
        return 0, 0  # all outputs are the same: check_differences says where
    least = _STAYS * float(before.abs().max())
    padding = int(x.reshape(-1).mode().values)
    positions = torch.linspace(0, x.shape[1] - 1, min(_POSITIONS, x.shape[1])).long().unique()
    tried = stayed = 0
    for position in positions.tolist():
        other = x.clone()
        other[:, position] = x[:, position].roll(1, 0)
        real = (x[:, position] != padding) & (other[:, position] != padding)
        real &= other[:, position] != x[:, position]
        apart = (context.output(_with_tokens(sample, x, other)) - before).flatten(1).abs().amax(1)
        tried += int(real.sum())
        stayed += int((real & (apart <= least)).sum())
    return tried, stayed


def _with_tokens(sample: CheckBatch, x: Tensor, other: Tensor) -> CheckBatch:
    return replace(sample, inputs=map_tensors(sample.inputs, lambda t: other if t is x else t))


def _are_tokens(x: Tensor) -> bool:
    return x.dtype != torch.bool and x.shape[1] >= _LENGTH and len(x.unique()) > 2
