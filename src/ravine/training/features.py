"""The features of a network with a frozen backbone: what its head takes in, image by image.

Nothing before the head changes while it is trained, so that each image, or each augmented view of
it, passes through the backbone once; the head is trained on what came out.

Shape letters: N images, V views, B batch, F features of an image (one or more axes).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

_PROBED = 4  # images by which it is seen what happens after the head


@final
class HeadOnly(nn.Module):
    """The end of a network: features (B, F) to logits (B, K).

    Args:
        head: the layer that gives the logits.
        after: what follows it in a plain chain, such as a constant factor.
    """

    def __init__(self, head: nn.Module, after: Iterable[nn.Module] = ()) -> None:
        super().__init__()
        self.head = head
        self.after = nn.Sequential(*after)

    def forward(self, features: Tensor) -> Tensor:
        """Returns logits (B, K)."""
        logits: Tensor = self.after(self.head(features))
        return logits


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A network with the layer that gives its logits.

    Attributes:
        model: the whole network.
        head: that layer.
        end: the network from that layer on.
        precision: of activations and products.
    """

    model: nn.Module
    head: nn.Module
    end: HeadOnly
    precision: torch.dtype

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Returns what the head takes in, (B, F) float32, from images (B, C, H, W).

        The network is in evaluation mode meanwhile; afterwards each module is in the mode it had.
        """
        taken: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda _m, inputs: taken.append(inputs[0]))
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        try:
            with _autocast(images.device, self.precision):
                self.model(images)
        finally:
            handle.remove()
            for module, training in modes.items():
                module.training = training
        return taken[-1].detach().float()


@torch.no_grad()
def backbone_of(
    model: nn.Module, head: str | None, images: Tensor, *, precision: torch.dtype
) -> Backbone | None:
    """Returns a network split before its head; None where the head is not its end.

    Args:
        model: the network.
        head: name of the layer that gives the logits.
        images: some images (B, C, H, W), on which both ways are compared.
        precision: of activations and products.
    """
    if head is None:
        return None
    layer = model.get_submodule(head)
    children = list(model.children()) if isinstance(model, nn.Sequential) else []
    after = children[children.index(layer) + 1 :] if layer in children else []
    backbone = Backbone(model=model, head=layer, end=HeadOnly(layer, after), precision=precision)
    some = images[:_PROBED]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with _autocast(images.device, precision):
            whole = model(some)
            split = backbone.end(backbone.features(some))
    finally:
        for module, training in modes.items():
            module.training = training
    same = whole.shape == split.shape and torch.allclose(
        whole.float(), split.float(), rtol=1e-2, atol=1e-3
    )
    return backbone if same else None


def gather_features(backbone: Backbone, batches: Iterable[Tensor]) -> np.ndarray:
    """Returns the features (N, F) float32 of images that come in batches (B, C, H, W)."""
    parts = [backbone.features(images).cpu().numpy() for images in batches]
    return np.concatenate(parts)


def largest_curvature(features: np.ndarray) -> float:
    """Returns λ, the largest eigenvalue of E[f fᵀ] over features (N, F), f with a 1 for the bias.

    Softmax regression has no curvature above λ/2 (Böhning 1992), so that gradient descent is
    stable up to a learning rate of 4/λ.

    >>> largest_curvature(np.array([[3.0, 0.0], [3.0, 0.0]]))
    10.0
    """
    rows = features.reshape(len(features), -1).astype(np.float64)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    gram = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
    return round(float(np.linalg.eigvalsh(gram / len(rows))[-1]), 9)


def _autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)
