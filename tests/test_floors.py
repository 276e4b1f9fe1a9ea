"""The floors of docs/architecture.md, held against the imports.

The page itself is the rule: its block "floor 5 … floor 0" is read here. A module imports its own folder or a lower
floor, wherever the import stands (type-only and in-function ones too). Names in string tables are strings, not
imports: that is how a heavy package is loaded when it is chosen.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import setsail

SOURCE = Path(setsail.__file__).parent
ROOT = Path(__file__).parents[1]
PACKAGE = "setsail"
HARD_LINES, SOFT_LINES = 500, 300

# Third-party packages each folder may import; a module's own row stands before its folder's. numpy is everybody's.
PACKAGES = {
    "": set(),
    "tensorfile": {"safetensors"},
    "messages": {"msgspec"},  # structs: a class is made in microseconds, where a dataclass takes most of a millisecond
    "envelope": {"msgspec"},
    "shortcut": {"msgspec"},  # reads the numbers of a batch
    **{name: {"msgspec"} for name in ("catalog", "routing", "parity", "steps", "variants", "scheduling")},
    "artifact": {"msgspec"},
    "convert": {
        *("onnx", "onnxruntime", "google", "sklearn", "skl2onnx", "xgboost", "lightgbm", "catboost", "torch"),
        *(
            "onnxscript",
            "safetensors",
            "joblib",
            "skops",
            "tensorflow",
            "keras",
            "tf2onnx",
            "h5py",
            "yaml",
            "transformers",
            "tokenizers",
            "PIL",
        ),
    },
    "runtime": {"PIL", "tokenizers", "onnxruntime", "xgboost", "lightgbm", "catboost", "ai_edge_litert"},
    "monitor": {"msgspec", "opentelemetry"},
    "protocols": {"msgspec", "orjson", "simdjson", "httptools", "hpack", "google", "python_multipart"},
    "isolation": set(),
    "rows": set(),  # pyarrow and pandas by import string
    "packing": {"msgspec"},
    "serving": {"msgspec"},
    "loadtest": {"msgspec"},  # uvloop and grpc by import string
    "server": {"msgspec", "starlette", "uvicorn", "jinja2", "prometheus_client", "uvloop", "grpc"},
    "targets": set(),
    "cli": {"click", "rich"},
}


@dataclass(frozen=True)
class Import:
    """One import: where it stands, what it names in full, whether inside a function."""

    line: int
    target: str
    inside: bool


def floors() -> dict[str, int]:
    """Folder or floor-0 module -> floor, as the page draws them."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    block = re.search(r"```\n(floor 5.*?)```", page, re.DOTALL)
    assert block is not None, "docs/architecture.md has lost its block of floors"
    found: dict[str, int] = {}
    floor = -1
    for line in block[1].splitlines():
        if start := re.match(r"floor (\d)", line):
            floor = int(start[1])
        words = line[start.end() if start else 0 :].split()
        for word in words if floor == 0 else words[:1]:
            found[word.removesuffix("/").removesuffix(".py")] = floor
    return found


