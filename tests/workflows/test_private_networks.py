"""A run's network is its own until somebody is given it; then each answer looks for changes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ravine.data.dataset import Preprocessing
from ravine.kernels.library import load_library
from ravine.models.settings import ModelSettings
from ravine.training.model_file import save_model
from ravine.workflows.run import Run

pytestmark = pytest.mark.skipif(load_library() is None, reason="the C library was not built")

SIZE, CLASSES = 12, ("cat", "dog", "ship")
IMAGES = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Returns a model.safetensors of a small network, which nobody else has."""
    torch.manual_seed(0)
    settings = ModelSettings(model="wrn-10-1")
    network = settings.build_model(classes=len(CLASSES), channels=3, image_size=SIZE)
    save_model(
        tmp_path / "model.safetensors",
        network,
        settings=settings,
        classes=CLASSES,
        preprocessing=Preprocessing(image_size=SIZE, channels=3, mean=(0.5,) * 3, std=(0.2,) * 3),
    )
    return Run.load(tmp_path / "model.safetensors")


def _probabilities(run: Run) -> np.ndarray:
    return run.predict(IMAGES, precision="float32").probabilities


def test_a_private_network_is_compiled_and_answers_as_the_network_does(run: Run) -> None:
    found = _probabilities(run)

    engine = run.members[0].engine
    assert not engine.is_shared
    assert any(compiled is not None for compiled in engine._compiled.values())
    values = (torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 255 - 0.5) / 0.2
    with torch.no_grad():
        wanted = run.model(values).softmax(1).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_weights_written_through_data_change_the_next_answer(run: Run) -> None:
    before = _probabilities(run)
    head = [m for m in run.model.modules() if isinstance(m, torch.nn.Linear)][-1]
    head.bias.data[1] += 5

    after = _probabilities(run)

    assert not np.allclose(before[:, 1], after[:, 1], atol=0.1)
    head.bias.data[1] -= 5
    np.testing.assert_allclose(_probabilities(run), before, rtol=1e-4, atol=1e-5)


def test_the_same_images_have_the_same_bits_at_every_call(run: Run) -> None:
    assert np.array_equal(_probabilities(run), _probabilities(run))
