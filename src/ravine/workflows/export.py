"""`ravine export`: the network of a run into a folder, proved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ravine.core.progress import Progress, no_progress
from ravine.exports.proof import Proof
from ravine.runs.folder import RunFolder
from ravine.runs.links import refuse_link
from ravine.workflows.run import Run


def export_file(
    path: str | Path,
    out: Path | None,
    *,
    format: str,
    int8: bool,
    allow_code: str | Sequence[str] = (),
    progress: Progress = no_progress,
    **wanted: Any,
) -> tuple[Path, Proof]:
    """Writes the export of a run, and returns its folder and its proof; see `Run.export`.

    Args:
        path: a run folder, or a model.safetensors.
        out: the folder; None for one of the format in the run folder.
        format: onnx, pt2, openvino or safetensors-timm.
        int8: quantise the file.
        allow_code: the `module:callable` that may be imported, where the network is your own.
        progress: receives the progress of slow work.
        **wanted: the other arguments of `Run.export`.

    Raises:
        RavineError: what cannot work, in one line; nothing is kept.
    """
    run = Run.load(path, allow_code=allow_code)
    folder = out
    if folder is None:
        exports = RunFolder(run.path).exports
        folder = exports / (f"{format}-int8" if int8 else format)
        refuse_link(exports)
        refuse_link(folder)
    return folder, run.export(folder, format=format, int8=int8, progress=progress, **wanted)
