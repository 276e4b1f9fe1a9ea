"""Stories: one text file of commands and what they print, which a newcomer can read, run by hand and add to.

    # text            what the story shows, first
    given: a b        files to put into the folder (the names in tests/doubles/shell.py)
    file: name        the indented lines that follow are its content
    $ setsail …       a command; `setsail` runs in this process, `DIR/bin/python -m setsail` as one of its own
    expected lines    standard output and error together; `...` stands for anything, also for many lines
    [exit 2]          last, where the exit code is not 0

Blank lines between commands count for nothing.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from shell import Result, process, run, wait

HERE = Path(__file__).parent


@dataclass
class Step:
    """One command with the lines it must print."""

    line: int
    command: str
    expected: list[str] = field(default_factory=list)
    code: int = 0


@dataclass
class Story:
    title: str = ""
    given: list[str] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


def parse(text: str) -> Story:
    story = Story()
    for number, line in enumerate(text.splitlines(), 1):
        word, _, rest = line.partition(" ")
        if word == "$":
            story.steps.append(Step(number, rest))
        elif story.steps:
            step = story.steps[-1]
            if ended := re.fullmatch(r"\[exit (\d+)\]", line):
                step.code = int(ended[1])
            else:
                step.expected.append(line)
        elif word == "#":
            story.title += rest + "\n"
        elif word == "given:":
            story.given += rest.split()
        elif word == "file:":
            story.files[rest] = []
        elif line.startswith("    "):
            next(reversed(story.files.values())).append(line[4:])
        elif line:
            raise ValueError(f"line {number} is not understood: {line}")
    return story


def agrees(expected: str, printed: str) -> bool:
    """Whether what was printed is what the story says; `...` stands for anything."""
    pattern = ".*?".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


def execute(command: str) -> Result:
    words = shlex.split(command)
    if words[0] == "setsail":
        return run(*words[1:])
    python, *module = words[:3]
    assert module == ["-m", "setsail"], f"a story runs setsail only: {command}"
    found = wait(process(*words[3:], python=python))
    return Result(found.code, found.out, found.err, found.err + found.out)


@pytest.mark.parametrize("name", sorted(p.stem for p in HERE.glob("*.txt")))
def test_story(name: str, given: Callable[..., None]) -> None:
    story = parse((HERE / f"{name}.txt").read_text(encoding="utf-8"))
    assert story.title, "a story begins with what it shows"
    given(*story.given)
    for file, lines in story.files.items():
        Path(file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for step in story.steps:
        found = execute(step.command)
        expected, printed = "\n".join(step.expected).strip(), found.both.strip()
        assert agrees(expected, printed), (
            f"{name}.txt, line {step.line}: {step.command}\n--- the story says\n{textwrap.indent(expected, '  ')}\n"
            f"--- printed\n{textwrap.indent(printed, '  ')}"
        )
        assert found.code == step.code, f"{name}.txt, line {step.line}: exit code {found.code}, not {step.code}"


def test_a_story_can_fail() -> None:
    story = parse("# Title\ngiven: a b\nfile: x.csv\n    a,b\n\n$ setsail x\nsome ... text\n[exit 2]\n")
    (step,) = story.steps
    assert (story.given, story.files, step.code) == (["a", "b"], {"x.csv": ["a,b"]}, 2)
    assert agrees(step.expected[0], "some more\nlines of text")
    assert not agrees(step.expected[0], "some more lines of text!")
    with pytest.raises(ValueError, match="line 1"):
        parse("what is this")
