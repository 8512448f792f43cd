"""A page in headless Chromium, driven over a pipe: for tests, benches and the pictures of docs/.

No driver and no package is needed: Chromium reads and writes its DevTools protocol as JSON texts
that end in a zero byte, on the file descriptors 3 and 4 (`--remote-debugging-pipe`).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """Returns the path of Chromium, or None where this machine has none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """An open page.

    Attributes:
        requests: URLs that it asked for.
        errors: lines of its console that are errors, and exceptions.
    """

    def __init__(self, writing: int, reading: int) -> None:
        self._writing, self._reading = writing, reading
        self._buffer, self._number = b"", 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.errors: list[str] = []

    def attach(self) -> None:
        """Opens an empty page."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        found = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, *, timeout: float = 240.0, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = self._read(end - time.monotonic())
            if found is not None and found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]
        raise TimeoutError(f"{method}: no answer in {timeout} s")

    def _read(self, timeout: float) -> dict[str, Any] | None:
        """Returns the next message; notes what it says of requests and errors."""
        while b"\0" not in self._buffer:
            if not select.select([self._reading], [], [], max(0.0, timeout))[0]:
                return None
            part = os.read(self._reading, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        found = json.loads(text)
        self._note(found.get("method", ""), found.get("params", {}))
        return found

    def _note(self, method: str, facts: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = facts["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and facts["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(one.get("value")) for one in facts["args"]))
        elif method == "Log.entryAdded" and facts["entry"]["level"] == "error":
            self.errors.append(facts["entry"]["text"] + " " + facts["entry"].get("url", ""))

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Sets the size of the page in CSS pixels, and the colour scheme that it is asked for."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="", features=[scheme])

    def open(self, url: str) -> None:
        """Goes to a page and waits until it is loaded, and no longer the one before.

        Raises:
            RuntimeError: there is no such page; the text has the browser's name of the error.
        """
        found = self.send("Page.navigate", url=url)
        if "errorText" in found:
            raise RuntimeError(f"{url}: {found['errorText']}")
        # A page may give itself another place: the live page chooses a run as soon as it has one.
        here, there = "location.href", f"new URL({json.dumps(url)}).href"
        shown = f"{here}.split('#')[0] === {there}.split('#')[0]"
        self.wait(f"{shown} && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Returns the value of an expression of JavaScript; a promise is waited for."""
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 120.0) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"not true within {seconds} s: {expression}")
            time.sleep(0.02)

    def key(self, name: str) -> None:
        """Presses a key."""
        codes = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40}
        code = codes[name]
        text = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind, key=name, code=name, windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
            )  # fmt: skip

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Writes what the page shows, or all of it, as a PNG."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        """Prints the page on A4."""
        found = self.send(
            "Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True
        )
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def open_browser() -> Iterator[Page]:
    """Gives an empty page of a browser with a profile of its own; both end with the block."""
    path = find_browser()
    if path is None:
        raise FileNotFoundError(f"none of {', '.join(NAMES)} is installed")
    to_browser, from_browser = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-sync",
            "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
            f"--user-data-dir={profile}", "--remote-debugging-pipe", "--window-size=1400,1000",
        ]  # fmt: skip
        # In the child the pipes must be 3 and 4; a shell-free way to say so.
        script = "import os, sys; r, w = map(int, sys.argv[1:3]); os.dup2(r, 3); os.dup2(w, 4); os.execv(sys.argv[3], sys.argv[3:])"  # noqa: E501
        ends = [os.dup(to_browser[0]), os.dup(from_browser[1])]
        process = subprocess.Popen(
            ["python3", "-c", script, *map(str, ends), *command],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for handle in (*ends, to_browser[0], from_browser[1]):
            os.close(handle)
        try:
            page = Page(to_browser[1], from_browser[0])
            page.attach()
            yield page
        finally:
            process.kill()
            process.wait()
            for handle in (to_browser[1], from_browser[0]):
                os.close(handle)
