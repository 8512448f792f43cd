"""Trained layers that are given images prepared otherwise than those that they were trained on.

The first batch norm keeps what it saw: its running mean and variance. The batch is put into the
usual other forms (0 to 255, 0 to 1, −1 to 1, ImageNet's mean and deviation, channels in the other
order), and one that brings the norm's inputs near to what it keeps, where as they are they lie
far away, is how the images were prepared then. Other images alone are far in every form.

Shape letters: N images, C channels, H height, W width.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.drifting_statistics import divergence
from ravine.core.nested import map_tensors
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding
from ravine.findings.thresholds import OTHER_FORM, OTHER_FORM_LEFT

_TRAINED = 100  # batches after which statistics are of training
_EXAMPLES = 64
_BYTES, _ROOM = 2.0, 0.05  # largest value of images up to 1; and what may lie outside of 0 to 1
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as it is always given

Form = Callable[[Tensor], Tensor]


class _SeenEnough(Exception):
    """The first norm has its inputs."""


def find_other_preparation(context: CheckContext) -> Iterator[Finding]:
    """Yields another form of the images in which a trained first norm finds what it keeps."""
    sample = context.samples[0].first(_EXAMPLES)
    images = sample.float_inputs
    if len(images) != 1 or images[0].dim() != 4 or images[0].shape[1] not in (1, 3):
        return
    if not any(_is_trained(m) for m in context.model.modules()):
        return
    with preserve_training(context.model), torch.no_grad():
        context.model.eval()
        as_is = _apart(context, sample, lambda t: t)
        if as_is is None or as_is[1] < OTHER_FORM:
            return
        found = [
            (apart[1], name)
            for name, form in _forms(images[0])
            if (apart := _apart(context, sample, form)) is not None
        ]
    nearest, name = min(found, default=(float("inf"), ""))
    if nearest < min(OTHER_FORM, OTHER_FORM_LEFT * as_is[1]):
        yield _finding(context, as_is[0], as_is[1], nearest, name)


def _is_trained(module: nn.Module) -> bool:
    if not isinstance(module, nn.modules.batchnorm._BatchNorm) or module.running_mean is None:
        return False
    return module.num_batches_tracked is not None and int(module.num_batches_tracked) >= _TRAINED


def _forms(images: Tensor) -> Iterator[tuple[str, Form]]:
    """Yields the usual other forms of images (N, C, H, W), by what they would have to become."""
    channels = images.shape[1]
    mean, std = (images.new_tensor(v[:channels])[:, None, None] for v in (_MEAN, _STD))
    if channels == 3:
        yield "with channels in the other order (RGB and BGR)", lambda t: t.flip(1)
    low, high = float(images.min()), float(images.max())
    if low >= 0:
        size = 255.0 if high > _BYTES else 1.0
        unit = images / size
        own, own_std = (t[:, None, None] for t in (unit.mean((0, 2, 3)), unit.std((0, 2, 3))))
        yield "less their mean, over their deviation", lambda t: (t / size - own) / own_std
        yield from _from_unit(lambda t: t / size, mean, std, "")
        return
    backs: tuple[tuple[str, Form], ...] = (
        (" (they are from -1 to 1)", lambda t: (t + 1) / 2),
        (" (they have ImageNet's mean and deviation)", lambda t: t * std + mean),
    )
    for known_by, unit_of in backs:
        back = unit_of(images)
        if float(back.min()) > -_ROOM and float(back.max()) < 1 + _ROOM:
            yield from _from_unit(unit_of, mean, std, known_by)


def _from_unit(
    unit_of: Form, mean: Tensor, std: Tensor, known_by: str
) -> Iterator[tuple[str, Form]]:
    """Yields forms of images, by way of that from 0 to 1.

    Args:
        unit_of: gives (N, C, H, W) from 0 to 1.
        mean: of ImageNet, (C, 1, 1).
        std: its deviation, (C, 1, 1).
        known_by: what is said of the images as they are.
    """
    yield f"from 0 to 1{known_by}", unit_of
    yield f"from 0 to 255{known_by}", lambda t: 255 * unit_of(t)
    yield f"from -1 to 1{known_by}", lambda t: 2 * unit_of(t) - 1
    yield f"less ImageNet's mean, over its deviation{known_by}", lambda t: (unit_of(t) - mean) / std


def _apart(context: CheckContext, sample: CheckBatch, form: Form) -> tuple[str, float] | None:
    """Returns the name of the first norm, and how far what it is given is from what it keeps.

    In nats a channel. None where it is not trained, or nothing reaches it.
    """
    found = list[tuple[str, float]]()
    images = sample.float_inputs[0]

    def measure(name: str) -> Any:
        def before(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if _is_trained(norm):
                found.append((name, divergence(inputs[0].double(), norm) - 1 / len(images)))
            raise _SeenEnough

        return before

    norms = [
        (name, m)
        for name, m in context.model.named_modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    handles = [norm.register_forward_pre_hook(measure(name)) for name, norm in norms]
    inputs = map_tensors(sample.inputs, lambda t: form(t) if t is images else t)
    try:
        context.output(CheckBatch(inputs=inputs, targets=sample.targets, original=None))
    except _SeenEnough:
        return found[0] if found else None
    finally:
        for handle in handles:
            handle.remove()
    return None


def _finding(context: CheckContext, layer: str, as_is: float, nearest: float, name: str) -> Finding:
    norm = context.model.get_submodule(layer)
    pair = context.measured.steps
    modes = dict(zip(context.model.modules(), pair.first.modes, strict=False)) if pair else {}
    own = list(norm.parameters())
    is_frozen = not modes.get(norm, True) or (bool(own) and not any(p.requires_grad for p in own))
    return Finding(
        severity="warning" if is_frozen else "note",
        code="norm-statistics-disagree",
        seen=f"trained layers are given images whose statistics at their first norm are "
        f"{as_is:.2g} nats a channel from those that it keeps, and {nearest:.2g} for the same "
        f"images {name}",
        cause="the images are prepared otherwise than those that these layers were trained on"
        + ("" if is_frozen else "; they can adapt, and begin worse than they could"),
        cure=f"prepare them so: {name}; what comes with the weights says how",
        layer=layer,
        evidence={"as_is": as_is, "nearest": nearest},
    )
