"""The terms that a loss adds up, taken from the additions that its function makes.

    loss = F.mse_loss(back, x) + divergence.sum()        # two terms

Every torch function of the loss is seen as it is called. From its result back, additions,
subtractions, and what is constant in products are followed; a mean or sum of them is one of each.
Anything else is a term.
"""

from collections.abc import Callable
from typing import Any, final

from torch import Tensor
from torch.overrides import TorchFunctionMode

_REDUCED = ("loss", "entropy", "norm", "distance", "similarity", "div", "sum", "mean", "logsumexp")
_MOST = 8

Loss = Callable[[Any, Any], Tensor]
_Operation = tuple[str, tuple[Any, ...], dict[str, Any]]
_Made = dict[int, _Operation]  # by the identity of the result
_Term = tuple[Tensor, str]  # and the function that made it


@final
class _Operations(TorchFunctionMode):
    """What made each tensor, by its identity; the tensors are kept, so that none is reused."""

    def __init__(self) -> None:
        super().__init__()
        self.made: _Made = {}
        self._kept: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.requires_grad:
            name = getattr(func, "__name__", "").strip("_")
            self.made.setdefault(id(out), (name, tuple(args), dict(kwargs or {})))
            self._kept.append(out)
        return out


def terms_of(loss: Loss, output: Any, targets: Any) -> tuple[Tensor, ...]:
    """Returns the terms of a loss with a gradient, 0-dim each; they add up to it but for constants.

    Args:
        loss: of (output, targets).
        output: of a model, with its graph.
        targets: of the same batch.
    """
    operations = _Operations()
    with operations:
        value = loss(output, targets)
    if not isinstance(value, Tensor) or not value.requires_grad:
        return ()
    found = _parts(value, operations.made)
    return tuple(term for term, _ in found) if len(found) <= _MOST else (value,)


def _learns(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _parts(value: Tensor, made: _Made) -> list[_Term]:
    """Returns what adds up to a tensor of any shape; the tensor alone where it is no sum."""
    name, args, kwargs = made.get(id(value), ("", (), {}))
    first, second = (*args, None, None)[:2]
    if name in ("add", "radd", "iadd", "sub", "isub", "rsub"):
        found = _added(name, first, second, float(kwargs.get("alpha", 1.0)), made)
        is_sum = not value.dim() or all(any(k in kind for k in _REDUCED) for _, kind in found)
        return found if is_sum else [(value, name)]
    if name == "neg" and _learns(first):
        return _scaled(_parts(first, made), -1.0)
    if name in ("mul", "rmul", "imul") and _learns(first) != _learns(second):
        factor, inner = (second, first) if _learns(first) else (first, second)
        return _scaled(_parts(inner, made), factor)
    if name in ("div", "truediv", "itruediv") and _learns(first) and not _learns(second):
        return _scaled(_parts(first, made), 1 / second)
    if name in ("mean", "sum") and _learns(first):
        inner = _parts(first, made)
        if len(inner) > 1:
            return [
                (getattr(p.expand_as(first), name)(*args[1:], **kwargs), name) for p, _ in inner
            ]
    return [(value, name)]


def _added(name: str, first: Any, second: Any, alpha: float, made: _Made) -> list[_Term]:
    signs = {"sub": (1.0, -alpha), "isub": (1.0, -alpha), "rsub": (-alpha, 1.0)}
    found: list[_Term] = []
    for sign, one in zip(signs.get(name, (1.0, alpha)), (first, second), strict=True):
        if _learns(one):
            found += _scaled(_parts(one, made), sign)
    return found


def _scaled(parts: list[_Term], factor: Any) -> list[_Term]:
    return [(p * factor, kind) for p, kind in parts]
