"""Trajectory planes: one that holds the trajectory exactly, one that it leaves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ravine.core.errors import RunError
from ravine.landscapes import landscape, moved_parameters, trajectory_plane
from ravine.landscapes import trajectory as module


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()


def unit_directions(model: nn.Module, count: int) -> list[list[Tensor]]:
    size = sum(p.numel() for p in model.parameters())
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, count)))
    sizes = [p.numel() for p in model.parameters()]
    return [
        [
            part.view(p.shape)
            for part, p in zip(torch.tensor(v).split(sizes), model.parameters(), strict=True)
        ]
        for v in q.T
    ]


def points(model: nn.Module, coordinates: np.ndarray) -> list[dict[str, Tensor]]:
    directions = unit_directions(model, coordinates.shape[1])
    return [
        {
            name: p.detach() + sum(c * d[k] for c, d in zip(point, directions, strict=True))
            for k, (name, p) in enumerate(moved_parameters(model).items())
        }
        for point in coordinates.tolist()
    ]


def test_a_plane_that_holds_the_trajectory_loses_nothing() -> None:
    model = network()
    coordinates = np.array([[3.0, 1.0], [2.0, -1.0], [1.0, 0.5]])
    found = trajectory_plane(model, points(model, coordinates))

    np.testing.assert_array_equal(found.off_plane, 0)
    assert sum(found.explained) == pytest.approx(1)
    np.testing.assert_allclose(
        np.hypot(*found.coordinates.T), [*np.hypot(*coordinates.T), 0], atol=1e-12
    )


def test_a_trajectory_that_leaves_the_plane_says_by_how_much() -> None:
    model = network()
    # Three orthogonal steps of lengths 4, 2, 1: the plane holds the first two.
    found = trajectory_plane(model, points(model, np.diag([4.0, 2.0, 1.0])))

    np.testing.assert_allclose(found.explained, [16 / 21, 4 / 21], rtol=1e-10)
    np.testing.assert_allclose(found.off_plane, [0, 0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(
        np.abs(found.coordinates), [[4, 0], [0, 2], [0, 0], [0, 0]], atol=1e-7
    )


def test_directions_are_of_length_one_and_orthogonal() -> None:
    model = network()
    coordinates = np.random.default_rng(1).normal(size=(6, 5))
    found = trajectory_plane(model, points(model, coordinates))
    a, b = (torch.cat([part.reshape(-1) for part in d]) for d in found.directions)

    assert float(a @ a) == pytest.approx(1)
    assert float(b @ b) == pytest.approx(1)
    assert float(a @ b) == pytest.approx(0, abs=1e-12)
    # Against a dense decomposition.
    values = np.linalg.svd(coordinates, compute_uv=False) ** 2
    np.testing.assert_allclose(found.explained, values[:2] / values.sum(), rtol=1e-10)


def test_files_give_the_same_plane_in_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    held = points(model, np.random.default_rng(1).normal(size=(4, 3)))
    whole = trajectory_plane(model, held)
    paths = []
    for number, point in enumerate(held):
        paths.append(tmp_path / f"{number}.safetensors")
        save_file(point, paths[-1])
    monkeypatch.setattr(module, "_SLICE", 20)
    sliced = trajectory_plane(model, paths)

    np.testing.assert_allclose(np.abs(sliced.coordinates), np.abs(whole.coordinates), atol=1e-12)


def test_true_and_projected_losses_agree_on_the_plane_and_differ_off_it() -> None:
    model = network()
    batches = [(torch.randn(9, 3).double(), torch.randn(9, 2).double())]

    def surface(coordinates: np.ndarray):
        return landscape(
            model,
            nn.functional.mse_loss,
            batches,
            along="trajectory",
            trajectory=points(model, coordinates),
            nodes=7,
        ).trajectory

    inside = surface(np.array([[3.0, 1.0], [2.0, -1.0], [1.0, 0.5]]))
    outside = surface(np.diag([4.0, 2.0, 1.0]))

    np.testing.assert_allclose(inside["loss"], inside["plane_loss"], rtol=1e-9)
    assert abs(outside["loss"] - outside["plane_loss"])[2] > 1e-3
    assert inside["loss"][-1] == outside["loss"][-1]


def test_another_networks_points_are_refused(tmp_path: Path) -> None:
    save_file({"0.weight": torch.zeros(1, 1)}, tmp_path / "a.safetensors")

    with pytest.raises(RunError, match="is it this network"):
        trajectory_plane(network(), [tmp_path / "a.safetensors"] * 2)
