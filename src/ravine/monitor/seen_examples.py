"""Which examples a network was trained on: kept by a few of their numbers, and found again later.

An example of validation that is one of them tells nothing of other data. Of windows of a series the
end is compared, at any offset: windows that overlap share what is to be predicted.
"""

from typing import Any, final

import torch
from torch import Tensor

from ravine.core.nested import tensors_in

_MOST = 4096  # examples that are kept
_NUMBERS = 64  # of an example of more than _WHOLE
_WHOLE = 256
_FEW_KINDS = 64  # of numbers, of which examples may be alike by chance
_FEWEST = 4  # numbers of an example, and different ones among them
_GRAMS = 200_000  # parts of windows that are kept
_LEAST_GRAM = 6  # numbers
_MANY, _MANY_NUMBERS, _ASKED = 256, 32, 200  # examples, numbers of each, and those that are asked
_NEAR, _RARELY = 0.7, 0.02  # of the distance that is as small in this share of neighbours


@final
class SeenExamples:
    """The first examples that a network was trained on."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._count = 0

    def add(self, call: Any) -> None:
        """Keeps numbers of the inputs of a call, on its device."""
        if self._count >= _MOST:
            return
        numbers = _numbers(call)
        if numbers is None or (self._parts and self._parts[0].shape[1:] != numbers.shape[1:]):
            return
        self._parts.append(numbers)
        self._count += len(numbers)

    def share_of(self, call: Any) -> float:
        """Returns the share of a call's examples that were trained on, or whose end was.

        0 where examples have too few different numbers to be known again, and where those of few
        kinds of numbers (tokens, marks) are alike within training too, as by chance.
        """
        numbers = _numbers(call)
        if numbers is None or not self._parts or self._parts[0].shape[1:] != numbers.shape[1:]:
            return 0.0
        seen = torch.cat(self._parts).cpu()
        theirs = numbers.cpu()
        near = _share_of_near(seen, [theirs, *_mirrored(call)])
        known = [n for n, row in enumerate(theirs) if len(row.unique()) >= _FEWEST]
        if len(known) < len(theirs) / 2:
            return 0.0
        whole = {row.numpy().tobytes() for row in seen}
        share = sum(theirs[n].numpy().tobytes() in whole for n in known) / len(known)
        if len(seen.unique()) <= _FEW_KINDS and 1 - len(whole) / len(seen) > share / 2:
            return 0.0
        return max(share, near, _share_of_ends(seen, theirs[known]))


def _numbers(call: Any) -> Tensor | None:
    """Returns numbers of all inputs of a call that hold examples, (N, D); None without any."""
    tensors = [t.detach() for t in tensors_in(call) if t.dim()]
    size = len(tensors[0]) if tensors else 0
    fits = [_few(t.reshape(size, -1)) for t in tensors if size and len(t) == size]
    if not fits or sum(t.shape[1] for t in fits) < _FEWEST:
        return None
    return torch.cat([t.double() for t in fits], 1) if len(fits) > 1 else fits[0].clone()


def _mirrored(call: Any) -> list[Tensor]:
    """Returns numbers of the mirrored images (N, C, H, W) of a call; nothing without such."""
    tensors = [t.detach() for t in tensors_in(call) if t.dim()]
    if len(tensors) != 1 or tensors[0].dim() != 4:
        return []
    found = _numbers(tensors[0].flip(3))
    return [] if found is None else [found.cpu()]


def _share_of_near(seen: Tensor, views: list[Tensor]) -> float:
    """Returns the share of examples nearer to one of (M, D) than those are to each other.

    Copies that were saved again, mirrored or made a little brighter. Examples of training whose
    neighbours are as near (augmented copies of few) make it small.

    Args:
        seen: of training.
        views: (N, D) of the examples in each view.
    """
    if not seen.is_floating_point() or seen.shape[1] < _MANY_NUMBERS:
        return 0.0
    held = _alike_in_scale(seen.unique(dim=0))
    if len(held) < _MANY:
        return 0.0
    asked = held[torch.linspace(0, len(held) - 1, _ASKED).long()]
    among = torch.cdist(asked, held).topk(2, largest=False).values[:, 1]
    level = _NEAR * float(among.quantile(_RARELY))
    nearest = [torch.cdist(_alike_in_scale(view), held).amin(1) for view in views]
    return float((torch.stack(nearest).amin(0) < level).double().mean())


def _alike_in_scale(rows: Tensor) -> Tensor:
    """Returns rows with mean 0 and length 1: brightness and contrast are out."""
    centred = rows.double() - rows.double().mean(1, keepdim=True)
    return centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _few(flat: Tensor) -> Tensor:
    """Returns all numbers of each row of (N, D), or some that are spread over it."""
    if flat.shape[1] <= _WHOLE:
        return flat
    step = flat.shape[1] // _NUMBERS
    return flat[:, step // 2 :: step][:, :_NUMBERS]


def _share_of_ends(seen: Tensor, theirs: Tensor) -> float:
    """Returns the share of windows (N, T) whose last quarter lies in one of (M, T), elsewhere.

    Numbers of that quarter must all be different: of few kinds of numbers chance makes the same.
    """
    length = theirs.shape[1]
    part = max(_LEAST_GRAM, length // 4)
    if length < 2 * part or length >= _WHOLE:
        return 0.0
    ends = theirs[:, -part:]
    known = [row for row in ends if len(row.unique()) == part]
    if len(known) < len(theirs) / 2:
        return 0.0
    most = max(1, _GRAMS // (length - part))
    grams = {
        row[k : k + part].tobytes() for row in seen[:most].numpy() for k in range(length - part)
    }
    return sum(row.numpy().tobytes() in grams for row in known) / len(known)
