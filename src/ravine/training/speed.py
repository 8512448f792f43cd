"""Measures how fast this machine trains this network; the state is left as it was."""

import time
from collections.abc import Iterable

import torch

from ravine.core.ranks import ALONE, Ranks
from ravine.training.evaluation import Images, class_probabilities
from ravine.training.loop import Batches
from ravine.training.state import TrainingState
from ravine.training.train_step import Forward, StepRules, train_step

_WARM_UP = 2


def wait_for(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_per_step(
    state: TrainingState,
    forward: Forward,
    batches: Batches,
    *,
    rules: StepRules,
    seconds: float,
    most: int = 50,
    ranks: Ranks = ALONE,
) -> float:
    """Returns the mean seconds of a training step, batch preparation included.

    Takes about `seconds`, after a warm-up; at least two steps. Weights, buffers, the optimizer's
    state and the counters are afterwards bitwise what they were.
    """
    saved = {name: value.clone() for name, value in state.tensors().items()}
    values, step = state.values(), state.step
    was_training = state.model.training
    state.model.train()
    device = state.transaction.skipped.device

    def one() -> None:
        train_step(state, forward, batches.batch_at(state.step), rules=rules)

    for _ in range(_WARM_UP):
        one()
    wait_for(device)
    start, count = time.monotonic(), 0
    enough = False
    while not enough:
        one()
        wait_for(device)
        count += 1
        spent = time.monotonic() - start
        enough = count >= 2 and (spent >= seconds or count >= most)
        enough = bool(ranks.broadcast(enough)[0])  # all take part in a step
    taken = (time.monotonic() - start) / count

    state.load(step, saved, values)
    state.model.zero_grad(set_to_none=True)
    state.model.train(was_training)
    return taken


def seconds_per_image(
    model: torch.nn.Module, batches: Iterable[Images], *, precision: torch.dtype, mirrored: bool
) -> float:
    """Returns the seconds that evaluating one image takes, from a few batches after a warm-up."""
    prepared = list(batches)
    class_probabilities(model, prepared[:1], precision=precision, mirrored=mirrored)
    start = time.monotonic()
    class_probabilities(model, prepared, precision=precision, mirrored=mirrored)
    return (time.monotonic() - start) / sum(len(batch.images) for batch in prepared)
