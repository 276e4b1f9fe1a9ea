"""How long it takes to begin: `import setsail` beside `import numpy`, and a server's first answer beside onnxruntime's.

    python benchmarks/cold_start.py [--rounds 15] [--imports]

Every figure is a fresh process, the kinds take turns, and what counts is the ratio of medians: seconds are the
machine's. `--imports` also prints what costs most (`-X importtime`).
"""

from __future__ import annotations

import argparse
import compileall
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from urllib.parse import urlsplit

import setsail

LIMITS: Mapping[str, tuple[str, str, float]] = {
    "import setsail": ("import setsail", "import numpy", 1.3),
    "first answer": ("setsail serve", "onnxruntime alone", 1.6),
}
ROW = [[5.1, 3.5, 1.4, 0.2]]
# What a person would write without setsail, and the least that answers: one session of one thread, run once.
ALONE = """
import numpy, onnxruntime, sys
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {session.get_inputs()[0].name: numpy.array([[5.1, 3.5, 1.4, 0.2]])})
print("done", flush=True)
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def finished(arguments: list[str]) -> float:
    """Seconds until a process has ended well."""
    begin = perf_counter()
    subprocess.run(arguments, check=True, capture_output=True)
    return perf_counter() - begin


def first_line(arguments: list[str], then: Callable[[str], None] = lambda line: None) -> float:
    """Seconds until a process has printed a line and `then` is done with it; the process is ended afterwards."""
    begin = perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        then(line)
        seconds = perf_counter() - begin
        process.kill()
    return seconds


def ask(line: str) -> None:
    """Send one row to the server that the ready line tells of."""
    connection = http.client.HTTPConnection(urlsplit(json.loads(line)["url"]).netloc, timeout=30)
    connection.request("POST", "/predict/iris", json.dumps(ROW))
    reply = connection.getresponse()
    if reply.status != 200:
        raise RuntimeError(f"{reply.status}: {reply.read()!r}")
    reply.read()
    connection.close()


def packed(folder: Path) -> tuple[Path, Path]:
    """An artifact, and its program as a plain file."""
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    X, y = load_iris(return_X_y=True)
    forest = RandomForestClassifier(20, random_state=0).fit(X, y)
    with setsail.pack(forest, example=X, name="iris", output=folder / "iris.setsail") as artifact:
        (variant,) = artifact.variants
        (folder / "iris.onnx").write_bytes(artifact.files(variant.id)[variant.entry])
    return folder / "iris.setsail", folder / "iris.onnx"


def kinds(folder: Path) -> dict[str, Callable[[], float]]:
    artifact, program = packed(folder)
    serve = command("-m", "setsail", "serve", str(artifact), "--port", "0", "--admin-port", "0", "--json")
    return {
        "python": lambda: finished(command("-c", "pass")),
        "import numpy": lambda: finished(command("-c", "import numpy")),
        "import setsail": lambda: finished(command("-c", "import setsail")),
        "onnxruntime alone": lambda: first_line(command("-c", ALONE, str(program))),
        "setsail serve": lambda: first_line(serve, ask),
    }


def measured(rounds: int, folder: Path) -> dict[str, float]:
    """Medians of fresh processes, the kinds taking turns; a first turn fills caches and does not count."""
    runs = kinds(folder)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            seconds = run()
            if turn:
                times[name].append(seconds)
    return {name: median(values) for name, values in times.items()}


def costliest(code: str, rows: int = 25) -> list[tuple[int, int, str]]:
    """Modules by their own microseconds: (own, with what they import, name)."""
    done = subprocess.run(command("-X", "importtime", "-c", code), capture_output=True, text=True, check=True)
    found = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*\S+)", done.stderr)
    return sorted(((int(own), int(total), name) for own, total, name in found), reverse=True)[:rows]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--imports", action="store_true")
    options = parser.parse_args()
    if options.imports:
        for own, total, name in costliest("import setsail.server.run, setsail.cli.serve, onnxruntime"):
            print(f"{own / 1000:8.1f} ms {total / 1000:8.1f} ms  {name}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SETSAIL_CACHE"] = folder
        compileall.compile_dir(str(Path(setsail.__file__).parent), quiet=2)  # as an installation has them
        times = measured(options.rounds, Path(folder))
    for name, seconds in times.items():
        print(f"{name:20} {seconds * 1000:7.0f} ms")
    good = True
    for what, (ours, theirs, limit) in LIMITS.items():
        ratio = times[ours] / times[theirs]
        good &= ratio <= limit
        print(f"{what}: {ratio:.2f} x {theirs} (at most {limit})")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
