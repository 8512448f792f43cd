"""Images that are decoded while training are those that are decoded before."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ravine.core.errors import DataError, SettingError
from ravine.core.ranks import Ranks
from ravine.data import load_mode, streaming
from ravine.data.augment_settings import AugmentSettings
from ravine.data.batches import TrainingBatches, evaluation_batches
from ravine.data.dataset import Dataset
from ravine.data.network_images import open_labelled, open_unlabelled
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.streaming import Prefetcher, StreamedImages

_COUNT = 40


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of JPEGs of several sizes, a PNG and a torn file among them."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(_COUNT):
        rough = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        size = (int(rng.integers(30, 90)), int(rng.integers(30, 90)))
        folder = root / ("ant" if number % 2 else "bee")
        folder.mkdir(exist_ok=True)
        Image.fromarray(rough).resize(size).save(folder / f"{number:03d}.jpg", quality=90)
    Image.fromarray(rough).save(root / "ant" / "one.png")
    (root / "bee" / "torn.jpg").write_bytes((root / "bee" / "000.jpg").read_bytes()[:200])
    return root


def _open(data: Path, **chosen: object) -> Dataset:
    values = {"data": str(data), "image_size": 16, **chosen}
    return open_dataset(DataSettings.of(values), seed=0)


@pytest.fixture(scope="module")
def both(
    photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Dataset, Dataset]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAVINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield _open(photos, stream="off"), _open(photos, stream="on", workers=2)


def test_all_but_the_images_is_known_alike(both: tuple[Dataset, Dataset]) -> None:
    kept, streamed = both
    assert isinstance(kept.images, np.ndarray)
    assert isinstance(streamed.images, StreamedImages)
    assert streamed.images.shape == kept.images.shape
    assert streamed.images.dtype == kept.images.dtype
    assert len(streamed.images) == len(kept.images)
    assert streamed.fingerprint == kept.fingerprint
    assert streamed.preprocessing == kept.preprocessing
    for name, index in kept.splits.items():
        assert np.array_equal(index, streamed.splits[name])
    changing = {"seconds", "cached", "reading"}
    for name, value in kept.audit.items():
        assert name in changing or streamed.audit[name] == value, name
    assert streamed.audit["reading"] == {"streamed": True, "why": "as asked"}


def test_no_image_is_kept_on_disk(photos: Path, own_cache: Path) -> None:
    first = _open(photos, stream="on")
    assert not list(own_cache.glob("*/images.npy"))
    assert not first.audit["cached"]
    assert _open(photos, stream="on").audit["cached"]
    assert not _open(photos, stream="off").audit["cached"]
    facts = [path.parent for path in own_cache.glob("*/about.json")]
    shutil.rmtree(next(path for path in facts if not (path / "images.npy").exists()))
    again = _open(photos, stream="on")  # from the statistics of the cache with images
    assert again.audit["cached"]
    assert again.fingerprint == first.fingerprint


@given(st.data())
@settings(max_examples=8)
def test_whatever_is_expected_and_asked_for_the_images_are_the_same(
    both: tuple[Dataset, Dataset], data: st.DataObject
) -> None:
    kept, streamed = both
    images = streamed.images
    assert isinstance(images, StreamedImages)
    with pytest.MonkeyPatch.context() as patch:
        # Few slots: prefetched batches have to make room for each other, and large ones are cut.
        patch.setattr(streaming, "_MEMORY", 0)
        images = images.subset(np.arange(len(images)))
        for _ in range(data.draw(st.integers(1, 8))):
            indices = st.lists(st.integers(0, len(images) - 1), max_size=20)
            batches = [np.array(data.draw(indices), np.int64) for _ in range(3)]
            for index in batches:
                images.prefetch(index)
            index = data.draw(st.sampled_from([*batches, np.array([3, 3, 0])]))
            assert np.array_equal(images[index], np.asarray(kept.images)[index])


@pytest.mark.parametrize(
    "which", [5, np.int64(-1), slice(2, 9, 3), [4, 4], np.arange(42) % 3 == 1, np.array([-2, 0])]
)
def test_it_is_indexed_as_an_array_is(both: tuple[Dataset, Dataset], which: object) -> None:
    kept, streamed = both
    expected = np.asarray(kept.images)[which]
    assert np.array_equal(streamed.images[which], expected)
    with pytest.raises(IndexError, match="42 images"):
        streamed.images[[42]]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ranks", [Ranks(), Ranks(rank=1, size=2)])
def test_batches_do_not_depend_on_who_decodes(
    photos: Path, both: tuple[Dataset, Dataset], workers: int, ranks: Ranks
) -> None:
    kept, _ = both
    streamed = _open(photos, stream="on", workers=workers)

    def batches(dataset: Dataset) -> TrainingBatches:
        chosen = AugmentSettings.of({"augment": "flip,crop,jitter", "mixup": 0.3})
        device = torch.device("cpu")
        return TrainingBatches(dataset, chosen, batch=8, seed=1, device=device, ranks=ranks)

    one, two = batches(kept), batches(streamed)
    for step in [0, 1, 2, 3, 4, 5, 6, 7, 2, 3, 40, 41]:  # over epochs, back, and far ahead
        expected, found = one.batch_at(step), two.batch_at(step)
        assert torch.equal(expected.images, found.images)
        assert torch.equal(expected.targets, found.targets)
    assert torch.equal(one.whole_batch_at(9).images, two.whole_batch_at(9).images)


def test_evaluation_sees_the_same_images(both: tuple[Dataset, Dataset]) -> None:
    index = np.arange(40)[::-1].copy()
    seen = [
        torch.cat(
            [
                batch.images
                for batch in evaluation_batches(
                    dataset.images,
                    index,
                    preprocessing=dataset.preprocessing,
                    batch=7,
                    device=torch.device("cpu"),
                )
            ]
        )
        for dataset in both
    ]
    assert torch.equal(*seen)


class _Recorder(StreamedImages):
    """Logs prefetches and reads, in order."""

    def __init__(self, images: StreamedImages) -> None:
        super().__init__(images._files, images._format, workers=1)
        self.log: list[tuple[str, int]] = []

    def prefetch(self, index: np.ndarray) -> bool:
        self.log.append(("prefetch", int(index[0])))
        return True

    def __getitem__(self, which: object) -> np.ndarray:
        self.log.append(("read", int(which[0])))  # type: ignore[index]
        return np.zeros(1)


def test_every_batch_is_prefetched_once(both: tuple[Dataset, Dataset]) -> None:
    assert isinstance(both[1].images, StreamedImages)
    images = _Recorder(both[1].images)
    assert images.prefetch_depth(32) == 4
    prefetcher = Prefetcher(images)
    for step in (0, 1, 2, 50, 51, 20):
        prefetcher.images_at(step, lambda k: np.arange(k, min(k + 32, 100)))
    requested = [step for what, step in images.log if what == "prefetch"]
    assert requested == [0, 1, 2, 3, 4, 5, 6, 50, 51, 52, 53, 54, 55, *range(20, 25)]
    for step in (0, 1, 2, 50, 51, 20):
        assert images.log.index(("prefetch", step)) < images.log.index(("read", step))


def test_prefetched_images_are_decoded_while_nobody_waits(both: tuple[Dataset, Dataset]) -> None:
    assert isinstance(both[1].images, StreamedImages)
    images = both[1].images.subset(np.arange(40))
    images.prefetch(np.arange(40))
    request = next(iter(images._prefetched.values()))
    for _ in range(1200):
        time.sleep(0.05)
        assert images._pool is not None
        images._pool._receive(0)
        if not request.open_chunks:
            break
    assert not request.open_chunks


def _copy(photos: Path, folder: Path) -> Path:
    return Path(shutil.copytree(photos, folder / "copy"))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "No such file"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: os.utime(path, (1, 1)), "the file has been changed"),
    ],
)
def test_a_file_that_is_lost_meanwhile_is_named(
    photos: Path, tmp_path: Path, workers: int, damage: Callable[[Path], object], reason: str
) -> None:
    root = _copy(photos, tmp_path)
    images = _open(root, stream="on", workers=workers).images
    images[np.arange(4)]
    damage(root / "ant" / "003.jpg")  # the second image
    with pytest.raises(DataError, match=rf"003\.jpg: {reason}.*put it back") as caught:
        images[np.arange(4)]
    assert "\n" not in str(caught.value)
    assert images[np.array([0, 2])].any()


def _workers_of(pid: int) -> list[int]:
    command = ["ps", "-o", "pid=,command=", "--ppid", str(pid)]
    rows = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [int(row.split()[0]) for row in rows if "streaming_worker" in row]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _gone(pids: list[int]) -> bool:
    for _ in range(1200):
        if not any(map(_runs, pids)):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_process_that_dies_is_reported_with_the_remedy_and_the_others_end(photos: Path) -> None:
    before = _workers_of(os.getpid())
    images = _open(photos, stream="on", workers=2).images
    images[np.arange(4)]
    workers = sorted({*_workers_of(os.getpid())} - {*before})
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert _gone(workers[:1])
    with pytest.raises(DataError, match=r"died.*--workers 1.*--stream off"):
        images[np.arange(40)]
    del images
    assert _gone(workers)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_the_processes_end_with_a_parent_that_is_killed(photos: Path) -> None:
    code = (
        "import sys, time, numpy as np\n"
        "from ravine.data.opening import open_dataset\n"
        "from ravine.data.settings import DataSettings\n"
        "chosen = DataSettings(data=sys.argv[1], image_size=16, stream='on', workers=2)\n"
        "images = open_dataset(chosen, seed=0).images\n"
        "images.prefetch(np.arange(40))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        workers = _workers_of(parent.pid)
        assert len(workers) == 2
        parent.kill()
    assert _gone(workers)


def test_the_processes_load_no_torch() -> None:
    code = "import sys, ravine.data.streaming_worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shards_are_streamed_as_folders_are(photos: Path, tmp_path: Path) -> None:
    tree, shard = _copy(photos, tmp_path), tmp_path / "all.tar"
    with tarfile.open(shard, "w") as file:
        for path in sorted(tree.glob("*/*")):
            file.add(path, path.relative_to(tree).as_posix())
    plain, packed = _open(tree, stream="off"), _open(shard, stream="on", workers=1)
    assert packed.fingerprint == plain.fingerprint
    index = np.arange(len(plain.labels))[::-1]
    assert np.array_equal(packed.images[index], np.asarray(plain.images)[index])


@pytest.mark.parametrize(
    ("memory", "disk", "streamed", "why"),
    [
        (10_000_000, 10_000_000, False, r"32\.3 kB, which fits memory"),
        (50_000, 10_000_000, True, r"32\.3 kB, more than half of 50\.0 kB of free memory"),
        (10_000_000, 20_000, True, r"32\.3 kB, and .* has 20\.0 kB of free space"),
        (None, 10_000_000, False, "which fits memory"),
    ],
)
def test_auto_streams_what_fits_neither_memory_nor_disk(
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    memory: int | None,
    disk: int,
    streamed: bool,
    why: str,
) -> None:
    monkeypatch.setattr(load_mode, "available_memory", lambda: memory)
    usage = SimpleNamespace(total=0, used=0, free=disk)
    monkeypatch.setattr(load_mode.shutil, "disk_usage", lambda _: usage)
    dataset = _open(photos)
    assert isinstance(dataset.images, StreamedImages) == streamed
    assert dataset.audit["reading"]["streamed"] == streamed
    assert re.search(why, dataset.audit["reading"]["why"])


def test_too_many_to_evaluate_or_predict_are_streamed(
    photos: Path, monkeypatch: pytest.MonkeyPatch, both: tuple[Dataset, Dataset]
) -> None:
    preprocessing = both[0].preprocessing
    expected = open_labelled(
        str(photos), labels=None, preprocessing=preprocessing, classes=("ant", "bee")
    )
    plain = open_unlabelled([photos], preprocessing=preprocessing)
    monkeypatch.setattr(load_mode, "available_memory", lambda: 1000)
    found = open_labelled(
        str(photos), labels=None, preprocessing=preprocessing, classes=("ant", "bee")
    )
    other = open_unlabelled([photos], preprocessing=preprocessing)
    for small, large in ((expected.images, found.images), (plain.images, other.images)):
        assert isinstance(large, StreamedImages)
        assert np.array_equal(large[np.arange(41)], small[np.arange(41)])
    assert list(other.names) == list(plain.names)


def test_an_array_is_not_streamed(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "some.npz", images=images, labels=np.arange(20) % 2)
    with pytest.raises(SettingError, match=r"stream on: .* leave --stream out"):
        _open(tmp_path / "some.npz", stream="on")
    why = _open(tmp_path / "some.npz").audit["reading"]
    assert why == {"streamed": False, "why": "the source is one array"}
