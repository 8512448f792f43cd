"""Weight files may be anybody's: pickles and lying headers end in one error that says why."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ravine.core.errors import RunError
from ravine.weights.trained_weights import TrainedWeights
from ravine.weights.weight_file import read_weight_file


def _written(path: Path, header: object, content: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


WHOLE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HALF = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 80]}}, "bytes 0 to 80 of 8"),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 8]}}, "bytes -8 to 8"),
        ({"w": {"dtype": "F32", "shape": [2]}}, "not where it lies"),
        (
            {"w": {"dtype": "F32", "shape": [4096, 4096], "data_offsets": [0, 8]}},
            "gives 'w' 8 bytes for 67,108,864 of its shape",
        ),
        ({"w": {"dtype": "X99", "shape": [2], "data_offsets": [0, 8]}}, "the unknown type 'X99'"),
        ({"w": {"dtype": 7, "shape": [2], "data_offsets": [0, 8]}}, "the unknown type '7'"),
        ({"w": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}}, r"shape \[-1, -2\]"),
        ({"w": {"dtype": "F32", "shape": [2**62] * 99, "data_offsets": [0, 8]}}, "the shape"),
        ({"a": HALF, "b": HALF}, "places 'b' at byte 0; those before end at 4"),
        ({"a": HALF | {"data_offsets": [4, 8]}}, "places 'a' at byte 4; those before end at 0"),
        ({"__metadata__": {"a": 1}, "w": WHOLE}, "torn or no safetensors file"),
        (["w"], "no JSON object"),
    ],
)
def test_a_lying_header_is_refused(header: object, said: str, tmp_path: Path) -> None:
    path = _written(tmp_path / "w.safetensors", header, bytes(8))

    with pytest.raises(RunError, match=said) as refused:
        read_weight_file(path)
    assert str(refused.value).endswith("; copy or download it again")


@pytest.mark.parametrize("length", [2**63, 10**9, 40])
def test_a_header_longer_than_its_file_is_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")

    with pytest.raises(RunError, match="its header claims"):
        read_weight_file(path)


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "weights", "w.safetensors"])
def test_a_pickle_is_refused_by_its_bytes_and_the_two_lines_convert_it(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    torch.save({"state_dict": {"a": torch.arange(3.0), "b": torch.ones(2, 2)}}, path)

    with pytest.raises(RunError, match="is a pickle") as refused:
        read_weight_file(path)

    lines = str(refused.value).splitlines()[1:]
    assert len(lines) == 2
    exec("\n".join(lines))  # as the user would paste them
    (converted,) = set(tmp_path.iterdir()) - {path}
    assert load_file(converted)["a"].tolist() == [0, 1, 2]


def test_a_wrappers_prefix_is_taken_off(tmp_path: Path) -> None:
    save_file({"module.a": torch.ones(1), "module.b": torch.ones(2)}, tmp_path / "w.safetensors")

    assert set(read_weight_file(tmp_path / "w.safetensors")[0]) == {"a", "b"}


def test_weights_that_are_not_finite_are_named() -> None:
    trained = TrainedWeights(tensors={"a": torch.tensor([1.0, torch.nan])}, source="runs/x")

    with pytest.raises(RunError, match="runs/x: a holds numbers that are not finite"):
        trained.refuse_not_finite()


def test_the_fingerprint_follows_values_names_and_types() -> None:
    def of(**tensors: torch.Tensor) -> str:
        return TrainedWeights(tensors=tensors, source="x").fingerprint()

    same = of(a=torch.ones(2), b=torch.zeros(1))

    assert same == of(b=torch.zeros(1), a=torch.ones(2))
    assert len({same, of(a=torch.ones(2)), of(a=torch.ones(2), c=torch.zeros(1))}) == 3
    assert of(a=torch.ones(2)) != of(a=torch.ones(2).double())
