"""Checkpoints and weights: tensors of other shapes and types, headers that lie, missing parts."""

import json
import random
import shutil
import struct
from pathlib import Path
from typing import Any

from fuzzing.case import Case
from fuzzing.fixtures import Fixtures
from fuzzing.odd import mutate, torn
from fuzzing.oracles import of_command

_COMMANDS = (
    ["resume", "half", "--quiet"], ["resume", "half", "--quiet"], ["resume", "half", "--quiet"],
    ["evaluate", "run", "tree", "--quiet"], ["predict", "run/model.safetensors", "tree"],
    ["diagnose", "run", "--quiet"], ["landscape", "run", "--nodes", "3", "--images", "6", "-q"],
)  # fmt: skip


def checkpoint_case(chance: random.Random, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a command on a run of which one file of tensors, or a checkpoint's state, is odd."""
    words = chance.choice(_COMMANDS)
    name = words[1].partition("/")[0]
    run = folder / name
    shutil.copytree(fixtures.run if name == "run" else fixtures.half, run)
    (folder / "tree").symlink_to(fixtures.tree)
    files = sorted(run.rglob("*.safetensors"))
    states = sorted((run / "checkpoints").rglob("*.json"))
    path = chance.choice(files + states if name == "half" else files)
    if path.suffix == ".json":
        path.write_text(json.dumps(mutate(chance, json.loads(path.read_text()))))
    elif chance.random() < 0.25:
        path.write_bytes(torn(chance, path.read_bytes()))
    else:
        _change_header(chance, path)

    def wrong(at: Path, text: str) -> str | None:
        return of_command(words, at / name, fixtures.run, text)

    return Case(words=words, wrong=wrong)


def _change_header(chance: random.Random, path: Path) -> None:
    """Writes the file with a header in which something is changed, and of the length it has."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    name = chance.choice(list(header))
    if name == "__metadata__" or chance.random() < 0.2:
        header = mutate(chance, header)
    else:
        about = header[name]
        kind = chance.choice(("dtype", "shape", "offsets", "name", "gone", "double"))
        if kind == "dtype":
            about["dtype"] = chance.choice(("F32", "F64", "I64", "U8", "BOOL", "BF16", "X9", ""))
        elif kind == "shape":
            about["shape"] = chance.choice(([], [0], [-1], [2**60], [1, *about["shape"]], [1.5]))
        elif kind == "offsets":
            about["data_offsets"] = chance.choice(([0, 0], [5, 1], [0, 2**60], [-4, 0], [0]))
        elif kind == "name":
            header[chance.choice(("x", "", name + ".", "a" * 300))] = header.pop(name)
        elif kind == "gone":
            del header[name]
        else:
            header["copy"] = dict(about)
    text = json.dumps(header).encode()
    said = len(text) if chance.random() < 0.9 else chance.choice((0, 2**62, length + 1))
    path.write_bytes(struct.pack("<Q", said) + text + content[8 + length :])
