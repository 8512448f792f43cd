"""One slot of a Ray cluster: it passes its tasks to a process that lives as long as the worker.

Ray keeps a worker from task to task, and with it the process (`remote_slot.py`), which has loaded
torch and trains each task in a child of its own. A worker that is killed takes the process along.
The worker itself loads no torch: it has nothing to compute.
"""

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from ravine.core.cores import THREAD_VARIABLES
from ravine.core.errors import RunError

REQUEST, PACKED, RESULT, RUN = "request.json", "packed.tar", "result.json", "run.tar"


def run_remote(request_json: str, packed: bytes, threads: int) -> tuple[bytes, bytes]:
    """Does one task on the machine where Ray starts it.

    Args:
        request_json: a `RemoteRequest`.
        packed: the run folder of the task so far; nothing if it has none.
        threads: of the task.

    Returns:
        The result file, checked, and the packed run folder.

    Raises:
        RunError: the process ended without a valid result.
    """
    with tempfile.TemporaryDirectory(prefix="ravine-") as temporary:
        folder = Path(temporary)
        (folder / REQUEST).write_text(request_json, encoding="utf-8")
        (folder / PACKED).write_bytes(packed)
        process = _living_process(threads)
        if not _answers(process, f"{folder}\n".encode()):
            _process.cache_clear()
            raise RunError(f"the process of a job ended with code {process.wait()}")
        return (folder / RESULT).read_bytes(), (folder / RUN).read_bytes()


def _living_process(threads: int) -> subprocess.Popen[bytes]:
    if _process(threads).poll() is not None:
        _process.cache_clear()
    return _process(threads)


@cache
def _process(threads: int) -> subprocess.Popen[bytes]:
    """Starts the process that does the tasks of this worker, with so many threads."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ravine.workflows.race_worker.remote_slot"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))},
    )


def _answers(process: subprocess.Popen[bytes], line: bytes) -> bool:
    """Passes a line on and returns whether the process repeats it, its task done."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line)
        process.stdin.flush()
    except BrokenPipeError:
        return False
    return process.stdout.readline() == line
