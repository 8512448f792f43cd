"""The networks of a run, and the mean of their probabilities: one network, or one of each fold.

Shape letters: N images, B images of a batch, K classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import nn

from ravine.core.device import pick_device, pick_precision
from ravine.core.errors import RunError, SettingError
from ravine.core.progress import Progress, no_progress
from ravine.data.batches import evaluation_batches
from ravine.data.dataset import ImageArray
from ravine.kernels.sleeping_threads import sleeps_when_busy
from ravine.training.evaluation import batch_log_probabilities
from ravine.training.model_file import TrainedModel
from ravine.training.several_evaluation import CHOSEN_HERE, Thresholds

_BATCH = 500

LogProbabilities = tuple[np.ndarray, np.ndarray | None]
"""Logarithms (B, K) float32 of the probabilities, and of their mean with the mirror images'."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Networks whose probabilities are averaged.

    Attributes:
        members: at least one, all of the same classes, image size and channels.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, float32 or bfloat16.
        mirrored: also answer with test-time flip.
        progress: receives how many images are done.
    """

    members: Sequence[TrainedModel]
    device: str = "auto"
    precision: str = "auto"
    mirrored: bool = False
    progress: Progress = no_progress

    def batches(self, images: ImageArray, index: np.ndarray) -> Iterator[LogProbabilities]:
        """Yields the answers for images, a batch at a time.

        Args:
            images: (N, S, S, C) uint8.
            index: int64, of the images wanted, in order.
        """
        where = pick_device(self.device)
        models = [one.engine.network.to(where) for one in self.members]
        with sleeps_when_busy(), _moved_back(models):
            answers = [self._answers(one, images, index, where) for one in self.members]
            done = 0
            for each in zip(*answers, strict=True):
                done += len(each[0][0])
                yield _mean([plain for plain, _ in each]), _mean_of_mirrored(each)
                self.progress("images through the network", done, len(index))

    def all(self, images: ImageArray, index: np.ndarray) -> LogProbabilities:
        """Returns the answers for all of the images wanted, (N, K)."""
        shape = (len(index), len(self.members[0].classes))
        plain = np.empty(shape, np.float32)
        both = np.empty(shape, np.float32) if self.mirrored else None
        start = 0
        for one, two in self.batches(images, index):
            rows = slice(start, start + len(one))
            plain[rows] = one
            if both is not None and two is not None:
                both[rows] = two
            start += len(one)
        return plain, both

    def _answers(
        self, member: TrainedModel, images: ImageArray, index: np.ndarray, device: torch.device
    ) -> Iterator[LogProbabilities]:
        batches = evaluation_batches(
            images, index, preprocessing=member.preprocessing, batch=_BATCH, device=device
        )
        precision = pick_precision(self.precision, device)
        member.engine.check_weights()
        for batch in batches:
            plain, both = batch_log_probabilities(
                member.engine.network,
                batch.images,
                precision=precision,
                mirrored=self.mirrored,
                several=member.several,
                forward=member.engine,
            )
            yield plain.cpu().numpy(), None if both is None else both.cpu().numpy()


@contextmanager
def _moved_back(models: list[nn.Module]) -> Iterator[None]:
    try:
        yield
    finally:
        for model in models:
            model.to("cpu")


def thresholds_for(members: Sequence[TrainedModel], given: float | None) -> Thresholds | None:
    """Returns the thresholds of several labels; None where an image has one class.

    Args:
        members: whose thresholds are averaged.
        given: one for every label, in [0, 1]; by default those of the training.

    Raises:
        SettingError: it is out of range, or has no effect.
    """
    found = [one.thresholds for one in members if one.thresholds is not None]
    if len(found) < len(members):
        if given is not None:
            raise SettingError(
                "threshold has no effect: the network answers with one class; leave it out"
            )
        return None
    if given is None:
        return Thresholds(values=np.mean(found, axis=0), source=CHOSEN_HERE)
    if not 0 <= given <= 1:
        raise SettingError(f"threshold {given:g} is no probability; give one from 0 to 1")
    return Thresholds(values=np.full(len(found[0]), given), source="given")


def _mean(log_probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the logarithm (B, K) of the mean of probabilities."""
    if len(log_probabilities) == 1:
        return log_probabilities[0]
    total = np.logaddexp.reduce([one.astype(np.float64) for one in log_probabilities])
    return np.asarray(total - np.log(len(log_probabilities)), dtype=np.float32)


def _mean_of_mirrored(each: Sequence[LogProbabilities]) -> np.ndarray | None:
    found = [both for _, both in each if both is not None]
    return _mean(found) if found else None


def refuse_not_finite(model: nn.Module, where: str) -> None:
    """Raises `RunError` if a weight or statistic of a network is NaN or infinite."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise RunError(
                f"{where}: {name} is not finite, so the network predicts nothing; the training "
                "diverged: see ravine diagnose, or train again with a lower --lr"
            )
