"""Whether a network reads the padding of its sequences in place of what stands in them.

The slope of the outputs by the embedding, or the vector, at each position: an attention mask that
is turned round lets those of padding through and no other. Compared are examples in which a
position is padding with those in which it is not, so that where it stands is no matter. Exchanged
tokens do not show it, since a mask that is made from them changes with them.

Shape letters: N examples, T positions, D numbers of a position.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS
from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import PADDING_READ

_EXAMPLES, _LENGTH = 32, 4
_FEWEST = 16  # positions of each kind; and padded examples
_PADDED, _NEARLY_ALL = 0.5, 0.8  # share of padded examples; and of slopes by padding
_ELSEWHERE = 0.05  # of the padding, that stands between or before other positions, or alone
_FAR_LESS = 0.25  # of their share, that slopes by other positions are


def find_padding_read(context: CheckContext) -> Iterator[Finding]:
    """Yields sequences (N, T) or (N, T, D) of whose positions padding alone is read.

    By the network, or by a layer of attention in it: what goes around it hides that.
    """
    sample = context.samples[0].first(_EXAMPLES)
    x = _sequence(sample)
    is_padding = None if x is None else _padding(x)
    if x is None or is_padding is None or not bool(is_padding.any()):
        return
    with preserve_training(context.model):
        context.model.eval()
        try:
            found = _slopes(context, sample, x)
        except REFUSALS:
            return
    for name, slopes in found.items():
        real, padding = _at_same_positions(slopes, is_padding)
        if padding > PADDING_READ * real:
            yield _reads_padding(name, real, padding)
            return
    is_answered = "" in found and context.measured.logits is not None
    if is_answered and _stands_nowhere_else(x, is_padding):
        yield from _read_behind_the_end(context, found[""], is_padding)


def _stands_nowhere_else(x: Tensor, is_padding: Tensor) -> bool:
    """Returns whether what pads sequences (N, T) or (N, T, D) is kept for that.

    Blank rows at the end of a picture are like those at its beginning.
    """
    is_blank = x.abs().amax(2) == 0 if x.dim() == 3 else x == x[is_padding].mode().values
    return int((is_blank & ~is_padding).sum()) < _ELSEWHERE * int(is_padding.sum())


def _read_behind_the_end(
    context: CheckContext, slopes: Tensor, is_padding: Tensor
) -> Iterator[Finding]:
    """Yields a recurrent network whose answers (N, K) come from the padding of most sequences.

    The slopes (N, T) of an example by what is padding in it are nearly all, far beyond its share.
    """
    padded = is_padding.any(1) & (slopes.sum(1) > 0)
    is_recurrent = any(isinstance(m, nn.RNNBase) for m in context.model.modules())
    if not is_recurrent or int(padded.sum()) < max(_FEWEST, len(padded) * _PADDED):
        return
    slopes, where = slopes[padded], is_padding[padded]
    mass = float(((slopes * where).sum(1) / slopes.sum(1)).mean())
    share = float(where.double().mean())
    if mass > _NEARLY_ALL and 1 - mass < _FAR_LESS * (1 - share):
        yield Finding(
            severity="warning",
            code="inputs-ignored",
            seen=f"{mass:.0%} of the slope of the outputs is by positions that are padding, which "
            f"are {share:.0%} of all",
            cause="a recurrent layer runs on behind the end of each sequence, and its last state "
            "is read there: what stands before is forgotten over the padding",
            cure="read the state at each sequence's own end (pack_padded_sequence with "
            "enforce_sorted=False, and its h_n; or output[range(N), length - 1])",
            evidence={"mass": mass, "share": share},
        )


def _reads_padding(name: str, real: float, padding: float) -> Finding:
    what = f"output of {name}" if name else "outputs"
    return Finding(
        severity="warning",
        code="inputs-ignored",
        seen=f"the slope of the {what} by a position that is padding is {padding:.2g}, and by one "
        f"that is not {real:.2g}",
        cause="an attention mask, or the weights of a mean over positions, are turned round",
        cure="print the mask with its sequence; torch's key_padding_mask and attn_mask are True "
        "where nothing is to be read",
        layer=name or None,
        evidence={"real": real, "padding": padding},
    )


def _sequence(sample: CheckBatch) -> Tensor | None:
    """Returns the only tokens (N, T), or else the only vectors (N, T, D), of a batch."""
    given = tensors_in(sample.inputs)
    whole = [t for t in given if not t.is_floating_point() and t.dtype != torch.bool]
    tokens = [t for t in whole if t.dim() == 2]
    vectors = [t for t in given if t.is_floating_point() and t.dim() == 3]
    found = tokens or vectors
    return found[0] if len(found) == 1 and found[0].shape[1] >= _LENGTH else None


def _padding(x: Tensor) -> Tensor:
    """Returns which positions (N, T) are padding: alike up to the end, or from the beginning on."""
    if x.dim() == 3:
        sides = [_run_at_end(y.abs().amax(2) == 0) for y in (x, x.flip(1))]
    else:
        sides = [_run_at_end(y == y[:, -1].mode().values) for y in (x, x.flip(1))]
    sides[1] = sides[1].flip(1)
    return max(sides, key=lambda one: int(one.sum()))


def _run_at_end(x: Tensor) -> Tensor:
    """Returns where (N, T) is true from there to the end, in two positions or more."""
    run = x.flip(1).long().cumprod(1).flip(1).bool()
    return run & (run.sum(1, keepdim=True) > 1)


def _at_same_positions(slopes: Tensor, is_padding: Tensor) -> tuple[float, float]:
    """Returns the mean slope (N, T) where there is none and where there is padding.

    Of the positions that have both; 0 and 0 where there are too few.
    """
    both = is_padding.any(0) & (~is_padding).any(0)
    slopes, is_padding = slopes[:, both], is_padding[:, both]
    counts = [(~is_padding).sum(0), is_padding.sum(0)]
    if min(int(count.sum()) for count in counts) < _FEWEST:
        return 0.0, 0.0
    parts = [slopes * ~is_padding, slopes * is_padding]
    real, padding = (
        float((part.sum(0) / count).mean()) for part, count in zip(parts, counts, strict=True)
    )
    return real, padding


def _slopes(context: CheckContext, sample: CheckBatch, x: Tensor) -> dict[str, Tensor]:
    """Returns the size (N, T) of slopes by each position: of the outputs ("") by the inputs.

    And of each layer of attention by its values. Where none is seen it is left out.
    """
    held, layers = list[Tensor](), dict[str, tuple[Tensor, Tensor]]()

    def embedded(_module: nn.Module, args: Any, out: Tensor) -> Tensor:
        if args[0].shape == x.shape and torch.equal(args[0], x):
            held.append(out.detach().requires_grad_())
            return held[-1]
        return out

    inputs = sample.inputs
    if x.is_floating_point():
        held.append(x.detach().requires_grad_())
        inputs = map_tensors(inputs, lambda t: held[0] if t is x else t)
    hooks = list[Any]()
    for name, module in context.model.named_modules():
        if isinstance(module, nn.Embedding):
            hooks.append(module.register_forward_hook(embedded))
        elif isinstance(module, nn.MultiheadAttention) and module.batch_first:
            hooks += _watch_attention(name, module, x, layers)
    try:
        out = context.output(CheckBatch(inputs=inputs, targets=None, original=None))
    finally:
        for hook in hooks:
            hook.remove()
    ends = [t for t in tensors_in(out) if t.is_floating_point() and t.requires_grad]
    found = {"": _sizes(ends, held)} | {n: _sizes([o], [v]) for n, (v, o) in layers.items()}
    return {name: sizes for name, sizes in found.items() if sizes is not None}


def _watch_attention(
    name: str, module: nn.MultiheadAttention, x: Tensor, layers: dict[str, tuple[Tensor, Tensor]]
) -> list[Any]:
    """Returns the handles of hooks that keep the values of a layer, and its output."""
    values = list[Tensor]()

    def before(_module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        value = kwargs.get("value", args[2] if len(args) > 2 else None)
        if isinstance(value, Tensor) and value.shape[:2] == x.shape[:2]:
            # Beside what goes on, so that the slopes of the whole network stay what they are.
            values[:] = [value + torch.zeros_like(value).requires_grad_()]
            if "value" in kwargs:
                return args, {**kwargs, "value": values[0]}
            return (*args[:2], values[0], *args[3:]), kwargs
        return args, kwargs

    def after(_module: nn.Module, _args: Any, out: Any) -> None:
        if values and name not in layers:
            layers[name] = (values.pop(), tensors_in(out)[0])

    return [
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after),
    ]


def _sizes(ends: list[Tensor], held: list[Tensor]) -> Tensor | None:
    """Returns the size (N, T) of the slope of all ends by what is held (N, T, D)."""
    if not held or not ends:
        return None
    whole = sum((_mixed(t) for t in ends), torch.zeros(()))
    found = torch.autograd.grad(whole, held, allow_unused=True, retain_graph=True)
    known = [g.double().norm(dim=2) for g in found if g is not None]
    return torch.stack(known).sum(0) if known else None


def _mixed(out: Tensor) -> Tensor:
    """Returns a sum (0-dim) with weights that no symmetry of outputs takes away."""
    flat = out.reshape(len(out), -1).double()
    weights = torch.linspace(0.5, 1.5, flat.shape[1], dtype=flat.dtype, device=flat.device)
    return (flat * weights).sum().cpu()
