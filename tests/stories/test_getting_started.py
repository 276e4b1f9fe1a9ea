"""docs/getting-started.md does what it says: its Python runs, its commands exit with 0, its curl lines answer."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

from shell import process, run

PAGE = Path(__file__).parents[2] / "docs/getting-started.md"


def test_every_block_of_the_page() -> None:
    blocks = re.findall(r"^```(python|console)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    server: subprocess.Popen[str] | None = None
    url = ""
    try:
        for kind, text in blocks:
            if kind == "python":
                exec(compile(text, str(PAGE), "exec"), names)
                continue
            for line in text.splitlines():
                words = shlex.split(line.removeprefix("$ "))
                if words[:2] == ["setsail", "serve"]:
                    server = process(*words[1:], "--port", 0, "--admin-port", 0, "--json")
                    assert server.stdout is not None
                    url = json.loads(server.stdout.readline())["url"]
                elif words[0] == "curl":
                    asked = [word.replace("http://127.0.0.1:8080", url) for word in words]
                    answer = subprocess.run([*asked, "-sS", "--fail"], capture_output=True, text=True)
                    assert answer.returncode == 0, answer.stderr
                else:
                    assert words[0] == "setsail", line
                    found = run(*words[1:])
                    assert found.code == 0, f"{line}\n{found.both}"
    finally:
        if server is not None:
            server.kill()
            server.communicate()
    assert Path("answers.jsonl").read_text().count("\n") == 20
    assert url
