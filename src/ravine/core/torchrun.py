"""Whether torchrun started this process: read from its variables, without loading torch."""

import os

TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")


def is_distributed() -> bool:
    """Returns whether torchrun started this process as one of several."""
    started = all(name in os.environ for name in TORCHRUN_VARIABLES)
    return started and int(os.environ["WORLD_SIZE"]) > 1


def is_secondary_process() -> bool:
    """Returns whether this process has a rank above 0, and therefore prints nothing."""
    return is_distributed() and os.environ["RANK"] != "0"
