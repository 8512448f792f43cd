"""A batch that does not fit the memory is refused with one that does."""

from pathlib import Path

import numpy as np
import pytest
import torch

import ravine
from ravine.core.errors import SettingError
from ravine.core.memory import is_out_of_memory
from ravine.training import step_memory
from ravine.training.step_memory import StepMemory, refuse_too_large, refusing_too_large

GB = 10**9


def test_the_largest_batch_fits_and_one_that_is_twice_as_large_does_not() -> None:
    memory = StepMemory(fixed=GB, image=1e7, available=11 * GB)

    fits = memory.largest_batch()

    refuse_too_large(memory, "net", fits)
    assert fits == 504  # (0.9 · 11 − 1) GB / (1.75 · 10 MB), as a multiple of 8
    with pytest.raises(SettingError, match=r"batch 1008 of net: .* 11 GB are free.*--batch 504"):
        refuse_too_large(memory, "net", 1008)


def test_a_batch_that_may_be_killed_at_its_peak_is_one_line_with_one_that_fits() -> None:
    memory = StepMemory(fixed=GB, image=1e7, available=11 * GB)

    doubt = memory.doubt(800)  # 9 GB are kept, 15 GB are taken at the peak

    refuse_too_large(memory, "net", 800)
    assert doubt is not None
    assert "800 images may take up to 15 GB, and 11 GB are free" in doubt
    assert doubt.endswith("--batch 504")
    assert memory.doubt(504) is None
    assert StepMemory(fixed=GB, image=1e7, available=None).doubt(800) is None


def test_where_nothing_fits_another_network_is_the_remedy() -> None:
    with pytest.raises(SettingError, match="take a smaller network"):
        refuse_too_large(StepMemory(fixed=GB, image=1e7, available=GB), "net", 4)


def test_an_allocation_that_fails_is_one_line_with_a_smaller_batch() -> None:
    memory = StepMemory(fixed=0, image=1.0, available=GB)
    with (
        pytest.raises(SettingError, match="--batch 512 fits"),
        refusing_too_large(memory, "net", 1024),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), refusing_too_large(None, "net", 8):
        raise RuntimeError("shapes do not fit")


def test_torch_says_so_where_it_has_no_memory() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as error:
        torch.empty(2**60)
    assert is_out_of_memory(error.value)


def test_training_measures_what_it_takes_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(256) % 2
    images = np.random.default_rng(0).integers(0, 255, (256, 16, 16, 1), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    monkeypatch.setattr(step_memory, "_available", lambda _: 8_000_000)

    with pytest.raises(SettingError, match=r"batch 200 of wrn-10-1: .* 8 MB are free") as error:
        ravine.train(
            tmp_path / "data.npz", out=tmp_path / "run", model="wrn-10-1", batch=200, epochs=1,
            threads=1, device="cpu", precision="float32", convolution="guess",
        )  # fmt: skip

    assert not (tmp_path / "run").exists()
    with pytest.raises(SettingError, match="batch 254 of"):  # all images but those of validation
        ravine.train(
            tmp_path / "data.npz", out=tmp_path / "run", model="wrn-10-1", batch=4096, epochs=1,
            threads=1, device="cpu", precision="float32", convolution="guess", validation=0.01,
        )  # fmt: skip
    fits = int(str(error.value).rpartition("--batch ")[2].split()[0])
    # Kept at the least: the outputs of 16 channels of the stem and of one block, in float32.
    assert 2 <= fits < 8_000_000 / (16 * 16 * 16 * 4 * 2)
