"""Frozen layers whose weights are still those that their constructor drew.

torch draws the weights of linear and convolutional layers evenly from ±1/√(inputs of a unit). A
training moves some beyond that; where none is, and they lie evenly, nothing was loaded. Or a
function drew all layers from one normal distribution and set their biases to 0, after loading.
Embeddings are drawn from the standard normal distribution; a table of trained vectors has another
size for each word.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ravine.checks.context import CheckContext
from ravine.findings.finding import Finding
from ravine.findings.thresholds import DRAWN_EVENLY

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_FEWEST = 64  # weights of a layer
_FEWEST_OF_A_TABLE = 400
_DEVIATIONS = 4.0  # of a standard deviation


def check_frozen(context: CheckContext) -> Iterator[Finding]:
    """Yields layers that are frozen and hold random weights."""
    steps, parameters = context.measured.steps, list(context.model.parameters())
    moved = {id(parameters[n]) for n in (steps.by_hand if steps else ())}
    frozen = [
        (name, m.weight.detach())
        for name, m in context.model.named_modules()
        if isinstance(m, _LAYERS)
        and not any(p.requires_grad for p in m.parameters(recurse=False))
        and m.weight.numel() >= _FEWEST
        and id(m.weight) not in moved  # a copy that follows another network is none
    ]
    yield from _embeddings(context)
    drawn = [name for name, weight in frozen if is_as_drawn(weight)]
    if are_of_one_draw([weight for _, weight in frozen]) and not _have_biases(context, frozen):
        yield _drawn_again([name for name, _ in frozen])
    # One layer is a projection that is meant, perhaps.
    if len(drawn) < max(2, len(frozen)):
        return
    yield Finding(
        severity="warning",
        code="frozen-at-random",
        seen=f"{len(drawn)} layers are frozen, and their weights lie evenly within ±1/√(inputs), "
        "as torch draws them for a new layer: "
        + ", ".join(drawn[:3])
        + ("" if len(drawn) <= 3 else ", …"),
        cause="trained weights were not loaded: names did not match (load_state_dict with "
        "strict=False, a prefix such as module.), or they were loaded into another object",
        cure="print what load_state_dict returns, and remove the prefix; load before freezing",
        layer=drawn[0],
        evidence={"layers": float(len(drawn))},
    )


def _embeddings(context: CheckContext) -> Iterator[Finding]:
    """Yields the first table of embeddings that is frozen as torch draws a new one."""
    for name, module in context.model.named_modules():
        if not isinstance(module, nn.Embedding | nn.EmbeddingBag) or module.weight.requires_grad:
            continue
        rows = module.weight.detach().double()
        rows = rows[rows.any(1)]  # without that of the padding
        if rows.numel() >= _FEWEST_OF_A_TABLE and _is_normal(rows.flatten()):
            yield Finding(
                severity="warning",
                code="frozen-at-random",
                seen=f"a frozen table of {len(rows)} embeddings holds numbers of the standard "
                "normal distribution, as a new one is drawn",
                cause="the trained vectors were not found under the words' names (capitals, "
                "prefixes, another tokenizer), or were not loaded",
                cure="count how many words have a vector; let the others learn (freeze=False)",
                layer=name or "the embedding",
                evidence={"rows": float(len(rows))},
            )
            return


def _have_biases(context: CheckContext, frozen: Sequence[tuple[str, Tensor]]) -> bool:
    """Returns whether a bias of some layers is other than 0, or none of them has one."""
    biases = [getattr(context.model.get_submodule(name), "bias", None) for name, _ in frozen]
    known = [b for b in biases if b is not None]
    return not known or any(bool(b.any()) for b in known)


def _drawn_again(names: Sequence[str]) -> Finding:
    return Finding(
        severity="warning",
        code="frozen-at-random",
        seen=f"{len(names)} layers are frozen, their biases are 0, and their weights are normal "
        "numbers of one standard deviation: " + ", ".join(names[:3]),
        cause="a function that draws first weights was applied to the whole network after its "
        "trained weights were loaded",
        cure="apply it before loading, or to the new layers alone",
        layer=names[0],
        evidence={"layers": float(len(names))},
    )


def are_of_one_draw(weights: Sequence[Tensor]) -> bool:
    """Returns whether weights (out, in, …) are normal numbers of one standard deviation.

    Training leaves each layer another one.
    """
    if len(weights) < 2:
        return False
    flat = [w.double().flatten() for w in weights]
    common = float(torch.cat(flat).square().mean().sqrt())
    if not common > 0:
        return False
    for one in flat:
        off = float(one.square().mean().sqrt()) / common - 1
        if abs(off) > _DEVIATIONS / math.sqrt(2 * len(one)) or not _is_normal(one / common):
            return False
    return True


def _is_normal(x: Tensor) -> bool:
    """Returns whether numbers (N,) are as from the standard normal distribution (Kolmogorov)."""
    place = torch.arange(1, len(x) + 1, dtype=x.dtype, device=x.device) / len(x)
    apart = float((torch.special.ndtr(x.sort().values) - place).abs().max())
    return apart * math.sqrt(len(x)) < DRAWN_EVENLY


def is_as_drawn(weight: Tensor) -> bool:
    """Returns whether weights (out, in, …) lie evenly within ±1/√(inputs), none beyond.

    By the largest distance of their distribution from the even one (Kolmogorov), at DRAWN_EVENLY.
    """
    bound = 1 / math.sqrt(weight[0].numel())
    flat = weight.double().flatten().sort().values
    if float(flat.abs().max()) > bound * (1 + 1e-5):
        return False
    count = len(flat)
    even = torch.arange(1, count + 1, dtype=torch.float64, device=flat.device) / count
    apart = float(((flat / bound + 1) / 2 - even).abs().max())
    return apart * math.sqrt(count) < DRAWN_EVENLY
