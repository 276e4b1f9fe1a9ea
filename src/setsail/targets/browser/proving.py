"""Trying a site: a headless browser opens it, runs the stored rows, and its answers are held against the source's.

A server on loopback hands the site out as a host would, with one more page that is not part of it: that page runs the
rows and posts what came. Any browser that can be started on a command line will do; it gets a fresh profile and no
other address than ours.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.parity import compare
from setsail.targets import Proof
from setsail.targets.browser import samples
from setsail.tensors import Array

__all__ = ["BROWSERS", "FLAGS", "ask", "browser", "headless", "prove", "served"]

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS: Final = (
    "--headless", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic", "--mute-audio",
)  # fmt: skip
_SECONDS: Final = 600  # a browser that ends is seen at once; one that is slow may be on a machine that does much else
_SINGLY: Final = 32  # rows that are run one by one as well
_STATIC: Final = resources.files("setsail.targets.browser") / "static"
_PAGE: Final = """<!doctype html><title>trying</title><script type="module">
import {{ prove }} from "./proof.js";
await prove("/-/rows.json", "/-/answer", {device});
</script>
"""


def browser(asked: str) -> str | None:
    """The browser to start, or None where none is wanted or there is none.

    Raises:
        SetsailError: `setting.value` where a path was given and nothing is there.
    """
    if asked == "none":
        return None
    if asked:
        found = shutil.which(asked)
        if found is None:
            raise SetsailError("setting.value", "there is no such browser", field="--browser", value=asked,
                               expected="a path to Chromium or Chrome, or none")  # fmt: skip
        return found
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def prove(opened: Artifact, folder: Path, asked: str = "", device: str = "wasm", flags: tuple[str, ...] = ()) -> Proof:
    """Run the site on the stored rows and compare.

    Args:
        asked: as the option `--browser`.
        device: "wasm" (which every visitor has), "webgpu" or "auto".
        flags: more of the browser's.

    Raises:
        SetsailError: `ship.unsupported` where the page could not run the model, with what it said; `child.failed`
            where the browser gave no answer.
    """
    command = browser(asked)
    if command is None:
        why = "as --browser says" if asked == "none" else "no Chromium or Chrome was found: give one as --browser"
        return Proof(f"not tried in a browser, {why}")
    stored = {w: rows for w in ("synthetic", "example") if (rows := opened.samples(w)) is not None}
    if not stored:
        return Proof("not tried: the artifact has no stored rows")
    signature = opened.signature
    batches = [(what, 0) for what in stored] + [(what, 1) for what in stored if signature.batched]
    asked_for = [{"inputs": samples.told(signature.inputs, _some(stored[what][0], batch)), "batch": batch}
            for what, batch in batches]  # fmt: skip
    told = ask(command, folder, asked_for, device, flags)
    checks = tuple(
        compare(signature, _some(stored[what][1], batch), _joined(opened, answer), what=what, batch=batch,
                tolerance=opened.parity.tolerance)
        for (what, batch), answer in zip(batches, told["answers"], strict=True)
    )  # fmt: skip
    threads = f", {told['threads']} threads" if told["threads"] > 1 else ""
    return Proof(f"tried in {Path(command).name}, headless, on {told['device']}{threads}", checks)


def _some(arrays: Mapping[str, Array], batch: int) -> dict[str, Array]:
    return {name: array[:_SINGLY] if batch and array.ndim else array for name, array in arrays.items()}


def _joined(opened: Artifact, parts: list[dict[str, Any]]) -> dict[str, Array]:
    """The answers of several requests as one."""
    made = {}
    for spec in opened.signature.outputs:
        arrays = [samples.read(spec, part[spec.name]) for part in parts]
        made[spec.name] = arrays[0] if len(arrays) == 1 else _together(arrays)
    return made


def _together(arrays: list[Array]) -> Array:
    """Rows that are as long as their request's longest have no one shape; then nothing is what was expected."""
    if len({array.shape[1:] for array in arrays}) > 1:
        return np.empty(0)
    return np.concatenate(arrays)


def ask(command: str, folder: Path, rows: Any, device: str, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    """Open the page that runs rows; gives what it posts: `device`, `threads`, `answers`."""
    page = _PAGE.format(device=json.dumps(device)).encode()
    extra = {"/-/rows.json": json.dumps(rows).encode(), "/proof.html": page,
             "/proof.js": (_STATIC / "proof.js").read_bytes()}  # fmt: skip
    with served(folder, extra) as (url, answered), headless(command, f"{url}/proof.html", flags) as process:
        told = answered(process)
    if "fault" in told:
        raise SetsailError("ship.unsupported", "the browser could not run the model", value=told["fault"][:500],
                           expected="answers to the stored rows", todo="nothing was written")  # fmt: skip
    return told


Answered = Callable[["subprocess.Popen[bytes]"], dict[str, Any]]


@contextmanager
def served(folder: Path, extra: Mapping[str, bytes]) -> Iterator[tuple[str, Answered]]:
    """A host on loopback: its address, and what waits for a JSON body that is posted to it."""
    came: list[dict[str, Any]] = []
    event = threading.Event()

    class Handler(_Host):
        beside = extra

        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            event.set()

    def answered(process: subprocess.Popen[bytes]) -> dict[str, Any]:
        for _ in range(_SECONDS * 5):
            if event.wait(0.2):
                return came[0]
            if process.poll() is not None:
                break
        raise SetsailError("child.failed", "the browser gave no answer", field="--browser",
                           value=process.poll(), expected=f"an answer within {_SECONDS} s",
                           todo="try another browser, or --browser none")  # fmt: skip

    server = _Loopback(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", answered
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Loopback(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A browser that ends leaves its connections open; that is no fault."""


class _Host(SimpleHTTPRequestHandler):
    """Files, with the headers and types that docs/targets/browser.md asks hosts for."""

    extensions_map = {  # noqa: RUF012, the library's own
        **SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript",
                             ".js": "text/javascript", ".wasm": "application/wasm"}  # fmt: skip
    beside: Mapping[str, bytes] = {}
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path not in self.beside:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(self.beside[path])))
        self.end_headers()
        self.wfile.write(self.beside[path])

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@contextmanager
def headless(command: str, url: str, flags: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A browser of its own on a page; it and its children end with the block."""
    with tempfile.TemporaryDirectory(prefix="setsail-browser-", ignore_cleanup_errors=True) as profile:
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        gpu = [] if any("gpu" in flag for flag in flags) else ["--disable-gpu"]
        line = [command, *FLAGS, *root, *gpu, *flags, f"--user-data-dir={profile}", url]
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield process
        finally:
            _ended(process)


def _ended(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait(30)
