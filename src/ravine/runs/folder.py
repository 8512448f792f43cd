"""The run folder: the path of each file of a run. Plain files that people can read and copy."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ravine.core.atomic import disk_error, sweep_parts, write_folder_whole
from ravine.core.errors import RunError
from ravine.core.file_lock import is_locked, try_lock
from ravine.core.paths import usable_path
from ravine.runs.recipe_file import read_recipe

MIN_FOLDS, MAX_FOLDS = 2, 100  # of a cross-validated run
RUNS = Path("runs")  # where runs without a name of their own lie
LATEST = "latest"
_LOCK = ".lock"
_TRIES, _WAIT = 5, 0.02  # seconds between two tries to lock


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of a run's files.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """All settings of the run, and its plan."""
        return self.path / "recipe.toml"

    @property
    def environment(self) -> Path:
        """Versions, device, data fingerprint."""
        return self.path / "environment.json"

    @property
    def kernel_plan(self) -> Path:
        """Which algorithm runs each convolution, and what was measured for it."""
        return self.path / "kernel_plan.json"

    @property
    def audit(self) -> Path:
        """The audit of the data."""
        return self.path / "audit.json"

    @property
    def history(self) -> Path:
        """A line per logged step and per epoch."""
        return self.path / "history.jsonl"

    @property
    def layers(self) -> Path:
        """A line per snapshot of the layers."""
        return self.path / "layers.jsonl"

    @property
    def variance(self) -> Path:
        """Variance of each layer at initialisation, predicted and measured."""
        return self.path / "variance.json"

    @property
    def findings(self) -> Path:
        """The findings of the run."""
        return self.path / "findings.jsonl"

    @property
    def evaluation(self) -> Path:
        """The result of the final evaluation."""
        return self.path / "evaluation.json"

    @property
    def predictions(self) -> Path:
        """What the network said of each image of the final evaluation."""
        return self.path / "predictions.npz"

    @property
    def mistakes_so_far(self) -> Path:
        """The most confident errors of the last validation, while the run is trained."""
        return self.mistakes / "so-far.json"

    @property
    def mistakes(self) -> Path:
        """Pictures of the worst misclassifications."""
        return self.path / "mistakes"

    @property
    def pictures(self) -> Path:
        """Pictures of the data: augmented training images, and copies under different labels."""
        return self.path / "pictures"

    @property
    def checkpoints(self) -> Path:
        """The whole training state, at intervals."""
        return self.path / "checkpoints"

    @property
    def save_points(self) -> Path:
        """States that a diverged run is rolled back to."""
        return self.path / "save-points"

    @property
    def weights(self) -> Path:
        """The weights at intervals, where they are kept."""
        return self.path / "weights"

    @property
    def start(self) -> Path:
        """The weights before step 1, where the run started from trained ones."""
        return self.path / "start.safetensors"

    @property
    def source_weights(self) -> Path:
        """The trained weights that all folds of a cross-validated run start from."""
        return self.path / "source.safetensors"

    @property
    def weights_record(self) -> Path:
        """Where the trained weights come from, their licence, and how they were fitted."""
        return self.path / "weights.json"

    @property
    def surfaces(self) -> Path:
        """Loss surfaces: numbers and pictures."""
        return self.path / "landscape"

    @property
    def exports(self) -> Path:
        """A folder for each format in which the network was exported."""
        return self.path / "exports"

    @property
    def model(self) -> Path:
        """The weights, with all that prediction needs."""
        return self.path / "model.safetensors"

    @property
    def best_model(self) -> Path:
        """The weights of the best evaluation, where they are not the last ones."""
        return self.path / "best.safetensors"

    @property
    def report(self) -> Path:
        """One page that opens offline."""
        return self.path / "report.html"

    @property
    def trained_images(self) -> Path:
        """The images that were trained on: sorted first 8 bytes of their pixels' digests."""
        return self.path / "trained_images.npy"

    def fold(self, number: int) -> "RunFolder":
        """Returns the run of one fold, counted from 1, of a cross-validated run."""
        return RunFolder(self.path / f"fold-{number}")

    @property
    def folds(self) -> int:
        """How many folds a cross-validated run has; 0 for a run of one network."""
        try:
            settings, _ = read_recipe(self.recipe)
        except RunError:
            return 0  # whoever needs the recipe says what is wrong with it
        folds = settings.get("folds")
        if not isinstance(folds, int) or settings.get("fold") is not None:
            return 0
        return folds if MIN_FOLDS <= folds <= MAX_FOLDS else 0

    @property
    def has_ended(self) -> bool:
        """Whether the run has its result, and its weights where it is one of one network."""
        return self.evaluation.is_file() and (self.model.is_file() or self.folds > 0)

    @property
    def is_locked(self) -> bool:
        """Whether a process works on the run now."""
        return is_locked(self.path / _LOCK)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder against a second process; the lock ends with this process.

        Raises:
            RunError: another process holds the lock, or the disk does not allow it.
        """
        try:
            handle = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise disk_error(self.path, error) from error
        try:
            _lock(handle)
        except OSError:
            os.close(handle)
            raise RunError(
                f"{self.path} is being trained by another process; wait for it or stop it first"
            ) from None
        try:
            yield
        finally:
            os.close(handle)

    def sweep(self) -> None:
        """Removes what killed processes left behind of their writes into the folder."""
        for folder in (
            self.path,
            self.checkpoints,
            self.save_points,
            self.weights,
            self.mistakes,
            self.pictures,
            self.surfaces,
        ):
            if folder == self.path or not folder.is_symlink():
                sweep_parts(folder)


def _lock(handle: int) -> None:
    """Locks a run folder; who asks whether it is locked holds the lock for an instant.

    Raises:
        OSError: another process holds the lock.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(OSError):
            try_lock(handle)
            return
        time.sleep(_WAIT)
    try_lock(handle)


