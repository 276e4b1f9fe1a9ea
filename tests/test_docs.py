"""The documentation runs, and the pages that are made from the code are up to date.

A page's blocks run in order, in a folder with the models of `doubles/workshop.py`:

- ``python``: in one namespace per page (`model`, `X`, `X_test`, `y` are there already); one that begins with a comment
  that is a file's name is also written to that file;
- ``sh``: lines that begin with `setsail` or `curl`; each must succeed. `setsail serve` runs until the page ends, on a
  free ports, and stands for port 8080, or for those of its `--as` and `--listen`, in the page's URLs; without it that
  is a server of `iris`, `people`, `reviews`;
- ``console``: the same for lines that begin with `$ `; other lines are output;
- ``http``: paragraphs in turn a request (`POST /path`, then the body) and the JSON it is answered with.

A fence that ends in `no-run` is not run; other fences are for reading.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests
import workshop

from setsail.server.doors import doors
from setsail.server.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted(p for p in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")) if p.is_file())
FENCE = re.compile(r"^```(?P<language>\w*)(?P<rest>[^\n]*)\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
RUN = ("python", "sh", "console", "http")
ELSEWHERE = {"docs/getting-started.md": "tests/stories/test_getting_started.py"}  # a story of its own, with outputs
ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):(\d+)")
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """The blocks that run: language, code, line of the page."""
    text = page.read_text(encoding="utf-8")
    return [
        (m["language"], m["code"], text.count("\n", 0, m.start()) + 1)
        for m in FENCE.finditer(text)
        if m["language"] in RUN and "no-run" not in m["rest"]
    ]


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    workshop.furnish(folder)
    return folder


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with workshop.serving(tmp_path_factory.mktemp("served")) as server:
        yield server.url


class Runner:
    """Runs one page's blocks."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.names: dict[str, Any] = {
            "__name__": "__page__", "model": workshop.credit(), "X": workshop.X, "X_test": workshop.X, "y": workshop.y,
        }  # fmt: skip
        self.served: subprocess.Popen[str] | None = None
        self.places = {8080: url.partition("://")[2]}  # by the numbers that the page has

    def here(self, text: str) -> str:
        """A page's text with the addresses of this run."""
        return ADDRESS.sub(lambda found: self.places.get(int(found[1]), found[0]), text)

    def python(self, code: str) -> None:
        if named := re.match(r"# (\w+\.py)\n", code):
            (self.folder / named[1]).write_text(code, encoding="utf-8")
        exec(compile(self.here(code), "<page>", "exec"), self.names)  # the page's own code is what is tested

    def sh(self, code: str) -> None:
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:2] == ["setsail", "serve"]:
                self.serve(words[2:])
            elif words and words[0] in ("setsail", "curl"):
                self.command(words)

    def console(self, code: str) -> None:
        self.sh("\n".join(line for line in code.splitlines() if line.startswith("$ ")))

    def command(self, words: list[str]) -> None:
        if words[0] == "curl":
            words = ["curl", "-sS", "--fail-with-body", *map(self.here, words[1:])]
        else:
            words = [sys.executable, "-m", "setsail.cli", *words[1:]]
        told = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120)
        assert told.returncode == 0, f"{shlex.join(words)}\n{told.stdout}{told.stderr}"

    def serve(self, words: list[str]) -> None:
        self.close()
        numbers, free = ports(words)
        command = [sys.executable, "-m", "setsail.cli", "serve", *free, "--port", "0", "--admin-port", "-1", "--json"]
        self.served = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)
        assert self.served.stdout is not None
        ready = self.served.stdout.readline()
        assert ready, f"{shlex.join(words)} did not become ready"
        told = json.loads(ready)
        self.url = told["url"]
        found = [f"127.0.0.1:{door['port']}" for door in told["doors"]]
        self.places = dict(zip(numbers, found, strict=True))

    def http(self, code: str) -> None:
        paragraphs = [p for p in code.split("\n\n") if p.strip()]
        assert len(paragraphs) % 2 == 0, "a request without an answer"
        for request, answer in zip(paragraphs[::2], paragraphs[1::2], strict=True):
            line, _, body = request.partition("\n")
            method, path = line.split()
            reply = requests.request(method, self.url + path, data=body.encode(), timeout=30)
            assert_like(reply.json(), json.loads(answer), line)

    def close(self) -> None:
        if self.served is not None:
            self.served.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.served.wait(20)
            self.served.kill()
            assert self.served.stdout is not None
            self.served.stdout.close()
            self.served = None


def ports(words: list[str]) -> tuple[list[int], list[str]]:
    """The numbers of a server's doors as its command line has them, and a line that picks free ones."""
    chosen = {flag: [words[at + 1] for at, word in enumerate(words) if word == flag] for flag in ("--as", "--listen")}
    settings = Settings.read({"as_": "".join(chosen["--as"]), "listen": chosen["--listen"]})
    free = [re.sub(r"^\d+=", "0=", word) if word in chosen["--listen"] else word for word in words]
    return [door.port for door in doors(settings)], free


def assert_like(found: Any, expected: Any, where: str) -> None:
    """Equal JSON; numbers to two digits, as a page prints them."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), where
        assert list(found) == list(expected), where
        for key, value in expected.items():
            assert_like(found[key], value, f"{where} {key}")
    elif isinstance(expected, list):
        assert isinstance(found, list), where
        assert len(found) == len(expected), where
        for got, value in zip(found, expected, strict=True):
            assert_like(got, value, where)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=0.01, abs=0.006), where
    else:
        assert found == expected, where


RUNNABLE = [
    pytest.param(page, id=str(page.relative_to(ROOT)), marks=[pytest.mark.torch] if "torch" in page.name else [])
    for page in PAGES
    if blocks(page) and page.relative_to(ROOT).as_posix() not in ELSEWHERE
]


@pytest.mark.parametrize("page", RUNNABLE)
def test_the_blocks_of_a_page_run(
    page: Path, furnished: Path, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "transformers" in page.name and (find_spec("transformers") is None or find_spec("torch") is None):
        pytest.skip("needs transformers and PyTorch")
    if "torch" in page.name and find_spec("torch") is None:
        pytest.skip("needs PyTorch")
    folder = tmp_path / "here"
    shutil.copytree(furnished, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    runner = Runner(folder, server_url)
    try:
        for language, code, line in blocks(page):
            try:
                getattr(runner, language)(code)
            except Exception as fault:
                fault.add_note(f"in the block at {page.relative_to(ROOT)}:{line}")
                raise
    finally:
        runner.close()


@pytest.mark.parametrize(("page", "story"), ELSEWHERE.items())
def test_a_page_with_a_story_is_run_by_it(page: str, story: str) -> None:
    assert Path(page).name in (ROOT / story).read_text(encoding="utf-8")


def test_pages_made_from_the_code_are_up_to_date() -> None:
    told = subprocess.run([sys.executable, ROOT / "scripts/docs.py", "--check"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing == []


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    runner = Runner(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(NameError):
        runner.python("nothing_of_this_name")
    with pytest.raises(AssertionError, match=r"no-such\.setsail"):
        runner.sh("setsail inspect no-such.setsail")
    with pytest.raises(AssertionError):
        assert_like({"a": [1.0]}, {"a": [2.0]}, "")
