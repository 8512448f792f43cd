#!/bin/bash
# timm 1.0.31: a split that a folder does not have is the whole folder.
#
# `create_dataset("", root=..., split="validation")`, which timm's training and validation scripts
# call for folders of images, looks for ROOT/validation and its synonyms. Where there is none, it
# takes ROOT itself and every image below it: with only ROOT/train there, "validation" is the
# training images, and the accuracy printed is that of images that were trained on. With a folder of
# another name beside it ("holdout"), validation is both together. Any name does: "banana" too. No
# warning, no error; only the count of images tells.
#
# Seen on an AMD EPYC, November 2026; images of a folder with train (6) alone, and with holdout (2):
#   train alone: train 6, validation 6, test 6, banana 6
#   with holdout: train 6, validation 8
#
# Ends with 0 if that is seen again, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    torch==2.14.1 torchvision==0.29.1 timm==1.0.31 pillow==13.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from pathlib import Path

from PIL import Image
from timm.data import create_dataset


def write(split: str, images: int) -> None:
    for name in ("cat", "dog"):
        place = Path("photos", split, name)
        place.mkdir(parents=True)
        for number in range(images):
            Image.new("RGB", (8, 8)).save(place / f"{split}-{number}.png")


def count(split: str) -> int:
    return len(create_dataset("", root="photos", split=split))


write("train", 3)
alone = {split: count(split) for split in ("train", "validation", "test", "banana")}
write("holdout", 1)
beside = {split: count(split) for split in ("train", "validation")}
print(f"train alone: {alone}\nwith holdout: {beside}")
sys.exit(not (set(alone.values()) == {6} and beside == {"train": 6, "validation": 8}))
PYTHON
