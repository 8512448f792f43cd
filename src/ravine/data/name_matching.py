"""A process that matches file names against a regular expression; `name_groups` starts it.

Reads JSON from standard input and writes what the expression's one group finds in each name, or
null. It ends itself after some seconds of processor time, though nobody waits for it any more.
Loads no torch.
"""

import json
import os
import re
import sys
import warnings

from ravine.core.lazy import lazy_module

resource = lazy_module("resource")  # Windows has none


def main() -> None:
    """Answers one job."""
    job = json.load(sys.stdin)
    if os.name == "posix":  # elsewhere whoever waits ends it
        resource.setrlimit(resource.RLIMIT_CPU, (job["seconds"], job["seconds"]))
    warnings.simplefilter("ignore")
    compiled = re.compile(job["pattern"])
    found = (compiled.search(name) for name in job["names"])
    json.dump([match[1] if match else None for match in found], sys.stdout)


if __name__ == "__main__":
    main()