def refuse_existing(path: Path) -> None:
    """Raises `RunError` if `path` exists."""
    if path.exists():
        raise RunError(
            f"{path} exists already; choose another name with --out, "
            f"or go on with it: ravine resume {path}"
        )


def create_run_folder(path: Path, fill: Callable[[RunFolder], None]) -> RunFolder:
    """Makes a new run folder with its first files by `fill(folder)`, whole or not at all.

    Raises:
        RunError: it exists, or the disk does not allow it.
    """
    refuse_existing(path)

    def begin(part: Path) -> None:
        (part / "checkpoints").mkdir()
        fill(RunFolder(part))

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error
    write_folder_whole(path, begin)
    return RunFolder(path)


def open_run_folder(path: Path, *, folded: bool = False) -> RunFolder:
    """Returns an existing run folder; `runs/latest` is the newest in `runs`.

    Args:
        path: of the folder.
        folded: whether it may be a cross-validated run, which holds a run for each fold.

    Raises:
        RunError: there is none at `path`, or it is cross-validated and may not be.
        SettingError: no path can be as it is written.
    """
    path = usable_path("run", path)
    path = latest_run(path.parent) if path.name == LATEST and not path.exists() else path
    if not path.is_dir():
        near = sorted(str(p.parent) for p in path.parent.glob("*/recipe.toml"))[-3:]
        hint = f"; there are: {', '.join(near)}" if near else ""
        raise RunError(f"no run folder {path}{hint}")
    if not (path / "recipe.toml").is_file():
        raise RunError(f"{path} is not a run folder: it holds no recipe.toml")
    folder = RunFolder(path)
    if folder.folds and not folded:
        raise one_fold_wanted(folder)
    return folder


def one_fold_wanted(folder: RunFolder) -> RunError:
    """Returns the error of a command that takes one network, for a cross-validated run."""
    return RunError(
        f"{folder.path} is cross-validated, with a network for each of {folder.folds} folds, and "
        f"this takes one: {folder.fold(1).path}"
    )


def latest_run(root: Path, *, unfinished: bool = False) -> Path:
    """Returns the newest run folder in `root`, by the time of its recipe.

    Args:
        root: a folder of runs.
        unfinished: only of the runs that have not ended.

    Raises:
        RunError: there is none.
    """
    found = [
        (recipe.stat().st_mtime_ns, recipe.parent)
        for recipe in root.glob("*/recipe.toml")
        if not (unfinished and RunFolder(recipe.parent).has_ended)
    ]
    if not found:
        kind = "unfinished run" if unfinished else "run"
        raise RunError(f"there is no {kind} in {root}; name a run folder")
    return max(found)[1]


def next_run_path(root: Path, data: str, model: str) -> Path:
    """Returns the next free path `root/DATA-MODEL-N`."""
    words = re.sub(r"[^\w.-]+", "-", f"{Path(data).name.lstrip('@') or 'run'}-{model}").strip("-.")
    taken = [0]
    for path in root.glob(f"{words}-*"):
        tail = path.name.removeprefix(f"{words}-")
        if tail.isdigit():
            taken.append(int(tail))
    return root / f"{words}-{max(taken) + 1}"
