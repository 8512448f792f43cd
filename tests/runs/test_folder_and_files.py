from pathlib import Path

import pytest
import torch

from ravine.core.errors import RunError
from ravine.core.tensor_file import load_tensors, save_tensors, tensors_to_bytes
from ravine.runs.folder import RunFolder, create_run_folder, next_run_path, open_run_folder
from ravine.runs.recipe_file import read_recipe, write_recipe


def _begin(folder: RunFolder) -> None:
    write_recipe(folder.recipe, {"model": "wrn-16-4", "lr": 0.1, "clip": None}, None)


def test_a_run_name_that_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    create_run_folder(tmp_path / "r", _begin)
    with pytest.raises(RunError, match="exists already; choose another name with --out"):
        create_run_folder(tmp_path / "r", _begin)
    assert open_run_folder(tmp_path / "r").recipe.is_file()


def test_run_names_count_up_past_the_highest(tmp_path: Path) -> None:
    (tmp_path / "photos-wrn-16-4-7").mkdir()
    assert next_run_path(tmp_path, "some/photos", "wrn-16-4").name == "photos-wrn-16-4-8"
    assert next_run_path(tmp_path, "@fashion", "pkg:net").name == "fashion-pkg-net-1"


def test_two_processes_cannot_hold_one_run(tmp_path: Path) -> None:
    folder = create_run_folder(tmp_path / "r", _begin)
    with folder.locked(), pytest.raises(RunError, match="another process"), folder.locked():
        pass
    with folder.locked():
        pass


def test_a_folder_without_a_recipe_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no recipe"):
        open_run_folder(tmp_path)
    with pytest.raises(RunError, match="no run folder"):
        open_run_folder(tmp_path / "none")


def test_a_recipe_comes_back_with_its_plan_and_without_none(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    write_recipe(path, {"model": "a", "clip": None, "data": 'q"\\é'}, {"total_steps": 3})
    assert read_recipe(path) == ({"model": "a", "data": 'q"\\é'}, {"total_steps": 3})


def test_a_recipe_that_is_not_toml_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("a = = 1")
    with pytest.raises(RunError, match="not a recipe in TOML"):
        read_recipe(path)


def test_equal_tensors_give_equal_files(tmp_path: Path) -> None:
    about = {"b": [1, 2], "a": "é", "c": {"z": 1, "y": 2}}
    one = tensors_to_bytes({"x": torch.ones(3), "y": torch.zeros(2)}, about)
    two = tensors_to_bytes({"y": torch.zeros(2), "x": torch.ones(3)}, dict(reversed(about.items())))
    assert one == two
    save_tensors(tmp_path / "m", {"x": torch.ones(3)}, about)
    tensors, back = load_tensors(tmp_path / "m")
    assert back == about
    assert torch.equal(tensors["x"], torch.ones(3))


def test_a_torn_file_of_tensors_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "m"
    save_tensors(path, {"x": torch.ones(300)}, {})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match="torn"):
        load_tensors(path)
