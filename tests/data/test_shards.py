"""Tar shards: read as tarfile reads them, labelled as WebDataset does, torn ones named."""

import contextlib
import io
import json
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from ravine.core.errors import DataError, SettingError
from ravine.core.progress import no_progress
from ravine.data.cache_lookup import cache_key
from ravine.data.collection import Collection, FileEntry
from ravine.data.dataset import Dataset, Preprocessing
from ravine.data.decode import Unreadable
from ravine.data.image_file import ImageFormat, read_image_bytes
from ravine.data.network_images import open_unlabelled
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.sources.shards import one_shard, read_shards
from ravine.data.sources.tar import members


def _png(seed: int, size: int = 12) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _pack(path: Path, content: Mapping[str, bytes], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as file:  # type: ignore[call-overload]
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def _samples(first: int, count: int, classes: int = 2) -> dict[str, bytes]:
    found = {}
    for number in range(first, first + count):
        found[f"{number:05d}.cls"] = b"%d\n" % (number % classes)
        found[f"{number:05d}.png"] = _png(number)
    return found


def _open(data: Path, **settings: object) -> Dataset:
    return open_dataset(DataSettings.of({"data": str(data), **settings}), seed=0)


_PART = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/."), min_size=1, max_size=90
)


@given(
    st.lists(
        st.tuples(st.lists(_PART, min_size=1, max_size=4), st.binary(max_size=1500)), max_size=6
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@example([(["a" * 200, "b"], b"long"), (["c"], b"")], tarfile.PAX_FORMAT)
def test_members_are_those_that_tarfile_finds(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[list[str], bytes]], tar_format: int
) -> None:
    path = tmp_path_factory.mktemp("tars") / "one.tar"
    with tarfile.open(path, "w", format=tar_format) as file:
        for parts, data in files:
            member = tarfile.TarInfo("/".join(parts) + ".jpg")
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
            file.addfile(tarfile.TarInfo("other.txt"))
    with tarfile.open(path) as file:
        expected = [
            (one.name, one.offset_data, one.size) for one in file if one.name.endswith(".jpg")
        ]
    with path.open("rb") as opened:
        found = [(one.name, one.offset, one.length) for one in members(path, opened, {".jpg"})]
    assert found == expected
    whole = path.read_bytes()
    assert [whole[start : start + n] for _, start, n in found] == [data for _, data in files]


def test_shards_are_the_pixels_and_labels_of_the_same_folder(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    order = []
    for number in range(20):
        label = "ant" if number < 10 else "bee"
        (tmp_path / "tree" / label / f"{number:03d}.png").write_bytes(_png(number))
        order.append((f"{label}-{number:03d}", label, _png(number)))
    for shard, part in enumerate((order[:7], order[7:])):
        content = {f"{key}.png": data for key, _, data in part}
        content |= {f"{key}.cls": label.encode() for key, label, _ in part}
        _pack(tmp_path / "shards" / f"data-{shard:03d}.tar", content)

    plain, packed = _open(tmp_path / "tree"), _open(tmp_path / "shards")

    assert np.array_equal(plain.images, packed.images)
    assert plain.labels.tolist() == packed.labels.tolist()
    assert plain.classes == packed.classes == ("ant", "bee")
    assert plain.fingerprint == packed.fingerprint
    assert packed.names[0] == "data-000.tar/ant-000.png"


def test_names_of_shards_and_of_folders_give_the_split(tmp_path: Path) -> None:
    counts = {"train-000": 8, "train-001": 6, "val": 4, "test-000": 3}
    first = 0
    for name, count in counts.items():
        _pack(tmp_path / "flat" / f"{name}.tar", _samples(first, count))
        folder = name.partition("-")[0]
        _pack(tmp_path / "deep" / folder / f"{first}.tar", _samples(first, count))
        first += count
    for root in (tmp_path / "flat", tmp_path / "deep"):
        sizes = {name: len(index) for name, index in _open(root).splits.items()}
        assert sizes == {"train": 14, "validation": 4, "test": 3}
    _pack(tmp_path / "flat" / "extra.tar", _samples(first, 2))
    with pytest.raises(DataError, match=r"extra\.tar is among shards for training"):
        _open(tmp_path / "flat")


@pytest.mark.parametrize("prefix", ["", "./", "photos/"])
def test_a_plain_tar_of_class_folders_needs_no_labels(tmp_path: Path, prefix: str) -> None:
    content = {f"{prefix}{'cat' if n % 2 else 'dog'}/a.{n}.png": _png(n) for n in range(8)}
    content[f"{prefix}cat/._a.1.png"] = b"what macOS packs too"
    content[f"{prefix}cat/notes.json"] = b'{"author": "nobody"}'
    data = _open(_pack(tmp_path / "all.tar", content))
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [0 if n % 2 else 1 for n in range(8)]


def test_labels_come_as_text_or_json(tmp_path: Path) -> None:
    content = {}
    labels = [b"7", b" 7\n", b'{"label": 7}', b'{"cls": "10", "x": [1]}', b'{"label": "10"}', b"10"]
    for number, label in enumerate(labels):
        ending = "json" if label.startswith(b"{") else "cls"
        content |= {f"{number}.{ending}": label, f"{number}.png": _png(number)}
    data = _open(_pack(tmp_path / "one.tar", content))
    assert data.classes == ("7", "10")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_what_has_no_label_or_no_image_is_reported(tmp_path: Path) -> None:
    content = _samples(0, 8)
    content |= {"alone.png": _png(90), "empty.png": _png(91), "empty.json": b'{"caption": "x"}'}
    content |= {"nothing.cls": b"1", "00001.mask.png": _png(92), "readme.txt": b"hello"}
    audit = _open(_pack(tmp_path / "one.tar", content)).audit
    assert audit["count"] == 8
    assert audit["unlabelled"]["examples"] == [
        "one.tar/alone.png",
        "one.tar/empty.png",
        "one.tar/nothing (a label without an image)",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a.1.jpg": b"x", "a.2.jpg": b"x", "a.cls": b"0"}, "both images of the sample 'a'"),
        ({"a.jpg": b"x", "a.cls": b"\xff\xfe"}, "a.cls holds no label"),
        ({"a.jpg": b"x", "a.cls": b"two\nlines"}, "a.cls holds no label"),
        ({"a.jpg": b"x", "a.cls": b"9" * 2_000_000}, "a.cls holds no label"),
        ({"a.jpg": b"x", "a.json": b"[" * 100_000}, "a.json holds no label"),
        ({"a.jpg": b"x", "a.json": b"[1]"}, "a.json holds no label"),
        ({"a.jpg": b"x", "b.jpg": b"x"}, "no image has a label"),
        ({"a.cls": b"x"}, "holds no image with a label"),
        ({"a.txt": b"x"}, "no image has a label"),
    ],
)
def test_what_is_packed_wrongly_is_named(
    tmp_path: Path, content: dict[str, bytes], message: str
) -> None:
    path = _pack(tmp_path / "one.tar", content)
    with pytest.raises(DataError, match=message) as caught:
        read_shards(one_shard(path), no_progress)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_shards_packed_in_two_ways_are_refused(tmp_path: Path) -> None:
    _pack(tmp_path / "0.tar", {"cat/1.png": _png(1), "dog/2.png": _png(2)})
    _pack(tmp_path / "1.tar", _samples(0, 4))
    with pytest.raises(DataError, match=r"1\.tar has labels in \.cls or \.json"):
        _open(tmp_path)


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar"])
def test_a_compressed_tar_is_refused_with_the_remedy(tmp_path: Path, ending: str) -> None:
    kind = "gz" if ending in (".tgz", ".tar") else ending.rpartition(".")[2]
    path = tmp_path / f"train{ending}"
    with tarfile.open(path, f"w:{kind}") as file:  # type: ignore[call-overload]
        file.addfile(tarfile.TarInfo("a.jpg"))
    for data in (path, tmp_path):
        with pytest.raises(DataError, match=r"is compressed.*plain \.tar"):
            _open(data)


def test_an_archive_next_to_the_folders_that_it_held_is_skipped(tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / ("cat" if number % 2 else "dog")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.png").write_bytes(_png(number))
    (tmp_path / "all.tar.gz").write_bytes(b"\x1f\x8b")
    assert _open(tmp_path).classes == ("cat", "dog")


@given(cut=st.integers(0, 10_239))
def test_a_tar_cut_anywhere_is_named(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = _pack(folder / "one.tar", _samples(0, 4)).read_bytes()
    content = whole.rstrip(b"\0")
    torn = folder / "torn.tar"
    torn.write_bytes(whole[: cut % len(content)])
    with pytest.raises(DataError, match=r"torn\.tar is no whole tar: .*; copy or pack it again"):
        read_shards(one_shard(torn), no_progress)


@given(st.data())
def test_a_damaged_tar_is_read_or_refused_and_never_more(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "one.tar"
    tar_format = data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    content = bytearray(
        _pack(path, {"ä" * 120 + ".png": b"1", **_samples(0, 2)}, format=tar_format).read_bytes()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # a checksum that fits, so that what it guards is looked at
        content[148:156] = b"%06o\0 " % (sum(content[:148]) + 8 * 32 + sum(content[156:512]))
    path.write_bytes(content)
    found = []
    with path.open("rb") as file, contextlib.suppress(DataError):
        for member in members(path, file, {".png", ".cls"}):
            found.append(member)
    assert all(0 <= m.offset <= m.offset + m.length <= len(content) for m in found)
    assert len(found) <= len(content) // 512


@pytest.mark.parametrize("size", [-512, -1024, 2**62, 2**90])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_length_that_lies_ends_at_once(tmp_path: Path, size: int, kind: bytes) -> None:
    head = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.GNU_FORMAT))
    head[124:136] = (
        size.to_bytes(12, "big", signed=True)
        if size < 0
        else (
            struct.pack(">B", 0x80) + size.to_bytes(11, "big")
            if size < 2**88
            else b"\x80" + b"\xff" * 11
        )
    )
    head[156:157] = kind
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:512]))
    (tmp_path / "liar.tar").write_bytes(bytes(head) + bytes(10_240))
    with pytest.raises(DataError, match=r"liar\.tar is no whole tar"):
        read_shards(one_shard(tmp_path / "liar.tar"), no_progress)


