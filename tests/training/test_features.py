"""Features are what the head takes in; a head fitted to them is the minimum that scipy finds."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from ravine.models import build
from ravine.nn.head import head_name
from ravine.training.feature_cache import FeatureCache, feature_key
from ravine.training.features import HeadOnly, backbone_of, gather_features, largest_curvature
from ravine.training.head_fit import fit_head_


@pytest.mark.parametrize("name", ["wrn-10-1", "swift-1", "resnet-18", "alexnet"])
def test_features_and_the_end_of_a_network_are_the_network(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, classes=3, image_size=32)
    images = torch.randn(5, 3, 32, 32)

    backbone = backbone_of(model, head_name(model), images, precision=torch.float32)

    assert backbone is not None
    with torch.no_grad():
        split = backbone.end(torch.from_numpy(gather_features(backbone, [images[:2], images[2:]])))
        whole = model.eval()(images)
    torch.testing.assert_close(split, whole, rtol=1e-4, atol=1e-5)


def test_modes_are_afterwards_as_they_were() -> None:
    model = build("wrn-10-1", classes=3).train()
    model[4].eval()
    before = [m.training for m in model.modules()]

    backbone = backbone_of(
        model, head_name(model), torch.randn(4, 3, 32, 32), precision=torch.float32
    )

    assert backbone is not None
    assert [m.training for m in model.modules()] == before


def test_a_network_that_goes_on_after_its_head_is_not_split() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * self.head(x.flatten(1))

    found = backbone_of(Twice(), "head", torch.randn(4, 1, 2, 2), precision=torch.float32)

    assert found is None


def test_the_fitted_head_has_the_loss_that_scipy_finds() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, 5)).astype(np.float32)
    labels = (features @ rng.normal(size=(5, 3)) + rng.normal(size=(90, 3))).argmax(1)
    end = HeadOnly(nn.Linear(5, 3))
    loss = nn.functional.cross_entropy

    penalty = fit_head_(end, torch.from_numpy(features), torch.from_numpy(labels), loss)

    def objective(flat: np.ndarray) -> float:
        w, b = flat[:15].reshape(3, 5), flat[15:]
        z = features.astype(np.float64) @ w.T + b
        z -= z.max(1, keepdims=True)
        logs = z - np.log(np.exp(z).sum(1, keepdims=True))
        return float(-logs[np.arange(90), labels].mean() + penalty / 2 * (w**2).sum())

    ours = np.concatenate([p.detach().numpy().ravel() for p in end.head.parameters()])
    assert objective(ours.astype(np.float64)) == pytest.approx(
        minimize(objective, np.zeros(18)).fun, rel=1e-4
    )


def test_a_learning_rate_beyond_the_curvature_diverges_and_one_below_does_not() -> None:
    """Gradient descent on softmax regression with every logit at 0 is stable up to 4/λ."""
    rng = np.random.default_rng(1)
    features = rng.normal(3.0, 1.0, size=(200, 4))
    λ = largest_curvature(features)

    rows = np.concatenate([features, np.ones((200, 1))], 1)
    assert pytest.approx(np.linalg.norm(rows, 2) ** 2 / 200, rel=1e-6) == λ


def test_a_cache_is_found_again_and_a_torn_file_is_made_anew(
    own_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(6, dtype=np.float32).reshape(3, 2)

    cache = FeatureCache.at(feature_key({"a": 1}), keep=True)
    first = cache.load_or_make("train-0", 3, make)
    again = cache.load_or_make("train-0", 3, make)
    assert len(made) == 1
    assert np.array_equal(first, again)

    assert cache.folder is not None
    (cache.folder / "train-0.npy").write_bytes(b"torn")
    assert np.array_equal(cache.load_or_make("train-0", 3, make), first)
    assert len(made) == 2
    assert feature_key({"a": 1}) != feature_key({"a": 2})
