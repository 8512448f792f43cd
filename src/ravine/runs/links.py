"""Links inside a run folder are not followed.

Whoever made the folder does not choose which files of the reader's come into a page, or are
written over. That the folder itself is reached through a link is the user's own doing.
"""

from pathlib import Path

from ravine.core.errors import RunError
from ravine.runs.folder import RunFolder


def is_own_file(folder: Path, path: Path) -> bool:
    """Returns whether `path` is a regular file in `folder`, with no link on the way to it."""
    try:
        inside = folder.resolve() / path.relative_to(folder)
        return path.is_file() and path.resolve() == inside
    except (OSError, ValueError, RuntimeError):  # RuntimeError: a link to itself
        return False


def refuse_link(path: Path) -> None:
    """Raises `RunError` if `path` is a link."""
    if path.is_symlink():
        raise RunError(
            f"{path} is a link, and links in a run folder are not followed; replace it by what "
            "it points to"
        )


def refuse_linked_folders(folder: RunFolder) -> None:
    """Raises `RunError` if a folder that a run writes into is a link."""
    for path in (
        folder.checkpoints,
        folder.save_points,
        folder.weights,
        folder.mistakes,
        folder.pictures,
        folder.surfaces,
        folder.exports,
    ):
        refuse_link(path)


def links_in(folder: str, names: list[str]) -> list[str]:
    """Returns those of `names` that are links in `folder`, for `shutil.copytree`."""
    return [name for name in names if (Path(folder) / name).is_symlink()]
