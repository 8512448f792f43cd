import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ravine.core.errors import RunError
from ravine.runs.checkpoints import (
    Checkpoint,
    checkpoint_paths,
    load_latest,
    save_checkpoint,
)


def _tensors(step: int) -> dict[str, torch.Tensor]:
    return {"w": torch.full((4,), float(step)), "k": torch.tensor(step)}


def _save(folder: Path, step: int) -> Path:
    return save_checkpoint(folder, step, _tensors(step), {"elapsed": step / 2})


def test_the_newest_of_the_last_two_comes_back_bit_for_bit(tmp_path: Path) -> None:
    for step in (3, 10, 200):
        _save(tmp_path, step)
    assert [p.name for p in checkpoint_paths(tmp_path)] == ["step-00000010", "step-00000200"]
    found = load_latest(tmp_path, warn=pytest.fail)
    assert found is not None
    assert (found.step, found.values) == (200, {"elapsed": 100.0})
    assert torch.equal(found.tensors["w"], torch.full((4,), 200.0))
    assert found.tensors["k"].dtype == torch.int64


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_a_harmed_checkpoint_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, file: str, harm: str
) -> None:
    _save(tmp_path, 1)
    victim = _save(tmp_path, 2) / file
    content = victim.read_bytes()
    middle = len(content) // 2
    if harm == "cut":
        victim.write_bytes(content[:middle])
    elif harm == "flip":
        victim.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        victim.unlink()
    warnings: list[str] = []
    found = load_latest(tmp_path, warn=warnings.append)
    assert found is not None
    assert found.step == 1
    assert len(warnings) == 1
    assert "step-00000002" in warnings[0]
    assert "falling back" in warnings[0]


def test_a_write_that_was_killed_is_not_seen_and_is_cleared_later(tmp_path: Path) -> None:
    (tmp_path / ".step-00000009.abc.part").mkdir()
    assert load_latest(tmp_path, warn=pytest.fail) is None
    _save(tmp_path, 10)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000010"]


def test_a_checkpoint_of_the_same_state_is_left_where_it_is(tmp_path: Path) -> None:
    before = _save(tmp_path, 3).stat().st_ino

    save_checkpoint(tmp_path, 3, _tensors(3), {"elapsed": 99.0}, clocks=["elapsed"])

    assert (tmp_path / "step-00000003").stat().st_ino == before


@pytest.mark.parametrize("harm", ["values", "tensors", "torn"])
def test_one_of_another_state_or_a_torn_one_is_replaced(tmp_path: Path, harm: str) -> None:
    path = _save(tmp_path, 3)
    if harm == "torn":
        (path / "state.safetensors").write_bytes(b"x")
    tensors = {"w": torch.zeros(4)} if harm == "tensors" else _tensors(3)
    values = {"elapsed": 1.5, "scale": 0.5} if harm == "values" else {"elapsed": 1.5}

    save_checkpoint(tmp_path, 3, tensors, values, clocks=["elapsed"])

    found = load_latest(tmp_path, warn=pytest.fail)
    assert found is not None
    assert found.values == values
    assert torch.equal(found.tensors["w"], tensors["w"])
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000003"]


def test_the_newer_of_two_is_read_wherever_a_replacement_was_killed(tmp_path: Path) -> None:
    """Before the old one is moved away, and between this and the new one's last name."""
    old, other = _save(tmp_path, 3), tmp_path / "other"
    other.mkdir()
    save_checkpoint(other, 3, _tensors(4), {"elapsed": 7.0})
    (other / "step-00000003").rename(tmp_path / "step-00000003.new")
    other.rmdir()

    for killed in ("before", "between"):
        if killed == "between":
            shutil.rmtree(old)
        found = load_latest(tmp_path, warn=pytest.fail)
        assert found is not None
        assert found.values == {"elapsed": 7.0}

    _save(tmp_path, 5)
    assert [p.name for p in checkpoint_paths(tmp_path)] == ["step-00000003", "step-00000005"]


def test_a_full_disk_leaves_the_checkpoint_of_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, 3)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        with pytest.raises(RunError, match="the disk is full"):
            save_checkpoint(tmp_path, 3, _tensors(4), {"elapsed": 7.0})

    found = load_latest(tmp_path, warn=pytest.fail)
    assert found is not None
    assert found.values == {"elapsed": 1.5}
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000003"]


def test_other_names_among_the_checkpoints_are_passed_over(tmp_path: Path) -> None:
    for name in ("step-x", "step-", "step-1e3", "step-²", "steps"):
        (tmp_path / name).mkdir()

    assert checkpoint_paths(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("step", None), ("step", "2"), ("step", 1.5), ("step", 3), ("values", None), ("sha256", 5)],
)
def test_a_newest_one_whose_values_lie_falls_back(tmp_path: Path, name: str, value: Any) -> None:
    _save(tmp_path, 1)
    file = _save(tmp_path, 2) / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    warnings: list[str] = []

    found = load_latest(tmp_path, warn=warnings.append)

    assert found is not None
    assert found.step == 1
    assert len(warnings) == 1


def test_one_that_does_not_fit_falls_back_and_none_that_fits_is_an_error(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    _save(tmp_path, 2)

    def use(found: Checkpoint, limit: int) -> None:
        if found.step > limit:
            raise RunError("the checkpoint does not fit this network")

    found = load_latest(tmp_path, warn=lambda _: None, use=lambda one: use(one, 1))
    assert found is not None
    assert found.step == 1
    with pytest.raises(RunError, match="does not fit"):
        load_latest(tmp_path, warn=lambda _: None, use=lambda one: use(one, 0))


def test_json_nested_deeper_than_can_be_read_is_a_torn_checkpoint(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    (_save(tmp_path, 2) / "state.json").write_text("[" * 100_000)
    warnings: list[str] = []

    found = load_latest(tmp_path, warn=warnings.append)

    assert found is not None
    assert found.step == 1
    assert "is torn" in warnings[0]
