"""Writes the update rules of ravine/optim/update_rules.py down in C and in Triton.

    make kernels

What a rule does to symbols (`recorded_rules`) is printed: numbers (learning rates, bias
corrections) as float64, computed once per tensor; elements as float32, inside the loop. Nothing
about a rule is written here, so that all step engines follow one text; a test fails where the
files in the tree differ from what this writes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recorded_rules import HYPER, Record, Symbol, record, variants

KERNELS = Path(__file__).resolve().parent.parent / "src" / "ravine" / "kernels"
NOTE = "Written by `make kernels` from ravine/optim/update_rules.py, not by hand."


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
    return "\n".join([*_c_coefficients(r), "", *_c_update(r), ""])


def _c_coefficients(r: Record) -> list[str]:
    """Returns the function that computes what is the same for all elements of a tensor."""

    def number(one: Any) -> str:
        return r.names[one] if isinstance(one, Symbol) else repr(float(one))

    name, needed = r.variant.name, _reached(r)
    given = [n for n in (*HYPER, "k", "mu") if any(r.names[s] == n for s in needed)]
    return [
        f"static double {name}_coefficients(const double *h, double k, double mu, float *c)",
        "{",
        *(f"    const double {n} = h[{HYPER.index(n)}];" for n in given if n in HYPER),
        *(f"    (void){n};" for n in ("k", "mu") if n not in given),
        *(f"    const double {r.names[s]} = {_text(s, number)};" for s in r.numbers),
        *(f"    c[{i}] = (float){number(s)};" for i, s in enumerate(r.coefficients)),
        f"    return {number(r.results['mu']) if 'mu' in r.results else 'mu'};",
        "}",
    ]


def _c_update(r: Record) -> list[str]:
    """Returns the function with the loop over the elements of a range."""
    used = r.coefficients

    def element(one: Any) -> str:
        if not isinstance(one, Symbol):
            return f"{float(one)!r}f"
        return r.names[one] if one.kind == "element" else f"c{used.index(one)}"

    name, state = r.variant.name, r.variant.state
    return [
        f"static void {name}_update(const float *restrict c, const struct range *restrict r)",
        "{",
        *(f"    const float c{i} = c[{i}];" for i in range(len(used))),
        "    float *restrict W = r->w;",
        "    const float *restrict D = r->g;",
        *(f"    float *restrict S{i} = r->state[{i}];" for i in range(len(state))),
        "    for (int64_t i = 0; i < r->n; i++) {",
        "        const float w = W[i], g = D[i];",
        *(f"        const float {s} = S{i}[i];" for i, s in enumerate(state)),
        *(f"        const float {r.names[s]} = {_text(s, element)};" for s in r.elements),
        f"        W[i] = {r.names[r.results['w']]};",
        *(f"        S{i}[i] = {r.names[r.results[s]]};" for i, s in enumerate(state)),
        "    }",
        "}",
    ]


def _reached(r: Record) -> set[Symbol]:
    """Returns the inputs of a rule that are numbers and are used."""
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
    results = [r.names[r.results[n]] for n in ("w", *r.variant.state)]
    mu = r.names[r.results["mu"]] if "mu" in r.results else "mu"
    arguments = [*HYPER, "k", "mu", "w", "g", *r.variant.state]
    lines = [
        "",
        "",
        "@triton.jit",
        f"def {r.variant.name}({', '.join(arguments)}):",
        f'    """The rule `{r.variant.name}`."""',
        *_triton_numbers(r),
        *_triton_elements(r),
        f"    return {', '.join([*results, mu])}",
        "",
    ]
    return "\n".join(lines)


def _triton_numbers(r: Record) -> list[str]:
    def plain(one: Any) -> str:
        return r.names[one] if isinstance(one, Symbol) else repr(float(one))

    def power(one: Any) -> str:  # a bare constant would be float32 to POW
        return plain(one) if isinstance(one, Symbol) else f"(k * 0 + {plain(one)})"

    steps = [(s, power if s.operation.startswith("POW") else plain) for s in r.numbers]
    return [
        *(f"    {r.names[s]} = {_text(s, name)}" for s, name in steps),
        *(f"    c{i} = {plain(s)}.to(tl.float32)" for i, s in enumerate(r.coefficients)),
    ]


def _triton_elements(r: Record) -> list[str]:
    def element(one: Any) -> str:
        if not isinstance(one, Symbol):
            return repr(float(one))
        return r.names[one] if one.kind == "element" else f"c{r.coefficients.index(one)}"

    def text(step: Symbol) -> str:
        if step.operation != "{} / {}":
            return _text(step, element)
        return f"RATIO({', '.join(element(one) for one in step.inputs)})"

    return [f"    {r.names[s]} = {text(s)}" for s in r.elements]


# What both need to know ---------------------------------------------------------------------


def names_source(records: Sequence[Record]) -> str:
    """Returns the names of the rules in their order, as Python."""
    listed = "\n".join(f'    "{r.variant.name}": {r.variant.state!r},' for r in records)
    most = max(len(r.coefficients) for r in records)
    assert most <= 16, "struct unit in steps.c has room for 16 coefficients"
    return (
        f'"""{NOTE}"""\n\nfrom collections.abc import Mapping\n\n'
        f"# The order of a row of hyperparameters.\nHYPER = {HYPER!r}\n\n"
        "# The rules, in the order of the table in c/rules.h, and the tensors of their state.\n"
        f"VARIANTS: Mapping[str, tuple[str, ...]] = {{\n{listed}\n}}\n"
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
