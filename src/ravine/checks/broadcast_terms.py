"""Numbers of examples (N,) that meet others (N, 1) inside a loss, so that each meets each.

    -(policy.log_prob(action) * reward).mean()      # (N,) · (N, 1) is (N, N)

Every torch function of the loss is seen as it is called. Where (N,) and (N, 1) become (N, N), and
nothing but functions of single numbers stands between that and a mean or sum of all of it, no
number belongs to an example any more. Pairs that are meant have their axis put in on purpose
(`x[:, None]`), meet a mask, come from one tensor, or are reduced along one axis.

Shape letters: N examples.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ravine.checks.context import CheckContext
from ravine.checks.made_up_outputs import REFUSALS
from ravine.core.nested import map_tensors, tensors_in
from ravine.findings.finding import Finding

_FEWEST = 4  # examples
_SUMS = ("add", "radd", "iadd", "sub", "isub", "rsub", "subtract")
_PRODUCTS = ("mul", "rmul", "imul", "multiply", "div", "truediv", "itruediv", "divide")
_STRAIGHT = (*_SUMS, *_PRODUCTS, "neg", "negative", "float", "double", "to", "clone", "contiguous")
_SINGLE = (
    *(*_STRAIGHT, "pow", "rpow", "ipow", "square", "abs", "absolute", "exp", "log", "log1p"),
    *("relu", "leaky_relu", "elu", "gelu", "softplus", "sigmoid", "logsigmoid", "tanh", "sqrt"),
    *("clamp", "clip", "clamp_min", "clamp_max", "minimum", "maximum", "min", "max", "where"),
)
_INSERT = ("unsqueeze", "getitem", "view", "reshape", "unflatten")
_REDUCE = ("mean", "sum")


class _Operation(NamedTuple):
    """A function that was called: its name, the tensors that it was given, and its result."""

    name: str
    given: tuple[Tensor, ...]
    out: Tensor


@final
class Operations(TorchFunctionMode):
    """Functions of numbers, or pairs, of N examples.

    Their tensors are kept, so that no identity is reused; larger ones, such as activations, not.

    Args:
        count: N.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.made: list[_Operation] = []
        self._count = count

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            given = tuple(t for t in tensors_in((args, kwargs or {})) if self._is_small(t))
            if self._is_small(out) or any(t.shape == (self._count,) * 2 for t in given):
                name = getattr(func, "__name__", "").strip("_")
                self.made.append(_Operation(name, given, out))
        return out

    def _is_small(self, t: Tensor) -> bool:
        return t.dim() < 3 and t.numel() <= self._count**2

    def broadcast(self) -> str:
        """Returns the function by which each example meets each by accident; "" without one."""
        if self._count < _FEWEST:
            return ""
        try:
            return _broadcast_in(self.made, self._count)
        except RuntimeError:  # sparse tensors, and those of a vmap that has ended
            return ""


def find_broadcast_terms(context: CheckContext) -> Iterator[Finding]:
    """Yields a declared loss in which each example meets each, at any size of a batch."""
    outputs = context.measured.outputs
    outs = [t for t in tensors_in(outputs) if t.dim()]
    sample, count = context.samples[0], len(outs[0]) if outs else 0
    if count < 2 * _FEWEST:
        return
    targets = sample.first(count).targets
    name = _in_loss(context, outputs, targets, count)
    if name and _in_loss(context, outputs, targets, count // 2):  # no width that N is by chance
        yield _finding("the loss", name, count)


def find_broadcast_in_step(context: CheckContext) -> Iterator[Finding]:
    """Yields a step in which each example meets each."""
    name = context.measured.witness.broadcast
    if name:
        yield _finding("the step", name, len(context.samples[0]))


def _in_loss(context: CheckContext, outputs: Any, targets: Any, count: int) -> str:
    """Returns the function by which each of the first examples meets each; "" where none does."""

    def cut(t: Tensor) -> Tensor:
        return t[:count] if t.dim() and len(t) >= count else t

    def asked(t: Tensor) -> Tensor:
        t = cut(t.detach()).clone()
        return t.requires_grad_() if t.is_floating_point() else t

    given, seen = map_tensors(outputs, asked), Operations(count)
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), warnings.catch_warnings(), seen:
        warnings.simplefilter("ignore")
        try:
            context.loss(given, map_tensors(targets, cut))
        except REFUSALS:
            return ""
    return seen.broadcast()


