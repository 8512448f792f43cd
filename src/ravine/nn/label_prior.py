"""The initial biases of a head that answers with several labels: their shares in the data.

With b = ln(p/(1 − p)) the network says p, a label's share, before it has learnt anything (Lin,
Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", ICCV 2017, section 4.1). From
b = 0 the first steps would be spent on learning that labels are rare.

Shape letters: B batch, C channels, H height, W width, K labels.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ravine.nn.head import LAYERS, head_of

_LEAST = 1e-4  # a share of 0 or 1 has no logit


@torch.no_grad()
def set_label_prior_(model: nn.Module, shares: Tensor, images: Tensor) -> bool:
    """Sets the head's biases so that the logits begin at those of the shares; adds them if missing.

    What follows the head may scale its outputs, as in swift networks: the biases are divided by the
    scale, which is measured.

    Args:
        model: with K outputs, on the device of `images`.
        shares: (K,) of images that have each label, in [0, 1].
        images: (B, C, H, W).

    Returns:
        Whether it could: False for a head whose outputs are not K, or do not follow its biases.
    """
    head = head_of(model, images)
    if head is None or not _has_outputs(head, len(shares)):
        return False
    before = head.bias if isinstance(head.bias, Tensor) else None
    bias = nn.Parameter(torch.zeros(len(shares), device=images.device))
    head.bias = bias
    modes = {module: module.training for module in model.modules()}
    model.eval()
    at_zero = model(images).float()
    bias.fill_(1.0)
    scale = (model(images).float() - at_zero).mean(0)
    for module, training in modes.items():
        module.training = training
    if scale.shape != bias.shape or not bool((scale.abs() > 1e-3).all()):
        head.bias = None if before is None else nn.Parameter(before)  # type: ignore[assignment]
        return False
    kept = shares.to(images.device, torch.float64).clamp(_LEAST, 1 - _LEAST)
    bias.copy_(torch.logit(kept) / scale.double())
    return True


def _has_outputs(layer: nn.Module, count: int) -> bool:
    return count in (getattr(layer, "out_features", 0), getattr(layer, "out_channels", 0))


def add_named_biases_(model: nn.Module, names: Iterable[str]) -> None:
    """Adds the biases that a saved network has by `set_label_prior_`, and its class has not.

    Args:
        model: as it is built.
        names: of the saved tensors; those that fit no layer without a bias are left alone.
    """
    layers = dict(model.named_modules())
    for name in names:
        owner, _, kind = name.rpartition(".")
        layer = layers.get(owner)
        if kind == "bias" and isinstance(layer, LAYERS) and layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(layer.weight.shape[0]))
