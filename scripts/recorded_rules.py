"""What each update rule of ravine/optim does to symbols in place of tensors and numbers.

Each rule in the table of optimizers is applied once, for each combination of its options. Its
operations are recorded in order; `make_kernels` prints them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count, product
from typing import Any

import torch

from ravine.optim.base import RuleOptimizer
from ravine.optim.optimizers import OPTIMIZERS
from ravine.optim.update_rules import prepared

# The order in a row of hyperparameters; ravine/kernels/variants.py has it from here.
HYPER = ("lr", "coupled", "decoupled", "gamma", "alpha", "eps", "scale")


@dataclass(eq=False)
class Symbol:
    """A number or an element (of a tensor) that remembers how it was made."""

    kind: str
    operation: str
    inputs: tuple[Any, ...] = ()
    dtype: torch.dtype = field(default=torch.float32, repr=False)
    device: torch.device = field(default=torch.device("meta"), repr=False)  # its value is unknown

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
        # Not self + share (end − self), which loses a small `end` next to a large self.
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

    def double(self) -> "Symbol":
        return self

    add_, addcmul_, clamp_, mul_, sqrt_ = add, addcmul, clamp, mul, sqrt


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A rule with one combination of its options; only its numbers are open.

    Attributes:
        optimizer: one of the rule.
        group: its hyperparameters, numbers included.
    """

    optimizer: RuleOptimizer
    group: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As the kernels call it."""
        return self.optimizer.variant(self.group)

    @property
    def state(self) -> tuple[str, ...]:
        """Names of the state's tensors."""
        return self.optimizer.state_slots

    def apply(self, s: Mapping[str, Symbol]) -> list[Symbol]:
        """Returns the new weights, the new state, and the new product of the momenta if kept."""
        named = {
            "lr": s["lr"], "momentum": s["gamma"], "alpha": s["alpha"], "eps": s["eps"],
            "betas": (s["gamma"], s["alpha"]),
        }  # fmt: skip
        group = {name: named.get(name, value) for name, value in self.group.items()}
        slots = [*self.state, *(["mu_product"] if self.optimizer.keeps_momentum_product else [])]
        state: Any = {"step": s["k"], "mu_product": s["mu"], **{n: s[n] for n in self.state}}
        symbols: Any = s
        new_w, new_state = self.optimizer.apply_rule(symbols["w"], symbols["g"], state, group)
        made: Any = [new_w, *(new_state[slot] for slot in slots)]
        return made


def variants() -> list[Variant]:
    """Returns each rule with each combination of its options."""
    found = []
    for kind in dict.fromkeys(row.kind for row in OPTIMIZERS.values() if row.kind.by_element):
        optimizer = kind([torch.nn.Parameter(torch.zeros(1))])
        for values in product(*kind.options.values()):
            options = dict(zip(kind.options, values, strict=True))
            found.append(Variant(optimizer=optimizer, group={**optimizer.defaults, **options}))
    # By the place of ε; its order is that of the C library's table in builds of before.
    return sorted(found, key=lambda one: (None, True, False).index(one.group.get("eps_in_root")))


@dataclass(frozen=True)
class Record:
    """The operations of a variant, in order."""

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
    w, g = prepared(
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
