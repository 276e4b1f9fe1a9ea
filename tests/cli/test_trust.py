"""Before a function is served somebody says that its code may run: a flag, a variable, or an answer at a terminal."""

from __future__ import annotations

import os
import pty
import signal
from pathlib import Path

import pytest
from shell import process, run, wait


@pytest.fixture(autouse=True)
def _app() -> None:
    Path("app.py").write_text("open('ran', 'w')\ndef double(x: float) -> float:\n    return 2 * x\n")


def served(answer: str) -> tuple[int, str]:
    """`setsail serve` with a terminal, on which an answer is typed; ended once it serves."""
    ours, theirs = pty.openpty()
    started = process("serve", "app.py:double", "--no-sandbox", "--port", 0, "--admin-port", -1, "--workers", 1,
                      stdin=theirs, stderr=theirs)  # fmt: skip
    os.close(theirs)
    os.write(ours, answer.encode())
    seen, told = b"", False
    try:
        while data := os.read(ours, 65536):
            seen += data
            if b"Ctrl-C" in seen and not told:
                told = True  # once: a second one would force it
                started.send_signal(signal.SIGINT)
    except OSError:  # Linux: the other end was closed
        pass
    os.close(ours)
    return wait(started).code, seen.decode()


def test_without_a_word_nothing_runs() -> None:
    found = run("serve", "app.py:double", "--port", 0, "--admin-port", -1, "--workers", 1)
    assert found.code == 2
    assert "[source.trust]" in found.err
    assert "--trust app" in found.err
    assert not Path("ran").exists()


def test_on_a_terminal_the_question_is_asked() -> None:
    code, seen = served("n\n")
    assert code == 2
    assert "Do you trust where this code comes from?" in seen
    assert not Path("ran").exists()
    code, seen = served("y\n")
    assert code == 130
    assert Path("ran").exists()


def test_a_function_that_is_not_there_is_told_with_its_code() -> None:
    found = run("serve", "app.py:treble", "--trust", "app", "--no-sandbox", "--port", 0, "--admin-port", -1,
                "--workers", 1)  # fmt: skip
    assert found.code == 2
    assert "[app.load]" in found.err
    assert "double" in found.err
    found = run("serve", "no.py:treble", "--trust", "app", "--port", 0, "--workers", 1)
    assert "[source.missing]" in found.err
