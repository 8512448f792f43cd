"""Writes the update rules of ravine/optim down in C and in Triton.

    make kernels

Each rule in the table of optimizers is applied once, for each combination of its options, to
symbols in place of tensors and numbers. Its operations are recorded and printed: numbers
(learning rate, bias corrections) as float64, computed once per tensor; elements as float32,
inside the loop. Nothing about a rule is written here, so that all step engines follow one text; a
test fails when the files in the tree differ from what this writes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from typing import Any

import torch

from ravine.optim.base import RuleOptimizer
from ravine.optim.optimizers import OPTIMIZERS
from ravine.optim.update_rules import prepared

KERNELS = Path(__file__).resolve().parent.parent / "src" / "ravine" / "kernels"
NOTE = "Written by `make kernels` from the update rules of ravine/optim, not by hand."
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
    for kind in dict.fromkeys(row.kind for row in OPTIMIZERS.values()):
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


def _text(step: Symbol, name: Callable[[Any], str]) -> str:
    return step.operation.format(*(name(one) for one in step.inputs))


# C ------------------------------------------------------------------------------------------


def c_source(records: Sequence[Record]) -> str:
    """Returns the rules as C: coefficients once per tensor, then the loop over its elements."""
    head = f"""/* {NOTE}

   A row of hyperparameters h: {", ".join(HYPER)}.
   k: number of the step; mu: product of the momenta so far. */

"""
    listed = "\n".join(
        f"    {{{r.variant.name}_coefficients, {r.variant.name}_update}}," for r in records
    )
    table = f"static const struct rule RULES[] = {{\n{listed}\n}};\n"
    return head + "\n".join(_c_rule(one) for one in records) + "\n" + table


def _c_rule(r: Record) -> str:
    name, used = r.variant.name, r.coefficients

    def number(one: Any) -> str:
        return r.names[one] if isinstance(one, Symbol) else repr(float(one))

    def element(one: Any) -> str:
        if not isinstance(one, Symbol):
            return f"{float(one)!r}f"
        return r.names[one] if one.kind == "element" else f"c{used.index(one)}"

    needed = _reached(r)
    given = [n for n in (*HYPER, "k", "mu") if any(r.names[s] == n for s in needed)]
    lines = [
        f"static double {name}_coefficients(const double *h, double k, double mu, float *c)",
        "{",
        *(f"    const double {n} = h[{HYPER.index(n)}];" for n in given if n in HYPER),
        *(f"    (void){n};" for n in ("k", "mu") if n not in given),
        *(f"    const double {r.names[s]} = {_text(s, number)};" for s in r.numbers),
        *(f"    c[{i}] = (float){number(s)};" for i, s in enumerate(used)),
        f"    return {number(r.results['mu']) if 'mu' in r.results else 'mu'};",
        "}",
        "",
        f"static void {name}_update(const float *restrict c, const struct range *restrict r)",
        "{",
        *(f"    const float c{i} = c[{i}];" for i in range(len(used))),
        "    float *restrict W = r->w;",
        "    const float *restrict D = r->g;",
        *(f"    float *restrict S{i} = r->state[{i}];" for i in range(len(r.variant.state))),
        "    for (int64_t i = 0; i < r->n; i++) {",
        "        const float w = W[i], g = D[i];",
        *(f"        const float {s} = S{i}[i];" for i, s in enumerate(r.variant.state)),
        *(f"        const float {r.names[s]} = {_text(s, element)};" for s in r.elements),
        f"        W[i] = {r.names[r.results['w']]};",
        *(f"        S{i}[i] = {r.names[r.results[s]]};" for i, s in enumerate(r.variant.state)),
        "    }",
        "}",
        "",
    ]
    return "\n".join(lines)


def _reached(r: Record) -> set[Symbol]:
    """Returns the numbers that stand for themselves and are used."""
    inputs = {i for step in r.steps for i in step.inputs if isinstance(i, Symbol)}
    return {i for i in inputs | set(r.results.values()) if i.kind == "number" and not i.inputs}


# Triton -------------------------------------------------------------------------------------

_TRITON_HEAD = f'''"""{NOTE}

