"""Random number generators, passed in by the caller.

Each use of random numbers (order, augmentation, dropout, initial weights, mixup) has a stream of
its own, a pure function of (seed, purpose, index), where the index is the epoch or the
step. A new use never shifts an old one, and a resumed run needs no saved random state.
"""

import hashlib

import torch


def seed_for(purpose: str, *, seed: int, index: int = 0) -> int:
    """Returns the 63-bit seed of one random stream.

    >>> seed_for("order", seed=0) == seed_for("order", seed=0)
    True
    >>> seed_for("order", seed=0) == seed_for("dropout", seed=0)
    False
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(
    purpose: str, *, seed: int, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Returns a fresh generator at the start of the stream of `purpose` and `index`."""
    generator = torch.Generator(device=device)
    generator.manual_seed(seed_for(purpose, seed=seed, index=index))
    return generator
