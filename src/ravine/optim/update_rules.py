"""What the update rules have in common: decay, limits of the gradient, corrected roots.

Each optimizer's file holds its own rule, once, as a pure function of tensors. Every way to run a
rule is made from that text: `make kernels` calls it with symbols in place of tensors and writes
down what it does, in C and in Triton; the pages of races trace it into JavaScript.

In all rules: `v.lerp(g, 1 − γ)` is γv + (1−γ)g in one pass over memory, `w.add(s, alpha=−η)` is
w − ηs. w weights, g gradient, v moving mean of the gradients, G sum or moving mean of the squared
gradients, k applied steps from 1 on (a `Number`), η learning rate, γ momentum, α decay of G, ε
outside the root or, with `eps_in_root`, inside. A rule returns the new weights and the new state
and changes nothing.

Shapes: w, g, v, G alike, any shape.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# A plain number, or a 0-dim float64 tensor on a device that the host must not wait for.
Number = float | Tensor


def root(G: Tensor, *, ε: Number, eps_in_root: bool) -> Tensor:
    """Returns √(G+ε) or √G + ε, of the shape of G."""
    return (G + ε).sqrt_() if eps_in_root else G.sqrt().add_(ε)


def corrected_root(
    G: Tensor, k: Number, *, α: float, ε: float, eps_in_root: bool, times: Number
) -> Tensor:
    """Returns √(Ĝ+ε) or √Ĝ + ε, times `times`, with Ĝ = G/(1−αᵏ) and as few passes as possible.

    Args:
        G: moving mean of the squared gradients, any shape.
        k: applied steps, this one included.
        α: decay of G.
        ε: above 0.
        eps_in_root: ε inside the root.
        times: factor of the result, which saves the caller a pass over memory.
    """
    share = 1 - α**k
    inner = ε * share if eps_in_root else times * ε
    denominator = (G + in_type_of(G, inner)).sqrt_() if eps_in_root else G.sqrt()
    denominator = denominator.mul_(in_type_of(G, times / share**0.5))
    return denominator if eps_in_root else denominator.add_(in_type_of(G, inner))


def in_type_of(w: Tensor, coefficient: Number) -> Number:
    """Returns a 0-dim float64 coefficient in the dtype of `w`, a tensor of any shape.

    torch is slow where types are mixed.
    """
    return coefficient if isinstance(coefficient, float) else coefficient.to(w.dtype)


def squarable(g: Tensor) -> Tensor:
    """Returns `g`, of its shape, limited: sums of its squares stay finite in its precision.

    In float32 a square overflows from |g| = 1.8e19; the limit is a 32nd of that.
    """
    limit = float(torch.finfo(g.dtype).max) ** 0.5 / 32
    return g.clamp(-limit, limit)


def prepared(
    w: Tensor, g: Tensor, *, η: float, coupled: float, decoupled: float, scale: Number | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the weights and the gradient that a rule works on: clipped, and with decay.

    Args:
        w: weights, any shape.
        g: gradient, of the same shape.
        η: learning rate.
        coupled: λ of g ← g + λw.
        decoupled: λ of w ← w − ηλw.
        scale: first factor of the gradient.
    """
    if scale is not None:
        # Twice the root: a scale below 1e-38 would be lost in float32.
        half = in_type_of(g, scale**0.5)
        g = g * half * half
    return decoupled_decay(w, η=η, λ=decoupled), coupled_decay(g, w, coupled)


def coupled_decay(g: Tensor, w: Tensor, λ: float) -> Tensor:
    """Returns g + λw, of the shape of w."""
    return g.add(w, alpha=λ) if λ else g


def decoupled_decay(w: Tensor, *, η: float, λ: float) -> Tensor:
    """Returns w − ηλw, of the shape of w. Loshchilov and Hutter 2019."""
    return w * (1 - η * λ) if λ else w


def eps_suffix(group: Mapping[str, Any]) -> str:
    """Returns the end of a rule's name in the kernels, by whether ε is inside the root."""
    return "_eps_in_root" if group["eps_in_root"] else ""


def root_formula(group: Mapping[str, Any], squares: str) -> str:
    """Returns the denominator of a group's update as a formula; `squares` is G or Ĝ.

    >>> root_formula({"eps_in_root": True}, "G")
    '√(G+ε)'
    """
    return f"√({squares}+ε)" if group["eps_in_root"] else f"(√{squares} + ε)"
