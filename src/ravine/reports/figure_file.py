"""Figures as files."""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ravine.core.atomic import write_whole


def write_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Writes a figure, whole or not at all; a link at `path` is replaced and not followed.

    Args:
        figure: what to draw.
        path: the file; .png or .svg.
        **options: of `Figure.savefig`; by default 150 dpi on white.

    Raises:
        RunError: the disk is full or read-only.
    """
    kind = path.suffix.removeprefix(".")
    dateless: Any = {"Date": None} if kind == "svg" else {}
    usual: dict[str, Any] = {"dpi": 150, "facecolor": "white", "metadata": dateless}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, **(usual | options))
    write_whole(path, buffer.getvalue())
