"""Starts the worker processes that decode images; they load no torch."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def start_worker(module: str, arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Starts a module of Ravine in a new process, with its standard output as a pipe.

    Args:
        module: its full name.
        arguments: of its command line.
        **options: of `subprocess.Popen`.
    """
    # -P: the user's folder is not searched for modules. A session of its own: Ctrl-C reaches
    # the parent alone, which then ends its workers.
    home = str(Path(__file__).resolve().parents[2])
    searched = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": searched},
        start_new_session=True,
        **options,
    )
