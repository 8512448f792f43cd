"""Muon: momentum whose step is made orthogonal, filter by filter, before it is taken.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
https://kellerjordan.github.io/posts/muon/. A filter (c_out, c_in, k, k) counts as a matrix of c_out
rows. Norms, biases, the first layer and the head take Adam's steps.

Shape letters: N filters of one shape, R rows, C columns.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from ravine.core.validation import check_range
from ravine.optim.adam import adam
from ravine.optim.base import RuleOptimizer, State, applied_steps
from ravine.optim.decay import Decay
from ravine.optim.step_engine import Implementation
from ravine.optim.update_rules import prepared, squarable

# f(s) = as + bs³ + cs⁵, applied five times, takes singular values of 0.01 to 1 into 0.68 to 1.14.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_TIMES = 5
_SMALLEST_NORM = 1e-7
_LR, _ADAM_SHARE = 0.02, 0.15


def orthogonal(u: Tensor) -> Tensor:
    """Returns U f⁵(Σ) Vᵀ of u/‖u‖ = UΣVᵀ, by Newton-Schulz: X ← aX + (bA + cA²)X, A = XXᵀ.

    With P = aI + bA + cA² that is X ← PX and A ← PAP: all P are polynomials of the first A. Filters
    have many more columns than rows, so P is multiplied up, and meets X once.

    Args:
        u: (..., R, C), floating point. Each matrix is divided by its Frobenius norm + 1e-7.
    """
    norm = torch.linalg.vector_norm(u, dim=(-2, -1), keepdim=True, dtype=torch.float64)
    X = u / (norm + _SMALLEST_NORM).to(u.dtype)
    return _polynomial(X.mT).mT if u.shape[-2] > u.shape[-1] else _polynomial(X)


def _polynomial(X: Tensor) -> Tensor:
    """Returns U f⁵(Σ) Vᵀ of X = UΣVᵀ, (..., R, C) with R ≤ C."""
    A = X @ X.mT
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    product = P = _A * identity + _B * A + _C * (A @ A)
    for _ in range(_TIMES - 1):
        A = P @ A @ P
        P = _A * identity + _B * A + _C * (A @ A)
        product = P @ product
    return product @ X


def muon(
    w: Tensor, g: Tensor, v: Tensor, *, η: float, μ: float, nesterov: bool
) -> tuple[Tensor, Tensor]:
    """Returns w and v after v ← μv + g, w ← w − η·√max(1, R/C)·O(g + μv); O: `orthogonal`.

    Args:
        w: (N, R, ...), N filters of one shape.
        g: their gradients, of the same shape.
        v: their momenta, of the same shape.
        η: learning rate.
        μ: momentum.
        nesterov: O(g + μv); otherwise O(v).
    """
    g = squarable(g)
    v = v * μ + g
    u = (g.add(v, alpha=μ) if nesterov else v).flatten(2)
    rows, columns = u.shape[-2:]
    size = max(1.0, rows / max(1, columns)) ** 0.5  # no columns: nothing to move
    return w.add(orthogonal(u).view_as(w), alpha=-η * size), v


@final
class Muon(RuleOptimizer):
    """w ← w − η·√max(1, R/C)·O(g + μv), v ← μv + g. Jordan et al. 2024.

    A group with `orthogonal=False` takes Adam's steps. A group that does not say so is split:
    its matrices and filters are made orthogonal, its biases and norms take Adam's steps with lr
    times `adam_share`. `Muon.arranged` gives the first layer and
    the head to Adam too.

    Args:
        params: parameters or groups of them.
        lr: η ≥ 0 of orthogonal steps.
        momentum: μ in [0, 1).
        nesterov: look ahead along v.
        betas: of Adam's steps.
        eps: of Adam's steps.
        adam_share: Adam's learning rate over η, above 0.
        weight_decay: λ ≥ 0.
        decay: decoupled (w ← w − ηλw) or coupled (g ← g + λw).
        implementation: of Adam's steps, as in `RuleOptimizer`; as orthogonal steps are torch's.
    """

    by_element = False

    def __init__(
        self,
        params: ParamsT,
        lr: float = _LR,
        momentum: float = 0.95,
        *,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        adam_share: float = _ADAM_SHARE,
        weight_decay: float = 0.0,
        decay: Decay = "decoupled",
        implementation: Implementation = "auto",
    ) -> None:
        own = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "betas": betas,
            "eps": eps,
            "eps_in_root": False,
            "adam_share": adam_share,
            "orthogonal": None,
        }
        super().__init__(params, own, weight_decay, decay, implementation)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group; one that does not say whether its steps are orthogonal becomes up to two.

        Raises:
            SettingError: a hyperparameter of the group is out of its range.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["orthogonal"] is None:
            self.param_groups[-1:] = _split(group, [p for p in group["params"] if p.dim() > 1])

    @classmethod
    def arranged(cls, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns groups in which filters between the first layer and the head step orthogonally.

        Args:
            model: the network; its first and its last matrix or filter, in the order in which it
                registers them, take Adam's steps, as everything with less than two dimensions does.
            groups: of `parameter_groups`; those without lr have the default 0.02.
        """
        hidden = [p for p in model.parameters() if p.dim() > 1][1:-1]
        given = {"lr": _LR, "adam_share": _ADAM_SHARE}
        return [half for group in groups for half in _split({**given, **group}, hidden)]

    def check_group(self, group: Mapping[str, Any]) -> None:
        """Raises `SettingError` unless each hyperparameter is in its range."""
        super().check_group(group)
        check_range("adam_share", group["adam_share"], low=0.0, low_open=True, high_open=True)

    def describe(self, group: Mapping[str, Any]) -> str:
        """Returns a group's update as a formula, orthogonal or Adam's."""
        if not group["orthogonal"]:
            return "v ← γv + (1−γ)g, G ← αG + (1−α) g⊙g, w ← w − η v̂ ⊘ (√Ĝ + ε)"
        return "v ← μv + g, w ← w − η √max(1, R/C) O(" + ("g + μv)" if group["nesterov"] else "v)")

    def variant(self, group: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Returns the name of Adam's rule; the kernels do not step orthogonal filters."""
        return "adam"

    def initial_state(self, w: Tensor, group: Mapping[str, Any]) -> State:
        """Returns v of an orthogonal parameter, v and G of another: zeros of the shape of `w`."""
        slots = ("v",) if group["orthogonal"] else ("v", "G")
        return {slot: torch.zeros_like(w) for slot in slots}

    def apply_rule(
        self, w: Tensor, g: Tensor, state: State, group: Mapping[str, Any]
    ) -> tuple[Tensor, State]:
        """Applies `muon` or `adam` to tensors of one shape; for `muon` (R, ...)."""
        if group["orthogonal"]:
            new_w, v = _apply_muon(w[None], g[None], state["v"][None], group)
            return new_w[0], {"v": v[0], "step": state["step"]}
        γ, α = group["betas"]
        k, η, ε = applied_steps(state), group["lr"], group["eps"]
        new_w, v, G = adam(w, g, state["v"], state["G"], k, η=η, γ=γ, α=α, ε=ε)
        return new_w, {"v": v, "G": G, "step": state["step"]}

    def _step_plain(
        self,
        excluded: Collection[Tensor],
        ok: Tensor | None,
        scale: Tensor | None,
        gradients: Mapping[Tensor, Tensor] | None,
    ) -> None:
        """Steps the filters of one shape at once, and the rest tensor by tensor."""
        stacks = _stacks(self.param_groups)
        filters = {w for _, stack in stacks for w in stack}
        super()._step_plain({*excluded, *filters}, ok, scale, gradients)
        for group, stack in stacks:
            self._step_stack(stack, group, ok, scale, gradients or {})

    def _step_stack(
        self,
        stack: Sequence[Tensor],
        group: Mapping[str, Any],
        ok: Tensor | None,
        scale: Tensor | None,
        gradients: Mapping[Tensor, Tensor],
    ) -> None:
        coupled, λ = group["decay"] == "coupled", group["weight_decay"]
        pairs = [
            prepared(
                w,
                gradients.get(w, w.grad),  # type: ignore[arg-type]  # `_stacks` takes no other
                η=group["lr"],
                coupled=λ if coupled else 0.0,
                decoupled=0.0 if coupled else λ,
                scale=scale,
            )
            for w in stack
        ]
        kept, g = (torch.stack(tensors) for tensors in zip(*pairs, strict=True))
        v = torch.stack([self.state[w]["v"] for w in stack])
        new_w, new_v = _apply_muon(kept, g, v, group)
        for i, w in enumerate(stack):
            state = self.state[w]
            w.copy_(new_w[i] if ok is None else torch.where(ok, new_w[i], w))
            state["v"].copy_(new_v[i] if ok is None else torch.where(ok, new_v[i], state["v"]))
            state["step"] += 1 if ok is None else ok


def _stacks(groups: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[Tensor]]]:
    """Returns the filters with a gradient that can be stepped at once: of one group and shape."""
    found: dict[Any, tuple[Mapping[str, Any], list[Tensor]]] = {}
    for number, group in enumerate(groups):
        for w in group["params"] if group["orthogonal"] else ():
            if w.grad is not None:
                key = (number, w.shape, w.dtype, w.device)
                found.setdefault(key, (group, []))[1].append(w)
    return list(found.values())


def _apply_muon(w: Tensor, g: Tensor, v: Tensor, group: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    return muon(w, g, v, η=group["lr"], μ=group["momentum"], nesterov=group["nesterov"])


def _split(group: Mapping[str, Any], chosen: Collection[Tensor]) -> list[dict[str, Any]]:
    """Returns a group as those parameters of it that are `chosen`, and the others for Adam."""
    kept = set(chosen)
    halves = []
    for is_orthogonal, share in ((True, 1.0), (False, group["adam_share"])):
        index = [i for i, p in enumerate(group["params"]) if (p in kept) is is_orthogonal]
        lists = {
            key: [group[key][i] for i in index] for key in ("params", "param_names") if key in group
        }
        if index:
            half = {**group, **lists, "lr": group["lr"] * share, "orthogonal": is_orthogonal}
            halves.append(half)
    return halves
