"""What the user's step sends through the network and into the loss, beside the batch it was given.

A step that mirrors images must mirror their masks, points and boxes too. The images that it feeds
are compared with those of the batch, as they are and mirrored; the targets are read off the loss
function that it calls. Whether a mirror matters to values is asked of a linear map.
"""

from collections.abc import Callable, Iterator
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ravine.checks.check_batch import CheckBatch
from ravine.checks.context import CheckContext
from ravine.checks.mirrored_classes import VIEWS, exchanged_classes, mirrored_classes
from ravine.checks.mirrored_targets import errors_mirrored, targets_left
from ravine.checks.value_relation import values_of
from ravine.core.nested import tensors_in
from ravine.core.preserve_tensors import preserve_tensors
from ravine.core.preserve_training import preserve_training
from ravine.findings.finding import Finding

_LOSSES = ("loss", "cross_entropy", "kl_div")
_NEARER = 0.5  # distance to the mirrored image over that to the image itself
_FEWEST = 4  # images that are mirrored
# Error of the linear map over the variance; how many times larger when mirrored, and at least.
_PREDICTED, _WORSE, _FAR = 0.8, 2.0, 0.5


@final
class _FedTargets(TorchFunctionMode):
    """Keeps the second argument of the first loss function that is called with a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        is_loss = any(part in name for part in _LOSSES) and len(args) > 1
        are_tensors = is_loss and all(isinstance(one, Tensor) for one in args[:2])
        if are_tensors and args[0].requires_grad and self.targets is None:
            self.targets = args[1].detach().clone()
        return func(*args, **(kwargs or {}))


def find_mirrored_in_step(context: CheckContext) -> Iterator[Finding]:
    """Yields a step that mirrors images (N, C, H, W) and leaves their targets where they were."""
    sample = context.samples[0]
    if context.step is None or len(sample.float_inputs) != 1 or sample.float_inputs[0].dim() != 4:
        return
    if not isinstance(sample.targets, Tensor) or not _can_be_mirrored(sample):
        return
    fed, targets = fed_by_step(context, sample)
    images = sample.float_inputs[0]
    if fed is None or targets is None or fed.shape != images.shape:
        return
    if targets.shape != sample.targets.shape:
        return
    for axis, how in ((3, "left to right"), (2, "upside down")):
        mirrored = _are_mirrored(fed, images, axis)
        stay = _equal(targets, sample.targets)[mirrored]
        if int(mirrored.sum()) < _FEWEST or not bool(stay.all()):
            continue
        share = float(mirrored.double().mean())
        if sample.labels is not None:
            pair = _exchanged(context, how)
            if pair is not None:
                yield mirrored_classes(how, share, pair, "the step")
                return
        elif _matters(context, axis):
            yield targets_left("the step mirrors", how, share)
            return


def _can_be_mirrored(sample: CheckBatch) -> bool:
    return _is_mask(sample) or sample.labels is not None or values_of(sample) is not None


def _is_mask(sample: CheckBatch) -> bool:
    targets, images = sample.targets, sample.float_inputs[0]
    return isinstance(targets, Tensor) and targets.dim() > 2 and (
        targets.shape[-2:] == images.shape[-2:]
    )  # fmt: skip


def fed_by_step(context: CheckContext, sample: CheckBatch) -> tuple[Tensor | None, Tensor | None]:
    """Returns the inputs (N, …) and targets of the first pass of a step; all is put back.

    Each is None where it is not seen: a loss without a function of torch, a step that raises.
    """
    assert context.step is not None
    found: list[Tensor] = []

    def keep(_module: Any, args: Any) -> None:
        if torch.is_grad_enabled() and not found:
            found.extend(t.detach().clone() for t in tensors_in(args) if _is_input(t))

    given = tensors_in((sample.original, sample.inputs, sample.targets))
    handle = context.model.register_forward_pre_hook(keep)
    try:
        with (
            preserve_training(context.model, context.optimizer),
            preserve_tensors(given),
            _FedTargets() as mode,
        ):
            context.step(sample.original)
    except Exception:  # the user's step, which ran before without being watched so closely
        return None, None
    finally:
        handle.remove()
    return (found[0] if found else None), mode.targets


def _is_input(t: Tensor) -> bool:
    return t.is_floating_point() and t.dim() > 1


def _are_mirrored(fed: Tensor, images: Tensor, axis: int) -> Tensor:
    """Returns which of the fed images are nearer to the mirrored one than to the given, (N,)."""
    own = (fed - images).flatten(1).norm(dim=1)
    other = (fed - images.flip(axis)).flatten(1).norm(dim=1)
    return other < _NEARER * own


def _equal(one: Tensor, other: Tensor) -> Tensor:
    return (one == other.to(one)).reshape(len(one), -1).all(1)


def _exchanged(context: CheckContext, how: str) -> tuple[int, int] | None:
    """Returns two classes that a mirror makes of each other, by the images of all batches."""
    labels = [one.labels for one in context.samples]
    images = [one.float_inputs[0] for one in context.samples]
    known = [y for y in labels if y is not None]
    if len(known) < len(images) or len({x.shape[1:] for x in images}) > 1:
        return None
    y = torch.cat(known).cpu()
    return exchanged_classes(torch.cat(images), y, VIEWS[how]) if int(y.min()) >= 0 else None


def _matters(context: CheckContext, axis: int) -> bool:
    """Returns whether targets would be others for mirrored images."""
    sample = context.samples[0]
    if _is_mask(sample):
        assert isinstance(sample.targets, Tensor)
        return bool((sample.targets != sample.targets.flip(axis - 4)).any())
    found = errors_mirrored(context.samples, [values_of(one) for one in context.samples], axis)
    return found is not None and found[0] < _PREDICTED and found[1] > max(_FAR, _WORSE * found[0])
