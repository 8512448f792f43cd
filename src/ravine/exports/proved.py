"""An export, kept only if it is proved: written into a folder beside, run, compared, renamed.

The folder holds the file, proof.json, README.md and, where the preprocessing is known, predict.py.

Shape letters: N images, B images of a batch, C channels, H height, W width, K classes.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from ravine.core.atomic import make_folder, write_folder_whole
from ravine.core.errors import RunError, SettingError, unknown
from ravine.core.progress import Progress, no_progress
from ravine.core.validation import check_range
from ravine.exports.decisions import DecisionRule
from ravine.exports.exportable import Exportable
from ravine.exports.facts import Facts
from ravine.exports.formats import FORMATS, ExportFormat
from ravine.exports.latency import Latency, latency
from ravine.exports.needed_module import refuse_missing
from ravine.exports.program import has_program, program_text
from ravine.exports.proof import TOLERANCE, Proof, ProofBatch, compare
from ravine.exports.quantise import quantise_onnx
from ravine.exports.runner import Runner

PROOF = "proof.json"
PROGRAM = "predict.py"
CARD = "README.md"
_TIMED = (1, 64)  # images at a time
Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Normalised images, images as the file takes them, labels; see `ProofImages`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of an export.

    Attributes:
        format: one of `FORMATS`.
        int8: quantise the file; onnx only.
        tolerance: largest difference of a probability that is allowed of a float32 file.
        most_lost: accuracy, in 0..1, that an int8 file may lose.
    """

    format: str = "onnx"
    int8: bool = False
    tolerance: float = TOLERANCE
    most_lost: float = 0.01

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise unknown("format", self.format, FORMATS)
        check_range("tolerance", self.tolerance, low=0.0, high=1.0)
        check_range("most_lost", self.most_lost, low=0.0, high=1.0)
        if self.int8 and self.format != "onnx":
            raise SettingError(f"int8 is made of onnx only, not of {self.format}; drop one of them")

    @property
    def row(self) -> ExportFormat:
        """The format's row of the table."""
        return FORMATS[self.format]

    def refuse_missing_packages(self) -> None:
        """Raises `SettingError` with the line that installs what the format needs."""
        refuse_missing(self.row.modules, extra=self.row.extra, what=f"format {self.format}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ProofImages:
    """The images that an export is proved on.

    Attributes:
        source: what they are, for messages.
        count: N.
        batches: normalised images (B, C, H, W) float32, the same images as the file takes them,
            and labels or None; gone through once.
        answers: the network's logits (B, K) of normalised images.
    """

    source: str
    count: int
    batches: Iterable[Batch]
    answers: Callable[[np.ndarray], np.ndarray]


def write_proved(
    exportable: Exportable,
    path: Path,
    wanted: Wanted,
    *,
    images: ProofImages,
    calibration: Iterable[np.ndarray] = (),
    card: Callable[[Proof], str],
    notes: tuple[str, ...] = (),
    progress: Progress = no_progress,
) -> Proof:
    """Writes the folder `path` and returns its proof; nothing is kept where the proof fails.

    An earlier export at `path` is replaced.

    Args:
        exportable: the network.
        path: of the folder.
        wanted: format and limits.
        images: to prove it on.
        calibration: images as the file takes them, (B, C, H, W) or (B, S, S, C), for int8.
        card: gives the text of README.md.
        notes: sentences for the proof.
        progress: receives the progress of slow work.

    Raises:
        RunError: the file does not answer as the network does, or the disk does not allow it.
        SettingError: the format cannot hold the network, or the path is no folder for it.
    """
    _refuse_path(path)
    make_folder(path.parent)
    found: list[Proof] = []

    def fill(folder: Path) -> None:
        proof = _fill(folder, exportable, wanted, images, calibration, notes, progress)
        if not proof.holds:
            raise RunError(f"{path} is not kept: {proof.fault}")
        (folder / PROOF).write_text(json.dumps(proof.to_json(), indent=1) + "\n", encoding="utf-8")
        (folder / CARD).write_text(card(proof), encoding="utf-8")
        if has_program(exportable.facts, wanted.format):
            text = program_text(exportable.facts, wanted.format)
            (folder / PROGRAM).write_text(text, encoding="utf-8")
        shutil.rmtree(path, ignore_errors=True)  # an earlier export
        found.append(proof)

    write_folder_whole(path, fill)
    return found[0]


def _refuse_path(path: Path) -> None:
    if path.suffix in {Path(row.file).suffix for row in FORMATS.values()}:
        raise SettingError(f"{path}: an export is a folder; write {path.with_suffix('')}")
    if path.is_dir() and any(path.iterdir()) and not (path / PROOF).is_file():
        raise SettingError(f"{path} holds something else than an export; choose another with --out")


def _fill(
    folder: Path,
    exportable: Exportable,
    wanted: Wanted,
    images: ProofImages,
    calibration: Iterable[np.ndarray],
    notes: tuple[str, ...],
    progress: Progress,
) -> Proof:
    """Writes the file into a folder and compares it with the network."""
    row, threads = wanted.row, torch.get_num_threads()
    file = folder / row.file
    progress(f"writing {row.file}", 0, 1)
    row.write(exportable, file)
    others: dict[str, Runner] = {}
    if wanted.int8:
        others["float32"] = row.open(file, threads)
        quantise_onnx(file, file, calibration, input_name=exportable.facts.input_name)
    runner = row.open(file, threads)
    return Proof(
        format=wanted.format,
        runtime=runner.runtime,
        source=images.source,
        tolerance=None if wanted.int8 else wanted.tolerance,
        most_lost=wanted.most_lost if wanted.int8 else None,
        threads=threads,
        bytes=sum(one.stat().st_size for one in folder.iterdir()),
        folded_norms=exportable.captured.folded if row.is_graph else None,
        notes=notes,
        **_compared(exportable.facts, images, runner, others, progress),
    )


def _compared(
    facts: Facts,
    images: ProofImages,
    runner: Runner,
    others: Mapping[str, Runner],
    progress: Progress,
) -> dict[str, Any]:
    """Returns the fields of a proof that both programs give: answers and times."""
    batches = iter(images.batches)
    if (first := next(batches, None)) is None:
        raise RunError("there are no images to prove the export on")
    fields = compare(
        _with_answers(chain([first], batches), images.answers, facts.rule),
        runner,
        rule=facts.rule,
        gives_probabilities=facts.inside,
        total=images.count,
        progress=progress,
    )
    times = _latencies(first, images.answers, {**others, "exported": runner})
    return {**fields, "latency": times}


def _with_answers(
    batches: Iterable[Batch], answers: Callable[[np.ndarray], np.ndarray], rule: DecisionRule
) -> Iterator[ProofBatch]:
    for normalised, given, labels in batches:
        found = rule.probabilities(answers(normalised))
        yield ProofBatch(answers=found, images=given, labels=labels)


def _latencies(
    first: Batch, answers: Callable[[np.ndarray], np.ndarray], runners: Mapping[str, Runner]
) -> dict[str, Latency]:
    """Returns the times of the network and of the files, by images at a time."""
    found = {}
    for count in _TIMED:
        normalised, given = (_repeated(values, count) for values in first[:2])
        programs: dict[str, Callable[[], Any]] = {"network": _call(answers, normalised)}
        programs |= {name: _call(runner.run, given) for name, runner in runners.items()}
        found[str(count)] = latency(programs)
    return found


def _call(program: Callable[[np.ndarray], Any], images: np.ndarray) -> Callable[[], Any]:
    return lambda: program(images)


def _repeated(values: np.ndarray, count: int) -> np.ndarray:
    """Returns `count` images (count, …) from (B, …): the first ones, again where there are few."""
    # By index, so that channels_last stays channels_last.
    chosen = torch.from_numpy(values)[torch.arange(count) % len(values)]
    if values.ndim == 4 and not values.flags.c_contiguous:
        chosen = chosen.contiguous(memory_format=torch.channels_last)
    return chosen.numpy()
