"""Directions in the space of all weights, filter by filter.

Li, Xu, Taylor, Studer, Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS 2018:
Gaussian directions, each filter rescaled to the norm of the filter that it moves; biases and the
parameters of normalisation are not moved. The kind of module defines its filters.

A direction is a list of tensors, one per parameter of `moved_parameters`, in their order.
"""

import math
from itertools import repeat

import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError

Direction = list[Tensor]
Layout = tuple[tuple[int, ...], tuple[int, ...]]

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CHUNK = 1 << 16  # numbers
_VANISHED = 1e-6  # of a filter's length: a shorter remainder is rounding


def moved_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the floating-point parameters by name, shared ones once.

    Raises:
        SettingError: there is none.
    """
    found = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
    if not found:
        raise SettingError("the model has no parameters, so there is no surface; pass the network")
    return found


def filter_layouts(model: nn.Module) -> list[Layout | None]:
    """Returns for each moved parameter the layout of its filters, None where it has none.

    A layout is a shape to view the tensor in and the axes of that view that make up one filter:
    the inputs of a neuron (linear), the kernels of an output channel (convolution, whatever its
    groups; transposed ones keep that channel in their second axis), a vector (embedding).
    """
    modules = dict(model.named_modules())
    return [
        _layout(modules[name.rpartition(".")[0]], name.rpartition(".")[2], p)
        for name, p in moved_parameters(model).items()
    ]


def _layout(owner: nn.Module, name: str, p: Tensor) -> Layout | None:
    if p.dim() < 2 or isinstance(owner, _NORMS) or name.startswith("bias"):
        return None
    shape = tuple(p.shape)
    if isinstance(owner, _TRANSPOSED) and name == "weight":
        groups = owner.groups
        view = (groups, shape[0] // groups, *shape[1:])
        return view, (1, *range(3, len(view)))
    return shape, tuple(range(1, len(shape)))


def filter_ratios(model: nn.Module, direction: Direction) -> list[Tensor]:
    """Returns the norm of each filter of `direction` over that of the filter it moves.

    One tensor (F,) float64 for each parameter with filters; filters of norm 0 are left out.
    """
    ratios = []
    pairs = zip(moved_parameters(model).values(), direction, filter_layouts(model), strict=True)
    for p, part, layout in pairs:
        if layout is not None:
            view, axes = layout
            weight, other = (
                _norms(t.detach().double().view(view), axes).flatten() for t in (p, part)
            )
            ratios.append((other / weight)[weight > 0])
    return ratios


def random_direction(
    model: nn.Module, generator: torch.Generator, *, orthogonal_to: Direction | None = None
) -> Direction:
    """Returns a filter-normalised Gaussian direction, zero for biases and normalisation.

    Args:
        model: whose filters give the lengths.
        generator: on the CPU, so that a direction is the same on every device.
        orthogonal_to: a direction; each filter is made orthogonal to its filter there before
            it is rescaled, so that both properties hold. A filter with a single weight
            becomes zero.
    """
    others = orthogonal_to or repeat(None, len(moved_parameters(model)))
    triples = zip(moved_parameters(model).values(), filter_layouts(model), others, strict=True)
    return [_random_part(p, layout, generator, other) for p, layout, other in triples]


def _random_part(
    p: Tensor, layout: Layout | None, generator: torch.Generator, other: Tensor | None
) -> Tensor:
    if layout is None:
        return torch.zeros_like(p, requires_grad=False)
    view, axes = layout
    drawn = torch.randn(p.shape, generator=generator, dtype=torch.float64).view(view)
    made = torch.empty_like(p, requires_grad=False)
    # A few filters at a time: all of a layer in float64, several times, is more than a copy of it.
    size = max(1, _CHUNK * view[0] // p.numel())
    for start in range(0, view[0], size):
        rows = slice(start, start + size)
        weight = _exact(p, view, rows)
        found = drawn[rows]
        if other is not None:
            found = _orthogonal(found, _exact(other, view, rows), axes)
        lengths = _norms(found, axes)
        factor = torch.where(lengths > 0, _norms(weight, axes) / lengths, 0.0)
        made.view(view)[rows].copy_(found * factor)
    return made


def _exact(tensor: Tensor, view: tuple[int, ...], rows: slice) -> Tensor:
    return tensor.detach().view(view)[rows].to("cpu", torch.float64)


def _norms(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    return torch.linalg.vector_norm(tensor, dim=axes, keepdim=True)


def _orthogonal(drawn: Tensor, other: Tensor, axes: tuple[int, ...]) -> Tensor:
    square = (other * other).sum(axes, keepdim=True)
    before = _norms(drawn, axes)
    for _ in range(2):  # twice is enough: Giraud, Langou, Rozložník 2005
        product = (drawn * other).sum(axes, keepdim=True)
        drawn = drawn - other * torch.where(square > 0, product / square, 0.0)
    return torch.where(_norms(drawn, axes) > _VANISHED * before, drawn, 0.0)


def difference(model: nn.Module, end: nn.Module) -> Direction:
    """Returns the direction from the weights of `model` to those of `end`.

    Raises:
        SettingError: the two are not the same network.
    """
    here, there = moved_parameters(model), moved_parameters(end)
    if {n: p.shape for n, p in here.items()} != {n: p.shape for n, p in there.items()}:
        raise SettingError(
            "the models differ in their parameters; only equal networks can be joined"
        )
    return [
        (there[name].detach().to(p.device).double() - p.detach().double()).to(p.dtype)
        for name, p in here.items()
    ]


def inner(a: Direction, b: Direction) -> float:
    """Returns the inner product of two directions, in float64."""
    return math.fsum(float((u.double() * v.double()).sum()) for u, v in zip(a, b, strict=True))
