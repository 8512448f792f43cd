"""Folders of images: links, fifos, odd names, files that are no images."""

import os
import random
import shutil
import struct
import zlib
from pathlib import Path

from fuzzing.case import Case
from fuzzing.fixtures import Fixtures
from fuzzing.oracles import of_data


def tree_case(chance: random.Random, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a short training on a tree with some odd entries."""
    tree = folder / "data"
    shutil.copytree(fixtures.tree, tree)
    for _ in range(chance.randint(1, 4)):
        folders = sorted(p for p in tree.glob("a*") if p.is_dir())
        chance.choice(_ODD)(chance, chance.choice([tree, *folders]))
    words = ["train", "data", "--model", "wrn-10-1", "--epochs", "0.2", "--batch", "12", "--quiet"]
    words += ["--threads", "1", "--convolution", "guess", "--out", "new"]
    if chance.random() < 0.2:
        shutil.copytree(fixtures.run, folder / "run")
        words = chance.choice((["predict", "run", "data", "--quiet"], ["evaluate", "run", "data"]))
    return Case(words=words, wrong=lambda at, text: of_data(words, at, text))


def _name(chance: random.Random) -> str:
    names = ("x.png", "é.png", "a b.png", ".hidden.png", "x.PNG", "x.jpg", "x.txt", "$x.png")
    return chance.choice((*names, "\udcff.png", "a" * 200 + ".png", "-x.png", "x.gif", "x.svg"))


def _loop(chance: random.Random, at: Path) -> None:
    path = at / _name(chance)
    if not os.path.lexists(path):
        path.symlink_to(path.name)


def _fifo(chance: random.Random, at: Path) -> None:
    path = at / _name(chance)
    if not os.path.lexists(path):
        os.mkfifo(path)


def _link(chance: random.Random, at: Path) -> None:
    path = at / _name(chance)
    if not os.path.lexists(path):
        path.symlink_to(chance.choice(("..", "/dev/zero", "/nowhere", ".", "../across")))


def _folder(chance: random.Random, at: Path) -> None:
    path = at / _name(chance)
    if not os.path.lexists(path):
        path.mkdir()


def _bytes(chance: random.Random, at: Path) -> None:
    path = at / _name(chance)
    if not os.path.lexists(path):
        kinds = (b"", b"x", b"\x89PNG\r\n\x1a\n", b"GIF89a", os.urandom(3) * 0 + b"\xff\xd8\xff")
        path.write_bytes(chance.choice((*kinds, _huge_png())))


def _huge_png() -> bytes:
    """Returns a PNG whose header names 60,000 × 60,000 pixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")):
        parts += struct.pack(">I", len(body)) + name + body
        parts += struct.pack(">I", zlib.crc32(name + body))
    return parts


def _deep(chance: random.Random, at: Path) -> None:
    path = at
    for _ in range(chance.choice((5, 60, 1200))):
        path = path / "d"
        try:
            path.mkdir()
        except OSError:
            return


def _emptied(_: random.Random, at: Path) -> None:
    for path in at.glob("*.png"):
        if path.is_symlink() or not path.is_dir():
            path.unlink()


_ODD = (_loop, _fifo, _link, _folder, _bytes, _bytes, _deep, _emptied)
