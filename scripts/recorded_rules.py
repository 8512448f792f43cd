"""The update rules of ravine/optim/update_rules.py, recorded as the operations they consist of.

Each rule is called once with symbols in place of tensors and numbers; a symbol remembers how it
was made.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch

from ravine.optim import update_rules as rules

# The order in a row of hyperparameters; ravine/kernels/variants.py has it from here.
HYPER = ("lr", "coupled", "decoupled", "gamma", "alpha", "eps", "scale")


@dataclass(eq=False)
class Symbol:
    """A number or an element (of a tensor) that remembers how it was made."""

    kind: str
    operation: str
    inputs: tuple[Any, ...] = ()
    dtype: torch.dtype = field(default=torch.float32, repr=False)

    def _of(self, operation: str, *others: Any) -> "Symbol":
        inputs = (self, *others)
        kinds = {other.kind for other in inputs if isinstance(other, Symbol)}
        return Symbol("element" if "element" in kinds else "number", operation, inputs)

    def __add__(self, other: Any) -> "Symbol":
        return self._of("{} + {}", other)

    def __radd__(self, other: Any) -> "Symbol":
        return self._of("{1} + {0}", other)

    def __sub__(self, other: Any) -> "Symbol":
        return self._of("{} - {}", other)

    def __rsub__(self, other: Any) -> "Symbol":
        return self._of("{1} - {0}", other)

    def __mul__(self, other: Any) -> "Symbol":
        return self._of("{} * {}", other)

    def __rmul__(self, other: Any) -> "Symbol":
        return self._of("{1} * {0}", other)

    def __truediv__(self, other: Any) -> "Symbol":
        return self._of("{} / {}", other)

    def __rtruediv__(self, other: Any) -> "Symbol":
        return self._of("{1} / {0}", other)

    def __neg__(self) -> "Symbol":
        return self._of("-{}")

    def __pow__(self, other: Any) -> "Symbol":
        return self.sqrt() if other == 0.5 else self._of("POW({}, {})", other)

    def __rpow__(self, other: Any) -> "Symbol":
        return self._of("POW({1}, {0})", other)

    def sqrt(self) -> "Symbol":
        return self._of("SQRT({})")

    def clamp(self, low: float | None = None, high: float | None = None, **named: Any) -> "Symbol":
        low, high = named.get("min", low), named.get("max", high)
        limited = self
        if low is not None:
            limited = limited._of("AT_LEAST({}, {})", low)
        return limited if high is None else limited._of("AT_MOST({}, {})", high)

    def lerp(self, end: "Symbol", share: Any) -> "Symbol":
        # Not self + share (end − self), which loses a small `end` beside a large self.
        return self * (1 - share) + end * share

    def add(self, other: Any, alpha: Any = 1) -> "Symbol":
        return self + other * alpha

    def addcmul(self, one: "Symbol", two: "Symbol", value: Any = 1) -> "Symbol":
        return self + one * two if value == 1 else self + one * value * two

    def addcdiv(self, one: "Symbol", two: "Symbol", value: Any = 1) -> "Symbol":
        return self + one / two * value

    def mul(self, other: Any) -> "Symbol":
        return self * other

    def to(self, _: torch.dtype) -> "Symbol":
        return self

    add_, addcmul_, clamp_, mul_, sqrt_ = add, addcmul, clamp, mul, sqrt


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A rule with everything settled that is not a number.

    Attributes:
        name: as the kernels call it.
        state: names of the state's tensors.
        apply: calls the rule; returns the new weights, the new state, and the new product of
            the momenta where the rule keeps one.
    """

    name: str
    state: tuple[str, ...]
    apply: Callable[..., tuple[Any, ...]]


def variants() -> Iterator[Variant]:
    """Yields each rule in each of its forms."""
    for nesterov in (False, True):
        yield Variant(
            name="nesterov" if nesterov else "momentum",
            state=("v",),
            apply=lambda s, nesterov=nesterov: rules.momentum(
                s["w"], s["g"], s["v"], η=s["lr"], γ=s["gamma"], nesterov=nesterov
            ),
        )
    for inside in (True, False):
        yield from _adaptive(inside)


def _adaptive(inside: bool) -> Iterator[Variant]:
    """Yields the rules that divide by a root, with ε inside it or outside."""
    end = "_eps_in_root" if inside else ""
    yield Variant(
        name=f"adagrad{end}",
        state=("G",),
        apply=lambda s: rules.adagrad(
            s["w"], s["g"], s["G"], η=s["lr"], ε=s["eps"], eps_in_root=inside
        ),
    )
    yield Variant(
        name=f"rmsprop{end}",
        state=("G",),
        apply=lambda s: rules.rmsprop(
            s["w"], s["g"], s["G"], η=s["lr"], α=s["alpha"], ε=s["eps"], eps_in_root=inside
        ),
    )
    yield Variant(
        name=f"adam{end}",
        state=("v", "G"),
        apply=lambda s: rules.adam(
            s["w"], s["g"], s["v"], s["G"], s["k"], **_adam(s), eps_in_root=inside
        ),
    )
    for form in ("lecture", "dozat-constant", "dozat", "keras"):
        yield Variant(
            name=f"nadam_{form.replace('-', '_')}{end}",
            state=("v", "G"),
            apply=lambda s, form=form: rules.nadam(
                s["w"], s["g"], s["v"], s["G"], s["mu"], s["k"],
                **_adam(s), form=form, eps_in_root=inside,
            ),
        )  # fmt: skip


def _adam(s: dict[str, Symbol]) -> dict[str, Symbol]:
    return {"η": s["lr"], "γ": s["gamma"], "α": s["alpha"], "ε": s["eps"]}


@dataclass(frozen=True)
class Record:
    """What a variant does, in order."""

    variant: Variant
    names: dict[Symbol, str]
    steps: list[Symbol]
    results: dict[str, Symbol]

    @property
    def numbers(self) -> list[Symbol]:
        return [step for step in self.steps if step.kind == "number"]

    @property
    def elements(self) -> list[Symbol]:
        return [step for step in self.steps if step.kind == "element"]

    @property
    def coefficients(self) -> list[Symbol]:
        """The numbers that elements are computed with, in the order of their use."""
        used = (i for step in self.elements for i in step.inputs if isinstance(i, Symbol))
        return list(dict.fromkeys(i for i in used if i.kind == "number"))


def record(variant: Variant) -> Record:
    """Returns what `variant` does to symbols."""
    elements = {name: Symbol("element", name) for name in ("w", "g", *variant.state)}
    numbers = {name: Symbol("number", name) for name in (*HYPER, "k", "mu")}
    w, g = rules.prepared(
        elements["w"], elements["g"], η=numbers["lr"], coupled=numbers["coupled"],
        decoupled=numbers["decoupled"], scale=numbers["scale"],
    )  # fmt: skip
    made = variant.apply({**elements, **numbers, "w": w, "g": g})
    results = dict(zip(("w", *variant.state, "mu"), made, strict=False))
    names = {symbol: name for name, symbol in {**elements, **numbers}.items()}
    steps: list[Symbol] = []
    numbered = {"number": count(), "element": count()}

    def visit(symbol: Any) -> None:
        if not isinstance(symbol, Symbol) or symbol in names:
            return
        for one in symbol.inputs:
            visit(one)
        letter = "n" if symbol.kind == "number" else "e"
        names[symbol] = f"{letter}{next(numbered[symbol.kind])}"
        steps.append(symbol)

    for symbol in results.values():
        visit(symbol)
    return Record(variant, names, steps, results)
