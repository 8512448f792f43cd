"""A cache that is damaged, full or left half-written costs time, never a wrong image."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ravine.data.cache_lookup import cache_key
from ravine.data.cache_writer import CacheWriter
from ravine.data.collection import Collection
from ravine.data.dataset import Dataset
from ravine.data.image_file import ImageFormat
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

Tree = Callable[..., Path]


def _open(data: Path, **settings: object) -> Dataset:
    return open_dataset(DataSettings.of({"data": str(data), **settings}), seed=0)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zeros(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:128] + bytes(len(content) - 128))


def _noise(path: Path) -> None:
    path.write_bytes(b"not what was here" * 20)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("images.npy", _empty),
        ("images.npy", _zeros),
        ("images.npy", _noise),
        ("digests.npy", _empty),
        ("sums.npy", _zeros),
        ("modes.npy", _noise),
        ("about.json", _empty),
        ("about.json", _noise),
        ("about.json", Path.unlink),
    ],
)
def test_damage_of_any_part_is_seen_and_mended(
    tree: Tree, own_cache: Path, file: str, damage: Callable[[Path], None]
) -> None:
    root = tree({"a": 5, "b": 5})
    first = _open(root)
    expected, fingerprint = first.images.copy(), first.fingerprint
    del first
    damage(next(own_cache.glob(f"*/{file}")))

    again = _open(root)

    assert not again.audit["cached"]
    assert again.fingerprint == fingerprint
    assert np.array_equal(again.images, expected)
    assert _open(root).audit["cached"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is taken ahead on POSIX")
@pytest.mark.parametrize("cache", [True, False])
def test_a_full_disk_is_reported_with_the_remedy_and_leaves_nothing(
    tree: Tree, own_cache: Path, tmp_path: Path, cache: bool
) -> None:
    root = tree({"a": 20, "b": 20}, size=64)
    (tmp_path / "temporary").mkdir()
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from ravine.core.errors import DataError\n"
        "from ravine.data.opening import open_dataset\n"
        "from ravine.data.settings import DataSettings\n"
        "try:\n"
        f"    open_dataset(DataSettings(data=sys.argv[1], cache={cache}), seed=0)\n"
        "except DataError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}

    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, env=environment
    )

    assert done.returncode == 0, done.stderr
    assert "free some space, set RAVINE_CACHE to another folder" in done.stdout
    assert list(own_cache.iterdir()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is taken ahead on POSIX")
def test_the_space_is_taken_before_anything_is_decoded(tmp_path: Path) -> None:
    CacheWriter(tmp_path, 100, ImageFormat(image_size=64, channels=3), new=True)

    facts = (tmp_path / "images.npy").stat()
    assert facts.st_blocks * 512 >= facts.st_size > 100 * 64 * 64 * 3


def test_what_killed_runs_left_is_cleared_after_a_day(tree: Tree, own_cache: Path) -> None:
    old, new = own_cache / ".x.1.part", own_cache / ".x.2.part"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))

    _open(tree({"a": 3, "b": 3}))

    assert not old.exists()
    assert new.exists()


def test_a_cached_set_can_be_read_where_nothing_can_be_written(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({"a": 5, "b": 5})
    _open(root)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)

    assert _open(root).audit["cached"]


def test_equal_bytes_of_another_shape_have_another_key() -> None:
    def keyed(shape: tuple[int, ...]) -> str:
        pixels = np.zeros(shape, np.uint8)
        made = Collection(
            names=["x"] * shape[0],
            labels=np.zeros(shape[0], np.int64),
            classes=("a",),
            pixels=pixels,
            content_key="same",
        )
        return cache_key(made, ImageFormat(image_size=8, channels=1))

    assert keyed((2, 8, 8, 1)) != keyed((1, 8, 16, 1))


def test_workers_do_not_import_from_the_users_folder(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({"a": 4, "b": 4})
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "json.py").write_text("raise SystemExit('imported by mistake')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("ravine.data.cache_writer._FEW", 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)

    assert len(_open(root, cache=False).images) == 8


def test_decoding_loads_no_torch() -> None:
    code = "import sys, ravine.data.decoding_worker; print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
