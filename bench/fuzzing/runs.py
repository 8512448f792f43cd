"""Run folders whose files are torn, lie, or are something else than files."""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.case import Case
from fuzzing.fixtures import Fixtures
from fuzzing.odd import json_text, mutate
from fuzzing.oracles import of_command

_JSON = ("evaluation.json", "environment.json", "audit.json", "variance.json", "kernel_plan.json")
_LINES = ("history.jsonl", "findings.jsonl", "layers.jsonl")
_BINARY = ("model.safetensors", "weights", "checkpoints")
_COMMANDS = (
    ["report", "run"], ["report", "run"], ["report", "run"], ["diagnose", "run", "--rows-only"],
    ["diagnose", "run", "--quiet"], ["resume", "run", "--quiet"], ["resume", "half", "--quiet"],
    ["resume", "half", "--quiet"], ["evaluate", "run", "tree", "--quiet"],
    ["predict", "run", "tree", "--quiet"],
    ["landscape", "run", "--nodes", "5", "--images", "6", "--quiet"],
)  # fmt: skip


def run_folder_case(chance: random.Random, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a command on a run folder with one to three faults."""
    words = chance.choice(_COMMANDS)
    run = folder / words[1]
    shutil.copytree(fixtures.run if words[1] == "run" else fixtures.half, run)
    (folder / "tree").symlink_to(fixtures.tree)
    for _ in range(chance.choice((1, 1, 2, 3))):
        _harm(chance, run)

    def wrong(at: Path, text: str) -> str | None:
        return of_command(words, at / words[1], fixtures.run, text)

    return Case(words=words, wrong=wrong)


def _harm(chance: random.Random, run: Path) -> None:
    kind = chance.random()
    if kind < 0.35:
        _harm_json(chance, run / chance.choice(_JSON))
    elif kind < 0.65:
        _harm_lines(chance, run / chance.choice(_LINES))
    elif kind < 0.8:
        _harm_checkpoint(chance, run)
    elif kind < 0.9:
        _harm_bytes(chance, chance.choice([p for p in run.rglob("*") if p.is_file()] or [run]))
    else:
        _replace(chance, run / chance.choice((*_JSON, *_LINES, *_BINARY, "report.html", ".lock",
                                              "recipe.toml", "mistakes", "landscape")))  # fmt: skip


def _harm_json(chance: random.Random, path: Path) -> None:
    if not path.is_file():
        return
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return
    text = json_text(chance) if chance.random() < 0.25 else json.dumps(mutate(chance, found))
    path.write_text(text, errors="surrogateescape")


def _harm_lines(chance: random.Random, path: Path) -> None:
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    at = chance.randrange(len(lines) + 1)
    if lines and at < len(lines) and chance.random() < 0.75:
        try:
            lines[at] = json.dumps(mutate(chance, json.loads(lines[at])))
        except (ValueError, RecursionError):
            lines[at] = "{"
    else:
        lines.insert(at, json_text(chance))
    if path.is_dir():
        return
    path.write_text("\n".join(lines) + "\n", errors="surrogateescape")


def _harm_checkpoint(chance: random.Random, run: Path) -> None:
    paths = sorted((run / "checkpoints").glob("step-*"))
    if not paths:
        return
    kind = chance.choice(("json", "json", "json", "name", "empty", "bytes", "dir"))
    newest = paths[-1]
    if kind == "json" and (newest / "state.json").is_file():
        _harm_json(chance, newest / "state.json")
    elif kind == "name":
        (run / "checkpoints" / chance.choice(("step-x", "step-", "step-1e3", "step-²"))).mkdir(
            exist_ok=True
        )
    elif kind == "bytes" and (newest / "state.safetensors").is_file():
        _harm_bytes(chance, newest / "state.safetensors")
    elif kind == "empty":
        shutil.rmtree(newest)
        newest.mkdir()


def _harm_bytes(chance: random.Random, path: Path) -> None:
    if not path.is_file():
        return
    content: Any = bytearray(path.read_bytes())
    if not content:
        return
    at = chance.randrange(len(content))
    if chance.random() < 0.5:
        content = content[:at]
    else:
        content[at : at + 4] = np.random.default_rng(at).bytes(4)
    path.write_bytes(content)


def _replace(chance: random.Random, path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    kind = chance.choice(("gone", "folder", "fifo", "link", "loop", "empty"))
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "empty":
        path.write_bytes(b"")
