"""How the machine is shared among jobs: one per GPU, or as many as cores allow."""

import os
from dataclasses import dataclass
from typing import final

import torch

from ravine.core.device import pick_device
from ravine.core.errors import SettingError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many jobs run at a time, and what each of them has.

    Attributes:
        slots: jobs at a time.
        threads: of each on the CPU.
        devices: GPU of each slot; empty on the CPU.
    """

    slots: int
    threads: int
    devices: tuple[str, ...] = ()


def share_machine(*, jobs: int, threads: int, device: str) -> Share:
    """Returns the share of each job.

    Args:
        jobs: at a time; 0 for as many as there are GPUs, or cores for the threads of each.
        threads: of each job; 0 for an equal share of the cores.
        device: of the recipe: auto, cpu, cuda or cuda:N.

    Raises:
        SettingError: a negative number of jobs, or no such device.
    """
    if jobs < 0:
        raise SettingError(f"jobs must be at least 0 (as many as fit), got {jobs}")
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    where = pick_device(device)
    if where.type == "cuda":
        own = where.index
        found = [own] if own is not None and ":" in device else range(torch.cuda.device_count())
        slots = jobs or len(found)
        devices = tuple(str(found[k % len(found)]) for k in range(slots))
        return Share(slots=slots, threads=threads or max(1, cores // slots), devices=devices)
    slots = jobs or max(1, cores // max(1, threads))
    return Share(slots=slots, threads=threads or max(1, cores // slots))
