"""timm: the steps of its train.py in a loop that ends by the clock.

Its `create_dataset`, `create_transform`, `create_loader`, `create_model`, `create_optimizer_v2`,
`LabelSmoothingCrossEntropy` and `CosineLRScheduler`, whose progress is the share of the seconds.
`setting`: `model` (a ResNet), `widen` (of its stages), `stem` (stride of its first convolution; its
maximum pooling stays), `opt`, `lr`, `weight_decay`, `batch`, `workers`, `smoothing`.
"""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from task import Clock, Task, task
from timm import create_model
from timm.data import create_dataset, create_loader, create_transform
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch import nn

TICKS = 100_000  # of the schedule, over all seconds
SCALE = (
    0.6,
    1.0,
)  # of the area that a crop has; train.py's own 0.08 is meant for hundreds of epochs
STATISTICS = {1: ((0.5,), (0.25,)), 3: ((0.48, 0.46, 0.42), (0.25, 0.24, 0.26))}


def loader(asked: Task, *, size: int, channels: int) -> Any:
    mean, std = STATISTICS[channels]
    mode = {"input_img_mode": "L"} if channels == 1 else {}
    data = create_dataset("", root=str(asked.train), is_training=True, **mode)
    return create_loader(
        data, (channels, size, size), asked.setting["batch"], is_training=True, scale=SCALE,
        ratio=(1.0, 1.0), color_jitter=None, interpolation="bilinear", mean=mean, std=std,
        num_workers=asked.setting["workers"], use_prefetcher=False, persistent_workers=True,
        device=torch.device("cpu"),
    )  # fmt: skip


def network(setting: dict[str, Any], *, classes: int, channels: int) -> nn.Module:
    widths = [int(width * setting["widen"]) for width in (64, 128, 256, 512)]
    model = create_model(
        setting["model"], pretrained=False, num_classes=classes, in_chans=channels, channels=widths
    )
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.stride = (setting["stem"], setting["stem"])
    return model.to(memory_format=torch.channels_last)


def train(asked: Task, model: nn.Module, batches: Any) -> tuple[float, int]:
    """Trains until the seconds are gone; returns them, and how many images there were."""
    setting, clock, images = asked.setting, Clock(asked.seconds), 0
    optimizer = create_optimizer_v2(
        model, opt=setting["opt"], lr=setting["lr"], weight_decay=setting["weight_decay"],
        momentum=0.9,
    )  # fmt: skip
    schedule = CosineLRScheduler(
        optimizer, t_initial=TICKS, lr_min=setting["lr"] / 1000, t_in_epochs=False,
        warmup_t=TICKS // 10, warmup_lr_init=setting["lr"] / 100, warmup_prefix=True,
    )  # fmt: skip
    loss_of = LabelSmoothingCrossEntropy(setting["smoothing"])
    clock.elapsed()
    while True:
        for pixels, labels in batches:
            if clock.share() >= 1:
                return clock.elapsed(), images
            schedule.step_update(int(TICKS * clock.share()))
            loss = loss_of(model(pixels.contiguous(memory_format=torch.channels_last)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            images += len(labels)


@torch.inference_mode()
def predict(files: list[Path], model: nn.Module, *, size: int, channels: int) -> list[int]:
    mean, std = STATISTICS[channels]
    prepare = create_transform(
        (channels, size, size), is_training=False, crop_pct=1.0, mean=mean, std=std
    )
    model.eval()
    found = []
    for start in range(0, len(files), 256):
        pixels = []
        for path in files[start : start + 256]:
            with Image.open(path) as image:
                pixels.append(prepare(image.convert("L" if channels == 1 else "RGB")))
        found += model(torch.stack(pixels)).argmax(1).tolist()
    return found


def main() -> None:
    asked = task()
    with Image.open(asked.images()[0]) as image:
        size, channels = image.size[0], len(image.getbands())
    batches = loader(asked, size=size, channels=channels)
    data = batches.dataset
    classes = sorted(data.reader.class_to_idx, key=data.reader.class_to_idx.__getitem__)
    model = network(asked.setting, classes=len(classes), channels=channels)
    seconds, images = train(asked, model, batches)
    found = predict(asked.images(), model, size=size, channels=channels)
    asked.finish(
        [classes[place] for place in found],
        network=f"{asked.setting['model']}, {asked.setting['widen']:g} times as wide",
        seconds=seconds,
        epochs=images / len(data),
    )


if __name__ == "__main__":
    main()
