"""One of two processes that train the same network, for test_fused_steps.

A process of its own, which ends without destroying the group: torch's gloo threads can wait for
the interpreter's lock while their end is waited for under that lock.
"""

import copy
import os
import sys

import torch
from torch import nn

from ravine.optim import Nadam


def compare(rank: int, as_view: bool) -> None:
    torch.manual_seed(0)
    alone = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(48, 2))
    alone = alone.to(memory_format=torch.channels_last)
    twin = copy.deepcopy(alone)
    parallel = nn.parallel.DistributedDataParallel(twin, gradient_as_bucket_view=as_view)
    images = torch.linspace(-1, 1, 4 * 36).reshape(4, 1, 6, 6)
    for model, held, seen in (
        (alone, alone, images),
        (parallel, twin, images[2 * rank : 2 * rank + 2]),
    ):
        optimizer = Nadam(held.parameters(), 0.01)
        for k in range(3):
            optimizer.zero_grad()
            model(seen * (0.1 * k + 0.5)).square().mean().backward()
            optimizer.step()
    for p, q in zip(alone.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    store, rank = torch.distributed.FileStore(sys.argv[1], 2), int(sys.argv[2])
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for as_view in (False, True):
        compare(rank, as_view)
        print("equal", flush=True)
    os._exit(0)
