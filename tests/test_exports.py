"""`__all__` is what a module offers: complete, true, and all that others take. Read with `ast`: nothing is imported."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import setsail

SOURCE = Path(setsail.__file__).parent
# contract.md §3
PUBLIC = {"Artifact", "Model", "Server", "SetsailError", "__version__", "asgi", "load", "pack", "serve"}


def name_of(path: Path) -> str:
    parts = ("setsail", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(p): ast.parse(p.read_text(encoding="utf-8")) for p in sorted(SOURCE.rglob("*.py"))}


def listed(tree: ast.Module) -> list[str] | None:
    """A module's `__all__`, or None where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def defined(tree: ast.Module, *, imported: bool) -> set[str]:
    """Names a module's top level gives a meaning to, inside `if` and `try` too; `imported` ones as well or not."""
    found: set[str] = set()
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom) and imported:
            found |= {a.asname or a.name.partition(".")[0] for a in node.names}
        elif isinstance(node, ast.If | ast.Try):
            todo += [*node.body, *node.orelse, *getattr(node, "finalbody", [])]
            todo += [n for handler in getattr(node, "handlers", []) for n in handler.body]
    return found


@pytest.mark.parametrize("module", [name for name, tree in TREES.items() if listed(tree) is not None])
def test_what_is_listed_exists_once_and_in_order(module: str) -> None:
    names = listed(TREES[module]) or []
    assert len(set(names)) == len(names)
    assert set(names) - defined(TREES[module], imported=True) == set()


def test_nobody_takes_what_a_module_does_not_offer() -> None:
    taken = []
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or node.module not in TREES:
                continue
            offered = listed(TREES[node.module])
            for alias in node.names:
                inner = f"{node.module}.{alias.name}" in TREES
                if not inner and (alias.name.startswith("_") or (offered is not None and alias.name not in offered)):
                    if alias.name == "__version__":
                        continue
                    taken.append(f"{module}:{node.lineno} takes {node.module}.{alias.name}")
    assert taken == []


def test_the_public_names_are_the_contracts() -> None:
    assert set(setsail.__all__) == PUBLIC
