"""The decision about a step: norm, finite check, and clipping, together and on the device.

decision = decide(parameters, loss, clip=1.0)
optimizer.step(ok=decision.ok, scale=decision.scale, gradients=decision.gradients)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ravine.core.checks import check_choice, check_range
from ravine.optim.clip import by_unit, by_value, norm_scale, norms

ClipBy = Literal["norm", "value", "agc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is known about a step before it is taken; nothing of it was read by the host.

    Attributes:
        norm: 0-dim float64, ‖g‖₂ over all parameters, before clipping.
        ok: 0-dim bool, whether loss and gradients are finite.
        bad: 0-dim int64, the place among the parameters of the gradient that is not finite and
            nearest to the output, where it broke first on the way back; -1 if there is none.
        scale: 0-dim float32 that all gradients are multiplied by, or None.
        gradients: clipped gradients that take the place of `.grad`, or None.
    """

    norm: Tensor
    ok: Tensor
    bad: Tensor
    scale: Tensor | None
    gradients: Mapping[Tensor, Tensor] | None


@torch.no_grad()
def decide(
    parameters: Sequence[Tensor],
    loss: Tensor,
    *,
    clip: float | None = None,
    clip_by: ClipBy = "norm",
) -> Decision:
    """Returns the decision about the step that the gradients of `parameters` propose.

    Args:
        parameters: in the order of the network, from input to output; those without a gradient
            are passed over.
        loss: 0-dim.
        clip: limit of the norm (c), of each value (c), or of AGC's ratio (λ); None for no clipping.
        clip_by: what is limited.

    Raises:
        SettingError: `clip` is not above 0, or `clip_by` is not known.
    """
    check_choice("clip_by", clip_by, ["norm", "value", "agc"])
    if clip is not None:
        check_range("clip", clip, low=0.0, low_open=True)
    held = [(place, p) for place, p in enumerate(parameters) if p.grad is not None]
    gradients = [p.grad for _, p in held if p.grad is not None]
    sizes = norms(gradients)
    broken = ~sizes.isfinite()
    # The -1 in front stands for none, also where no parameter has a gradient.
    places = torch.tensor([-1, *(place for place, _ in held)], device=sizes.device)
    bad = torch.where(torch.nn.functional.pad(broken, (1, 0)), places, -1).max()
    norm = torch.linalg.vector_norm(sizes)
    clipped: dict[Tensor, Tensor] | None = None
    if clip is not None and clip_by == "value":
        clipped = {p: by_value(g, clip) for (_, p), g in zip(held, gradients, strict=True)}
    elif clip is not None and clip_by == "agc":
        clipped = _adaptive(parameters, clip)
    return Decision(
        norm=norm,
        ok=loss.isfinite().all() & ~broken.any(),
        bad=bad,
        scale=norm_scale(norm, clip) if clip is not None and clip_by == "norm" else None,
        gradients=clipped,
    )


def _adaptive(parameters: Sequence[Tensor], limit: float) -> dict[Tensor, Tensor]:
    """Clips the weights of all layers but the last, which AGC leaves out."""
    layers = [p for p in parameters if p.dim() > 1]
    return {p: by_unit(p, p.grad, limit) for p in layers[:-1] if p.grad is not None}
