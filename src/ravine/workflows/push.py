"""`ravine push`: a run, or one of its exports, onto the Hugging Face hub.

Uploaded are weights, exports and a card. What names files of the user's (recipe.toml, the mistakes,
the trained images) stays.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import RunError
from ravine.exports.card import card_text
from ravine.exports.formats import FORMATS
from ravine.exports.hub import push_folder, set_license
from ravine.exports.needed_module import refuse_missing
from ravine.exports.proof import Proof
from ravine.exports.proved import CARD, PROOF
from ravine.runs.folder import RunFolder, open_run_folder
from ravine.runs.links import is_own_file
from ravine.training.model_file import load_model
from ravine.workflows.run_export import card_facts, facts_of


def push(
    path: str | Path,
    name: str,
    *,
    private: bool = False,
    license_name: str = "",
    allow_code: str | Sequence[str] = (),
) -> tuple[str, list[str]]:
    """Uploads a run or an export, and returns the address and the names of the files.

    Args:
        path: a run folder, or the folder of an export.
        name: of the repository, `owner/model` or `model`.
        private: whether a new repository is.
        license_name: as the hub names it, such as `apache-2.0`.
        allow_code: the `module:callable` of a network of the user's own.

    Raises:
        RunError: there is no such folder, the run has not ended, or the hub refuses.
        SettingError: huggingface_hub is not installed, or the name is none of the hub's.
    """
    refuse_missing(("huggingface_hub",), extra="hub", what="push")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if (Path(path) / PROOF).is_file():
            _copy_export(Path(path), folder)
        else:
            run = open_run_folder(Path(path))
            _fill(folder, run, name=name, code=AllowedCode.of(allow_code, run=run.path))
        if license_name:
            set_license(folder / CARD, license_name)
        files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        message = f"ravine push {Path(path).resolve().name}"
        return push_folder(folder, name, private=private, message=message), files


def _copy_export(source: Path, target: Path) -> list[Path]:
    """Copies the files of an export; links are left out."""
    target.mkdir(parents=True, exist_ok=True)
    files = [path for path in sorted(source.iterdir()) if is_own_file(source, path)]
    for path in files:
        shutil.copyfile(path, target / path.name)
    return files


def _fill(folder: Path, run: RunFolder, *, name: str, code: AllowedCode) -> None:
    """Fills a folder with a run's network, its exports and a card."""
    if not run.model.is_file():
        raise RunError(f"{run.path} has no model.safetensors; finish it: ravine resume {run.path}")
    trained = load_model(run.model, code=code)
    shutil.copyfile(run.model, folder / run.model.name)
    proofs: dict[str, Proof] = {}
    exports = sorted(run.exports.iterdir()) if run.exports.is_dir() else []
    for export in (path for path in exports if is_own_file(path, path / PROOF)):
        _copy_export(export, folder / export.name)
        proof = Proof.from_json(json.loads((export / PROOF).read_text(encoding="utf-8")))
        proofs[f"{export.name}/{FORMATS[proof.format].file}"] = proof
    about = card_facts(run, name=name.rpartition("/")[2])
    text = card_text(facts_of(trained), about, proofs, library="ravine")
    (folder / CARD).write_text(text, encoding="utf-8")
