"""Measures how fast this machine trains this network; the state is left as it was."""

import math
import time
from collections.abc import Callable, Iterable

import torch

from ravine.core.ranks import ALONE, Ranks
from ravine.nn.freezing import training_mode_
from ravine.training.evaluation import Images, batch_log_probabilities
from ravine.training.loop import Training
from ravine.training.train_step import train_step

_WARM_UP, _FEWEST = 2, 2  # steps
_WARM_UP_PART = 8  # of a batch, before an evaluation is timed


def wait_for(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_per_step(
    training: Training,
    *,
    seconds: float,
    most: int = 50,
    warm_up: int = _WARM_UP,
    fewest: int = _FEWEST,
    ranks: Ranks = ALONE,
    small: bool = False,
) -> float:
    """Returns the mean seconds of a training step, batch preparation included.

    Of a step on full images, or on the `small` ones that the training has.

    Takes about `seconds` with its warm-up, which ends where half of them are gone: then one step
    is timed, else `fewest` at least. Weights, buffers, the optimizer's state and the counters are
    afterwards bitwise what they were.
    """
    state = training.state
    saved = {name: value.clone() for name, value in state.tensors().items()}
    values, step = state.values(), state.step
    was_training = state.model.training
    training_mode_(state.model)
    start, spent = time.monotonic(), 0.0
    for _ in range(warm_up):
        _take_step(training, small=small)
        spent = ranks.broadcast(time.monotonic() - start)[0]
        if spent >= seconds / 2:
            fewest = 1
            break
    left = seconds - spent
    taken = _mean_seconds(
        training, seconds=left, fewest=fewest, most=most, ranks=ranks, small=small
    )
    state.load(step, saved, values)
    state.model.zero_grad(set_to_none=True)
    if not was_training:
        state.model.eval()
    return taken


def _take_step(training: Training, *, small: bool) -> None:
    state = training.state
    batch = training.batch_at(state.step, progress=0.0 if small else 1.0)
    train_step(state, training.forward, batch, settings=training.step)
    wait_for(state.transaction.skipped.device)


def _mean_seconds(
    training: Training, *, seconds: float, fewest: int, most: int, ranks: Ranks, small: bool
) -> float:
    start, count = time.monotonic(), 0
    enough = False
    while not enough:
        _take_step(training, small=small)
        count += 1
        spent = time.monotonic() - start
        enough = count >= fewest and (spent >= seconds or count >= most)
        enough = bool(ranks.broadcast(enough)[0])  # all take part in a step
    return (time.monotonic() - start) / count


def seconds_per_image(
    model: torch.nn.Module,
    batches: Iterable[Images],
    *,
    precision: torch.dtype,
    mirrored: bool,
    seconds: float = math.inf,
) -> float:
    """Returns the seconds that evaluating one image takes, after a warm-up.

    Args:
        model: the network.
        batches: images on its device; an eighth of the first one is the warm-up, and the answer
            where it takes `seconds` by itself.
        precision: of activations and products.
        mirrored: also evaluate the mirror images.
        seconds: after so many, the warm-up's too, no further image is timed.
    """

    def timed(images: torch.Tensor) -> float:
        start = time.monotonic()
        batch_log_probabilities(model, images, precision=precision, mirrored=mirrored)
        wait_for(images.device)
        return time.monotonic() - start

    warm_up, spent, count = 0.0, 0.0, 0
    for batch in batches:
        images = batch.images
        if not count:
            few = images[: -(-len(images) // _WARM_UP_PART)]
            warm_up = timed(few)
            if warm_up >= seconds:
                return warm_up / len(few)
            fitting = len(few) * (seconds - warm_up) / warm_up
            images = images[: max(len(few), int(min(len(images), fitting)))]
        spent += timed(images)
        count += len(images)
        if warm_up + spent >= seconds:
            break
    return spent / count


def pace_of_images(forward: Callable[[int], object], *, seconds: float, most: int) -> float:
    """Returns the seconds of an image in passes over 1, 2, 4, … of them, the last pass's.

    A slow network is timed by one image, a quick one by `most` at a time.

    Args:
        forward: passes so many images through a network.
        seconds: after so many no further pass is timed.
        most: images in the largest pass.
    """
    spent, count = 0.0, 1
    while True:
        start = time.monotonic()
        forward(count)
        taken = time.monotonic() - start
        spent += taken
        if spent >= seconds or 2 * count > most:
            return taken / count
        count *= 2