Each takes float64 numbers and float32 blocks, and returns the new weights, the new state and
the new product of the momenta.
"""

import triton
import triton.language as tl


@triton.jit
def POW(base, exponent):
    """A number of at least 0 to the power of a number above 0, float64."""
    power = tl.exp2(exponent * tl.log2(tl.where(base > 0, base, 1.0)))
    return tl.where(base > 0, power, 0.0)


@triton.jit
def SQRT(x):
    """The square root, correctly rounded: tl.sqrt is not in float32."""
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def RATIO(x, y):
    """A quotient of float32, correctly rounded: / is not."""
    return tl.div_rn(x, y)


@triton.jit
def AT_LEAST(x, limit):
    """The larger of two; NaN stays NaN."""
    return tl.where(x < limit, limit, x)


@triton.jit
def AT_MOST(x, limit):
    """The smaller of two; NaN stays NaN."""
    return tl.where(x > limit, limit, x)
'''


def triton_source(records: Sequence[Record]) -> str:
    """Returns the rules as functions of Triton."""
    return _TRITON_HEAD + "".join(_triton_rule(one) for one in records)


def _triton_rule(r: Record) -> str:
    def number(one: Any) -> str:
        if isinstance(one, Symbol):
            return r.names[one]
        return f"(k * 0 + {float(one)!r})"  # a bare constant would be float32 to POW

    def plain(one: Any) -> str:
        return r.names[one] if isinstance(one, Symbol) else repr(float(one))

    def element(one: Any) -> str:
        if not isinstance(one, Symbol):
            return repr(float(one))
        return r.names[one] if one.kind == "element" else f"c{r.coefficients.index(one)}"

    def quotient(step: Symbol) -> str:
        if step.operation != "{} / {}":
            return ""
        return f"RATIO({', '.join(element(one) for one in step.inputs)})"

    results = [r.names[r.results[n]] for n in ("w", *r.variant.state)]
    mu = r.names[r.results["mu"]] if "mu" in r.results else "mu"
    arguments = [*HYPER, "k", "mu", "w", "g", *r.variant.state]
    lines = [
        "",
        "",
        "@triton.jit",
        f"def {r.variant.name}({', '.join(arguments)}):",
        f'    """The rule `{r.variant.name}`."""',
        *(
            f"    {r.names[s]} = {_text(s, number if s.operation.startswith('POW') else plain)}"
            for s in r.numbers
        ),
        *(f"    c{i} = {plain(s)}.to(tl.float32)" for i, s in enumerate(r.coefficients)),
        *(f"    {r.names[s]} = {quotient(s) or _text(s, element)}" for s in r.elements),
        f"    return {', '.join([*results, mu])}",
        "",
    ]
    return "\n".join(lines)


# What both have in common ---------------------------------------------------------------------


def names_source(records: Sequence[Record]) -> str:
    """Returns the names of the rules in their order, as Python."""
    listed = "\n".join(f'    "{r.variant.name}": {r.variant.state!r},' for r in records)
    products = "\n".join(f'    "{r.variant.name}",' for r in records if "mu" in r.results)
    most = max(len(r.coefficients) for r in records)
    assert most <= 16, "struct unit in steps.c has room for 16 coefficients"
    return (
        f'"""{NOTE}"""\n\nfrom collections.abc import Mapping\n\n'
        f"# The order of a row of hyperparameters.\nHYPER = {HYPER!r}\n\n"
        "# The rules, in the order of the C library's table, and the tensors of their state.\n"
        f"VARIANTS: Mapping[str, tuple[str, ...]] = {{\n{listed}\n}}\n\n"
        "# Those whose state has the product of the momenta so far, mu_product.\n"
        f"KEEPS_MOMENTUM_PRODUCT = frozenset({{\n{products}\n}})\n"
    ).replace("'", '"')


def sources() -> dict[Path, str]:
    """Returns each file and what belongs in it."""
    records = [record(one) for one in variants()]
    return {
        KERNELS / "c" / "rules.h": c_source(records),
        KERNELS / "triton_rules.py": triton_source(records),
        KERNELS / "variants.py": names_source(records),
    }


if __name__ == "__main__":
    for path, text in sources().items():
        path.write_text(text)
        print(path.name)
