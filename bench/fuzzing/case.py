"""A case, and what came of it."""

import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ravine.cli.main import main
from ravine.core.errors import RavineError

LIMIT = 60.0  # seconds of the processor, of which a good case takes few
_ASLEEP = 30.0  # seconds that a process may wait for something outside
_MEMORY = 12 * 2**30  # address space: what is larger is a bomb that went off
_FILE = 2**30
_WRONG = 77  # exit code of a case that was taken, and is wrong


class Wrong(Exception):
    """What was taken, or written, is not right; the text says how."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command line in a folder of its own.

    Attributes:
        words: the arguments of `ravine`.
        environment: variables that are set besides.
        wrong: says in words what is wrong where the command ended well; None for nothing.
        call: is called instead of the command, which then only describes it.
        refusals: exceptions that tell the caller of a mistake; they become exit code 2.
    """

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    wrong: Callable[[Path, str], str | None] | None = None
    call: Callable[[], object] | None = None
    refusals: tuple[type[Exception], ...] = (RavineError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a case ended.

    Attributes:
        kind: taken, refused, or one of the faults.
        code: the exit code; negative for a signal.
        text: all that was printed.
        seconds: that it took.
        command: the words.
    """

    kind: str
    code: int
    text: str
    seconds: float
    command: str


def remove(folder: Path) -> None:
    """Removes a folder, however deep."""
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def run_case(case: Case, folder: Path, *, limit: float = LIMIT) -> Outcome:
    """Runs a case in `folder`, in a process forked from this one, and removes the folder."""
    began = time.monotonic()
    output = folder.with_name("output")
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _child(case, folder, output)
    code = _wait(pid, limit)
    seconds = time.monotonic() - began
    text = output.read_text(errors="replace") if output.exists() else ""
    kind = "hang" if code is None else _kind(code, text)
    if kind == "taken" and case.wrong is not None and (wrong := case.wrong(folder, text)):
        kind, text = "wrong", f"{text}\n{wrong}"
    remove(folder)
    words = " ".join(word.encode(errors="replace").decode() for word in case.words)
    return Outcome(kind=kind, code=code or 0, text=text, seconds=seconds, command=words)


def _child(case: Case, folder: Path, output: Path) -> None:
    """Becomes the command; never returns."""
    code = 1
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for stream in (1, 2):
            os.dup2(handle, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.setpgid(0, 0)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, _FILE))
        os.environ.update(case.environment)
        sys.argv = ["ravine", *case.words]
        code = _call(case) if case.call is not None else main() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _call(case: Case) -> int:
    """Calls what the case calls; what it refuses in words is one line."""
    assert case.call is not None
    try:
        case.call()
    except Wrong as error:
        print(f"wrong: {error}")
        return _WRONG
    except case.refusals as error:
        first = str(error).strip().partition("\n")[0]
        if not first:
            raise
        print(f"ravine: {first}")
        return 2
    return 0


def _wait(pid: int, limit: float) -> int | None:
    """Returns the exit code; None for a process that hangs.

    It hangs where it has used `limit` seconds of the processor, or has slept for half a minute:
    on a busy machine a case may take long without.
    """
    pause, asleep_since, used = 0.002, time.monotonic(), 0.0
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        state, now_used = _state(pid)
        if state != "S" or now_used > used:
            asleep_since, used = time.monotonic(), now_used
        if used > limit or time.monotonic() - asleep_since > _ASLEEP:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(pause)
        pause = min(0.05, 1.5 * pause)


def _state(pid: int) -> tuple[str, float]:
    """Returns the state of a process, S for sleeping, and its seconds of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _kind(code: int, text: str) -> str:
    if code < 0:
        return "crash"
    if "Traceback (most recent call last)" in text:
        return "traceback"
    if code in (0, _WRONG):
        return "wrong" if code else "taken"
    told = [line for line in text.splitlines() if line.startswith("ravine: ")]
    # typer's own errors, and its help, are boxes.
    if code == 2 and (len(told) >= 1 or "Usage:" in text):
        last = text.rstrip("\n").splitlines()[-1:]
        boxed = "Usage:" in text
        return "refused" if boxed or told[-1:] == last else "several lines"
    return "several lines"
