"""Functions and update rules in JavaScript, made from the Python that runs.

A function, its gradient and an update rule are traced into torch's elementary operations on single
numbers and translated one by one; nothing is written twice. A function or rule with an operation
outside the table has no JavaScript, and the page says so.

Numbers are doubles in both, so that the two agree to rounding.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from ravine.optim.base import RuleOptimizer
from ravine.optim.update_rules import prepared
from ravine.test_functions.problem import Formula

# The value of η while a rule is traced; no other number of a rule equals it, or 1 − ηλ of
# decoupled decay.
_RATE = 0.7310585786300049


class NoJavaScript(Exception):
    """A function or update rule cannot be written in JavaScript."""


def gradient_source(value: Formula, *, columns: int = 0) -> str:
    """Returns `(x, y, ...) => [value, ∂/∂x, ∂/∂y]`.

    Args:
        value: value(x, y, *columns) of tensors of one shape, element by element.
        columns: further arguments, those of an example.

    Raises:
        NoJavaScript: it cannot be written.
    """

    def all_three(x: Tensor, y: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        found = value(x, y, *more)
        slopes = torch.autograd.grad(found.sum(), (x, y), allow_unused=True, materialize_grads=True)
        return found, *slopes

    names = ["x", "y", *(f"c{i}" for i in range(columns))]
    inputs = [torch.tensor(0.31 + 0.17 * i, dtype=torch.float64) for i in range(len(names))]
    return _source(all_three, inputs, names)


def rule_source(optimizer: RuleOptimizer) -> dict[str, Any]:
    """Returns a rule as `(w, g, η, k, ...state) => [w, ...state]` with its first state.

    Raises:
        NoJavaScript: it cannot be written.
    """
    group = {**optimizer.param_groups[0], "lr": _RATE}
    state = optimizer.initial_state(torch.zeros((), dtype=torch.float64), group)
    λ, coupled = group["weight_decay"], group["decay"] == "coupled"

    def step(w: Tensor, g: Tensor, k: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
        w, g = prepared(
            w, g, η=_RATE, coupled=λ if coupled else 0.0, decoupled=0.0 if coupled else λ
        )
        before = {**dict(zip(state, slots, strict=True)), "step": k}
        after, new = optimizer.apply_rule(w, g, before, group)
        return after, *(new[name] for name in state)

    # On the meta device nothing is read by the host, so that k stays a variable.
    inputs = [torch.empty((), dtype=torch.float64, device="meta") for _ in range(3 + len(state))]
    known_as = {_RATE: "rate", -_RATE: "(-rate)"}
    if λ and not coupled:
        known_as[1 - _RATE * λ] = f"(1 - rate * {λ!r})"
    names = ["w", "g", "k", *state]
    source = _source(torch.func.functionalize(step), inputs, names, known_as=known_as)
    if "rate" not in source:
        raise NoJavaScript("the learning rate is not used")
    return {
        "step": source.replace("(w, g, k", "(w, g, rate, k", 1),
        "state": [float(value) for value in state.values()],
    }


def _source(
    traced: Callable[..., Any],
    inputs: Sequence[Tensor],
    names: Sequence[str],
    *,
    known_as: Mapping[float, str] | None = None,
) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = make_fx(traced)(*inputs)
    except Exception as error:
        raise NoJavaScript(str(error).partition("\n")[0]) from error
    known: dict[fx.Node, str] = {}
    lines, inputs_left = [], list(names)
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            known[node] = inputs_left.pop(0)
        elif node.op == "get_attr":
            known[node] = _number(getattr(graph, node.target))
        elif node.op == "output":
            results = [known[one] for one in node.args[0]]
            lines.append(f"return [{', '.join(results)}];")
        else:
            known[node] = f"t{len(lines)}"
            lines.append(f"const {known[node]} = {_expression(node, known, known_as or {})};")
    return f"({', '.join(names)}) => {{ {' '.join(lines)} }}"


def _expression(node: fx.Node, known: Mapping[fx.Node, str], known_as: Mapping[float, str]) -> str:
    name = str(getattr(node.target, "overloadpacket", node.target)).removeprefix("aten.")
    if name not in _OPERATIONS:
        raise NoJavaScript(f"{name} has no JavaScript here")

    def term(value: Any) -> Any:
        if isinstance(value, fx.Node):
            return known[value]
        if isinstance(value, float) and value in known_as:
            return known_as[value]
        if value is None or isinstance(value, (str, list, tuple, torch.dtype)):
            return value
        return _number(value)

    arguments = [term(value) for value in node.args]
    named = {key: term(value) for key, value in node.kwargs.items() if key in _NAMED}
    shaped = node.meta.get("val", node.meta.get("tensor_meta"))
    if isinstance(shaped, Tensor) and shaped.numel() != 1:
        raise NoJavaScript(f"{name} makes a tensor of {shaped.numel()} numbers")
    try:
        return _OPERATIONS[name](*arguments, **named)
    except TypeError as error:
        raise NoJavaScript(f"{name}: {error}") from None


_NAMED = ("alpha", "value", "min", "max", "beta", "threshold")


def _number(value: Any) -> str:
    if isinstance(value, Tensor):
        if value.numel() != 1 or value.is_meta:
            raise NoJavaScript(f"a constant of {value.numel()} numbers")
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "(-Infinity)"
        return repr(value) if value >= 0 else f"({value!r})"
    raise NoJavaScript(f"a constant of type {type(value).__name__}")


def _times(a: str, factor: str) -> str:
    return a if factor in ("1", "1.0") else f"{factor} * {a}"


def _power(a: str, b: str) -> str:
    exact = {"0": "1", "1": a, "2": f"{a} * {a}", "3": f"{a} * {a} * {a}"}
    plain = b.removesuffix(".0")
    if b in ("0.5", "(-0.5)"):
        return f"Math.sqrt({a})" if b == "0.5" else f"1 / Math.sqrt({a})"
    return exact.get(plain, f"Math.pow({a}, {b})")


def _clamp(a: str, min: str | None = None, max: str | None = None) -> str:
    held = a if min is None else f"Math.max({a}, {min})"
    return held if max is None else f"Math.min({held}, {max})"


def _lerp(a: str, b: str, weight: str) -> str:  # as torch has it, to the last bit
    small, large = f"{a} + {weight} * ({b} - {a})", f"{b} - ({b} - {a}) * (1 - {weight})"
    return f"(Math.abs({weight}) < 0.5 ? {small} : {large})"


def _same(a: str, *_: Any, **__: Any) -> str:
    return a


def _math(name: str) -> Callable[..., str]:
    return lambda a, *more: f"Math.{name}({', '.join([a, *more])})"


def _infix(sign: str) -> Callable[..., str]:
    return lambda a, b: f"{a} {sign} {b}"


def _constant(number: str) -> Callable[..., str]:
    return lambda *_, **__: number


_SOFTPLUS = "({b} * {a} > {t} ? {a} : Math.log1p(Math.exp({b} * {a})) / {b})"
_OPERATIONS: Mapping[str, Callable[..., str]] = {
    "add": lambda a, b, alpha="1": f"{a} + {_times(b, alpha)}",
    "sub": lambda a, b, alpha="1": f"{a} - {_times(b, alpha)}",
    "rsub": lambda a, b, alpha="1": f"{b} - {_times(a, alpha)}",
    "mul": _infix("*"),
    "div": _infix("/"),
    "neg": lambda a: f"-{a}",
    "reciprocal": lambda a: f"1 / {a}",
    "pow": _power,
    "square": lambda a: f"{a} * {a}",
    "rsqrt": lambda a: f"1 / Math.sqrt({a})",
    **{name: _math(name) for name in ("sqrt", "exp", "expm1", "log", "log1p", "log2", "log10")},
    **{name: _math(name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "hypot")},
    **{name: _math(name) for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2")},
    **{name: _math(name) for name in ("abs", "floor", "ceil", "sign")},
    "sgn": _math("sign"),
    "maximum": _math("max"),
    "minimum": _math("min"),
    "clamp": _clamp,
    "clamp_min": lambda a, low: f"Math.max({a}, {low})",
    "clamp_max": lambda a, high: f"Math.min({a}, {high})",
    "relu": lambda a: f"Math.max({a}, 0)",
    "sigmoid": lambda a: f"1 / (1 + Math.exp(-{a}))",
    "sigmoid_backward": lambda g, out: f"{g} * (1 - {out}) * {out}",
    "tanh_backward": lambda g, out: f"{g} * (1 - {out} * {out})",
    "threshold_backward": lambda g, a, low: f"({a} <= {low} ? 0 : {g})",
    "softplus": lambda a, b="1", t="20": _SOFTPLUS.format(a=a, b=b, t=t),
    "softplus_backward": lambda g, a, b, t: (
        f"({b} * {a} > {t} ? {g} : {g} / (1 + Math.exp(-{b} * {a})))"
    ),
    "lerp": _lerp,
    "addcmul": lambda a, b, c, value="1": f"{a} + {_times(b, value)} * {c}",
    "addcdiv": lambda a, b, c, value="1": f"{a} + {value} * ({b} / {c})",
    "where": lambda c, a, b: f"({c} ? {a} : {b})",
    "masked_fill": lambda a, c, b: f"({c} ? {b} : {a})",
    "gt": _infix(">"),
    "ge": _infix(">="),
    "lt": _infix("<"),
    "le": _infix("<="),
    "eq": _infix("==="),
    "ne": _infix("!=="),
    "logical_and": _infix("&&"),
    "logical_or": _infix("||"),
    "logical_not": lambda a: f"!{a}",
    "ones_like": _constant("1"),
    "zeros_like": _constant("0"),
    "full_like": lambda _, value: value,
    "full": lambda _, value: value,
    "scalar_tensor": _same,
    **dict.fromkeys(("detach", "alias", "clone", "_to_copy", "expand", "sum", "mean"), _same),
    **dict.fromkeys(("view", "reshape", "squeeze", "unsqueeze", "lift_fresh_copy"), _same),
}
