"""Random numbers that leave no trace: all generators are put back where they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserve_random(*generators: torch.Generator) -> Iterator[None]:
    """Puts the random states of torch, Python and numpy back, and those of these generators."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    own = [(one, one.get_state()) for one in generators]
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        for one, state in own:
            one.set_state(state)
