"""Which layers a network calls, in which order, and its head: the layer that gives the logits."""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)


def head_of(model: nn.Module, batch: Tensor | None = None) -> nn.Module | None:
    """Returns the head: the linear layer or convolution that is called last; None without layers.

    One forward pass in evaluation mode, which changes no buffer and draws no random number, gives
    the order of the calls. Without a batch it is the order of registration, which is that of the
    calls in every network of `ravine.models`.

    Args:
        model: any module; its modes are afterwards what they were.
        batch: images (B, C, H, W) on the model's device.
    """
    if batch is None:
        layers = [m for m in model.modules() if isinstance(m, LAYERS)]
        return layers[-1] if layers else None
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        called = call_order(model, batch)
    finally:
        for module, training in modes.items():
            module.training = training
    return called[-1] if called else None


def head_name(model: nn.Module, batch: Tensor | None = None) -> str | None:
    """Returns the name of the head; None without layers.

    A network that says itself which layer classifies (timm's `get_classifier`) is asked; else it
    is that of `head_of`, which takes `batch`, images (B, C, H, W), as it does here.
    """
    ask = getattr(model, "get_classifier", None)
    said = ask() if callable(ask) else None
    head = said if isinstance(said, LAYERS) else head_of(model, batch)
    return next((name for name, module in model.named_modules() if module is head), None)


@torch.no_grad()
def call_order(model: nn.Module, batch: Tensor) -> list[nn.Module]:
    """Returns the linear layers and convolutions in the order of their first calls.

    `batch` is (B, C, H, W), on the model's device.
    """
    called: list[nn.Module] = []
    handles: list[RemovableHandle] = [
        m.register_forward_hook(lambda layer, _i, _o: called.append(layer))
        for m in model.modules()
        if isinstance(m, LAYERS)
    ]
    try:
        model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(called))
