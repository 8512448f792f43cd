"""Runs that start from trained weights: what they take over, keep, and resume from."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ravine
from ravine.core.allowed_code import NO_CODE
from ravine.core.errors import RunError, SettingError
from ravine.core.events import Event, Notice
from ravine.core.tensor_file import load_tensors
from ravine.runs.rows import read_json
from ravine.training import feature_slices
from ravine.training.features import Backbone
from ravine.workflows import augmentation
from ravine.workflows.builder import Builder
from ravine.workflows.check import compare_variance
from ravine.workflows.race_networks import with_networks_of_weights
from ravine.workflows.race_settings import RaceSettings, combinations
from ravine.workflows.recipe import Recipe

SMALL = {"threads": 1, "device": "cpu", "precision": "float32", "convolution": "guess"}


def _pictures(
    path: Path, classes: list[str], *, channels: int = 1, seed: int = 0, size: int = 10
) -> Path:
    """Writes stripes of a period and direction for each class."""
    chance = np.random.default_rng(seed)
    shape = (40 * len(classes), size, size, channels)
    images = chance.integers(0, 60, shape)
    for number in range(len(classes)):
        of_class = images[number :: len(classes)]
        along = of_class if number % 2 else of_class.swapaxes(1, 2)
        along[:, :: 2 + number // 2] += 150
    labels = np.array(classes)[np.arange(len(images)) % len(classes)]
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, own_cache: None) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def source(home: Path) -> ravine.Run:
    """A run on three classes, in colour."""
    data = _pictures(home / "three.npz", ["along", "across", "fine"], channels=3)
    return ravine.train(data, out=home / "source", model="wrn-10-1", epochs=2, batch=16, **SMALL)


def test_a_run_starts_from_anothers_weights_with_its_input_and_keeps_classes_by_name(
    source: ravine.Run, home: Path
) -> None:
    data = _pictures(home / "grey.npz", ["across", "new"], seed=1)
    lines: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            lines.append(event.text)

    run = ravine.train(
        data, out=home / "grey", weights=str(source.path), epochs=1, observers=[listen], **SMALL
    )

    start, _ = load_tensors(run.path / "start.safetensors")
    before = load_file(source.path / "model.safetensors")
    assert torch.equal(start["1.branch.0.weight"], before["1.branch.0.weight"])
    assert torch.equal(start["0.weight"], before["0.weight"].sum(1, keepdim=True))
    assert run.settings["model"] == "wrn-10-1"
    about = source.trained.preprocessing
    assert run.trained.preprocessing.mean == pytest.approx((sum(about.mean) / 3,))
    assert any(
        line.startswith("input as the weights were trained: image_size 10") for line in lines
    )
    assert any("the sum of the filters" in line for line in lines)
    record = read_json(run.path / "weights.json")
    assert record["source"] == str(source.path)
    assert record["classes_kept"] == ["across"]
    page = (run.path / "report.html").read_text()
    assert "Training started from weights of" in page
    assert record["fingerprint"] in page


def test_a_run_resumes_bitwise_when_its_source_is_gone(source: ravine.Run, home: Path) -> None:
    moved = home / "moved"
    shutil.copytree(source.path, moved)
    data = home / "three.npz"
    run = ravine.train(data, out=home / "gone", weights=str(moved), epochs=2, batch=16, **SMALL)
    shutil.rmtree(moved)

    assert ravine.verify(run.path, from_start=True).same


def test_an_ended_run_is_trained_further_on_its_own_images(source: ravine.Run, home: Path) -> None:
    lines: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            lines.append(event.text)

    run = ravine.train(
        weights=str(source.path), epochs=1, out=home / "further", threads=1, observers=[listen]
    )

    assert not [line for line in lines if "the weights were trained with" in line]
    assert run.settings["data"] == str((home / "three.npz").absolute())
    assert run.settings["batch"] == 16
    assert run.settings["epochs"] == 1
    start, _ = load_tensors(run.path / "start.safetensors")
    kept = load_file(source.path / "model.safetensors")
    assert all(torch.equal(start[name], value) for name, value in kept.items())


def test_resuming_an_ended_run_names_the_command_that_trains_it_further(
    source: ravine.Run,
) -> None:
    lines: list[str] = []
    ravine.resume(source.path, observers=[lambda e: lines.append(getattr(e, "text", ""))])

    assert f"ravine train --weights {source.path} --epochs 10" in lines[0]


def test_a_file_without_metadata_needs_its_network_named(source: ravine.Run, home: Path) -> None:
    plain = home / "plain.safetensors"
    save_file(load_file(source.path / "model.safetensors"), plain)
    data = home / "three.npz"

    with pytest.raises(SettingError, match="does not say of which network it is; name it"):
        ravine.train(data, out=home / "x", weights=str(plain), epochs=1, **SMALL)
    run = ravine.train(
        data, out=home / "named", weights=str(plain), model="wrn-10-1", epochs=1, **SMALL
    )

    start, _ = load_tensors(run.path / "start.safetensors")
    assert torch.equal(start["2.last.weight"], load_file(plain)["2.last.weight"])


def test_another_network_than_the_weights_is_refused_before_a_folder_is_made(
    source: ravine.Run, home: Path
) -> None:
    with pytest.raises(RunError, match="does not fit this network"):
        ravine.train(
            home / "three.npz",
            out=home / "wide",
            weights=str(source.path),
            model="wrn-10-2",
            epochs=1,
            **SMALL,
        )
    assert not (home / "wide").exists()


def test_weights_that_are_not_there_are_refused_with_those_that_are(
    source: ravine.Run, home: Path
) -> None:
    with pytest.raises(RunError, match=r"no weights .*nothing: .*there are: .*source"):
        ravine.train(home / "three.npz", weights=str(home / "nothing"), epochs=1)


def test_folds_start_from_weights_that_the_run_keeps(source: ravine.Run, home: Path) -> None:
    moved = home / "for-folds"
    shutil.copytree(source.path, moved)
    run = ravine.train(
        home / "three.npz", out=home / "folds", weights=str(moved), folds=2, epochs=1, **SMALL
    )
    shutil.rmtree(moved)
    shutil.rmtree(run.path / "fold-2")
    (run.path / "evaluation.json").unlink()

    again = ravine.resume(run.path)

    start, _ = load_tensors(again.path / "fold-2" / "start.safetensors")
    kept = load_file(source.path / "model.safetensors")
    assert torch.equal(start["2.last.weight"], kept["2.last.weight"])


def test_a_frozen_backbone_trains_its_head_on_kept_features_and_resumes_bitwise(
    source: ravine.Run, home: Path
) -> None:
    data = _pictures(home / "new.npz", ["dots", "along", "wide"], seed=2)
    lines: list[str] = []

    run = ravine.train(
        data,
        out=home / "frozen",
        weights=str(source.path),
        freeze="backbone",
        epochs=3,
        views=2,
        batch=16,
        checkpoint_every=0,
        observers=[lambda e: lines.append(getattr(e, "text", ""))],
        **SMALL,
    )

    start, _ = load_tensors(run.path / "start.safetensors")
    end = load_file(run.path / "model.safetensors")
    assert {name for name in end if not torch.equal(start[name], end[name])} == {
        "6.weight",
        "6.bias",
    }
    assert any(line.startswith("features of 108 images in 2 views") for line in lines)
    assert run.result["accuracy"] == run.epochs[-1]["accuracy"]  # by features, and by images
    assert ravine.verify(run.path).same
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:  # the features are made once more
        patch.setenv("RAVINE_CACHE", str(home / "another-cache"))
        assert ravine.verify(run.path, from_start=True).same


def test_features_of_a_share_of_the_images_are_what_a_short_budget_allows(
    source: ravine.Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _pictures(home / "short.npz", ["dots", "along", "wide"], seed=4)
    lines: list[str] = []
    monkeypatch.setattr(Builder, "seconds_left", lambda _self, _budget: 0.0)
    monkeypatch.setattr(feature_slices, "_LEAST", 3)

    run = ravine.train(
        data,
        out=home / "short",
        weights=str(source.path),
        freeze="backbone",
        budget="20s",
        batch=16,
        observers=[lambda e: lines.append(getattr(e, "text", ""))],
        **SMALL,
    )

    assert run.settings["views"] == 1 / 32
    said = "features of 4 of 108 images, as many as the budget allows, in 1 view"
    assert any(line.startswith(said) for line in lines)
    monkeypatch.setenv("RAVINE_CACHE", str(home / "empty-cache"))
    assert ravine.verify(run.path, from_start=True).same


def test_other_seeds_find_the_features_of_the_images_as_they_are(
    source: ravine.Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _pictures(home / "seeds.npz", ["dots", "along", "wide"], seed=6)
    given = Counter[int]()
    passed = Backbone.features

    def counted(backbone: Backbone, images: torch.Tensor) -> torch.Tensor:
        given[seed] += len(images)
        return passed(backbone, images)

    monkeypatch.setattr(Backbone, "features", counted)
    for seed in (1, 2):
        ravine.train(
            data,
            out=home / f"of-{seed}",
            weights=str(source.path),
            freeze="backbone",
            views=1,
            epochs=1,
            validation=0,
            seed=seed,
            **SMALL,
        )

    assert given[1] - given[2] == 120


def test_images_that_pass_a_frozen_backbone_once_are_not_compared_with_their_mirror_images(
    source: ravine.Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compared(*_: object, **__: object) -> None:
        raise AssertionError("mirror images were compared")

    monkeypatch.setattr(augmentation, "find_mirrored_pair", compared)
    common = {"weights": str(source.path), "freeze": "backbone", "epochs": 2, **SMALL}

    run = ravine.train(home / "three.npz", out=home / "once", **common)
    asked = ravine.train(home / "three.npz", out=home / "asked", augment="flip", **common)

    assert (run.settings["views"], run.settings["augment"]) == (1, "none")
    assert (asked.settings["views"], asked.settings["augment"]) == (2, "flip")


def test_fine_tuning_fits_the_head_first_and_slows_the_first_layers(
    source: ravine.Run, home: Path
) -> None:
    data = _pictures(home / "tune.npz", ["dots", "along", "wide"], seed=3)

    run = ravine.train(data, out=home / "tuned", weights=str(source.path), epochs=2, **SMALL)

    layers = 9  # of wrn-10-1 before its head, shortcuts included
    assert run.settings["freeze"] == "none"
    start, _ = load_tensors(run.path / "start.safetensors")
    kept = load_file(source.path / "model.safetensors")
    assert 0.5 < run.settings["layer_decay"] < 1
    assert run.settings["layer_decay"] ** layers == pytest.approx(0.1, rel=0.01)
    assert torch.equal(start["3.last.weight"], kept["3.last.weight"])
    assert not torch.equal(start["6.weight"][0], kept["6.weight"][0])
    assert ravine.verify(run.path, from_start=True).same


@pytest.mark.slow
def test_a_budget_compares_fresh_frozen_and_fine_tuned_and_says_why(
    source: ravine.Run, home: Path
) -> None:
    data = _pictures(home / "choose.npz", ["dots", "along", "wide"], seed=4)
    lines: list[str] = []

    run = ravine.train(
        data,
        out=home / "chosen",
        weights=str(source.path),
        budget=8.0,
        observers=[lambda e: lines.append(getattr(e, "text", ""))],
        **SMALL,
    )

    ways = ("fine-tuned: ", "frozen backbone: ", "fresh weights: ")
    said = [line for line in lines if line.startswith(ways)]  # which one, is the machine's speed
    assert len(said) == 1
    assert read_json(run.path / "weights.json")["choice"] == said
    assert run.settings["freeze"] in ("none", "backbone")


def test_a_race_of_starts_takes_the_networks_that_the_weights_are_of(
    source: ravine.Run, home: Path
) -> None:
    starts = ["none", str(source.path)]
    race = RaceSettings.of({"candidates": combinations({"weights": starts}), "epochs": 1})
    lines: list[str] = []

    found = with_networks_of_weights(race, Recipe(), NO_CODE, lines.append)
    named = with_networks_of_weights(race, Recipe(model="wrn-16-1"), NO_CODE, lines.append)

    networks = [changes["model"] for changes in found.candidates.values()]
    assert networks == ["wrn-10-1", "wrn-10-1"]
    assert list(found.candidates) == list(race.candidates)
    assert named == race
    assert len(lines) == 1
    assert lines[0].startswith("network wrn-10-1, of which the weights are")
    plain = home / "nameless.safetensors"
    save_file(load_file(source.path / "model.safetensors"), plain)
    nameless = RaceSettings.of({"candidates": combinations({"weights": ["none", str(plain)]})})
    with pytest.raises(SettingError, match="does not say of which network it is; name it"):
        with_networks_of_weights(nameless, Recipe(), NO_CODE, lines.append)


def test_frozen_fresh_weights_are_refused(home: Path) -> None:
    with pytest.raises(SettingError, match="freeze backbone keeps layers as they are, and fresh"):
        ravine.train(home / "three.npz", freeze="backbone", epochs=1)


def test_a_check_looks_at_the_network_that_the_weights_give(source: ravine.Run, home: Path) -> None:
    data = str(home / "three.npz")
    lines: list[str] = []

    (found,) = compare_variance(
        data,
        {"weights": str(source.path)},
        out=home / "checked",
        learn=False,
        observer=lambda event: lines.append(getattr(event, "text", "")),
    )
    (fresh,) = compare_variance(data, {"model": "wrn-10-1"}, out=home / "checked", learn=False)

    assert found["name"] == str(source.path)
    assert f"weights of {source.path}, no licence stated" in lines
    assert len(found["layers"]) == len(fresh["layers"])
    assert found["factors"] != fresh["factors"]
    assert found["rate"]["training"] == pytest.approx(fresh["rate"]["training"] / 10)


@pytest.mark.parametrize("model", ["wrn-10-1", "swift-1"])
def test_a_check_judges_the_learning_rate_that_training_begins_at(model: str, home: Path) -> None:
    data = _pictures(home / f"few-{model}.npz", ["along", "across"], size=14)
    asked = {"model": model, "epochs": 1.0}

    (found,) = compare_variance(str(data), asked, out=home / "checked", learn=False)
    run = ravine.train(data, out=home / f"few-{model}", **asked, **SMALL)

    assert found["rate"]["training"] == pytest.approx(run.settings["lr"])
