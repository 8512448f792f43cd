"""Modules that a command loads for good."""

import subprocess
import sys

_LOADS = """
import gc
{before}
from ravine.core.lazy import lazy_module
fractions = lazy_module("fractions", for_good={for_good})
gc.unfreeze()
fractions.Fraction
print(gc.isenabled(), gc.get_freeze_count() > 0)
"""


def _printed(*, for_good: bool, before: str = "") -> str:
    code = _LOADS.format(for_good=for_good, before=before)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_collector_passes_over_what_is_loaded_for_good_and_over_nothing_else() -> None:
    assert _printed(for_good=True) == "True True"
    assert _printed(for_good=False) == "True False"


def test_a_collector_that_rests_goes_on_resting() -> None:
    assert _printed(for_good=True, before="gc.disable()") == "False True"