def _broadcast_in(made: Sequence[_Operation], count: int) -> str:
    by_result = {id(one.out): one for one in reversed(made) if not _is_in_place(one)}
    columns = {index: _column(one, count) for index, one in enumerate(made)}
    met = {id(made[index].out) for index, wide in columns.items() if wide is not None}
    for index, wide in columns.items():
        one = made[index]
        if wide is None or not one.out.requires_grad or not _vary(one):
            continue
        straight = _is_straight_to_the_end(made[index + 1 :], one, met)
        if straight is None or (straight and one.name in _SUMS):
            continue  # a mean of sums is the sum of means, as it would be without
        is_product = straight and one.name in _PRODUCTS
        if is_product or not _is_put_in(wide, by_result):
            return one.name
    return ""


def _is_in_place(one: _Operation) -> bool:
    return any(one.out is t for t in one.given)


def _column(one: _Operation, count: int) -> Tensor | None:
    """Returns the tensor (N, 1) that meets others (N,), and nothing else; None where none does."""
    if one.name not in _SINGLE or one.out.shape != (count, count):
        return None
    free = [t for t in one.given if t.numel() > 1]
    columns = [t for t in free if t.shape == (count, 1)]
    rows = [t for t in free if t.shape == (count,)]
    if not columns or not rows or len(columns) + len(rows) < len(free):
        return None
    memory = {t.untyped_storage().data_ptr() for t in rows}
    return None if columns[0].untyped_storage().data_ptr() in memory else columns[0]


def _vary(one: _Operation) -> bool:
    """Returns whether the numbers of all tensors of a function differ by example, or may.

    Those that learn may be alike at the start, as the ratios of a policy to itself.
    """
    free = [t for t in one.given if t.numel() > 1]
    return all(bool((t.detach() != t.detach().flatten()[0]).any()) or _learns(t) for t in free)


def _learns(t: Tensor) -> bool:
    return t.requires_grad and 0 not in t.stride()  # and is no single number that was expanded


def _is_straight_to_the_end(
    later: Sequence[_Operation], one: _Operation, met: set[int]
) -> bool | None:
    """Returns whether a result (N, N) is summed as it is, but for signs and factors.

    Args:
        later: functions that were called after it.
        one: whose result it is.
        met: identities of all results of such a kind, which may come together.

    None where it is used in another way than by functions of single numbers and a sum of all.
    """
    squares, size = {id(one.out)}, one.out.shape
    straight, is_reduced = True, False
    for use in later:
        if not any(id(t) in squares for t in use.given) or not use.out.requires_grad:
            continue
        if use.name in _REDUCE and not use.out.dim():
            is_reduced = True
            continue
        others = [t for t in use.given if id(t) not in squares and t.numel() > 1]
        is_masked = any(t.shape == size and id(t) not in met for t in others)
        if use.name not in _SINGLE or use.out.shape != size or is_masked:
            return None
        straight &= use.name in _STRAIGHT and not others
        squares.add(id(use.out))
    return straight if is_reduced else None


def _is_put_in(wide: Tensor, by_result: dict[int, _Operation]) -> bool:
    """Returns whether the second axis of (N, 1) was put in within the loss: pairs are meant."""
    made = by_result.get(id(wide))
    if made is None:
        return False
    if made.name in _INSERT:
        return bool(made.given) and made.given[0].dim() == 1
    columns = [t for t in made.given if t.dim() > 1]
    return made.name in _SINGLE and bool(columns) and all(_is_put_in(t, by_result) for t in columns)


def _finding(where: str, name: str, count: int) -> Finding:
    return Finding(
        severity="critical",
        code="targets-broadcast",
        seen=f"{where} brings ({count},) and ({count}, 1) together by {name}, and takes the mean "
        f"or sum of all {count} × {count} results",
        cause="each example's number meets those of all others: of a product of both the product "
        "of their means is left, and the examples tell nothing",
        cure="bring both to one shape before: x.squeeze(1), or x[:, None] of the other",
        evidence={"examples": float(count)},
    )
