"""`setsail serve`: models behind HTTP ports until a signal comes.

This verb is started the most often and waited for: nothing is imported here that serving an artifact does not need.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import click

from setsail.apps.spec import is_spec
from setsail.cli.console import Console
from setsail.cli.options import verb
from setsail.errors import SetsailError
from setsail.server.cores import processes
from setsail.server.interpreter import settle
from setsail.server.settings import Row, Settings, rows

__all__ = ["command"]

_CONFIG = (
    "TOML file with settings; or TorchServe's config.properties, TensorFlow Serving's models.config, "
    "MLServer's settings.json."
)


def _settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """One flag for every row of the settings table. A flag that is not given leaves it to variable, file, default."""
    for row in reversed(rows()):
        function = _flag(row)(function)
    return function


def _flag(row: Row) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    default = f"default: {row.default}; " if row.default != "" else ""
    kind = click.Choice([str(c) for c in row.choices]) if row.choices else row.type
    return click.option(row.flag, row.name, type=kind, default=None, metavar=_metavar(row), multiple=row.many,
                        help=f"{row.help} [{default}{row.variable}]")  # fmt: skip


def _metavar(row: Row) -> str:
    return "|".join(str(c) for c in row.choices if c != "") or {str: "TEXT", int: "N", float: "SECONDS"}[row.type]


@verb(
    "serve",
    "Serve every PATH: an artifact; a model file, which is packed into the cache first; a typed Python function "
    "(FILE.py:NAME, with --trust app); or a directory, which is one model, a repository (NAME/VERSION/… "
    "or NAME/VERSION.setsail), or artifacts and models side by side. A setting is a flag, "
    "a variable of the environment or a key of the --config file, in this order. In a container of SageMaker no PATH "
    "is needed: the platform says where the model is.",
    examples=(
        ("setsail serve credit-1.setsail", "on port 8080, docs on port 8081"),
        ("setsail serve model.onnx --port 0 --json", "a free port, told in one line of JSON"),
        ("setsail serve models/ --repository-poll 5", "a repository; new versions take over as they appear"),
        ("setsail serve models/ --as tfserving", "where TensorFlow Serving's clients ask: 8501, and 8500 for gRPC"),
        ("setsail serve model_repository/ --as triton", "another server's directory of models, as it is"),
        ("setsail serve app.py:predict --trust app", "a typed Python function, in a process of its own"),
        ("setsail serve models/ --listen 8501=tfserving --listen 8000=triton", "the data port, and two more"),
    ),
)
@click.argument("paths", metavar="PATH...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--name", metavar="N", help="Name of the one model, instead of its own.")
@click.option("--config", metavar="FILE", type=click.Path(path_type=Path), help=_CONFIG)
@click.option("--no-sandbox", is_flag=True, help="Short for --app-sandbox off.")
@_settings
def command(console: Console, paths: tuple[Path, ...], name: str | None, config: Path | None, no_sandbox: bool,
            **flags: Any) -> int:  # fmt: skip
    if name is not None and len(paths) != 1:
        raise SetsailError("command.usage", "--name is for one PATH", field="--name", value=name,
                           todo="serve one PATH, or leave --name out")  # fmt: skip
    given = {key: value for key, value in flags.items() if value not in (None, ())}
    if no_sandbox:
        given["app_sandbox"] = "off"
    foreign = _foreign(paths, config, given.get("as_", ""))
    settings = Settings.read(given, config if foreign is None else None, foreign.settings if foreign else {})
    if not paths and foreign is None and not settings.model_store:
        raise SetsailError("command.usage", "there is nothing to serve", field="PATH",
                           todo="name an artifact, a model file or a directory")  # fmt: skip
    if code := [path for path in paths if is_spec(path) or path.suffix != ".setsail"]:
        settings = import_module("setsail.cli.trust").asked(console, code, settings)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _end_on_sigterm()
    # numpy's BLAS multiplies nothing here, and starting its threads is an eighth of the time until the first answer
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    server = _server(settings)
    told = False
    try:
        _open(console, server, paths, name)
        if foreign is not None:
            _open_foreign(console, server, foreign)
        server.start()
        settle()
        about, told = server.describe(), True
        _ready(console, about, settings)
        server.wait()
    except BaseException as fault:
        server.close()
        if not (told and isinstance(fault, KeyboardInterrupt)):  # Ctrl-C before `wait` took over
            raise
    console.note("stopped")
    return 0 if server.stopped_by == signal.SIGTERM else 130


def _server(settings: Settings) -> Any:
    """One process that answers, or a supervisor of several, which imports next to nothing itself."""
    count = processes(settings.workers)
    if count == 1:
        return import_module("setsail.server.run").Server(settings)
    return import_module("setsail.server.supervisor").Supervisor(settings, count)


def _foreign(paths: Sequence[Path], config: Path | None, flavour: str) -> Any:
    """What another server's file, or the variables of a SageMaker container, say; None where nobody does."""
    if config is not None and config.suffix != ".toml":
        return import_module("setsail.server.foreign.configuration").read(config, flavour)
    for path in paths if config is None and flavour == "mlserver" else ():
        if (path / "settings.json").is_file():  # where MLServer has what concerns the whole server
            return import_module("setsail.server.foreign.configuration").read(path / "settings.json", flavour)
    if not paths and config is None:
        return import_module("setsail.server.foreign.sagemaker").container(os.environ)
    return None


def _open_foreign(console: Console, server: Any, foreign: Any) -> None:
    """Open and do what another server's configuration says, and say what of it does not carry over."""
    for path, name in foreign.paths:
        _open(console, server, [path], name)
    for ask in foreign.asks:
        server.do(ask)
    for note in foreign.notes:
        if console.json:  # what is written for machines has no notes, and nobody may miss these
            logging.getLogger("setsail.server").warning("%s", note)
        console.note(note)


def _open(console: Console, server: Any, paths: Sequence[Path], name: str | None) -> None:
    with console.stages() as stages:
        openings = [opening for path in paths for opening in server.open(path, name=name, progress=stages)]
    for opening in openings:
        if opening.note:
            console.note(opening.note)


def _end_on_sigterm() -> None:
    """Until `Server.wait` takes over, SIGTERM ends the process in good order as well."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


def _ready(console: Console, about: Mapping[str, Any], settings: Settings) -> None:
    lines = []
    for model in about["models"] if not console.quiet else ():
        lines += [f"{model['name']} version {model['version']}", f"  {model['signature']}"]
        lines += [f"  signature {name}: {told}" for name, told in model.get("others", {}).items()]
        lines += [f"  {line}" for line in list(model["curl"].values())[:1]]
    for door in about["doors"] if not console.quiet else ():
        if door["flavour"] is not None:
            lines.append(f"as {door['flavour']}, {door['role']}: {door['url']}")
    docs = f", docs at {about['admin_url']}/docs" if about["admin_url"] else ""
    lines.append(f"serving at {about['url']}{docs}")
    if docs and settings.admin_port and not about["admin_url"].endswith(f":{settings.admin_port}"):
        console.note(f"the admin port is not {settings.admin_port}, which is a port of the server that is imitated")
    console.result("\n".join(lines) if not console.quiet else about["url"], about, coloured=False)
    console.note("Ctrl-C stops it.")
