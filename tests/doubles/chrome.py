"""A headless Chromium driven over a pipe, by the DevTools protocol: no driver and no package in between."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["SOFTWARE_GPU", "Tab", "chromium", "tab"]

SOFTWARE_GPU = (
    "--enable-unsafe-webgpu", "--enable-features=Vulkan", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip
_SECONDS = 300  # the longest that a condition may take, on a machine that does much else


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Tab:
    """One page. `errors` are exceptions that nobody caught, and what was written to the console as an error."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._last, self._rest = read, write, 0, b""
        self._session: str | None = None
        self.errors: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def run(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        told = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
                          userGesture=True)  # fmt: skip
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"].get("exception", {}).get("description", told))
        return told["result"].get("value")

    def wait(self, expression: str, seconds: float = _SECONDS) -> Any:
        """The first value of an expression that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if (found := self.run(expression)) or found == {}:  # an element has no value of its own
                    return found
            except AssertionError:  # the page is being left
                pass
            time.sleep(0.1)
        raise AssertionError(f"never true: {expression}; {self.errors} {self.run('document.body.innerText')}")

    def files(self, selector: str, *paths: Path) -> None:
        """Choose files in an input."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def type(self, text: str) -> None:
        self._call("Input.insertText", text=text)

    def dark(self, dark: bool) -> None:
        value = "dark" if dark else "light"
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def size(self, width: int, height: int) -> None:
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def _call(self, method: str, **parameters: Any) -> Any:
        self._last += 1
        body = {"id": self._last, "method": method, "params": parameters}
        body |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(body).encode() + b"\0")
        while (told := self._next()).get("id") != self._last:
            self._heard(told)
        if "error" in told:
            raise AssertionError(f"{method}: {told['error']}")
        return told["result"]

    def _heard(self, told: dict[str, Any]) -> None:
        if told.get("method") == "Runtime.exceptionThrown":
            self.errors.append(told["params"]["exceptionDetails"].get("exception", {}).get("description", "?"))
        elif told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
            self.errors.append(f"{told['params']['entry']['text']} {told['params']['entry'].get('url', '')}")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], _SECONDS)[0], "the browser says nothing any more"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser has ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told


@contextmanager
def tab(*flags: str) -> Iterator[Tab]:
    """A fresh browser with a fresh profile, ended with the block."""
    ours, theirs = os.pipe(), os.pipe()  # what we write, and what it writes
    with tempfile.TemporaryDirectory(prefix="setsail-tab-", ignore_cleanup_errors=True) as profile:
        line = [str(chromium()), "--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--disable-quic", "--remote-debugging-pipe",
                *(flags or ("--disable-gpu",)), f"--user-data-dir={profile}", "about:blank"]  # fmt: skip

        def pipes() -> None:
            low, high = os.dup(ours[0]), os.dup(theirs[1])
            os.dup2(low, 3)
            os.dup2(high, 4)

        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   preexec_fn=pipes, close_fds=False, start_new_session=True)  # fmt: skip
        os.close(ours[0])
        os.close(theirs[1])
        try:
            yield Tab(theirs[0], ours[1])
        finally:
            os.killpg(process.pid, 9)
            process.wait(30)
            os.close(ours[1])
            os.close(theirs[0])
