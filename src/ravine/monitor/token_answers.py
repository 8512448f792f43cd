"""Answers for each token of padded sequences, without those for the padding.

Shape letters: N sequences, T tokens, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.core.nested import tensors_in
from ravine.findings.loop_record import TokenAnswers
from ravine.monitor.loop_watch import Call

_FEWEST, _LENGTH = 8, 4  # sequences, and tokens of one
_PADDED = 0.1  # of all places


def token_answers(call: Call, outputs: Sequence[Tensor]) -> TokenAnswers | None:
    """Returns how sure answers (N, T, K) or (N, K, T) for tokens (N, T) are where no padding is.

    None where there are no such, or sequences are not padded at their ends by one token.
    """
    tokens = next((t for t in tensors_in(call) if t.dim() == 2 and not t.is_floating_point()), None)
    out = next(iter(outputs), None)
    if tokens is None or out is None or out.dim() != 3 or len(tokens) < _FEWEST:
        return None
    length = tokens.shape[1]
    if length < _LENGTH or length not in out.shape[1:]:
        return None
    answers = out if out.shape[1] == length else out.transpose(1, 2)
    padding = _padding(tokens)
    share = float(padding.double().mean())
    if not _PADDED < share < 1 - _PADDED or len(padding.sum(1).unique()) < 2:
        return None
    probabilities = answers.double().softmax(2)[~padding]
    return TokenAnswers(
        sure=float(probabilities.max(1).values.mean()),
        doubt=float(torch.special.entr(probabilities).sum(1).mean()),
        padding=share,
        classes=answers.shape[2],
    )


def _padding(tokens: Tensor) -> Tensor:
    """Returns which tokens (N, T) belong to a run at the end of the commonest last token."""
    last = tokens[:, -1].mode().values
    return (tokens == last).flip(1).long().cumprod(1).flip(1) > 0