def test_a_link_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    with tarfile.open(path, "w") as file:
        for name, kind in (("docs", tarfile.SYMTYPE), ("a.jpg", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            file.addfile(member)
    with pytest.raises(DataError, match=r"a\.jpg is a link; .*--hard-dereference"):
        read_shards(one_shard(path), no_progress)


def test_a_torn_image_in_a_whole_shard_is_reported_and_left_out(tmp_path: Path) -> None:
    content = _samples(0, 8) | {"bad.cls": b"1", "bad.png": _png(3)[:80]}
    data = _open(_pack(tmp_path / "one.tar", content))
    assert [row["name"] for row in data.audit["unreadable"]] == ["one.tar/bad.png"]
    assert data.audit["count"] == 8


def test_an_offset_beyond_the_end_is_unreadable(tmp_path: Path) -> None:
    path = _pack(tmp_path / "one.tar", _samples(0, 2))
    end = path.stat().st_size
    with pytest.raises(Unreadable, match="ends before the image does"):
        read_image_bytes(
            FileEntry(path=str(path), size=end, modified=0, offset=end - 10, length=20)
        )


def test_a_changed_shard_is_decoded_anew(tmp_path: Path) -> None:
    path = _pack(tmp_path / "one.tar", _samples(0, 8))
    assert not _open(path).audit["cached"]
    assert _open(path).audit["cached"]
    content = _samples(0, 8)
    content["00001.png"], content["00003.png"] = content["00003.png"], content["00001.png"]
    before = path.stat()
    _pack(path, content)
    assert path.stat().st_size == before.st_size
    assert not _open(path).audit["cached"]


def test_images_of_a_tar_can_be_predicted(tmp_path: Path) -> None:
    path = _pack(tmp_path / "one.tar", {"a.png": _png(1), "b/c.png": _png(2), "d.txt": b"-"})
    preprocessing = Preprocessing(image_size=12, channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    found = open_unlabelled([path], preprocessing=preprocessing)
    assert list(found.names) == ["a.png", "b/c.png"]
    with Image.open(io.BytesIO(_png(2))) as image:
        assert np.array_equal(found.images[1], np.asarray(image))


def test_json_of_another_kind_is_no_label(tmp_path: Path) -> None:
    content = {f"{n}.json": json.dumps({"label": n > 2 or 0.5}).encode() for n in range(4)}
    content |= {f"{n}.png": _png(n) for n in range(4)}
    with pytest.raises(DataError, match="no image has a label"):
        read_shards(one_shard(_pack(tmp_path / "one.tar", content)), no_progress)


def test_other_offsets_in_the_same_shard_are_another_cache() -> None:
    def key(offset: int, length: int) -> str:
        entry = FileEntry(path="a.tar", size=9000, modified=1, offset=offset, length=length)
        labels = np.zeros(1, np.int64)
        found = Collection(names=["a"], labels=labels, classes=("a",), files=[entry])
        return cache_key(found, ImageFormat(image_size=8, channels=1))

    assert len({key(512, 10), key(1024, 10), key(512, 11)}) == 3
    assert key(512, 10) == key(512, 10)


def _splits(data: Path) -> dict[str, int]:
    return {name: len(index) for name, index in _open(data).splits.items()}


@pytest.mark.parametrize("prefix", ["", "photos/"])
def test_splits_inside_one_tar_are_found_as_on_a_disk(tmp_path: Path, prefix: str) -> None:
    content = {}
    for first, (split, count) in enumerate((("training_set", 8), ("test_set", 4))):
        for n in range(count):
            name = f"{prefix}{split}/{'cat' if n % 2 else 'dog'}/{n}.png"
            content[name] = _png(100 * first + n)
    path = _pack(tmp_path / "all.tar", content)

    found = _open(path, validation=0)

    assert found.classes == ("cat", "dog")
    assert {name: len(index) for name, index in found.splits.items()} == {"train": 8, "test": 4}
    assert "splits: train " in found.audit["understood"]["line"]


def test_splits_inside_a_tar_with_labels_of_its_own_are_found(tmp_path: Path) -> None:
    content = {}
    for number in range(12):
        folder = "train" if number < 8 else "test"
        content[f"{folder}/{number:03d}.cls"] = b"%d" % (number % 2)
        content[f"{folder}/{number:03d}.png"] = _png(number)

    found = _open(_pack(tmp_path / "all.tar", content), validation=0)

    assert {name: len(index) for name, index in found.splits.items()} == {"train": 8, "test": 4}


def test_the_split_may_stand_anywhere_in_the_name_of_a_shard(tmp_path: Path) -> None:
    first = 0
    for name, count in {"my-train-000": 8, "my-val-000": 4, "my-test-000": 3}.items():
        _pack(tmp_path / f"{name}.tar", _samples(first, count))
        first += count

    assert _splits(tmp_path) == {"train": 8, "validation": 4, "test": 3}


@pytest.mark.parametrize("names", [("val", "test"), ("photos-test-0",)])
def test_shards_without_a_training_split_are_not_trained_on(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for number, name in enumerate(names):
        _pack(tmp_path / f"{name}.tar", _samples(10 * number, 4))

    with pytest.raises(DataError, match="has no training split, only"):
        _open(tmp_path)


def test_a_shard_and_a_folder_in_it_that_name_two_splits_are_refused(tmp_path: Path) -> None:
    _pack(tmp_path / "train.tar", {f"test/{c}/{n}.png": _png(n) for n in range(3) for c in "ab"})

    with pytest.raises(DataError, match=r"train\.tar is named for train and has a folder for test"):
        _open(tmp_path)


def test_the_class_in_a_tar_may_be_named_by_level_or_by_a_pattern(tmp_path: Path) -> None:
    names = [f"{group}/{c}/{c}.{n}.png" for group in ("x", "y") for c in "ab" for n in range(3)]
    path = _pack(tmp_path / "all.tar", {name: _png(n) for n, name in enumerate(names)})

    with pytest.raises(DataError, match=r"--class-level 1\), or a, b below"):
        _open(path)
    assert _open(path, class_level="1").classes == ("x", "y")
    assert _open(path, class_level="leaf").classes == ("a", "b")
    assert _open(path, label_from_name="before-dot").classes == ("a", "b")


def test_a_level_has_no_effect_on_labels_in_files_of_their_own(tmp_path: Path) -> None:
    path = _pack(tmp_path / "all.tar", _samples(0, 8))

    with pytest.raises(SettingError, match=r"--class-level has no effect: .* has its labels in"):
        _open(path, class_level="1")


def test_names_in_tars_for_tests_that_hold_no_class_of_training_are_unlabelled(
    tmp_path: Path,
) -> None:
    names = [f"train/{c}_{n}.png" for c in "ab" for n in range(6)]
    names += [*(f"test/ILSVRC_{n}.png" for n in range(3)), "pred/a_7.png"]
    path = _pack(tmp_path / "all.tar", {name: _png(n) for n, name in enumerate(names)})

    found = read_shards(
        one_shard(path),
        no_progress,
        DataSettings.of({"data": str(path), "label_from_name": "before-underscore"}),
    )

    assert found.classes == ("a", "b")
    assert len(found.unlabelled) == 4
    assert found.understood is not None
    assert "(not 'ILSVRC', in test alone)" in found.understood.line()
