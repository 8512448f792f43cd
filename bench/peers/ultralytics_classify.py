"""ultralytics: its classifier with `time=`, built from the .yaml, so with fresh weights.

`setting` goes to `YOLO(model).train` as it is, but for `model`. `val=False`: nothing is evaluated
on the way; the loader of validation images, which it wants, has ten of the training images. The
weights are the last.
"""

import os
import tempfile
import time
from pathlib import Path

from task import task

os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())
os.environ["YOLO_OFFLINE"] = "true"

from ultralytics import YOLO, settings


def layout(train: Path, out: Path) -> Path:
    """Returns a folder as the classifier reads it: train and val, by links."""
    folder = out / "data"
    folder.mkdir()
    (folder / "train").symlink_to(train.resolve())
    for kind in sorted(train.iterdir()):
        (folder / "val" / kind.name).mkdir(parents=True)
        first = min(kind.iterdir()).resolve()
        (folder / "val" / kind.name / first.name).symlink_to(first)
    return folder


def main() -> None:
    asked = task()
    settings.update({"sync": False})
    given = dict(asked.setting)
    model = YOLO(given.pop("model"))
    counted = {"images": 0, "start": 0.0, "end": 0.0}

    def start(_trainer: object) -> None:
        counted["start"] = time.monotonic()

    def count(trainer: object) -> None:
        counted["images"] += trainer.batch_size  # type: ignore[attr-defined]
        counted["end"] = time.monotonic()

    model.add_callback("on_train_start", start)
    model.add_callback("on_train_batch_end", count)
    data = layout(asked.train, asked.out)
    model.train(
        data=str(data), time=asked.seconds / 3600, seed=asked.seed, project=str(asked.out),
        name="run", exist_ok=True, pretrained=False, val=False, plots=False, verbose=False,
        device="cpu", amp=False, **given,
    )  # fmt: skip
    last = YOLO(asked.out / "run" / "weights" / "last.pt")
    names = {}
    for path in asked.images():
        names[path.name] = ""
    found = last.predict(
        str(asked.test), imgsz=given["imgsz"], batch=256, stream=True, verbose=False, device="cpu"
    )
    for one in found:
        names[Path(one.path).name] = one.names[one.probs.top1]
    images = sum(len(list(kind.iterdir())) for kind in asked.train.iterdir())
    seconds, epochs = counted["end"] - counted["start"], counted["images"] / images
    network = f"{asked.setting['model'].removesuffix('.yaml')} at {given['imgsz']} pixels"
    asked.finish(list(names.values()), network=network, seconds=seconds, epochs=epochs)


if __name__ == "__main__":
    main()
