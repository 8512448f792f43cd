from pathlib import Path

import pytest
import torch

from ravine.runs.checkpoints import checkpoint_paths, load_latest, save_checkpoint


def _save(folder: Path, step: int) -> Path:
    tensors = {"w": torch.full((4,), float(step)), "k": torch.tensor(step)}
    return save_checkpoint(folder, step, tensors, {"elapsed": step / 2})


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
