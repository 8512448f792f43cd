"""What `--weights` names, judged by its path before anything heavy is loaded."""

from ravine.core.errors import RunError
from ravine.core.paths import usable_path
from ravine.runs.folder import LATEST

TIMM = "timm/"


def is_run(weights: str) -> bool:
    """Returns whether `weights` names a run folder."""
    path = usable_path("weights", weights)
    return (path / "recipe.toml").is_file() or (path.name == LATEST and path.parent.is_dir())


def refuse_missing_weights(weights: str | None) -> None:
    """Raises `RunError` where weights of this machine are not there; reads none of them."""
    if weights is None:
        return
    path = usable_path("weights", weights)
    if path.exists() or weights.startswith(TIMM) or is_run(weights):
        return
    near = sorted(str(p.parent) for p in path.parent.glob("*/model.safetensors"))[-3:]
    hint = f"; there are: {', '.join(near)}" if near else ""
    raise RunError(
        f"no weights {weights}: it is no run folder, no file, and no {TIMM}NAME of the hub{hint}"
    )
