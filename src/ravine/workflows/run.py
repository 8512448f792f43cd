"""A run after training: its history and result, its networks, evaluation and prediction.

Shape letters: N images, B images of a batch, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import nn

from ravine.core.allowed_code import AllowedCode
from ravine.core.errors import DataError, RunError
from ravine.core.lazy import lazy_module
from ravine.core.paths import usable_path
from ravine.core.progress import Progress, no_progress
from ravine.data.dataset import Dataset, Unlabelled
from ravine.data.given_images import open_given
from ravine.data.network_images import open_reading, open_unlabelled
from ravine.data.reading import read_again
from ravine.runs.folder import RunFolder, one_fold_wanted, open_run_folder
from ravine.runs.rows import read_json
from ravine.runs.run_weights import check_weights_of, refuse_best_of_file, weights_path
from ravine.runs.trained_images import were_trained_on
from ravine.training.evaluation import full_evaluation
from ravine.training.model_file import TrainedModel, load_model
from ravine.training.several_evaluation import Thresholds
from ravine.workflows.ensemble import Ensemble, refuse_not_finite, thresholds_for
from ravine.workflows.evaluation_folder import keep_evaluation, refuse_kept
from ravine.workflows.predictions import Predictions
from ravine.workflows.run_record import RunRecord

if TYPE_CHECKING:
    from ravine.exports import proof, proved
    from ravine.workflows import run_export
else:
    proof = lazy_module("ravine.exports.proof")
    proved = lazy_module("ravine.exports.proved")
    run_export = lazy_module("ravine.workflows.run_export")


class Run(RunRecord):
    """A finished or unfinished run folder, or a model.safetensors on its own.

    A cross-validated run has a network for each fold; the mean of their probabilities answers.
    """

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        allow_code: str | Sequence[str] = (),
        weights_of: str = "last",
        model: str | None = None,
    ) -> Self:
        """Returns the run in the folder `path`, or the one of a model.safetensors.

        Args:
            path: a run folder, or a model.safetensors, which alone is enough to predict.
            allow_code: the `module:callable` that may be imported, where the network is your own.
            weights_of: last: those of the last step; best: those of the best evaluation on the
                validation images, whose accuracy there is partly luck.
            model: the old name of `allow_code`.

        Raises:
            RunError: there is no run there, or none of its weights are the best.
            SettingError: `allow_code` is no `module:callable`, or `weights_of` another word.
        """
        path = usable_path("run", path)
        allowed = AllowedCode.of(allow_code, typed=[model])
        check_weights_of(weights_of)
        if path.is_file():
            refuse_best_of_file(path, weights_of)
            return cls(RunFolder(path.parent), path, code=allowed)
        folder = open_run_folder(path, folded=True)
        weights = weights_path(folder, weights_of)
        return cls(folder, weights, code=replace(allowed, run=folder.path))

    @property
    def trained(self) -> TrainedModel:
        """The network with its classes and its preprocessing.

        Raises:
            RunError: the run has not ended, its file is torn, or it has several networks.
            CodeRefusedError: its network is code that was not allowed.
        """
        if self.folds:
            raise one_fold_wanted(self._folder)
        return self.members[0]

    @cached_property
    def members(self) -> tuple[TrainedModel, ...]:
        """The networks whose probabilities are averaged: one, or one of each fold.

        Raises:
            RunError: the run has not ended, or a file is torn.
            CodeRefusedError: a network is code that was not allowed.
        """
        folds = self._fold_folders()
        paths = [fold.model for fold in folds] if folds else [self._model_path]
        for path in paths:
            if not path.is_file():
                raise RunError(
                    f"{path} is not there: the run has not ended; "
                    f"go on with it: ravine resume {self.path}"
                )
        found = tuple(load_model(path, code=self._code) for path in paths)
        one = found[0]
        for path, other in zip(paths, found, strict=True):
            sizes = [(m.preprocessing.image_size, m.preprocessing.channels) for m in (one, other)]
            same = other.classes == one.classes and other.several == one.several
            if not same or sizes[0] != sizes[1]:
                raise RunError(f"{path} has other classes or images than {paths[0]}")
        return found

    @property
    def model(self) -> nn.Module:
        """The trained network, in evaluation mode, on the CPU."""
        return self.trained.model

    def evaluate(
        self,
        data: str | Path,
        *,
        labels: str | None = None,
        held_out: bool = False,
        threshold: float | None = None,
        tta: bool = False,
        out: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        progress: Progress = no_progress,
        **reading: Any,
    ) -> dict[str, Any]:
        """Returns accuracy with interval, confusion and calibration on labelled images.

        Of several labels per image it is mean average precision and F1, and figures of each label.
        Its "trained_on" is how many of them the network was trained on; None where the run does
        not know. "read_as" is what the data was taken for, and "notes" say which options of the
        training do not fit it.

        Args:
            data: a folder with one folder per class, or any other source that train takes.
            labels: a CSV with the labels of the images in `data`.
            held_out: leave out the images that were trained on.
            threshold: of every label, in [0, 1], where an image has several; by default each
                label's own, from the training.
            tta: also give the result with test-time flip, apart.
            out: a new folder to keep the result in: a page, evaluation.json, a CSV of predictions.
            device: auto, cpu, cuda or cuda:N.
            precision: auto, float32 or bfloat16.
            progress: receives the progress of slow work.
            **reading: of `ravine.data.settings.DataSettings`, such as `label_column` or
                `class_level`; by default those of the training, as far as they fit.

        Raises:
            DataError: the data cannot be read, or has a class that the network does not know.
            RunError: the network's weights are not finite, or `out` exists.
            SettingError: the threshold, or a setting of `reading`, is out of range, unknown or
                without effect.
        """
        if out is not None:
            refuse_kept(out := usable_path("out", out))
        thresholds = self.thresholds(threshold)
        ensemble = self._ensemble(device=device, precision=precision, tta=tta, progress=progress)
        first = self.members[0]
        where: dict[str, Any] = {"data": str(data), "labels": labels}
        where |= {"given": self.form_of_labels | reading, "channels": first.preprocessing.channels}
        opened = read_again(self.read_by, classes=first.classes, progress=progress, **where)
        how: dict[str, Any] = {"several": first.several, "progress": progress}
        dataset = open_reading(
            opened, preprocessing=first.preprocessing, classes=first.classes, **how
        )
        index, known = self._evaluated(dataset, str(data), held_out=held_out)
        plain, mirrored = ensemble.all(dataset.images, index)
        truth, classes = dataset.labels[index], first.classes
        found = full_evaluation(
            plain, mirrored, truth, split=str(data), classes=classes, thresholds=thresholds
        )
        understood = opened.collection.understood
        read_as = None if understood is None else understood.to_json()
        found |= {"trained_on": known, "read_as": read_as, "notes": list(opened.notes)}
        if out is not None:
            keep_evaluation(out, found, dataset, index, plain, network=str(self.path))
        return found

    @property
    def form_of_labels(self) -> dict[str, Any]:
        """The setting by which data is read for the network: of several labels; else none."""
        return {"labels_per_image": "several"} if self.members[0].several else {}

    def thresholds(self, given: float | None = None) -> Thresholds | None:
        """Returns the thresholds of several labels, (K,), or None; see `thresholds_for`."""
        return thresholds_for(self.members, given)

    def _evaluated(
        self, dataset: Dataset, data: str, *, held_out: bool
    ) -> tuple[np.ndarray, int | None]:
        """Returns the indices to evaluate on, and how many of them were trained on."""
        files = [fold.trained_images for fold in self._fold_folders()]
        trained = were_trained_on(dataset.digests, files or [self._folder.trained_images])
        index = np.arange(len(dataset.labels))
        if not held_out:
            return index, None if trained is None else int(trained.sum())
        if trained is None:
            raise RunError(
                f"{self.path} does not know which images it was trained on; leave out --held-out"
            )
        if trained.all():
            raise DataError(
                f"{data}: the network was trained on all {len(index):,} images; "
                "evaluate on others, or leave out --held-out"
            )
        return index[~trained], 0

    def predict(
        self,
        images: Any,
        *,
        image_column: str | None = None,
        images_folder: str | None = None,
        threshold: float | None = None,
        tta: bool = False,
        device: str = "auto",
        precision: str = "auto",
        progress: Progress = no_progress,
    ) -> Predictions:
        """Returns the probabilities of the classes of each image.

        Args:
            images: a file, a folder, a CSV with a column of file names; an image of Pillow; an
                array (H, W), (H, W, C) or (N, H, W, C); a tensor (H, W), (C, H, W) or
                (N, C, H, W), of bytes or of floats in 0..1; or a list of paths, or of images.
            image_column: of the CSV; by default that of the training, else a usual name.
            images_folder: of the images that a CSV names; by default its own, or the training's.
            threshold: of every label, in [0, 1], where an image has several; by default each
                label's own, from the training.
            tta: mean over each image and its mirror image.
            device: auto, cpu, cuda or cuda:N.
            precision: auto, float32 or bfloat16.
            progress: receives the progress of slow work.

        Raises:
            DataError: there is nothing to read.
            RunError: the network's weights are not finite.
            SettingError: the threshold is out of range, or has no effect.
        """
        thresholds = self.thresholds(threshold)
        found = self.open_unlabelled(
            images, image_column=image_column, images_folder=images_folder, progress=progress
        )
        index = np.arange(len(found.names))
        blocks = self.probabilities(
            found, index, tta=tta, device=device, precision=precision, progress=progress
        )
        classes = self.members[0].classes
        return Predictions(
            names=list(found.names),
            classes=classes,
            probabilities=np.concatenate([np.zeros((0, len(classes)), np.float32), *blocks]),
            unreadable=list(found.unreadable),
            thresholds=None if thresholds is None else thresholds.values,
        )

    def open_unlabelled(
        self,
        images: Any,
        *,
        image_column: str | None = None,
        images_folder: str | None = None,
        progress: Progress = no_progress,
    ) -> Unlabelled:
        """Returns images as the network takes them, without predicting; see `predict`."""
        given = list(images) if isinstance(images, list | tuple) else [images]
        paths = [one for one in given if isinstance(one, str | Path)]
        preprocessing = self.members[0].preprocessing
        if not paths and given:
            return open_given(given, preprocessing=preprocessing)
        if len(paths) < len(given):
            raise DataError("predict takes paths or images, not both in one call")
        return open_unlabelled(
            [Path(path) for path in paths],
            preprocessing=preprocessing,
            progress=progress,
            trained=self.read_by,
            image_column=image_column,
            images=images_folder,
        )

    def probabilities(
        self,
        images: Unlabelled,
        index: np.ndarray,
        *,
        tta: bool = False,
        device: str = "auto",
        precision: str = "auto",
        progress: Progress = no_progress,
    ) -> Iterator[np.ndarray]:
        """Yields the probabilities (B, K) float32 of images, a batch at a time; see `predict`.

        Args:
            images: as `open_unlabelled` gives them.
            index: int64, of the images wanted, in order.
            tta: mean over each image and its mirror image.
            device: auto, cpu, cuda or cuda:N.
            precision: auto, float32 or bfloat16.
            progress: receives the progress of slow work.
        """
        ensemble = self._ensemble(device=device, precision=precision, tta=tta, progress=progress)
        for plain, mirrored in ensemble.batches(images.images, index):
            yield np.exp(plain if mirrored is None else mirrored)

    def _ensemble(self, *, device: str, precision: str, tta: bool, progress: Progress) -> Ensemble:
        return Ensemble(
            members=self._finite_members,
            device=device,
            precision=precision,
            mirrored=tta,
            progress=progress,
        )

    @cached_property
    def _finite_members(self) -> tuple[TrainedModel, ...]:
        for number, member in enumerate(self.members, start=1):
            where = self._folder.fold(number).path if self.folds else self._model_path
            refuse_not_finite(member.engine.network, str(where))
        return self.members

    def export(
        self,
        path: str | Path,
        *,
        format: str = "onnx",
        with_preprocessing: bool = False,
        int8: bool = False,
        data: str | Path | None = None,
        labels: str | None = None,
        tolerance: float | None = None,
        most_lost: float = 0.01,
        progress: Progress = no_progress,
    ) -> "proof.Proof":
        """Writes the network into the folder `path`, and returns the proof that the file is right.

        The network and the file answer for the run's validation images; where they differ by more
        than the tolerance, nothing is kept. Beside the file stand proof.json, README.md and
        predict.py, a short program that runs it without Ravine.

        Args:
            path: of the folder; an earlier export there is replaced.
            format: onnx, pt2, openvino or safetensors-timm.
            with_preprocessing: the file takes bytes and gives probabilities.
            int8: quantise the file, calibrated on training images; onnx only.
            data: labelled images to prove it on; by default the run's own held-out ones.
            labels: a CSV with the labels of the images in `data`.
            tolerance: largest difference of a probability that is allowed; by default 1e-4.
            most_lost: accuracy, in 0..1, that an int8 file may lose.
            progress: receives the progress of slow work.

        Raises:
            DataError: `data` cannot be read.
            RunError: the file does not answer as the network does, or there are no images.
            SettingError: a package is missing, or the format cannot hold the network.
        """
        wanted = proved.Wanted(
            format=format,
            int8=int8,
            tolerance=proof.TOLERANCE if tolerance is None else tolerance,
            most_lost=most_lost,
        )
        refuse_not_finite(self.model, str(self._model_path))
        return run_export.export_run(
            self._folder,
            self.trained,
            usable_path("path", path),
            wanted,
            with_preprocessing=with_preprocessing,
            data=None if data is None else str(data),
            labels=labels,
            progress=progress,
        )

    def training_shares(self) -> np.ndarray:
        """Returns the share of each class among the training images, (K,) float64.

        Raises:
            RunError: the audit of the data is not in the run folder.
        """
        folders = self._fold_folders() or [self._folder]
        audit = read_json(folders[0].audit)
        try:
            counts = {str(r["name"]): int(r["counts"]["train"]) for r in audit.get("classes", [])}
            found = np.array([counts[name] for name in self.members[0].classes], np.float64)
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{folders[0].audit} does not hold the training shares") from None
        return found / (audit["several"]["train"] if audit.get("several") else found.sum())
