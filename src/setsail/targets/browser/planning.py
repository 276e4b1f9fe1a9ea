"""What a site is made of: which files, how large, and what is in `model.json`."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.signature import DEFAULT, Signature
from setsail.targets import Piece, Proof, megabytes
from setsail.targets.browser import fitness, proving, runtime
from setsail.targets.browser.declarations import declarations
from setsail.targets.browser.samples import told
from setsail.variants import Variant

__all__ = ["Site", "plan"]

_STATIC: Final = resources.files("setsail.targets.browser") / "static"
# Files of the page and the module, as web/ builds them.
OURS: Final = ("app.js", "core.js", "setsail.js", "sw.js", "style.css", "icon.svg", "LICENSES.txt")
_MODULE: Final = 'export { Fault, load } from "./setsail.js";\n'
_HEADERS: Final = """\
/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  Cross-Origin-Resource-Policy: same-origin
  X-Content-Type-Options: nosniff
/model.json
  Cache-Control: no-cache
/sw.js
  Cache-Control: no-cache
"""


@dataclass(frozen=True)
class Site:
    """The plan of one site: contents that are ready, and the runtime's files, which are fetched when it is written."""

    opened: Artifact
    options: Mapping[str, Any]
    contents: Mapping[str, bytes]
    runtimes: tuple[runtime.Runtime, ...]
    pieces: Sequence[Piece]
    warnings: Sequence[str]
    facts: Mapping[str, Any]
    next: Sequence[str] = ("python -m http.server 8000 --directory {folder}", "then open http://127.0.0.1:8000/")

    def write(self, folder: Path) -> None:
        names = tuple(dict.fromkeys(name for parts in self.runtimes for name in parts))
        fetched = {f"ort/{name}": data for name, data in runtime.members(names, self.options["ort"]).items()}
        for name, data in {**self.contents, **fetched}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def prove(self, folder: Path) -> Proof:
        return proving.prove(self.opened, folder, str(self.options["browser"]))


def plan(opened: Artifact, options: Mapping[str, Any]) -> Site:
    """Decide what the site has: one signature of the model.

    Raises:
        SetsailError: `model.signature` for one that the model does not have, `ship.unsupported` where the browser
            cannot run it, `ship.budget` where a visitor would download more than `budget_mb`.
    """
    named = opened.aliases.get(options["signature"], options["signature"])
    left = [name for name in opened.signatures if name != named]
    opened, named = opened.under(named), "" if named == DEFAULT else named
    variant, found = fitness.program(opened)
    gpu = options["gpu"] == "yes" or (options["gpu"] == "auto" and fitness.accelerated(found))
    runtimes = (runtime.WASM, runtime.WEBGPU) if gpu else (runtime.WASM,)
    contents = _contents(opened, variant, runtimes, named)
    weights = sum(len(data) for name, data in contents.items() if name.startswith("model-"))
    page = sum(len(data) for data in contents.values()) - weights
    downloads = {"wasm": page + weights + runtime.size(runtime.WASM),
                 "webgpu": page + weights + runtime.size(runtime.WEBGPU) if gpu else None}  # fmt: skip
    sizes = {**downloads, "weights": weights}
    contents["model.json"] = _json(_manifest(opened, variant, runtimes, contents, sizes, named))
    _afford(downloads, options["budget_mb"])
    pieces = [
        Piece(f"{_folder(opened, named)}/", weights, "the program and what its steps read: they go to every visitor"),
        Piece("ort/", sum(map(runtime.size, runtimes)), f"onnxruntime-web {runtime.VERSION}"
              + (", for WASM and for WebGPU; a visitor downloads one" if gpu else "")),
        Piece("index.html, model.js, …", page, "the page, the typed module, samples, licences"),
    ]  # fmt: skip
    facts = {"downloads": downloads, "weights": weights, "budget_mb": options["budget_mb"],
             "runtime": f"onnxruntime-web {runtime.VERSION}", "variant": variant.id,
             "signature": named or DEFAULT, "left": left}  # fmt: skip
    warnings = _warnings(opened, downloads, weights)
    if left:
        warnings.append(f"the page has the signature {named or DEFAULT}; not in it are {', '.join(left)}: each is a "
                        "site of its own, by --signature")  # fmt: skip
    return Site(opened, options, contents, runtimes, pieces, warnings, facts)


def _called(opened: Artifact, named: str) -> str:
    return f"{opened.name}-{named}" if named else opened.name


def _folder(opened: Artifact, named: str) -> str:
    """Named after the bytes, so that no cache mixes an old program with a new description."""
    return f"model-{opened.digest[:12]}" + (f"-{named}" if named else "")


