"""Measures how fast this machine trains this network; the state is left as it was."""

import math
import time
from collections.abc import Iterable

import torch

from ravine.core.ranks import ALONE, Ranks
from ravine.nn.freezing import training_mode_
from ravine.training.evaluation import Images, class_probabilities
from ravine.training.loop import Training
from ravine.training.train_step import train_step

_WARM_UP = 2


def wait_for(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_per_step(
    training: Training, *, seconds: float, most: int = 50, ranks: Ranks = ALONE
) -> float:
    """Returns the mean seconds of a training step, batch preparation included.

    Takes about `seconds`, after a warm-up; at least two steps, but where the warm-up's last step
    takes as long by itself, as on a busy machine, that is the answer. Weights, buffers, the
    optimizer's state and the counters are afterwards bitwise what they were.
    """
    state = training.state
    saved = {name: value.clone() for name, value in state.tensors().items()}
    values, step = state.values(), state.step
    was_training = state.model.training
    training_mode_(state.model)
    taken = 0.0
    for _ in range(_WARM_UP):
        start = time.monotonic()
        _take_step(training)
        taken = ranks.broadcast(time.monotonic() - start)[0]
    if taken < seconds:
        taken = _mean_seconds(training, seconds=seconds, most=most, ranks=ranks)
    state.load(step, saved, values)
    state.model.zero_grad(set_to_none=True)
    if not was_training:
        state.model.eval()
    return taken


def _take_step(training: Training) -> None:
    state = training.state
    batch = training.batches.batch_at(state.step)
    train_step(state, training.forward, batch, settings=training.step)
    wait_for(state.transaction.skipped.device)


def _mean_seconds(training: Training, *, seconds: float, most: int, ranks: Ranks) -> float:
    start, count = time.monotonic(), 0
    enough = False
    while not enough:
        _take_step(training)
        count += 1
        spent = time.monotonic() - start
        enough = count >= 2 and (spent >= seconds or count >= most)
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
        batches: images on its device; the first one is the warm-up, and is timed too: again,
            but where the warm-up takes `seconds`.
        precision: of activations and products.
        mirrored: also evaluate the mirror images.
        seconds: after so many no further batch is timed.
    """

    def timed(batch: Images) -> float:
        start = time.monotonic()
        class_probabilities(model, [batch], precision=precision, mirrored=mirrored)
        return time.monotonic() - start

    spent, count = 0.0, 0
    for batch in batches:
        if not count and (warm_up := timed(batch)) >= seconds:
            return warm_up / len(batch.images)
        spent += timed(batch)
        count += len(batch.images)
        if spent >= seconds:
            break
    return spent / count
