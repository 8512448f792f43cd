"""Random numbers that leave no trace: all generators are put back where they were."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def preserve_random(
    *generators: torch.Generator, devices: Sequence[torch.device | int] | None = None
) -> Iterator[None]:
    """Puts the random states of torch, Python and numpy back, and those of these generators.

    Args:
        generators: of a loader and the like.
        devices: GPUs whose states count too; None for all that there are.
    """
    if devices is None:
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    own = [(one, one.get_state()) for one in generators]
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        for one, state in own:
            one.set_state(state)


def generators_of(batches: Any) -> set[torch.Generator]:
    """Returns the generators of a DataLoader's own; none of other batches."""
    holders = (batches, getattr(batches, "sampler", None))
    found = (getattr(holder, "generator", None) for holder in holders)
    return {one for one in found if isinstance(one, torch.Generator)}
