"""The command `setsail` as a whole: its help, its verbs, its page, what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from shell import run

import setsail
from setsail.cli import main, reference
from setsail.cli.root import VERBS

ROOT = Path(setsail.__file__).parents[2]
HEAVY = {"rich", "numpy", "onnxruntime", "uvicorn", "starlette", "asyncio", "setsail.packing", "setsail.convert"}


def test_help_lists_the_verbs() -> None:
    found = run("--help")
    assert found.code == 0
    assert all(f"\n  {verb} " in found.out for verb in VERBS)


def test_without_a_verb_it_is_a_usage_error_with_the_help() -> None:
    found = run()
    assert (found.code, found.out) == (2, "")
    assert "Verbs:" in found.err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples_and_the_shared_flags(verb: str) -> None:
    found = run(verb, "-h")
    assert found.code == 0
    assert f"\n  setsail {verb}" in found.out.partition("Examples:")[2]
    assert all(flag in found.out for flag in ("--json", "--quiet", "--yes"))


def test_the_version() -> None:
    assert run("--version").out == f"setsail {setsail.__version__}\n"


def test_an_unknown_verb_is_answered_with_a_near_one() -> None:
    found = run("sevre", "x.setsail")
    assert found.code == 2
    assert "did you mean `setsail serve`?" in found.err


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert page == reference(), (
        "write it again: python -c 'import setsail.cli as c; print(c.reference(), end=\"\")' > docs/cli.md"
    )


def test_every_verb_is_a_module() -> None:
    context = click.Context(main)
    for verb in VERBS:
        command = main.get_command(context, verb)
        assert command is not None
        assert command.name == verb


def test_serve_imports_little_before_it_serves() -> None:
    line = [sys.executable, "-X", "importtime", "-m", "setsail", "serve", "--help"]
    found = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "Examples:" in found.stdout
    imported = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert "click" in imported
    assert imported & HEAVY == set()
