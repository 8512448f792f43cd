"""`--notify COMMAND`: a command of the user's, called when a run ends and at a critical finding.

The command is a list of arguments and no shell reads it; what happened is its last argument, and
stands in RAVINE_EVENT and RAVINE_RUN too. It belongs to a call and is no setting: a recipe from a
stranger runs nothing. A command that fails is a line of text, and the training goes on.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal, final

from ravine.core.errors import RavineError, SettingError
from ravine.core.events import Event, Notice, Observer, TrainingStarted
from ravine.core.launch import is_secondary_process
from ravine.training.stop import Interrupted

Happened = Literal["ended", "critical", "failed", "interrupted"]
_WAIT: Final = 10.0  # seconds for a command to end before the last one is left to itself


@final
@dataclass(slots=True, kw_only=True)
class Notifier:
    """Calls the command; an observer of the run.

    Attributes:
        command: its words; none for no command.
        observers: receive a notice where the command cannot be run.
        run: the folder of the run, once it is known.
    """

    command: tuple[str, ...]
    observers: Sequence[Observer] = ()
    run: str = ""
    _told: set[str] = field(default_factory=set)
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Calls the command where the event is about a critical finding."""
        if isinstance(event, TrainingStarted):
            self.run = event.run
        elif isinstance(event, Notice):
            finding = event.details.get("finding") or {}
            code = str(finding.get("code"))
            # The end judges again what was found while it ran: one call for each kind of finding.
            if finding.get("severity") == "critical" and code not in self._told:
                self._told.add(code)
                self.notify("critical", event.text)

    def notify(self, happened: Happened, text: str) -> None:
        """Starts the command and does not wait for it."""
        if not self.command or is_secondary_process():
            return
        self._reap(0.0)
        own = {"RAVINE_EVENT": happened, "RAVINE_RUN": self.run}
        try:
            started = subprocess.Popen(
                [*self.command, text],
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is meant for the training
            )
        except OSError as error:
            self._complain(error.strerror or str(error))
            return
        self._running.append(started)

    def close(self) -> None:
        """Waits for commands that still run, some seconds at most."""
        self._reap(_WAIT)

    def _reap(self, seconds: float) -> None:
        for process in list(self._running):
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            self._running.remove(process)
            if code:
                self._complain(f"it ended with exit code {code}")

    def _complain(self, why: str) -> None:
        notice = Notice(text=f"--notify {shlex.join(self.command)}: {why}", warning=True)
        for observer in self.observers:
            observer(notice)


def command_of(notify: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the words of a command; a text is split as a shell would, and run by none.

    Raises:
        SettingError: it is no command, or its program is not there.

    >>> command_of("python3 -c 'print(1)'")[1:]
    ('-c', 'print(1)')
    """
    try:
        words = shlex.split(notify) if isinstance(notify, str) else list(notify)
    except ValueError as error:
        raise SettingError(f"notify {notify!r} is no command: {error}") from None
    if words and shutil.which(words[0]) is None:
        raise SettingError(f"notify: there is no program {words[0]!r}; give its path")
    return tuple(words)


@contextmanager
def notifying(notify: str | Sequence[str], observers: Sequence[Observer]) -> Iterator[Notifier]:
    """Gives the observer of a run that calls the command, also where the run fails.

    Args:
        notify: the command; empty for none.
        observers: receive a notice where it cannot be run.

    Raises:
        SettingError: it is no command, or its program is not there.
    """
    notifier = Notifier(command=command_of(notify), observers=observers)
    try:
        yield notifier
    except (Interrupted, KeyboardInterrupt) as stopped:
        notifier.notify("interrupted", f"ravine: {stopped}")
        raise
    except RavineError as error:
        notifier.notify("failed", f"ravine: {error}")
        raise
    except Exception as error:
        notifier.notify("failed", f"ravine: {type(error).__name__}: {error}")
        raise
    finally:
        notifier.close()
