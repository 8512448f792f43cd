"""A network is traced without what a first answer would wait for."""

import subprocess
import sys

_PROGRAM = """
import sys
from ravine.models import build
from ravine.ops.trace import trace
trace(build("alexnet", classes=3, channels=3, image_size=32).eval(), (3, 32, 32))
print("torch._dynamo" in sys.modules)
"""


def test_a_trace_does_not_import_the_compiler_of_torch() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "False"
