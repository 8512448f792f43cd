"""Device, precision and threads of the machine."""

import torch

from ravine.core.cores import usable_cores
from ravine.core.errors import SettingError
from ravine.core.ranks import Ranks
from ravine.core.validation import check_device

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def pick_device(name: str = "auto") -> torch.device:
    """Returns the device of this name; `auto` is the first GPU, else the CPU.

    Raises:
        SettingError: the device is unknown, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_device(name)
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingError(f"device {name!r} needs a GPU and there is none; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"device {name!r} is not here: the GPUs are cuda:0 to cuda:"
            f"{torch.cuda.device_count() - 1}"
        )
    if device.type in ("mps", "xpu") and not getattr(torch, device.type).is_available():
        raise SettingError(f"device {name!r} is not on this machine; use --device cpu")
    return device


def device_of_rank(device: torch.device, ranks: Ranks) -> torch.device:
    """Returns the device of a rank: with GPUs, each local rank has its own.

    Raises:
        SettingError: one GPU is named for all ranks, or there are fewer GPUs than local ranks.
    """
    if ranks.size == 1 or device.type != "cuda":
        return device
    if device.index is not None:
        raise SettingError(f"device {device}: of several processes each has its own; say cuda")
    count = torch.cuda.device_count()
    if ranks.local_rank >= count:
        raise SettingError(
            f"{ranks.local_size} processes on a machine with {count} GPUs; "
            f"start torchrun with --nproc-per-node {count}"
        )
    torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", ranks.local_rank)


def threads_of_rank(number: int, ranks: Ranks) -> int:
    """Returns the threads of a rank: `number`, or for 0 its share of the cores."""
    return number or max(1, usable_cores() // ranks.local_size)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Returns whether matrix products are faster in bfloat16 than in float32 on this device."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):
        return False  # ATEN_CPU_CAPABILITY may hold a processor down
    flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, flag, lambda: False)()) for flag in flags)


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Returns the dtype of activations and matrix products; weights stay in float32.

    `auto` is bfloat16 where `has_fast_bfloat16`, else float32.

    Raises:
        SettingError: the precision is unknown.
    """
    if name == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise SettingError(f"precision {name!r} is not known; use auto, {', '.join(PRECISIONS)}")
    return PRECISIONS[name]
