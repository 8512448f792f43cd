"""Headless Chromium, driven over the pipe of its DevTools protocol; needs nothing else."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """Returns the browser's path, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    """A page in a browser of its own."""

    def __init__(self, url: str, *, width: int = 1280, height: int = 900) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()

        def as_3_and_4() -> None:
            # The copies go above 4 first, so that neither overwrites the other.
            one, two = os.dup(commands), os.dup(answers)
            while min(one, two) < 5:
                one, two = os.dup(one), os.dup(two)
            os.dup2(one, 3)
            os.dup2(two, 4)

        self._browser = subprocess.Popen(
            [
                str(find_chromium()),
                *FLAGS,
                f"--user-data-dir={self._folder.name}",
                f"--window-size={width},{height}",
                "--remote-debugging-pipe",
                "about:blank",
            ],
            preexec_fn=as_3_and_4,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._number, self._rest, self.errors = 0, b"", []
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.send("Runtime.enable")
        self.send("Page.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.open(url)

    def open(self, url: str) -> None:
        """Goes to another page and waits until it has run."""
        self.send("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(answer["params"]["exceptionDetails"]))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def run(self, script: str) -> Any:
        """Returns the value of an expression, awaited if it is a promise."""
        options = {"returnByValue": True, "awaitPromise": True}
        found = self.send("Runtime.evaluate", expression=script, **options)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 120) -> None:
        """Waits until a condition holds."""
        script = f"""new Promise((done, fail) => {{
            const until = performance.now() + {1000 * seconds};
            const look = () => ({condition}) ? done(true) : performance.now() > until
                ? fail(new Error("not within time")) : setTimeout(look, 20);
            look(); }})"""
        self.run(script)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        for kind, at in (
            ("mousePressed", (x, y)),
            ("mouseMoved", (to_x, to_y)),
            ("mouseReleased", (to_x, to_y)),
        ):
            self.send(
                "Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", buttons=1
            )

    def picture(self, path: Path) -> None:
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        path.write_bytes(base64.b64decode(data["data"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._browser.kill()
        self._browser.wait()
        os.close(self._out)
        os.close(self._in)
        self._folder.cleanup()
