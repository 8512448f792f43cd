"""The trained network as an instrument: in which view do images of validation look like training?

Images of validation are mirrored, turned, zoomed, and put into other orders of their channels. In
each view they go through the network, and the mean response of every unit is compared with that to
images of training. A view that brings them near, where the images as they are lie far away, is how
they would have to be prepared. Of what cannot be undone, such as a blur, images of training are
given the same.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.nested import map_tensors, tensors_in
from ravine.core.preserve_state import preserve_state
from ravine.findings.loop_record import BetterView
from ravine.monitor.loop_watch import Call
from ravine.monitor.response_distance import distance, responses, some_examples

_FEWEST = 16  # examples of each
_SIDE = 8  # pixels
_SECONDS, _PASSES = 3.0, 17  # of all views together
_ZOOM = 0.7

View = Callable[[Tensor], Tensor]


def better_view(model: nn.Module, trained: Call, validated: Call) -> BetterView | None:
    """Returns the view in which images of validation are nearest to those of training.

    None where inputs are no images (N, C, H, W), too few, or too slow. Buffers, modes and random
    state of the network stay.
    """
    x, y = _images(trained), _images(validated)
    if x is None or y is None or x.shape[1:] != y.shape[1:] or min(len(x), len(y)) < _FEWEST:
        return None
    with preserve_state(model), torch.no_grad():
        model.eval()
        began = time.monotonic()
        responses(model, some_examples(trained, _FEWEST))
        seconds = (time.monotonic() - began) / _FEWEST
        count = int(_SECONDS / _PASSES / max(seconds, 1e-9))
        if count < _FEWEST:
            return None
        return _nearest(model, some_examples(trained, count), some_examples(validated, count))


def _nearest(model: nn.Module, trained: Call, validated: Call) -> BetterView | None:
    x, y = _images(trained), _images(validated)
    ours, theirs = (responses(model, call) for call in (trained, validated))
    if x is None or y is None or not ours:
        return None
    found = [
        (distance(ours, responses(model, _seen(validated, y, view))), name)
        for name, view in _views(y)
    ]
    found += [
        (distance(responses(model, _seen(trained, x, view)), theirs), name)
        for name, view in _reductions()
    ]
    nearest, name = min(found)
    return BetterView(name=name, as_is=distance(ours, theirs), nearest=nearest)


def _images(call: Call) -> Tensor | None:
    found = [t for t in tensors_in(call) if t.is_floating_point() and t.dim() == 4]
    return found[0] if len(found) == 1 and min(found[0].shape[2:]) >= _SIDE else None


def _seen(call: Call, images: Tensor, view: View) -> Call:
    return map_tensors(call, lambda t: view(t) if t is images else t)


def _views(images: Tensor) -> Iterator[tuple[str, View]]:
    """Yields views of images (N, C, H, W) that keep their shape; left and right are alike."""
    yield "upside down", lambda t: t.flip(2)
    if images.shape[2] == images.shape[3]:
        yield "with height and width exchanged", lambda t: t.transpose(2, 3)
        yield "turned by 90 degrees", lambda t: t.rot90(1, (2, 3))
        yield "turned by 270 degrees", lambda t: t.rot90(3, (2, 3))
    yield "inverted", lambda t: t.amax() + t.amin() - t
    yield "cut to their middle", _zoomed_in
    yield "smaller, with a border", _zoomed_out
    channels = images.shape[1]
    if channels == 3:
        for order in itertools.permutations(range(3)):
            if order != (0, 1, 2):
                yield f"with channels in the order {order}", _reordered(order)


def _reductions() -> Iterator[tuple[str, View]]:
    """Yields what images of training must lose to be like those of validation."""
    yield (
        "beside blurred images of training",
        lambda t: F.avg_pool2d(t, 3, 1, 1, count_include_pad=False),
    )
    yield (
        "beside images of training without colours",
        lambda t: t.mean(1, keepdim=True).expand(t.shape),
    )


def _reordered(order: Sequence[int]) -> View:
    return lambda t: t[:, list(order)]


def _zoomed_in(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    top, left = round(height * (1 - _ZOOM) / 2), round(width * (1 - _ZOOM) / 2)
    part = images[:, :, top : height - top, left : width - left]
    return F.interpolate(part, (height, width), mode="bilinear", antialias=True)


def _zoomed_out(images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    inner = (round(_ZOOM * height), round(_ZOOM * width))
    small = F.interpolate(images, inner, mode="bilinear", antialias=True)
    rows, columns = height - inner[0], width - inner[1]
    sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return F.pad(small, sides, mode="replicate")
