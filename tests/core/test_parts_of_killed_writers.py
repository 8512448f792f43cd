"""What a killed writer left behind is removed, what is being written or is a stranger's is not."""

import fcntl
import os
from pathlib import Path

import pytest

from ravine.core.atomic import scratch_folder, sweep_parts, write_folder_whole, write_whole
from ravine.core.errors import RunError


def test_the_next_write_of_a_name_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / ".report.html.abc12345.part").write_text("half")
    (tmp_path / ".report.html.abc12346.part").mkdir()

    write_whole(tmp_path / "report.html", b"whole")

    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_other_names_and_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in (".other.csv.abc12345.part", "report.html.part", ".report.html", "x.part"):
        (tmp_path / name).write_text("mine")

    write_whole(tmp_path / "report.html", b"whole")

    assert len(list(tmp_path.iterdir())) == 5


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    part = tmp_path / ".report.html.abc12345.part"
    with part.open("w") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        write_whole(tmp_path / "report.html", b"whole")
        sweep_parts(tmp_path)
        assert part.exists()

    sweep_parts(tmp_path)
    assert not part.exists()


def test_a_folder_that_is_being_filled_is_not_swept(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "run") as part:
        sweep_parts(tmp_path)
        (part / "a").write_text("x")
        write_folder_whole(tmp_path / "run", lambda new: (new / "b").touch())
        assert (part / "a").exists()

    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_link_that_looks_like_a_part_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / ".x.abc12345.part").symlink_to(target)

    sweep_parts(tmp_path)

    assert target.read_text() == "mine"


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="a place where nobody can write")
def test_a_place_where_nothing_can_be_written_is_one_line() -> None:
    with pytest.raises(RunError, match="cannot write /proc/self/x"):
        write_whole(Path("/proc/self/x"), b"1")


def test_files_are_on_the_disk_before_they_have_their_names_and_the_names_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []

    def sync(handle: int) -> None:
        path = Path(f"/dev/fd/{handle}").resolve()
        synced.append(("part" if path.suffix == ".part" else path.name, (tmp_path / "a").exists()))

    monkeypatch.setattr(os, "fsync", sync)
    write_whole(tmp_path / "a", b"1")
    assert synced == [("part", False), (tmp_path.name, True)]

    (tmp_path / "a").unlink()
    synced.clear()
    write_folder_whole(tmp_path / "a", lambda part: write_whole(part / "b", b"1"))
    assert synced == [("part", False), ("part", False), ("part", False), (tmp_path.name, True)]
