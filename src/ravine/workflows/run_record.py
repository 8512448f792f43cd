"""What a run folder says of its run: rows, result, verdict, and how a run shows itself."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.errors import RunError, SettingError
from ravine.core.lazy import lazy_module
from ravine.runs.file_schemas import EVALUATION, fault_in
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_history
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_json, read_rows
from ravine.runs.verdict import Verdict, diagnosing, judge
from ravine.training.plan import Plan
from ravine.workflows.data_paths import kept_paths
from ravine.workflows.run_text import run_html, run_text

if TYPE_CHECKING:
    import pandas
else:
    pandas = lazy_module("pandas")


class RunRecord:
    """A run by its files; no network is read."""

    def __init__(
        self,
        folder: RunFolder,
        model_path: Path,
        *,
        code: AllowedCode = NO_CODE,
    ) -> None:
        self._folder = folder
        self._model_path = model_path
        self._code = code

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._folder.path

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl."""
        return read_history(self._folder.history)

    @property
    def result(self) -> dict[str, Any]:
        """The final evaluation, as in evaluation.json.

        Raises:
            RunError: the run has not ended, or the file does not hold what it should.
        """
        path = self._folder.evaluation
        found = read_json(path)
        if (fault := fault_in(found, EVALUATION)) is not None:
            raise RunError(f"{path} does not hold what it should ({fault})")
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the training; none where model.safetensors came without its run."""
        return _settings(self._folder)

    @property
    def recorded_plan(self) -> Plan:
        """The steps of the run: as planned, and what was decided on the way.

        Raises:
            RunError: the recipe is not there, or holds no plan.
        """
        return Plan.from_values(read_recipe(self._folder.recipe)[1] or {})

    @property
    def read_by(self) -> dict[str, Any]:
        """The settings of the training, with its data's paths as they lead from any folder."""
        return self.settings | kept_paths(self._folder)

    @property
    def folds(self) -> int:
        """How many networks a cross-validated run has; 0 for a run of one network."""
        return self._folder.folds if self._model_path == self._folder.model else 0

    def _fold_folders(self) -> list[RunFolder]:
        return [self._folder.fold(number) for number in range(1, self.folds + 1)]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl about epochs."""
        return [row for row in self.history if row.get("kind") == "epoch"]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl about steps: each the mean of about a second."""
        return [row for row in self.history if row.get("kind") == "step"]

    def frame(self, kind: Literal["epochs", "steps"] = "epochs") -> Any:
        """Returns the rows of epochs or steps as a pandas data frame.

        Raises:
            SettingError: pandas is not installed.
        """
        if find_spec("pandas") is None:
            raise SettingError("frame needs pandas: pip install pandas; run.epochs are plain rows")
        return pandas.DataFrame(self.epochs if kind == "epochs" else self.steps)

    @property
    def verdict(self) -> Verdict:
        """What broke the run, or how good it is, and what to do next.

        Of a cross-validated run that of all images; a fold that is broken or doubtful stands
        for it, with the command that diagnoses the fold.
        """
        own = verdict_of(self._folder)
        folds = self._fold_folders()
        if not folds:
            return own
        of_folds = [verdict_of(fold) for fold in folds]
        kinds = [one.kind for one in of_folds]
        for kind in ("broken", "doubtful"):
            if kind in kinds and (kind == "broken" or own.kind == "good"):
                fold = folds[kinds.index(kind)].path
                return replace(of_folds[kinds.index(kind)], command=diagnosing(fold))
        return own if own.kind == "good" else replace(own, command=diagnosing(folds[0].path))

    def __repr__(self) -> str:
        return run_text(self)

    def _repr_html_(self) -> str:
        return run_html(self)


def _settings(folder: RunFolder) -> dict[str, Any]:
    return read_recipe(folder.recipe)[0] if folder.recipe.is_file() else {}


def verdict_of(folder: RunFolder) -> Verdict:
    """Returns the verdict on the run in a folder, by its files."""
    return judge(
        folder.path,
        evaluation=read_json(folder.evaluation) if folder.evaluation.is_file() else {},
        findings=read_rows(folder.findings),
        recipe=_settings(folder),
    )
