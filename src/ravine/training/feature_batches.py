"""Batches and validation of a head that is trained on features; see `features`."""

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from ravine.data.batches import Batch, TrainingBatches
from ravine.data.label_sets import has_several
from ravine.training.evaluation import Evaluation, log_probabilities_of, summarise
from ravine.training.features import HeadOnly


@final
class FeatureBatches:
    """The batches of a run with features in place of images, in the same order.

    Epoch e takes view e mod V of every image: a pure function of the step, as batches are.

    Args:
        batches: of the images.
        views: V arrays (R, F) float32.
        index: (N,) int64, sorted, of the training images.
        rows: (N,) int64, of each training image in the order of `index`: its row in the views.
        shown: (N,) int64, of each: the image of the data set whose features that row has.
        labels: (I,) int64 or (I, K) uint8, of all images of the data set.
        device: of the head.
    """

    def __init__(
        self,
        batches: TrainingBatches,
        views: Sequence[np.ndarray],
        *,
        index: np.ndarray,
        rows: np.ndarray,
        shown: np.ndarray,
        labels: np.ndarray,
        device: torch.device,
    ) -> None:
        self._batches = batches
        self._views = [torch.from_numpy(np.array(view)).to(device) for view in views]
        self._index, self._rows, self._shown = index, rows, shown
        self._labels = torch.from_numpy(labels).to(device)
        self.steps_per_epoch = batches.steps_per_epoch

    def batch_at(self, step: int) -> Batch:
        """Returns the batch of `step`, counted from 0; its images are features (B, F)."""
        chosen = np.searchsorted(self._index, self._batches.indices_at(step))
        rows = torch.from_numpy(self._rows[chosen])
        view = self._views[step // self.steps_per_epoch % len(self._views)]
        labels = self._labels[torch.from_numpy(self._shown[chosen]).to(self._labels.device)]
        return Batch(images=view[rows.to(view.device)], targets=labels, labels=labels)

    def whole_batch_at(self, step: int) -> Batch:
        """Returns the images of a step, (B, C, H, W), that a run without features would see."""
        return self._batches.whole_batch_at(step)


@final
class FeatureValidation:
    """Evaluates a head on the features of the validation images.

    Args:
        head: name of the layer in the network that is evaluated.
        end: whose layers after the head are used.
        features: (M, F) float32.
        labels: (M,) int64, or (M, K) uint8 of 0 and 1.
        precision: of activations and products.
    """

    def __init__(
        self,
        head: str,
        end: HeadOnly,
        features: np.ndarray,
        labels: np.ndarray,
        *,
        precision: torch.dtype,
    ) -> None:
        self._head, self._end, self._precision = head, end, precision
        self._features, self._labels = torch.from_numpy(np.array(features)), labels

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> Evaluation:
        """Returns what a network with the backbone of the features scores, and its loss."""
        layer = model.get_submodule(self._head)
        device = next(layer.parameters()).device
        features = self._features.to(device)
        with torch.autocast(device.type, self._precision, enabled=self._precision != torch.float32):
            logits: Tensor = self._end.after(layer(features))
        found = log_probabilities_of(logits, several=has_several(self._labels))
        return summarise(found.cpu().numpy(), self._labels)
