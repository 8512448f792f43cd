"""Writes the update rules of ravine/optim down in C and in Triton.

    make kernels

Each rule in the table of optimizers is applied once, for each combination of its options, to
symbols in place of tensors and numbers. Its operations are recorded and printed: numbers
(learning rate, bias corrections) as float64, computed once per tensor; elements as float32,
inside the loop. Nothing about a rule is written here, so that all step engines follow one text; a
test fails when the files in the tree differ from what this writes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recorded_rules import HYPER, Record, Symbol, record, variants

KERNELS = Path(__file__).resolve().parent.parent / "src" / "ravine" / "kernels"
NOTE = "Written by `make kernels` from the update rules of ravine/optim, not by hand."


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
        f"static void {name}_update(const float *restrict c, float *restrict W,",
        "    const float *restrict D, float *restrict S0, float *restrict S1, int64_t n)",
        "{",
        *("    (void)S1;" for _ in range(2 - len(r.variant.state))),
        *(f"    const float c{i} = c[{i}];" for i in range(len(used))),
        "    for (int64_t i = 0; i < n; i++) {",
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
