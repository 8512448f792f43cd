"""What libraries print past Python, kept instead of shown."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Keeps what this process prints to standard error, C++ included; yields what reads it."""
    sys.stderr.flush()
    with tempfile.TemporaryDirectory(prefix="ravine-") as folder:
        path = Path(folder) / "stderr"
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        before = os.dup(2)
        try:
            os.dup2(file, 2)
            yield lambda: path.read_text(encoding="utf-8", errors="replace")
        finally:
            os.dup2(before, 2)
            os.close(before)
            os.close(file)
