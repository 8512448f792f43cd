"""The update rules, each written once as a pure function of tensors.

Every path that runs a rule is made from these texts: `make kernels` calls them with symbols
in place of tensors and writes down what they do, in C and in Triton. `v.lerp(g, 1 − γ)` is
γv + (1−γ)g in one pass over memory, `w.add(s, alpha=−η)` is w − ηs. Letters as in the
formulas: w weights, g gradient, v moving mean of gradients, G sum or moving mean of squared
gradients, k applied steps from 1 on (a `Number`), η learning rate, γ momentum, α decay of G,
ε eps, outside the root or, with `eps_in_root`, inside. Each returns the new weights and the
new state and changes nothing.

Shapes: w, g, v, G alike, any shape.
"""

from typing import Literal

import torch
from torch import Tensor

# A plain number, or a 0-dim float64 tensor on a device that the host must not wait for.
Number = float | Tensor
NadamForm = Literal["lecture", "dozat-constant", "dozat", "keras"]

# ψ of Dozat's schedule of the momentum, as torch.optim.NAdam and as Keras have it.
_PSI = {"dozat": 0.004, "keras": 1.0}


def momentum(
    w: Tensor, g: Tensor, v: Tensor, *, η: float, γ: float, nesterov: bool
) -> tuple[Tensor, Tensor]:
    """v ← γv + (1−γ)g, w ← w − ηv; Nesterov: w ← w − η(γv + (1−γ)g).

    Polyak 1964; Nesterov 1983 in the form of Sutskever et al. 2013.
    """
    v = v.lerp(g, 1 - γ)
    step = v.lerp(g, 1 - γ) if nesterov else v
    return w.add(step, alpha=-η), v


def adagrad(
    w: Tensor, g: Tensor, G: Tensor, *, η: float, ε: float, eps_in_root: bool = True
) -> tuple[Tensor, Tensor]:
    """G ← G + g⊙g, w ← w − η g ⊘ √(G+ε). Duchi, Hazan, Singer 2011."""
    g = squarable(g)
    G = G.addcmul(g, g).clamp_(max=torch.finfo(G.dtype).max)  # it only grows
    return w.addcdiv(g, _root(G, ε=ε, eps_in_root=eps_in_root), value=-η), G


def rmsprop(
    w: Tensor, g: Tensor, G: Tensor, *, η: float, α: float, ε: float, eps_in_root: bool = True
) -> tuple[Tensor, Tensor]:
    """G ← αG + (1−α) g⊙g, w ← w − η g ⊘ √(G+ε). Hinton, Tieleman 2012."""
    g = squarable(g)
    G = (G * α).addcmul_(g, g, value=1 - α)
    return w.addcdiv(g, _root(G, ε=ε, eps_in_root=eps_in_root), value=-η), G