def _contents(
    opened: Artifact, variant: Variant, runtimes: Sequence[runtime.Runtime], named: str
) -> dict[str, bytes]:  # fmt: skip
    folder = _folder(opened, named)
    found = {f"{folder}/{name}": bytes(data) for name, data in opened.files(variant.id).items()}
    found |= {f"{folder}/steps/{name}": bytes(data) for name, data in opened.processing.files.items()}
    rows = opened.samples("synthetic")
    if rows is not None:  # nobody's rows; an example's never leave the artifact
        found["samples.json"] = _json({"inputs": told(opened.signature.inputs, rows[0])})
    found |= {name: (_STATIC / name).read_bytes() for name in OURS}
    called = _called(opened, named)
    title = html.escape(f"{called}, version {opened.version}")
    page = (_STATIC / "index.html").read_text(encoding="utf-8").replace("{{title}}", title)
    declared = declarations(opened.signature, called, opened.version)
    package = {"name": called.lower(), "version": f"{opened.version}.0.0", "private": True, "type": "module",
               "main": "model.js", "types": "model.d.ts"}  # fmt: skip
    return found | {
        "index.html": page.encode(), "model.js": _MODULE.encode(), "model.d.ts": declared.encode(),
        "package.json": _json(package), "_headers": _HEADERS.encode(),
    }  # fmt: skip


def _manifest(
    opened: Artifact, variant: Variant, runtimes: Sequence[runtime.Runtime], contents: Mapping[str, bytes],
    sizes: Mapping[str, int | None], named: str,
) -> dict[str, Any]:  # fmt: skip
    """What model.json says; web/src/model.ts reads it."""
    folder, inner = _folder(opened, named), opened.processing.program
    beside = [name for name in opened.files(variant.id) if name != variant.entry]
    cached = [".", "index.html", *sorted(set(contents) - {"_headers", "package.json", "model.d.ts", "index.html"})]
    return {
        "format": 1, "name": _called(opened, named), "version": opened.version, "digest": opened.digest,
        "framework": opened.framework, "kind": opened.kind,
        "signature": _signature(opened.signature), "program": None if inner is None else _signature(inner),
        "steps": [step.to_json() for step in opened.processing.steps],
        "files": {name: f"{folder}/steps/{name}" for name in opened.processing.files},
        "model": {"entry": f"{folder}/{variant.entry}", "external": {name: f"{folder}/{name}" for name in beside},
                  "maxBatch": variant.max_batch},
        "runtime": {"wasm": _runtime(runtime.WASM),
                    "webgpu": _runtime(runtime.WEBGPU) if runtime.WEBGPU in runtimes else None},
        "samples": "samples.json" if "samples.json" in contents else None, "bytes": dict(sizes), "cached": cached,
    }  # fmt: skip


def _runtime(parts: runtime.Runtime) -> dict[str, str]:
    return dict(zip(("module", "mjs", "wasm"), (f"ort/{name}" for name in parts), strict=True))


def _signature(signature: Signature) -> dict[str, Any]:
    return signature.to_json() | {"defaults": list(signature.defaults)}


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _afford(downloads: Mapping[str, int | None], budget: float) -> None:
    worst = max(size for size in downloads.values() if size is not None)
    if worst > budget * 1e6:
        raise SetsailError(
            "ship.budget", f"a visitor would download {megabytes(worst)}", field="--budget-mb", value=worst,
            expected=f"at most {budget:g} MB", todo="raise --budget-mb, leave WebGPU out with --gpu no, or make the "
            "model smaller",
        )  # fmt: skip


def _warnings(opened: Artifact, downloads: Mapping[str, int | None], weights: int) -> list[str]:
    wasm, webgpu = downloads["wasm"] or 0, downloads["webgpu"]
    told = f"a visitor downloads {megabytes(wasm)}" + (f", or {megabytes(webgpu)} with WebGPU" if webgpu else "")
    found = [
        f"{told}; compressed by the host, the runtime's part is about a quarter of that",
        f"the weights ({megabytes(weights)}) go to every visitor, who can keep and copy them",
    ]
    if opened.processing.files:
        found.append("the files of its steps go with them: " + ", ".join(sorted(opened.processing.files)))
    if any(step.kind == "image.decode" for step in opened.processing.steps):
        found.append("JPEG, GIF, BMP and WebP are decoded by the visitor's browser, JPEG with a level or two of "
                     "difference; PNG is exact")  # fmt: skip
    if opened.samples("synthetic") is None:
        found.append("the artifact has no synthetic samples: the form begins empty")
    return found
