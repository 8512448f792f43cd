"""A race through the command line, run to its end or gone on with, and what it found."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def race_to_end(data: Path, options: Sequence[str], out: Path) -> dict[str, Any]:
    """Returns the numbers of a race's results.json; one that has ended is not run again."""
    more = ["--out", str(out)] if out.exists() else [str(data), *options, "--out", str(out)]
    command = [sys.executable, "-m", "ravine", "race", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return dict(json.loads((out / "results.json").read_text()))