def adam(
    w: Tensor,
    g: Tensor,
    v: Tensor,
    G: Tensor,
    k: Number,
    *,
    η: float,
    γ: float,
    α: float,
    ε: float,
    eps_in_root: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """w ← w − η v̂ ⊘ (√Ĝ + ε), v̂ = v/(1−γᵏ), Ĝ = G/(1−αᵏ). Kingma, Ba, ICLR 2015."""
    g = squarable(g)
    v = v.lerp(g, 1 - γ)
    G = (G * α).addcmul_(g, g, value=1 - α)
    root = _corrected_root(G, k, α=α, ε=ε, eps_in_root=eps_in_root, times=1 - γ**k)
    return w.addcdiv(v, root, value=-η), v, G


def nadam(
    w: Tensor,
    g: Tensor,
    v: Tensor,
    G: Tensor,
    μ_product: Tensor,
    k: Number,
    *,
    η: float,
    γ: float,
    α: float,
    ε: float,
    form: NadamForm,
    eps_in_root: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Adam that looks one step ahead. Dozat, ICLR workshop 2016, in the four forms in use.

    Coefficients on v and g at step k:
        lecture          γ/(1−γᵏ)     and (1−γ)/(1−γᵏ), first step 1.90 η; Choi et al. 2019
        dozat-constant   γ/(1−γᵏ⁺¹)   and (1−γ)/(1−γᵏ), first step 1.47 η; optax
        dozat, keras     μ_{k+1}/(1−Π_{i≤k+1} μ_i) and (1−μ_k)/(1−Π_{i≤k} μ_i)
                         with μ_k = γ(1 − ½·0.96^(kψ)), ψ = 0.004 (torch) or 1 (Keras)

    `μ_product` is Π_{i<k} μ_i, 0-dim float64; the last of what is returned is Π_{i≤k} μ_i.
    """
    g = squarable(g)
    v = v.lerp(g, 1 - γ)
    G = (G * α).addcmul_(g, g, value=1 - α)
    if form in _PSI:
        μ_now, μ_next = (γ * (1 - 0.5 * 0.96 ** (i * _PSI[form])) for i in (k, k + 1))
        μ_product = μ_product * μ_now
        on_v = μ_next / (1 - μ_product * μ_next)
        on_g = (1 - μ_now) / (1 - μ_product)
    else:
        on_v = γ / (1 - γ ** (k if form == "lecture" else k + 1))
        on_g = (1 - γ) / (1 - γ**k)
    # Numerator and denominator are divided by `on_g`, which saves a pass over memory.
    step = (v * _like(on_v / on_g, w)).add_(g)
    root = _corrected_root(G, k, α=α, ε=ε, eps_in_root=eps_in_root, times=1 / on_g)
    return w.addcdiv(step, root, value=-η), v, G, μ_product


def _root(G: Tensor, *, ε: Number, eps_in_root: bool) -> Tensor:
    """√(G+ε) or √G + ε."""
    return (G + ε).sqrt_() if eps_in_root else G.sqrt().add_(ε)


def _corrected_root(
    G: Tensor, k: Number, *, α: float, ε: float, eps_in_root: bool, times: Number
) -> Tensor:
    """√(Ĝ+ε) or √Ĝ + ε, times `times`, with Ĝ = G/(1−αᵏ) and as few passes as that takes."""
    share = 1 - α**k
    inner = ε * share if eps_in_root else times * ε
    root = (G + _like(inner, G)).sqrt_() if eps_in_root else G.sqrt()
    root = root.mul_(_like(times / share**0.5, G))
    return root if eps_in_root else root.add_(_like(inner, G))


def _like(coefficient: Number, w: Tensor) -> Number:
    # Computed in float64, used in the weights' type: torch is slow where types are mixed.
    return coefficient if isinstance(coefficient, float) else coefficient.to(w.dtype)


def squarable(g: Tensor) -> Tensor:
    """Returns `g` limited so that sums of its squares stay finite in its own precision.

    In float32 a square overflows from |g| = 1.8e19; the limit is a 32nd of that.
    """
    limit = float(torch.finfo(g.dtype).max) ** 0.5 / 32
    return g.clamp(-limit, limit)


def prepared(
    w: Tensor, g: Tensor, *, η: float, coupled: float, decoupled: float, scale: Number | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the weights and the gradient that a rule works on: clipped, and with decay.

    Args:
        w: weights.
        g: gradient.
        η: learning rate.
        coupled: λ of g ← g + λw.
        decoupled: λ of w ← w − ηλw.
        scale: what the gradient is multiplied by first.
    """
    if scale is not None:
        root = _like(scale**0.5, g)  # twice: a scale below 1e-38 would be lost in float32
        g = g * root * root
    return decoupled_decay(w, η=η, λ=decoupled), coupled_decay(g, w, coupled)


def coupled_decay(g: Tensor, w: Tensor, λ: float) -> Tensor:
    """g ← g + λw."""
    return g.add(w, alpha=λ) if λ else g


def decoupled_decay(w: Tensor, *, η: float, λ: float) -> Tensor:
    """w ← w − ηλw. Loshchilov and Hutter 2019."""
    return w * (1 - η * λ) if λ else w
