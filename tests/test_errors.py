"""The table of errors is whole: each code is raised somewhere, produced by a test, and says what to do."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

import setsail
from setsail.errors import FAMILIES, KINDS, SetsailError, shorten

ROOT = Path(__file__).parents[1]
SOURCE = Path(setsail.__file__).parent
EXITS = {1, 2, 3, 130}  # contract.md §2: failed, usage, a package is missing, interrupted


def strings(paths: Iterable[Path]) -> set[str]:
    """Every string constant of these files, docstrings and f-string parts included."""
    return {
        node.value
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_code_is_raised_by_the_source() -> None:
    said = strings(p for p in SOURCE.rglob("*.py") if p.name != "errors.py")
    assert KINDS.keys() - said == set(), "rows that nothing raises: remove them"


def test_every_code_is_produced_by_a_test() -> None:
    here = Path(__file__)
    said = strings(p for folder in ("tests", "attacks") for p in (ROOT / folder).rglob("*.py") if p != here)
    assert KINDS.keys() - said == set(), "codes that no test produces"


def test_the_source_raises_no_code_that_the_table_lacks() -> None:
    raised = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("SetsailError") and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    raised.add((first.value, f"{path.relative_to(ROOT)}:{node.lineno}"))
    assert {place for code, place in raised if code not in KINDS} == set()


@pytest.mark.parametrize("code", KINDS)
def test_a_row_is_complete(code: str) -> None:
    kind = KINDS[code]
    assert kind.family in FAMILIES
    assert kind.exit in EXITS
    assert kind.meaning.endswith(".")
    assert kind.todo.endswith((".", '".'))
    assert code.count(".") == 1


def test_an_error_names_field_value_expected_and_what_to_do() -> None:
    fault = SetsailError("input.dtype", "input 'age', row 3, is text", field="age", row=3, value="abc",
                         expected="a number (float64)", todo="send a number")  # fmt: skip
    assert (
        str(fault)
        == "[input.dtype] input 'age', row 3, is text; got 'abc'; expected a number (float64). Send a number."
    )
    assert fault.to_json() == {
        "code": "input.dtype", "message": fault.message, "field": "age", "value": "'abc'",
        "expected": "a number (float64)", "todo": "send a number", "row": 3,
    }  # fmt: skip
    assert (fault.family.http, fault.family.grpc, fault.kind.exit) == (400, 3, 1)


def test_a_code_outside_the_table_is_a_bug() -> None:
    with pytest.raises(KeyError):
        SetsailError("input.typo", "nothing")


def test_a_huge_value_is_shown_in_one_short_line() -> None:
    shown = shorten({"rows": [["x" * 10**6, "a\nb"]] * 10**5})
    assert len(shown) <= 80
    assert "\n" not in shown
