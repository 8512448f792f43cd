"""fastai: `fit_one_cycle`, whose progress is the share of the seconds instead of the epochs.

Its own xresnet with a stem of stride 1 (images are 28 or 32 pixels a side), its own loaders with
padded crops and flips, its Adam, label smoothing and weight decay. `setting`: `widen` (of the
network), `lr`, `wd`, `batch`, `workers`, `mixup` (0 for none).
"""

from typing import Any

import numpy as np
from fastai.callback.core import Callback, CancelFitException, CancelValidException
from fastai.callback.mixup import MixUp
from fastai.callback.schedule import ParamScheduler
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.transforms import Normalize, get_image_files, parent_label
from fastai.layers import ResBlock
from fastai.learner import Learner
from fastai.losses import LabelSmoothingCrossEntropyFlat
from fastai.vision.augment import FlipItem, RandomCrop
from fastai.vision.core import PILImage, PILImageBW
from fastai.vision.data import ImageBlock
from fastai.vision.models.xresnet import XResNet
from PIL import Image
from task import Clock, Task, task

STATISTICS = {1: ([0.5], [0.25]), 3: ([0.48, 0.46, 0.42], [0.25, 0.24, 0.26])}
PADDING = 4


class ByTheClock(Callback):
    """Sets the progress of a fit by the clock, and ends it when the seconds are gone."""

    order = ParamScheduler.order - 1  # the schedule reads the progress

    def __init__(self, clock: Clock) -> None:
        self.clock, self.images = clock, 0

    def before_batch(self) -> None:
        self.learn.pct_train = self.clock.share()
        if self.learn.pct_train >= 1:
            raise CancelFitException
        self.images += len(self.xb[0])

    def before_validate(self) -> None:
        raise CancelValidException


class PaddedCrop(RandomCrop):
    """A random crop of the image with a border; the whole image outside of training."""

    def before_call(self, b: Any, split_idx: int) -> None:
        super().before_call(b, split_idx)
        if not split_idx:
            rows, columns = np.random.randint(-PADDING, PADDING + 1, 2).tolist()
            self.tl = type(self.tl)((columns, rows))


def loaders(asked: Task, *, size: int, channels: int) -> Any:
    """Returns fastai's loaders of all training images; those of validation hold a few of them."""
    kind = PILImageBW if channels == 1 else PILImage
    block = DataBlock(
        blocks=(ImageBlock(kind), CategoryBlock),
        get_items=get_image_files,
        get_y=parent_label,
        splitter=lambda items: (list(range(len(items))), list(range(10))),
        item_tfms=[PaddedCrop(size), FlipItem(0.5)],
        batch_tfms=[Normalize.from_stats(*STATISTICS[channels], cuda=False)],
    )
    batch, workers = asked.setting["batch"], asked.setting["workers"]
    return block.dataloaders(
        asked.train, bs=batch, num_workers=workers, persistent_workers=workers > 0
    )


def main() -> None:
    asked = task()
    with Image.open(asked.images()[0]) as image:
        size, channels = image.size[0], len(image.getbands())
    data = loaders(asked, size=size, channels=channels)
    widen = asked.setting["widen"]
    model = XResNet(ResBlock, 1, [2, 2, 2, 2], c_in=channels, n_out=data.c, widen=widen)
    model[0][0].stride = (1, 1)
    clock = Clock(asked.seconds)
    watch = ByTheClock(clock)
    more = [MixUp(asked.setting["mixup"])] if asked.setting["mixup"] else []
    loss = LabelSmoothingCrossEntropyFlat()
    learner = Learner(data, model, loss_func=loss, cbs=[watch, *more])
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(10_000, asked.setting["lr"], wd=asked.setting["wd"])
    seconds = clock.elapsed()
    epochs = watch.images / len(data.train_ds)
    learner.remove_cb(watch)
    with learner.no_bar():
        scores, _ = learner.get_preds(dl=data.test_dl(asked.images()))
    names = [data.vocab[place] for place in scores.argmax(1).tolist()]
    network = f"xresnet18, {widen:g} times as wide"
    asked.finish(names, network=network, seconds=seconds, epochs=epochs)


if __name__ == "__main__":
    main()
