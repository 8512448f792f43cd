"""Initial weights that keep the variance from layer to layer.

Xavier: Glorot, Bengio 2010. He: He et al. 2015. Orthogonal: Saxe et al. 2014. LSUV: Mishkin,
Matas 2016. Zero-init of the last norm of a residual branch: Goyal et al. 2017.

For a convolution n_in = c_in·k_h·k_w/groups and n_out = c_out·k_h·k_w/groups.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.core.validation import check_choice
from ravine.nn.activation import RECTIFIERS, he_gain
from ravine.nn.dropout import Dropout
from ravine.nn.head import CONVOLUTIONS, LAYERS, TRANSPOSED, call_order, head_of
from ravine.nn.layer_names import SCHEMES, Activation

_DROPOUTS = (Dropout, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)

Fill = Callable[[Tensor, int, int, float, torch.Generator | None], None]


def fans(layer: nn.Module) -> tuple[int, int]:
    """Returns (n_in, n_out) of a linear layer or convolution.

    >>> fans(nn.Conv2d(8, 16, 3, groups=2))
    (36, 72)
    """
    weight: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert isinstance(layer, CONVOLUTIONS + TRANSPOSED)
    kernel = math.prod(weight.shape[2:])
    return (
        layer.in_channels * kernel // layer.groups,
        layer.out_channels * kernel // layer.groups,
    )


def _xavier_uniform(
    w: Tensor, n_in: int, n_out: int, gain: float, generator: torch.Generator | None
) -> None:
    bound = math.sqrt(6 / (n_in + n_out))
    w.uniform_(-bound, bound, generator=generator)


def _xavier_normal(
    w: Tensor, n_in: int, n_out: int, gain: float, generator: torch.Generator | None
) -> None:
    w.normal_(0.0, math.sqrt(2 / (n_in + n_out)), generator=generator)


def _he_in(
    w: Tensor, n_in: int, n_out: int, gain: float, generator: torch.Generator | None
) -> None:
    w.normal_(0.0, gain / math.sqrt(n_in), generator=generator)


def _he_out(
    w: Tensor, n_in: int, n_out: int, gain: float, generator: torch.Generator | None
) -> None:
    w.normal_(0.0, gain / math.sqrt(n_out), generator=generator)


def _orthogonal(
    w: Tensor, n_in: int, n_out: int, gain: float, generator: torch.Generator | None
) -> None:
    nn.init.orthogonal_(w, gain, generator=generator)


_FILLS: Mapping[str, Fill] = {
    "xavier-uniform": _xavier_uniform,
    "xavier-normal": _xavier_normal,
    "he-in": _he_in,
    "he-out": _he_out,
    "orthogonal": _orthogonal,
    "lsuv": _orthogonal,
}
_ALIASES: Mapping[str, str] = {"xavier": "xavier-uniform", "he": "he-in"}


def resolve_scheme(scheme: str, activation: Activation) -> str:
    """Returns the scheme's own name; `auto` follows the activation.

    Raises:
        SettingError: the scheme is not known.
    """
    check_choice("init", scheme, SCHEMES)
    if scheme == "auto":
        return "he-out" if activation in RECTIFIERS else "xavier-uniform"
    return _ALIASES.get(scheme, scheme)


@torch.no_grad()
def init_(
    model: nn.Module,
    scheme: str = "auto",
    *,
    activation: Activation = "relu",
    generator: torch.Generator | None = None,
    batch: Tensor | None = None,
    zero_residual: bool = False,
) -> nn.Module:
    """Initialises the weights of every linear layer and convolution in place.

    Biases become 0; norms keep their values. A module with a method `after_init_` may then set
    its own initial values. The head, which no activation follows, is drawn by
    fan-in whatever the scheme, so that the first loss is near ln K: Var w = 1/(n_in·s) where its
    input is the sum of s residual branches (`summands`), else 1/n_in; rows are orthogonal where the
    scheme's are. LSUV then scales it on data like every layer.

    Args:
        model: any module.
        scheme: one of `SCHEMES`.
        activation: that follows the layers; decides gain and `auto`.
        generator: on the CPU; the same generator gives the same weights on every device.
        batch: images (B, C, H, W) on the model's device, for LSUV; where they are given the head
            is the layer that is called last, else the one that is registered last.
        zero_residual: start each residual branch at 0: its last norm, or its last convolution
            where no norm follows that. Such layers have a true `ends_residual_branch`.

    Returns:
        The model.

    Raises:
        SettingError: the scheme is not known, LSUV has no batch, or there is no residual branch.
    """
    name = resolve_scheme(scheme, activation)
    if name == "lsuv" and batch is None:
        raise SettingError("init lsuv scales layers on data: give it a batch of images")
    ends = [m for m in model.modules() if getattr(m, "ends_residual_branch", False)]
    if zero_residual and not ends:
        raise SettingError("zero_init: this network marks no residual branch to start at zero")
    if name != "torch":
        layers = [m for m in model.modules() if isinstance(m, LAYERS)]
        head = head_of(model, batch)
        for layer in layers:
            if layer is head:
                fill = _orthogonal if _FILLS[name] is _orthogonal else _he_in
                _fill(layer, fill, _head_gain(layer), generator)
            else:
                _fill(layer, _FILLS[name], he_gain(activation), generator)
        for module in model.modules():
            if callable(own := getattr(module, "after_init_", None)):
                own()
    if name == "lsuv" and batch is not None:
        _scale_to_unit_variance(model, batch)
    # After LSUV, which could not scale a layer whose input or output is all zeros.
    for end in ends if zero_residual else ():
        for parameter in end.parameters():
            nn.init.zeros_(parameter)
    return model


def _head_gain(head: nn.Module) -> float:
    summands = getattr(head, "summands", 1)
    assert isinstance(summands, int)
    return 1 / math.sqrt(summands)


def _fill(layer: nn.Module, fill: Fill, gain: float, generator: torch.Generator | None) -> None:
    weight: Tensor = layer.weight  # type: ignore[assignment]
    drawn = torch.empty(weight.shape, dtype=torch.float32)
    n_in, n_out = fans(layer)
    fill(drawn, n_in, n_out, gain, generator)
    weight.copy_(drawn)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


_LSUV_ROUNDS = 10
_LSUV_TOLERANCE = 0.01


def _scale_to_unit_variance(model: nn.Module, batch: Tensor) -> None:
    """Scales each layer, in the order in which they are called, until Var of its output is 1.

    Dropout is off meanwhile: it would draw random numbers from a generator that was not passed in.
    """
    modes = {module: module.training for module in model.modules()}
    buffers = [buffer.clone() for buffer in model.buffers()]
    for module in modes:
        module.training = not isinstance(module, _DROPOUTS)
    try:
        for layer in call_order(model, batch):
            for _ in range(_LSUV_ROUNDS):
                variance = _output_variance(model, layer, batch)
                if variance <= 0 or abs(variance - 1) < _LSUV_TOLERANCE:
                    break
                layer.weight.div_(math.sqrt(variance))  # type: ignore[operator]
    finally:
        for buffer, old in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(old)
        for module, training in modes.items():
            module.training = training


def _output_variance(model: nn.Module, layer: nn.Module, batch: Tensor) -> float:
    seen: list[float] = []

    # Inside the hook: an activation that works in place would change the output afterwards.
    def record(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
        seen.append(float(output.float().var(correction=0)))

    handle = layer.register_forward_hook(record)
    model(batch)
    handle.remove()
    return seen[0]
