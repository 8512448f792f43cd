"""Command lines with odd values: one line that names the option."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "object"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tree").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "tree", "--set", "out=x"], "out is no setting of a recipe; write --out x"),
        (["train", "tree", "--set", "recipe=x.toml"], "write --recipe x.toml"),
        (["train", "tree", "--set", "observers=1"], "unknown setting 'observers'"),
        (["train", "tree", "--set", "progress=1"], "unknown setting 'progress'"),
        (["train", "tree", "--set", "data=foo"], "given twice: tree and --set data=foo"),
        (["check", "tree", "--set", "data=foo"], "given twice"),
        (["race", "tree", "--set", "out=x"], "out is no setting of a recipe; write --out x"),
        (["check", "tree", "--set", "self=1"], "unknown setting 'self'"),
        (["train", "tree", "--recipe", ""], "an empty argument after --recipe"),
        (["train", "tree", "--out="], "an empty argument after --out"),
        (["evaluate", "", "tree"], "an empty argument"),
        (["train", "~nosuchuser/x"], "no user 'nosuchuser'"),
        (["train", "tree", "--out", "~nosuchuser/x"], "no user 'nosuchuser'"),
        (["report", "~nosuchuser/x"], "no user 'nosuchuser'"),
        (["train", "a" * 300], "File name too long"),
        (["train", "tree", "--out", "a" * 300], "File name too long"),
        (["resume", "a" * 300], "File name too long"),
        (["report", "a" * 300], "File name too long"),
        (["evaluate", "a" * 300, "tree"], "File name too long"),
        (["train", "loop"], "symbolic links"),
        (["train", "tree", "--out", "loop"], "symbolic links"),
        (["train", "/dev/zero"], "no regular file"),
        (["train", "tree", "--labels", "/dev/zero"], "no regular file"),
        (["train", "tree", "--device", "meta"], "device 'meta' is not known"),
        (["models", "wrn-10-1000000"], "at most 2000"),
        (["models", "resnet-cifar-" + "2" * 5000], "at most 2000"),
        (["race", "--function", "beale", "--steps", "2", "--out", "file"], "cannot write file"),
    ],
)
def test_a_mistake_is_one_line(ravine, here: Path, words: list[str], message: str) -> None:  # type: ignore[no-untyped-def]
    said = ravine(*words)

    assert said.code == 2
    assert message in said.err
    assert said.err.startswith("ravine: ")
    assert len(said.err.splitlines()) == 1
    assert sorted(path.name for path in here.iterdir()) == ["file", "loop", "tree"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/a"), "runs/a: No space left on"),
        (OSError(errno.EROFS, "Read-only file system", "x"), "x: Read-only file system; choose"),
        (MemoryError(), "not enough memory; take a smaller --batch"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "not enough memory",
        ),
    ],
)
def test_what_the_machine_refuses_is_one_line(  # type: ignore[no-untyped-def]
    ravine, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ravine.cli.models.ModelSettings.of", fail)

    said = ravine("models", "alexnet")

    assert said.code == 2
    assert message in said.err
    assert len(said.err.splitlines()) == 1


def test_a_fault_of_ravine_keeps_its_traceback(ravine, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    def fail(*_: object, **__: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr("ravine.cli.models.ModelSettings.of", fail)

    with pytest.raises(KeyError):
        ravine("models", "alexnet")
