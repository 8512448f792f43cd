"""A job of a race in this process: what becomes of a run that fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ravine.core.errors import RavineError, TrainingDiverged
from ravine.tournament.job_graph import Job
from ravine.workflows.race_worker.job import run_job
from ravine.workflows.train import train

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """An .npz of 200 images without any pattern."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (200, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", images=images, labels=np.arange(200) % 2)
    return tmp_path / "noise.npz"


def diverging(data: Path) -> dict[str, Any]:
    """A recipe whose steps are never finite: a hundred of them in a row end training."""
    return {
        "data": str(data), "model": "resnet-cifar-8", "optimizer": "momentum", "lr": 1e30,
        "batch": 1, "norm": "none", "epochs": 3.0, "threads": 1, "warmup": 0.0,
        "on_divergence": "stop",
    }  # fmt: skip


def test_training_that_diverges_raises_its_own_type(noise: Path, tmp_path: Path) -> None:
    assert issubclass(TrainingDiverged, RavineError)
    with pytest.raises(TrainingDiverged, match="steps were not finite"):
        train(out=tmp_path / "run", **diverging(noise))


def test_a_job_that_diverges_says_so_in_its_status(noise: Path, tmp_path: Path) -> None:
    outcome = run_job(Job(run="run", share=1.0, settings=diverging(noise)), tmp_path)

    assert outcome is not None
    assert outcome.status == "diverged"
    assert "lower --lr" in outcome.text


def test_a_job_with_another_mistake_has_failed(noise: Path, tmp_path: Path) -> None:
    """Also where its text begins as that of a divergence does."""
    settings = diverging(noise) | {"data": str(tmp_path / "training diverged.npz")}
    outcome = run_job(Job(run="run", share=1.0, settings=settings), tmp_path)

    assert outcome is not None
    assert outcome.status == "failed"
    assert "training diverged.npz" in outcome.text