def imports(tree: ast.AST, package: str) -> Iterator[Import]:
    """Every import of a module; relative ones in full. `from a import b` gives `a.b`."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
    inner = {id(n) for function in functions for n in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, id(node) in inner)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                yield Import(node.lineno, f"{base}.{alias.name}", id(node) in inner)


def modules() -> list[tuple[Path, str, ast.Module]]:
    """Every source file, its place (a folder, a floor-0 module or `__init__`) and its tree."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        inner = path.relative_to(SOURCE)
        if "texts" in inner.parts:
            continue  # what targets write into folders of others: not imported here
        place = inner.parts[0].removesuffix(".py")
        found.append((path, place, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def place_of(target: str) -> str:
    """Which folder or module an import of ours reaches: `setsail.convert.graph` -> `convert`."""
    parts = target.split(".")
    own = len(parts) > 1 and ((SOURCE / parts[1]).is_dir() or (SOURCE / f"{parts[1]}.py").is_file())
    return parts[1] if own else "__init__"


def faults(place: str, tree: ast.AST, package: str, floor: dict[str, int]) -> Iterator[tuple[int, str]]:
    """What breaks the rules in one module, with its line."""
    for found in imports(tree, package):
        root = found.target.partition(".")[0]
        if root == PACKAGE:
            there = place_of(found.target)
            if there == "__init__" and found.target == f"{PACKAGE}.__version__":
                continue  # a constant: every floor may say which setsail it is
            if there != place and floor[there] == floor[place] != 0:
                yield found.line, f"{place}/ imports its sibling {there}/"
            elif floor[there] > floor[place]:
                yield found.line, f"{place} (floor {floor[place]}) imports {there} (floor {floor[there]})"
            if found.inside:
                yield found.line, f"imports {found.target} inside a function; name it in a string table instead"
        elif root not in sys.stdlib_module_names and root != "numpy":
            allowed = PACKAGES.get(place, PACKAGES[""])
            if root not in allowed:
                yield found.line, f"{place} may not import {root} (it may: {', '.join(sorted(allowed)) or 'none'})"


def test_the_page_lists_every_folder_and_every_module_of_the_ground() -> None:
    there = {p.stem if p.suffix == ".py" else p.name for p in SOURCE.iterdir() if p.suffix == ".py" or p.is_dir()}
    assert there - {"__pycache__", "py.typed"} == set(floors())


def test_every_import_goes_down_or_stays_in_its_folder() -> None:
    floor, found = floors(), []
    for path, place, tree in modules():
        package = ".".join((PACKAGE, *path.relative_to(SOURCE).parts[:-1]))
        found += [f"{path.relative_to(ROOT)}:{line}: {why}" for line, why in faults(place, tree, package, floor)]
    assert not found, "\n" + "\n".join(found)


def test_the_rule_sees_what_it_looks_for() -> None:
    code = """
from __future__ import annotations
from typing import TYPE_CHECKING
import numpy as np
from setsail import errors, __version__
from setsail.artifact.read import read
if TYPE_CHECKING:
    from ..packing.pack import pack
def f():
    import torch
    from setsail.convert import graph
"""
    seen = dict(faults("convert", ast.parse(code), "setsail.convert", floors()))
    assert {line: why.split()[0] for line, why in seen.items()} == {6: "convert/", 8: "convert", 11: "imports"}
    assert list(faults("protocols", ast.parse("import torch"), "setsail.protocols", floors())) == [
        (
            1,
            "protocols may not import torch "
            "(it may: google, hpack, httptools, msgspec, orjson, python_multipart, simdjson)",
        )
    ]


def test_no_file_is_longer_than_its_budget() -> None:
    lines = {p.relative_to(ROOT): len(p.read_text(encoding="utf-8").splitlines()) for p, _, _ in modules()}
    over = {str(path): count for path, count in lines.items() if count > HARD_LINES}
    assert over == {}, f"over {HARD_LINES} lines; split them by the nouns inside"
    if long := sorted(f"{path} ({count})" for path, count in lines.items() if count > SOFT_LINES):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"over {SOFT_LINES} lines: {', '.join(long)}", stacklevel=1)


def test_no_module_imports_itself_in_a_circle() -> None:
    trees = {p.relative_to(SOURCE.parent).with_suffix("").as_posix(): tree for p, _, tree in modules()}
    named = {path.removesuffix("/__init__").replace("/", "."): tree for path, tree in trees.items()}
    graph: dict[str, set[str]] = {}
    for name, tree in named.items():
        targets = {i.target for i in imports(tree, name) if i.target.startswith(f"{PACKAGE}.")}
        reached = {target if target in named else target.rpartition(".")[0] for target in targets}
        graph[name] = reached - {name, PACKAGE}
    graph.pop(PACKAGE)  # its names are type-only or lazy
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as fault:
        pytest.fail("imports in a circle: " + " <- ".join(fault.args[1]))
