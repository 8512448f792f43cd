"""Runs on images of five bands, from the data to the export, by the commands that people type.

The class shows in the fifth band alone: whatever drops or mixes bands answers by chance.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import ravine as package
from ravine.core.tensor_file import load_tensors

pytestmark = pytest.mark.slow  # many seconds

SMALL = {"threads": 1, "device": "cpu", "precision": "float32", "convolution": "guess"}
FLAGS = ("--threads", "1", "--device", "cpu", "--precision", "float32", "--convolution", "guess")
CLASSES = ["calm", "torn"]

Command = Callable[..., Any]


def _pictures(path: Path, count: int, *, seed: int, bands: int = 5) -> Path:
    """Writes noise of the same kind in all bands, and in the last one stripes of the class."""
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 100, (count, 12, 12, bands))
    labels = np.arange(count) % 2
    images[labels == 1, ::2, :, -1] += 150
    images[labels == 0, :, ::2, -1] += 150
    np.savez(path, images=images.astype(np.uint8), labels=np.array(CLASSES)[labels])
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("bands")
    _pictures(home / "train.npz", 240, seed=0)
    _pictures(home / "test.npz", 60, seed=1)
    _pictures(home / "colour.npz", 60, seed=2, bands=3)
    np.save(home / "new.npy", np.load(home / "test.npz")["images"].transpose(0, 3, 1, 2))
    for name in CLASSES:
        (home / "files" / name).mkdir(parents=True)
        pixels = np.zeros((12, 12, 3), np.uint8)
        Image.fromarray(pixels).save(home / "files" / name / "one.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAVINE_CACHE", str(home / "cache"))
        yield home


@pytest.fixture(scope="module")
def bands(home: Path) -> package.Run:
    return package.train(
        home / "train.npz", out=home / "bands", model="wrn-10-1", epochs=2, batch=16, **SMALL
    )


@pytest.fixture(scope="module")
def colour(home: Path) -> package.Run:
    return package.train(
        home / "colour.npz", out=home / "colour", model="wrn-10-1", epochs=1, batch=16, **SMALL
    )


def test_a_class_that_shows_in_the_fifth_band_alone_is_learned(
    ravine: Command, home: Path, bands: package.Run
) -> None:
    said = ravine("evaluate", bands.path, home / "test.npz", "--json")

    assert said.code == 0, said.err
    assert json.loads(said.out.splitlines()[-1])["accuracy"] >= 0.95
    assert bands.trained.preprocessing.channels == 5
    notices = json.loads((bands.path / "audit.json").read_text())["rule"]
    assert "5 bands (those of the array)" in notices
    assert "the first three as red, green, blue" in notices


def test_predict_takes_npz_and_npy_with_the_bands_first_or_last(
    ravine: Command, home: Path, bands: package.Run, tmp_path: Path
) -> None:
    answers = []
    for name in ("test.npz", "new.npy"):
        said = ravine("predict", bands.path, home / name, "--out", tmp_path / f"{name}.csv")
        assert said.code == 0, said.err
        with (tmp_path / f"{name}.csv").open() as file:
            answers.append([row["class"] for row in csv.DictReader(file)])

    assert answers[0] == answers[1]
    truth = np.load(home / "test.npz")["labels"]
    assert np.mean(np.array(answers[0]) == truth) >= 0.95
    in_hand = bands.predict(np.load(home / "test.npz")["images"])
    assert in_hand.labels == answers[0]


def test_the_run_is_the_same_bit_for_bit_when_it_is_resumed(bands: package.Run) -> None:
    assert package.verify(bands.path).same
    assert package.verify(bands.path, from_start=True).same


def test_report_and_diagnose_show_pictures_of_three_bands(
    ravine: Command, bands: package.Run
) -> None:
    assert ravine("report", bands.path).code == 0
    assert ravine("diagnose", bands.path).code in (0, 1)

    pictures = sorted((bands.path / "pictures").glob("training-*.png"))
    assert pictures
    for picture in pictures:
        with Image.open(picture) as image:
            assert (image.mode, image.size) == ("RGB", (12, 12))
    assert "training-00.png" in json.dumps(
        json.loads((bands.path / "pictures" / "index.json").read_text())
    )


def test_check_and_data_look_at_bands(ravine: Command, home: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    data = ravine("data", home / "train.npz", "--sheet", sheet)
    named = ("--model", "wrn-10-1", "--threads", "1")
    check = ravine("check", home / "train.npz", *named, "--out", tmp_path / "check")

    assert data.code == 0, data.err
    assert "5 bands (those of the array)" in data.out.replace("\n", " ")
    assert sheet.is_file()
    assert check.code == 0, check.out + check.err


def test_an_export_is_proved_on_images_of_five_bands(
    ravine: Command, bands: package.Run, tmp_path: Path
) -> None:
    said = ravine("export", bands.path, "--format", "onnx", "--out", tmp_path / "onnx")

    assert said.code == 0, said.err
    assert (tmp_path / "onnx" / "model.onnx").is_file()
    assert json.loads((tmp_path / "onnx" / "proof.json").read_text())
    assert not (tmp_path / "onnx" / "predict.py").exists()  # which reads image files
    assert "5×12×12" in (tmp_path / "onnx" / "README.md").read_text()


@pytest.mark.parametrize("plain", [False, True], ids=["run", "file"])
def test_weights_of_a_colour_network_meet_five_bands_by_the_rule(
    ravine: Command, home: Path, colour: package.Run, tmp_path: Path, plain: bool
) -> None:
    weights, named = colour.path, ()
    if plain:
        weights = tmp_path / "plain.safetensors"
        save_file(load_file(colour.path / "model.safetensors"), weights)
        named = ("--model", "wrn-10-1")
    said = ravine(
        "train", home / "train.npz", "--weights", weights, *named, "--epochs", "1",
        "--batch", "16", "--out", tmp_path / "run", *FLAGS,
    )  # fmt: skip

    assert said.code == 0, said.err
    text = " ".join(said.out.split())
    assert "trained on 3 channels, here 5: channel c takes filter c mod 3, times 3/5" in text
    if not plain:  # a file alone does not say what it was trained on
        assert (
            "mean and std as measured on the training images: the weights were trained on" in text
        )
    start, _ = load_tensors(tmp_path / "run" / "start.safetensors")
    trained = load_file(colour.path / "model.safetensors")["0.weight"]
    for band in range(5):
        torch.testing.assert_close(start["0.weight"][:, band], trained[:, band % 3] * 3 / 5)
    assert len(package.Run.load(tmp_path / "run").trained.preprocessing.mean) == 5


def test_weights_of_five_bands_bring_their_normalisation_to_five_and_not_to_three(
    ravine: Command, home: Path, bands: package.Run, tmp_path: Path
) -> None:
    lines = []
    for name in ("test.npz", "colour.npz"):
        said = ravine(
            "train", home / name, "--weights", bands.path, "--epochs", "1", "--batch", "16",
            "--out", tmp_path / name, *FLAGS,
        )  # fmt: skip
        assert said.code == 0, said.err
        lines.append(" ".join(said.out.split()))

    own = bands.trained.preprocessing
    assert package.Run.load(tmp_path / "test.npz").trained.preprocessing.mean == own.mean
    assert "as measured on the training images" not in lines[0]
    assert "the weights were trained on images of 5 channels, and these have others" in lines[1]
    assert "channel c takes filter c mod 5, times 5/3" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "bands", "colour.npz"), "images of 3 channels, and the network takes 5"),
        (("predict", "bands", "colour.npz"), "images of 3 channels, and the network takes 5"),
        (("predict", "bands", "files"), "image files are read as 1 or 3 channels"),
        (("evaluate", "bands", "files"), "image files are read as 1 or 3 channels"),
        (("evaluate", "colour", "test.npz"), "images of 5 channels, and the network takes 3"),
        (("predict", "colour", "test.npz"), "images of 5 channels, and the network takes 3"),
    ],
)
def test_other_channels_are_refused_in_one_line(
    ravine: Command,
    home: Path,
    bands: package.Run,
    colour: package.Run,
    arguments: tuple[str, str, str],
    message: str,
) -> None:
    command, run, data = arguments
    out = ("--out", home / "never.csv") if command == "predict" else ()
    said = ravine(command, home / run, home / data, *out)

    assert said.code == 2
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1


def test_wrong_means_and_channels_are_refused_in_one_line(ravine: Command, home: Path) -> None:
    for flags, message in (
        (("--mean", "0.5,0.5,0.5"), "mean has 3 values, and the images have 5 channels"),
        (("--channels", "3"), "channels 3: the images of"),
        (("--channels", "17"), "channels '17': wanted is auto"),
    ):
        said = ravine("train", home / "train.npz", *flags, "--out", home / "never")
        assert said.code == 2
        assert message in said.err
        assert len(said.err.strip().splitlines()) == 1


def test_jitter_is_left_out_and_said(ravine: Command, home: Path, tmp_path: Path) -> None:
    said = ravine(
        "train", home / "test.npz", "--model", "wrn-10-1", "--epochs", "1", "--batch", "16",
        "--augment", "flip,crop,cutout,jitter", "--out", tmp_path / "run", *FLAGS,
    )  # fmt: skip

    assert said.code == 0, said.err
    assert "no jitter, since 5 bands are no colours" in " ".join(said.out.split())
