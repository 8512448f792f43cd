"""How torchrun started this process, read from its environment; loads no torch."""

import os
import sys
from typing import NoReturn

_TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")


def is_distributed() -> bool:
    """Returns whether torchrun started this process as one of several."""
    started = all(name in os.environ for name in _TORCHRUN_VARIABLES)
    return started and int(os.environ["WORLD_SIZE"]) > 1


def is_secondary_process() -> bool:
    """Returns whether this process has a rank above 0, and therefore prints nothing."""
    return is_distributed() and os.environ["RANK"] != "0"


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
