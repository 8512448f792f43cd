"""How torchrun started this process, read from its environment; loads no torch."""

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, final

from ravine.core.errors import SettingError

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TorchrunVariables:
    """What torchrun tells each process of a training.

    Attributes:
        rank: in 0..size-1.
        size: processes in all.
        local_rank: in 0..local_size-1.
        local_size: processes on this host.
        address: of the host that keeps the store.
        port: of the store.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "TorchrunVariables | None":
        """Returns the variables of one process among several; None for a process alone.

        Raises:
            SettingError: some are missing, no numbers, or contradict each other.
        """
        names = (*_NUMBERS, "MASTER_ADDR")
        missing = [name for name in names if not environment.get(name, "").strip()]
        if "WORLD_SIZE" in missing and {"RANK", "MASTER_ADDR"} & set(missing):
            return None
        size = None if "WORLD_SIZE" in missing else _number(environment, "WORLD_SIZE")
        if size == 1:
            return None
        if missing:
            raise SettingError(
                f"{missing[0]} is not set, where other variables of torchrun are; start the "
                "processes with torchrun, or for one alone: unset WORLD_SIZE RANK"
            )
        numbers = {name: _number(environment, name) for name in _NUMBERS}
        _check_range("WORLD_SIZE", numbers["WORLD_SIZE"], 1, 2**20)
        _check_range("RANK", numbers["RANK"], 0, numbers["WORLD_SIZE"] - 1)
        _check_range("LOCAL_WORLD_SIZE", numbers["LOCAL_WORLD_SIZE"], 1, numbers["WORLD_SIZE"])
        _check_range("LOCAL_RANK", numbers["LOCAL_RANK"], 0, numbers["LOCAL_WORLD_SIZE"] - 1)
        _check_range("MASTER_PORT", numbers["MASTER_PORT"], 1, 2**16 - 1)
        return cls(
            rank=numbers["RANK"],
            size=numbers["WORLD_SIZE"],
            local_rank=numbers["LOCAL_RANK"],
            local_size=numbers["LOCAL_WORLD_SIZE"],
            address=environment["MASTER_ADDR"].strip(),
            port=numbers["MASTER_PORT"],
        )


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name].strip()
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
        raise SettingError(f"{name} must be a whole number, got {text[:40]!r}; torchrun sets it")
    return int(text[:12])


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise SettingError(f"{name} must be in {low}..{high}, got {value}; torchrun sets it")


def is_distributed() -> bool:
    """Returns whether torchrun started this process as one of several."""
    with contextlib.suppress(SettingError):  # `join_ranks` reports it
        return TorchrunVariables.of(os.environ) is not None
    return False


def is_secondary_process() -> bool:
    """Returns whether this process has a rank above 0, and therefore prints nothing."""
    return is_distributed() and int(os.environ["RANK"]) != 0


def exit_process(code: int | str | None) -> NoReturn:
    """Ends the process with this exit code, as `sys.exit` takes it."""
    distributed = sys.modules.get("torch.distributed")  # where it is not loaded, no group is open
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        # The group is not destroyed: gloo's threads can wait for the interpreter's lock while
        # the caller holds it and waits for their end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
    sys.exit(code)
