"""Write the pages of docs/ that are made from tables of the code, or with `--check` say which are stale.

python scripts/docs.py            writes them
python scripts/docs.py --check    exits with 1 where a page differs from what the code says
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from setsail.catalog import STATES
from setsail.cli import reference
from setsail.convert.outputs import OUTPUTS
from setsail.errors import FAMILIES, KINDS
from setsail.server import metrics as names
from setsail.server.settings import rows
from setsail.steps import SCHEMAS

DOCS: Final = Path(__file__).parents[1] / "docs"
_MARK: Final = "<!-- made by scripts/docs.py from src/setsail/steps.py -->\n"
_NOTE: Final = "Made from `{source}` by `python scripts/docs.py`: change it there.\n"
_AREAS: Final[Mapping[str, str]] = {
    "input": "A request's values: the same for every wire",
    "output": "A request's outputs",
    "request": "A request's bytes: found by a wire",
    "model": "Models behind the server",
    "route": "Routes between versions",
    "watch": "Drift and labels",
    "control": "Loading and unloading",
    "store": "Folders that models are registered from",
    "server": "The server itself",
    "admin": "The admin port",
    "artifact": "An artifact: found while reading, before anything runs",
    "program": "The program inside an artifact: the gate and the trial run",
    "source": "A model file: before it is converted",
    "convert": "Converting",
    "parity": "Comparing with the source",
    "ship": "Shipping to a target",
    "rows": "Files of rows",
    "dependency": "Packages",
    "setting": "Settings",
    "bench": "Measuring",
    "port": "Ports",
    "repository": "Directories of models",
    "child": "Child processes",
    "app": "Python functions as models",
    "command": "The command line",
}


def table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    rule = "|" + "---|" * len(head)
    cells = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (head, *lines)]
    return "\n".join([cells[0], rule, *cells[1:]]) + "\n"


def errors() -> str:
    """docs/errors.md: one heading per area, one row per code."""
    parts = [
        "# Errors\n",
        _NOTE.format(source="src/setsail/errors.py"),
        "Every fault has one code. Wires answer with the HTTP or gRPC status, the command line with the exit code; the "
        "code\nitself is in the message, in the header `x-setsail-error` and, with `--json`, in the field `code`. "
        "Messages name the\nfield, the value, what was expected and what to do.\n",
    ]
    for area, codes in groupby(KINDS, key=lambda code: code.partition(".")[0]):
        lines = []
        for code in codes:
            kind = KINDS[code]
            family = FAMILIES[kind.family]
            lines.append((f"`{code}`", str(family.http), str(family.grpc), str(kind.exit), kind.meaning, kind.todo))
        parts += [f"## {_AREAS[area]}\n", table(("code", "HTTP", "gRPC", "exit", "what it means", "what to do"), lines)]
    return "\n".join(parts)


def settings() -> str:
    """docs/settings.md: one row per setting."""
    lines = []
    for row in rows():
        default = f"`{row.default}`" if row.default != "" else "none"
        choices = [f"`{choice}`" for choice in row.choices if choice != ""]
        kind = " or ".join(choices) if choices else row.type.__name__ + ", several" * row.many
        lines.append((f"`{row.flag}`", f"`{row.variable}`", f"`{row.key}`", kind, default, row.help))
    return "\n".join([
        "# Settings of the server\n",
        _NOTE.format(source="src/setsail/server/settings.py"),
        "A flag of `setsail serve` beats a variable of the environment, which beats a key of the TOML file that "
        "`--config` names,\nwhich beats the default. In Python the key is an argument: `setsail.serve(model, port=0)`; "
        "`as`, a word of that language,\nis `as_` there. Several values are commas in one text, a list in TOML, or a "
        "flag given several times. An unknown name is an\nerror (`setting.unknown`), and so is a value of another type "
        "(`setting.value`).\n",
        table(("flag", "variable", "key", "type", "default", "what it is"), lines),
    ])  # fmt: skip


def outputs() -> str:
    """docs/outputs.md: one row per output of each kind of model."""
    lines = []
    for kind, row in OUTPUTS.items():
        for name, meaning in row.outputs.items():
            default = "yes" if name in row.defaults or kind == "tensors" else ""
            lines.append((kind, f"`{name}`" if kind != "tensors" else name, meaning, default))
    return "\n".join([
        "# What a model answers\n",
        _NOTE.format(source="src/setsail/convert/outputs.py"),
        "Names, order and shapes depend on the kind of model only, not on the framework. `N` is the number of rows.\n"
        "The default outputs are what a wire answers that gives a bare value (TF Serving's `predictions`), and what\n"
        "`Model.predict` returns for an array; several of them make a record.\n",
        table(("kind", "output", "shape and meaning", "default"), lines),
    ])  # fmt: skip


def states() -> str:
    """docs/states.md: the states of a version, drawn."""
    arrows = [f"    {name} --> {after}" for name, state in STATES.items() for after in state.next]
    lines = [
        (name, "yes" if s.ready else "", f"`{s.tf}`", f"`{s.oip}`", ", ".join(s.next)) for name, s in STATES.items()
    ]
    return "\n".join([
        "# The states of a version\n",
        _NOTE.format(source="src/setsail/catalog.py"),
        "What each means and what loading does: [serving.md](serving.md).\n",
        "```mermaid\nstateDiagram-v2\n    [*] --> queued\n" + "\n".join(arrows) + "\n```\n",
        table(("state", "answers", "TF Serving", "Open Inference Protocol", "goes to"), lines),
    ])  # fmt: skip


def metrics() -> str:
    """docs/metrics.md: one row per name."""
    own = [
        (f"`{name}{'_total' * (family.kind == 'counter')}`", family.kind, ", ".join(family.labels), family.text)
        for name, family in names.FAMILIES.items()
    ] + [(f"`setsail_{name}`", "gauge", "", text) for name, text in names.GAUGES.items()]
    triton = [(f"`{name}`", text) for name, (text, _) in names.TRITON.items()]
    return "\n".join([
        "# Names of metrics\n",
        _NOTE.format(source="src/setsail/server/metrics.py"),
        "What they are for: [monitoring.md](monitoring.md).\n",
        table(("name", "type", "labels", "what it is"), own),
        "With `--triton-metrics on` also these, with the labels `model` and `version`, of versions that are ready:\n",
        table(("name", "what it is"), triton),
    ])  # fmt: skip


def wires() -> str:
    """docs/wires/README.md: one row per form of a wire, as tests know them."""
    sys.path.append(str(DOCS.parent / "tests" / "doubles"))
    page: Callable[[], str] = import_module("speakers.page").page
    return page()


def agreement() -> str:
    """docs/frameworks/README.md: one row per model of the zoo, as `scripts/zoo.py` found it."""
    rows: dict[str, dict[str, Any]] = json.loads((DOCS / "frameworks" / "agreement.json").read_text(encoding="utf-8"))
    lines = [
        (row["framework"], row["estimator"], name, row["variant"], str(row["rows"]), f"{row['worst']:g}",
         str(row["flips"]))
        for name, row in sorted(rows.items(), key=lambda item: (item[1]["framework"].lower(), item[0]))
    ]  # fmt: skip
    return "\n".join([
        "# Frameworks\n",
        "<!-- made by scripts/docs.py from agreement.json, which scripts/zoo.py writes -->\n",
        "How near answers come to the model that was trained. Every row is a small real model: trained by the tests or",
        "written by its framework's own exporter, packed, served over HTTP, asked through every form that can carry",
        "its inputs, alone and many at once, on rows of which most were not in training. *Difference* is the largest",
        "of any number of any answer, *labels* is how many labels differ; the rule is 1e-4 + 1e-3 of the value",
        "(`docs/parity.md`).\n",
        table(("framework", "model", "name in the zoo", "variant", "rows", "difference", "labels"), lines),
    ])  # fmt: skip


def steps() -> str:
    """docs/steps.md: under each kind's heading its options; the rest of the page is written by hand."""
    page = (DOCS / "steps.md").read_text(encoding="utf-8")
    for kind, schema in SCHEMAS.items():
        options = [(f"`{n}`", "yes", str(check.__doc__)) for n, check in schema.required.items()]
        options += [(f"`{n}`", "", str(check.__doc__)) for n, check in schema.optional.items()]
        before, found, rest = page.partition(f"### {kind}\n")
        prose, mark, rest = rest.partition(_MARK)
        _, end, rest = rest.partition("<!-- end -->\n")
        if not (found and mark and end) or "### " in prose:
            raise SystemExit(f"docs/steps.md: under `### {kind}` there is no place for its options")
        made = table(("option", "required", "value"), options) if options else "No options.\n"
        page = f"{before}{found}{prose}{mark}{made}{end}{rest}"
    return page


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "errors.md": errors,
    "settings.md": settings,
    "outputs.md": outputs,
    "states.md": states,
    "cli.md": reference,
    "metrics.md": metrics,
    "steps.md": steps,
    "wires/README.md": wires,
    "frameworks/README.md": agreement,
}


def main(arguments: list[str]) -> int:
    stale = [name for name, make in PAGES.items() if not _same(DOCS / name, make())]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is stale: run python scripts/docs.py", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/{name}")
    return 0


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
