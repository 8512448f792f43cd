"""A race of six optimizers over 300 steps: seconds to HTML and GIF, and frames of the page.

    python bench/function_races.py [--function beale]

The command runs as a user runs it, from start to exit. The page is then played in headless
Chromium, without a GPU, as a map and in three dimensions; frames are counted as the browser
asks for them. Without a Chromium on the machine the frames are left out.
"""

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results import keep

# Counts the browser's frames for 3 s while the race plays, from its first step again at the end.
FRAMES = """new Promise(done => {
    const times = [];
    const count = now => {
        times.push(now);
        if (!race.playing) { race.goTo(0); document.getElementById('play').click(); }
        if (now - times[0] < 3000) requestAnimationFrame(count);
        else {
            const gaps = times.slice(1).map((at, i) => at - times[i]).sort((a, b) => a - b);
            done([1000 * gaps.length / (now - times[0]), gaps[Math.floor(0.95 * gaps.length)]]);
        }
    };
    requestAnimationFrame(count);
})"""


def race(function: str, out: Path) -> tuple[float, float]:
    """Returns the seconds that the command took, and those of processors in it."""
    command = [sys.executable, "-m", "ravine", "race", "--function", function, "--out", str(out)]
    began = time.monotonic()
    subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, used.ru_utime + used.ru_stime


def browser() -> Any:
    """Returns the module of the tests that drives Chromium."""
    path = Path(__file__).parents[1] / "tests" / "test_functions" / "chromium.py"
    spec = importlib.util.spec_from_file_location("chromium", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def frames(page_file: Path) -> dict[str, float]:
    """Returns frames a second and the longest gap but 5 %, in ms, as a map and in 3-D."""
    chromium = browser()
    if chromium.find_chromium() is None:
        return {}
    found = {}
    with chromium.Page("about:blank#", width=1280, height=1000) as page:
        page.open(page_file.as_uri())
        page.wait_for("window.race")
        for view, button in (("map", "flat"), ("3-D", "solid")):
            page.run(f"document.getElementById({button!r})?.click()")
            rate, gap = page.run(FRAMES)
            found[f"frames a second, {view}"] = round(rate, 1)
            found[f"95 % of gaps between frames under, ms, {view}"] = round(gap, 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--function", default="beale")
    function = parser.parse_args().function
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "race"
        load = os.getloadavg()[0]
        seconds, processor = race(function, out)
        figures = {
            "function": function,
            "seconds, start to exit": round(seconds, 1),
            "seconds of processor": round(processor, 1),
            "load of the machine before": round(load, 1),
            "HTML, bytes": (out / "race.html").stat().st_size,
            "GIF, bytes": (out / "race.gif").stat().st_size,
            **frames(out / "race.html"),
        }
    keep("function-races", f"python bench/function_races.py --function {function}", figures)


if __name__ == "__main__":
    main()
