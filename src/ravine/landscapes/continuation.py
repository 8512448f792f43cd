"""Whether a saved surface may be continued: only with the same weights, batches and settings."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.landscapes.directions import moved_parameters
from ravine.landscapes.node import FixedBatches
from ravine.landscapes.settings import SurfaceSettings
from ravine.runs.surface import Surface

_OTHER = {
    "weights": "other weights",
    "batches": "other batches (they must not differ from call to call)",
}


def made_of(
    model: nn.Module, batches: FixedBatches, settings: SurfaceSettings, points: int
) -> dict[str, Any]:
    """Returns what must be equal for a later call to continue, as plain values.

    Args:
        model: the centre.
        batches: those that are used.
        settings: of the surface.
        points: saved points of the trajectory.
    """
    weights = hashlib.sha256()
    for p in moved_parameters(model).values():
        weights.update(_bytes(p))
    found = {
        "along": settings.along,
        "policy": settings.batch_norm_policy,
        "seed": settings.seed,
        "x": settings.x,
        "y": settings.y,
        "nodes": settings.nodes,
        "trajectory points": points,
        "weights": weights.hexdigest()[:16],
        "batches": batches.digest,
    }
    return dict(json.loads(json.dumps(found)))


def check_continues(saved: Surface, now: Mapping[str, Any], path: Path | None) -> None:
    """Raises `SettingError` unless `saved` was made of the same as `now`; it names what differs."""
    before = saved.about.get("made_of", {})
    other = [name for name in now if before.get(name) != now[name]]
    if not other:
        return
    differences = [
        _OTHER.get(name) or f"{name} {_as_text(before.get(name))}, not {_as_text(now[name])}"
        for name in other
    ]
    raise SettingError(
        f"{path} holds a surface of {'; '.join(differences)}: ask for the same again to continue "
        "it, delete it to start anew, or name another --out"
    )


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ":".join(f"{part:g}" for part in value)
    return "automatic" if value is None else str(value)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
