"""The live page's figures: first picture, frames, processor time, memory; and a tracker's.

    .venv/bin/python bench/watch.py [--epochs 0.5]

Headless Chromium opens the page of a server of its own: of 200 runs of 10,000 steps, of a run of
1,000,000 rows, and of a run that trains meanwhile (WRN-16-4 on the sample). Processor times are
those of /proc, so that they hold on a busy machine; frames and the first picture do not, and are
the best of several tries. Writes bench/results/watch.json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

from headless_browser import Page, open_browser  # noqa: E402
from results import keep, kept  # noqa: E402
from run_folders import make_run  # noqa: E402

RUNS, STEPS, ROWS, TRIES = 200, 10_000, 1_000_000, 3
TICKS = os.sysconf("SC_CLK_TCK")
FIRST_PICTURE = """new Promise(done => {
  const look = () => {
    const canvas = document.querySelector('#charts canvas');
    const label = canvas?.getAttribute('aria-label') || '';
    const drawn = label && !label.includes('no values yet');
    requestAnimationFrame(drawn ? () => done(performance.now()) : look);
  };
  look();
})"""
# Pans a tenth of the window a second, by the events of a wheel, and counts the frames of 3 seconds.
FRAMES = """new Promise(done => {
  const canvas = document.querySelector('#charts canvas'), times = [], began = performance.now();
  for (let k = 0; k < 3; k++) document.querySelector('#in').click();
  const turn = now => {
    times.push(now);
    const deltaX = (times.length % 240 < 120 ? 1 : -1) * canvas.clientWidth / 60;
    canvas.dispatchEvent(new WheelEvent('wheel', { deltaX, cancelable: true }));
    if (now - began < 3000) { requestAnimationFrame(turn); return; }
    const gaps = times.slice(1).map((t, k) => t - times[k]).sort((a, b) => a - b);
    const at = share => gaps[Math.floor(gaps.length * share)];
    const per_second = 1000 * gaps.length / (times.at(-1) - times[0]);
    done({ per_second, median_ms: at(0.5), p95_ms: at(0.95) });
  };
  requestAnimationFrame(turn);
})"""


def processor_seconds(task: Path) -> float:
    """Returns user and system time of a process or thread of /proc."""
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_memory(pid: int) -> float:
    """Returns the largest resident size of a process, in MB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, int]]:
    """Gives address and process of a server."""
    command = [sys.executable, "-m", "ravine", "watch", str(folder), "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[2], process.pid
        finally:
            process.terminate()


def opened(page: Page, url: str) -> float:
    """Opens the page anew; returns the milliseconds from navigation to the first picture."""
    page.send("Page.navigate", url="about:blank")
    page.size(1400, 1000)
    page.send("Page.navigate", url=url)
    return float(page.value(FIRST_PICTURE))


def many_runs(page: Page, folder: Path) -> dict[str, Any]:
    """Measures the first picture of many runs: with what a server has read, and without."""
    for k in range(RUNS):
        make_run(folder / f"run-{k:03d}", STEPS, seed=k)
    with server(folder) as (url, pid):
        first = opened(page, url)
        again = min(opened(page, url) for _ in range(TRIES))
        return {
            "runs": RUNS,
            "steps": STEPS,
            "first_ms": first,
            "again_ms": again,
            "memory_mb": peak_memory(pid),
        }


def long_run(page: Page, folder: Path) -> dict[str, Any]:
    """Measures frames a second while a long run is moved under the eye."""
    make_run(folder / "long", ROWS)
    with server(folder) as (url, pid):
        first = opened(page, f"{url}#run=long")
        page.wait("document.body.dataset.complete === 'true'", 240)
        tries = [page.value(FRAMES) for _ in range(TRIES)]
        best = max(tries, key=lambda one: one["per_second"])
        return {"rows": ROWS, "first_ms": first, "memory_mb": peak_memory(pid), **best}


def training(page: Page, folder: Path, epochs: float) -> dict[str, Any]:
    """Measures the server's processor time over the training's, with the page open."""
    folder.mkdir()
    words = ["train", "@fashion", "--model", "wrn-16-4", "--epochs", f"{epochs:g}"]
    words += ["--threads", "1", "--quiet", "--out", str(folder / "run")]
    # The page before goes on asking its server, which has ended.
    page.send("Page.navigate", url="about:blank")
    with server(folder) as (url, pid):
        training = subprocess.Popen([sys.executable, "-m", "ravine", *words])
        while not (folder / "run" / "history.jsonl").exists() and training.poll() is None:
            time.sleep(0.1)
        page.errors.clear()
        page.requests.clear()
        opened(page, url)
        pairs = []
        while training.poll() is None:
            try:
                trained = processor_seconds(Path(f"/proc/{training.pid}"))
            except OSError:
                break
            pairs.append((trained, processor_seconds(Path(f"/proc/{pid}"))))
            time.sleep(0.5)
        train, served = (pairs[-1][k] - pairs[0][k] for k in range(2))
        outside = [one for one in page.requests if not one.startswith(url)]
        return {
            "training_seconds": train, "server_seconds": served, "share": served / train,
            "memory_mb": peak_memory(pid), "requests": len(page.requests),
            "external_requests": len(outside), "console_errors": page.errors,
        }  # fmt: skip


def tracker(folder: Path, epochs: float) -> dict[str, Any]:
    """Measures the processor time of the threads that write TensorBoard's files during a run."""
    import ravine

    taken: dict[int, float] = {}

    def look(_: object) -> None:
        for thread in threading.enumerate():
            name = f"{thread.name} {type(thread).__name__}"
            if "trackers" in name or "AsyncWriter" in name:
                task = Path(f"/proc/self/task/{thread.native_id}")
                if task.exists():
                    taken[thread.native_id or 0] = processor_seconds(task)

    began = time.process_time()
    ravine.train(
        "@fashion", model="wrn-16-4", epochs=epochs, threads=1, out=folder / "tracked",
        log_to="tensorboard", observers=[look], show="none",
    )  # fmt: skip
    whole = time.process_time() - began
    return {
        "run_seconds": whole,
        "tracker_seconds": sum(taken.values()),
        "share": sum(taken.values()) / whole,
    }


def main() -> None:
    """Measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=float, default=0.5, help="of each training")
    parser.add_argument("--only", nargs="*", help="many, long, training, tracker")
    asked = parser.parse_args()
    found = kept("watch")
    with tempfile.TemporaryDirectory() as scratch, open_browser() as page:
        place = Path(scratch)
        measures = {
            "many": lambda: many_runs(page, place / "many"),
            "long": lambda: long_run(page, place / "long"),
            "training": lambda: training(page, place / "training", asked.epochs),
            "tracker": lambda: tracker(place, asked.epochs),
        }
        for name, measure in measures.items():
            if asked.only is None or name in asked.only:
                found[name] = measure()
                print(name, json.dumps(found[name]), flush=True)
                keep("watch", f"bench/watch.py --epochs {asked.epochs:g}", found)


if __name__ == "__main__":
    main()
