"""How the machine is shared among jobs: one per GPU, or as many as cores allow."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch

from ravine.core.cores import usable_cores
from ravine.core.device import pick_device
from ravine.core.errors import SettingError


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class JobSlots:
    """How many jobs run at a time, and what each of them has.

    Attributes:
        count: jobs at a time.
        threads: of each on the CPU.
        devices: GPU of each slot; empty on the CPU.
    """

    count: int
    threads: int
    devices: tuple[str, ...] = ()


def allocate_slots(*, jobs: int, threads: int, device: str) -> JobSlots:
    """Returns the slots of this machine.

    Args:
        jobs: at a time; 0 for as many as there are GPUs, or cores for the threads of each.
        threads: of each job; 0 for an equal share of the cores.
        device: of the recipe: auto, cpu, cuda or cuda:N.

    Raises:
        SettingError: a negative number of jobs, or no such device.
    """
    if jobs < 0:
        raise SettingError(f"jobs must be at least 0 (as many as fit), got {jobs}")
    cores = usable_cores()
    chosen = pick_device(device)
    if chosen.type == "cuda":
        index = chosen.index
        given = index is not None and ":" in device
        gpus = [index] if given else list(range(torch.cuda.device_count()))
        count = jobs or len(gpus)
        names = device_names(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
        devices = tuple(names[k % len(names)] for k in range(count))
        return JobSlots(count=count, threads=threads or max(1, cores // count), devices=devices)
    count = jobs or max(1, cores // max(1, threads))
    return JobSlots(count=count, threads=threads or max(1, cores // count))


def device_names(indices: Sequence[int], mask: str | None) -> list[str]:
    """Returns what `CUDA_VISIBLE_DEVICES` of a job calls GPUs that this process counts from 0.

    Args:
        indices: of this process's GPUs.
        mask: the `CUDA_VISIBLE_DEVICES` of this process, by which it counts; None without one.

    >>> device_names([0, 1], "2,3"), device_names([0, 1], None)
    (['2', '3'], ['0', '1'])
    """
    names = [name.strip() for name in (mask or "").split(",") if name.strip()]
    return [names[index] if index < len(names) else str(index) for index in indices]


def machine_memory() -> int:
    """Returns the bytes of memory of this machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
