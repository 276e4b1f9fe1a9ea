"""The four public functions (`contract.md` §3). Each says what it takes and hands on to the floor that does it."""

from __future__ import annotations

import inspect
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.server.asgi import data_application
from setsail.server.cores import processes
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor
from setsail.serving.model import Model, body_of
from setsail.signature import TensorSpec

__all__ = ["asgi", "load", "pack", "serve"]


def pack(
    model_or_path: Any,
    example: Any = None,
    *,
    name: str | None = None,
    version: int = 1,
    output: str | Path | None = None,
    inputs: Sequence[str] | None = None,
    reference: Any = None,
    labels: Sequence[str] | None = None,
    framework: str | None = None,
    factory: str | None = None,
    weights: str | Path | None = None,
    signature: str | None = None,
    tolerance: float | None = None,
    samples: str = "synthetic",
    trust: Sequence[str] = (),
    force: bool = False,
    sandbox: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Artifact:
    """Convert a trained model, hold it against its source and write one artifact.

    Args:
        model_or_path: a fitted estimator, booster or module, or the path of a model file.
        example: rows as the model takes them; its answers on them must agree with the source's.
        name, version: of the artifact; the name defaults to the file's or the class's.
        output: defaults to `<name>-<version>.setsail` in the current folder.
        inputs: texts like `"x:float32[*,10]"`, where an example is not enough or not there.
        reference: training rows; their histograms are what drift is measured against.
        labels: class labels instead of the model's own.
        framework: whose model it is, where the file does not say.
        factory, weights: "pkg.mod:fn" that builds the module which weights belong to, and their file.
        signature: which signature of a SavedModel becomes the default; `serving_default` unless given.
        tolerance: multiplies the parity rule (1e-4 + 1e-3 |value|).
        samples: `synthetic`, `example` (also keeps at most 64 of the given rows) or `none`.
        trust: formats whose loading may run code that you accept ("pickle", "torchscript", "factory").
        force: overwrite.
        sandbox: False lets trusted code run where the network cannot be cut off.
        progress: told a line for every stage.

    Returns:
        The artifact, opened.

    Raises:
        SetsailError: with a code of `docs/errors.md`; nothing was written then.
    """
    packing, conversion = import_module("setsail.packing"), import_module("setsail.convert.conversion")
    intent = conversion.Intent(
        example=example, inputs=tuple(TensorSpec.parse(text) for text in inputs or ()), labels=tuple(labels or ()),
        framework=framework, factory=factory, weights=None if weights is None else str(weights), signature=signature,
    )  # fmt: skip
    options = packing.PackOptions(
        name=name, version=version, output=Path(output) if output is not None else None, force=force,
        tolerance=1.0 if tolerance is None else tolerance, samples=samples, trust=tuple(trust), sandbox=sandbox,
        reference=None if reference is None else lambda signature: body_of(signature, reference),
        **({} if progress is None else {"progress": progress}),
    )  # fmt: skip
    artifact: Artifact = packing.pack(model_or_path, intent, options)
    return artifact


def load(path: str | Path | Artifact) -> Model:
    """Load an artifact into this process. Raises what `Model` raises."""
    return Model(path)


def serve(
    *models_or_paths: Any,
    example: Any = None,
    port: int = 8080,
    block: bool = True,
    **settings: Any,
) -> Server | Supervisor:
    """Serve models on one port, every wire on it.

    A function with type hints runs in a process of its own, which imports its file: call this below
    `if __name__ == "__main__":` there (`docs/functions.md`). One that is passed is trusted; one named by a path
    (`"app.py:predict"`) needs `trust="app"`.

    Args:
        models_or_paths: live models, artifacts, model files, directories, functions.
        example: rows for the one model that needs them; a file is then packed anew, not taken from the cache.
        block: False answers in the background and returns; use the server as a context manager, or close it.
        settings: any row of `docs/settings.md`, by its Python name. `workers` is 1 unless given: this process answers.

    Raises:
        SetsailError: `port.in_use`, `setting.*`, or what keeps a model from being served.
    """
    models, functions = _functions(models_or_paths)
    if functions:
        settings["trust"] = ",".join(filter(None, (settings.get("trust", ""), "app")))
    given = Settings.read({"port": port, "workers": 1, **settings})
    count = processes(given.workers)
    server = Server(given) if count == 1 else Supervisor(given, count)
    folder = tempfile.mkdtemp(prefix="setsail-serve-")
    server.at_end(lambda: shutil.rmtree(folder, ignore_errors=True))
    try:
        for index, model in enumerate(models):
            live = not isinstance(model, str | Path | Artifact)
            if live or (example is not None and not isinstance(model, Artifact)):
                model = pack(model, example, output=Path(folder) / f"{index}.setsail")
            if isinstance(model, Artifact) and isinstance(server, Server):
                server.house.load(model)
            else:
                server.open(_path(model))
        server.start()
    except BaseException:
        server.close()
        raise
    if block:
        print(f"serving at {server.url}" + (f", docs at {server.admin_url}/docs" if server.admin_url else ""))
        server.wait()
    return server


def _functions(models: Sequence[Any]) -> tuple[list[Any], bool]:
    """The same with functions as paths, and whether there were any."""
    found = [import_module("setsail.apps.spec").Spec.of(m).path if inspect.isfunction(m) else m for m in models]
    return found, any(map(inspect.isfunction, models))


def _path(model: str | Path | Artifact) -> Path:
    path = model.path if isinstance(model, Artifact) else Path(model)
    if path is None:
        raise SetsailError("setting.value", "an artifact in memory cannot be handed to other processes",
                           field="workers", expected="an artifact that is a file, or one worker")  # fmt: skip
    return path


def asgi(*paths: str | Path) -> Any:
    """An ASGI application with every wire, to mount in Starlette, FastAPI or any ASGI server.

    Its models are unloaded when its lifespan ends; where it is mounted and gets no lifespan, call its `close()`.
    """
    if not paths:
        raise SetsailError("source.missing", "no model was given", field="paths", expected="at least one path")
    server = Server()  # never started: it only opens what the paths stand for
    try:
        for path in paths:
            server.open(Path(path))
    except BaseException:
        server.close()
        raise
    return data_application(server.house, server.settings, close=server.close)
