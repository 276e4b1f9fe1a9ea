"""What is measured: a server that is started for it, or one that is there."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from msgspec import Struct

from setsail.errors import KINDS, SetsailError
from setsail.signature import BATCH, Signature, TensorSpec
from setsail.tensors import BY_OIP, BY_TF

__all__ = ["Place", "Started", "metadata", "place"]

_PATIENCE: Final = 10.0


class Place(Struct, frozen=True):
    """Where a model answers. `url` is the server's, without a slash at its end; `model` "" is not known yet."""

    url: str
    host: str
    port: int
    tls: bool
    model: str = ""

    @property
    def authority(self) -> str:
        """For the Host header."""
        return urlsplit(self.url).netloc


def place(text: str, model: str = "") -> Place:
    """A URL as people type it: of a server, or with `/v2/models/NAME` (and anything after it). `command.usage`."""
    parts = urlsplit(text)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise SetsailError("command.usage", "the URL cannot be understood", field="TARGET", value=text,
                           expected="http://HOST:PORT or http://HOST:PORT/v2/models/NAME")  # fmt: skip
    names = [unquote(part) for part in parts.path.split("/") if part]
    if names[:2] == ["v2", "models"] and len(names) > 2:
        model = model or names[2]
    elif names:
        raise SetsailError("command.usage", "the URL has a path that is no model's", field="TARGET", value=parts.path,
                           expected="/v2/models/NAME, or none")  # fmt: skip
    return Place(f"{parts.scheme}://{parts.netloc}", parts.hostname, port, parts.scheme == "https", model)


def metadata(where: Place, headers: Mapping[str, str], asked: str = "") -> tuple[Place, Signature]:
    """Ask a server of the Open Inference Protocol what its model takes.

    Args:
        asked: another signature than the default one. The protocol does not tell of it: TensorFlow Serving's does.

    Returns:
        The place with the model's name, and a signature without what the protocol does not tell (column names,
        categories); a missing value is never refused here, but by the server.

    Raises:
        SetsailError: `bench.target`, where nothing answers so, or it has several models and none was named;
            `model.signature`, where it does not have the one that is asked for.
    """
    model = where.model or _only_model(where, headers)
    if asked:
        return _signature_def(Place(where.url, where.host, where.port, where.tls, model), headers, asked)
    about = _ask(where, f"/v2/models/{quote(model)}", headers)
    try:
        inputs = tuple(_spec(item) for item in about["inputs"])
        outputs = tuple(_spec(item) for item in about["outputs"])
    except (KeyError, TypeError, ValueError) as fault:
        raise _no_target(where, f"its metadata of {model!r} is not the protocol's: {fault!r}") from fault
    found = Place(where.url, where.host, where.port, where.tls, model)
    return found, Signature(inputs, outputs, tuple(s.name for s in outputs))


def _signature_def(where: Place, headers: Mapping[str, str], asked: str) -> tuple[Place, Signature]:
    """The same of one signature, from TensorFlow Serving's metadata."""
    about = _ask(where, f"/v1/models/{quote(where.model)}/metadata", headers)
    try:
        known = about["metadata"]["signature_def"]["signature_def"]
        found = known.get(asked)
        inputs, outputs = (tuple(map(_tensor, (found or {}).get(side, {}).items())) for side in ("inputs", "outputs"))
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise _no_target(where, f"its metadata of {where.model!r} is not TensorFlow Serving's: {fault!r}") from fault
    if found is None:
        raise SetsailError("model.signature", f"model {where.model!r} has no signature {asked!r}", field="--signature",
                           value=asked, expected=", ".join(known))  # fmt: skip
    return where, Signature(inputs, outputs, tuple(s.name for s in outputs))


def _tensor(item: tuple[str, Mapping[str, Any]]) -> TensorSpec:
    name, told = item
    shape = [dim["size"] for dim in told["tensor_shape"].get("dim", ())]
    return _spec({"name": name, "datatype": BY_TF[told["dtype"]].oip, "shape": shape})


def _spec(item: Mapping[str, Any]) -> TensorSpec:
    sizes = [int(size) for size in item["shape"]]
    shape = [size if size >= 0 else (BATCH if axis == 0 else f"d{axis}") for axis, size in enumerate(sizes)]
    return TensorSpec(str(item["name"]), BY_OIP[item["datatype"]], tuple(shape), nullable=True)


def _only_model(where: Place, headers: Mapping[str, str]) -> str:
    try:
        names = list(_ask(where, "/v2/models", headers)["models"])
    except (SetsailError, KeyError, TypeError):  # setsail's and MLServer's; Triton has its repository
        index = _ask(where, "/v2/repository/index", headers, b"{}")
        names = sorted({str(row["name"]) for row in index if row.get("state", "READY") == "READY"})
    if len(names) == 1:
        return str(names[0])
    raise SetsailError("bench.target", f"the server has {len(names)} models", field="TARGET", value=names or None,
                       expected=f"{where.url}/v2/models/NAME", todo="name one in the URL")  # fmt: skip


def _ask(where: Place, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Any:
    request = Request(where.url + path, data=body, headers=dict(headers))
    try:
        with urlopen(request, timeout=_PATIENCE) as reply:
            return json.loads(reply.read())
    except HTTPError as fault:
        with fault:
            said = fault.read(2000).decode(errors="replace").strip()
        raise _no_target(where, f"{path} answers {fault.code} {said}") from fault
    except (URLError, OSError) as fault:
        raise _no_target(where, str(getattr(fault, "reason", fault))) from fault
    except ValueError as fault:
        raise _no_target(where, f"{path} is not answered in JSON") from fault


def _no_target(where: Place, why: str) -> SetsailError:
    return SetsailError("bench.target", f"no model answers at {where.url}: {why}", field="TARGET", value=where.url)


class Started:
    """`setsail serve FILE` on a free port, in a process and a session of its own, until it is closed.

    Args:
        workers: as its flag takes it.

    Raises:
        SetsailError: the server's own fault when it does not become ready.
    """

    def __init__(self, path: Path, workers: int) -> None:
        self.command = ["serve", str(path), "--workers", str(workers), "--port", "0", "--admin-port", "-1", "--json"]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "setsail", *self.command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True, text=True,
        )  # fmt: skip
        try:
            self.place = self._ready()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def _ready(self) -> Place:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            about = json.loads(line)
        except ValueError:
            about = {}
        if "url" in about:
            return place(about["url"], about["models"][0]["name"])
        fault = about.get("error", {})
        if fault.get("code") in KINDS:
            todo = fault.get("todo", "")
            what = fault["message"].removesuffix(f"{todo[:1].upper()}{todo[1:].rstrip('.')}.").rstrip(". ")
            raise SetsailError(fault["code"], what, todo=todo or None)
        raise SetsailError("child.failed", "the server ended before it was ready", value=self._process.wait(),
                           todo=self._last_line())  # fmt: skip

    def _last_line(self) -> str | None:
        self._log.seek(0)
        return "; ".join(self._log.read().decode(errors="replace").strip().splitlines()[-1:]) or None

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
