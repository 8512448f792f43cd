"""A few runs of the fault zoo, by its own command: each fault named first, healthy runs left."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "bench" / "faults" / "run.py"
FAULTS = (
    "zero_grad forgotten", "softmax before cross-entropy", "the graph is cut", "left in eval",
    "labels shuffled", "sorted by class", "pixels 0 to 255", "the loss with the wrong sign",
    "eight sigmoid layers", "70 % of a layer dead", "rate × 1/1000", "from the middle on",
    "192 images",
)  # fmt: skip
HEALTHY = ("mlp fashion sgd", "mlp fashion rmsprop", "plain fashion momentum")


@pytest.mark.longest
@pytest.mark.slow
def test_a_small_zoo(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    only = ",".join((*FAULTS, *HEALTHY))
    said = subprocess.run(
        [sys.executable, RUN, "--seeds", "1", "--part", "set", "--rows", rows, "--only", only],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr

    kept = [json.loads(line) for line in rows.read_text().splitlines()]
    faulty = [row for row in kept if row["right"]]
    healthy = [row for row in kept if not row["right"]]
    wrong = [row for row in faulty if not row["found"] or row["found"][0][1] not in row["right"]]

    assert len(faulty) == len(FAULTS)
    assert len(healthy) == len(HEALTHY)
    assert not wrong
    assert not [row for row in healthy if row["found"]]
